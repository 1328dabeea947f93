package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckApart refuses a root key file that lies in the data folder, by whatever
// path, link or mount: who copies the folder must not get the key with it.
// Neither needs to be there yet.
func CheckApart(rootPath, dataDir string) error {
	root, err := resolve(rootPath)
	if err != nil {
		return fmt.Errorf("keys: root key: %w", err)
	}
	data, err := resolve(dataDir)
	if err != nil {
		return fmt.Errorf("keys: data folder: %w", err)
	}
	dataInfo, err := os.Stat(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: data folder: %w", err)
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		inside := dir == data
		if !inside && dataInfo != nil {
			// The same folder under another name: a mount, or a file system blind to case.
			if info, err := os.Stat(dir); err == nil {
				inside = os.SameFile(info, dataInfo)
			}
		}
		if inside {
			return fmt.Errorf("keys: root key %s lies in the data folder %s: keep it apart, such as %s",
				rootPath, dataDir, filepath.Clean(dataDir)+".root")
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// resolve returns the path with the links resolved of what is there of it.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
