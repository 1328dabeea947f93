package mail

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

//go:embed letters/*.tmpl
var builtIn embed.FS

const maxTemplate = 64 << 10 // bytes

// templates are the texts of the files, by name.
type templates map[string]source

type source struct{ text, file string }

// readTemplates reads the built-in files and what the theme has in their place.
func readTemplates(theme string) (templates, error) {
	files := templates{}
	list, err := fs.ReadDir(builtIn, "letters")
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	for _, e := range list {
		text, err := builtIn.ReadFile("letters/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		files[e.Name()] = source{string(text), "letters/" + e.Name()}
	}
	if theme == "" {
		return files, nil
	}
	folder := filepath.Join(theme, "letters")
	own, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mail: identity.theme: %w", err)
	}
	for _, e := range own {
		file := filepath.Join(folder, e.Name())
		if !strings.HasSuffix(e.Name(), ".tmpl") {
			continue
		}
		if _, known := files[e.Name()]; !known {
			return nil, fmt.Errorf("mail: %s: no template has this name; take one such as verify.en.txt.tmpl", file)
		}
		text, err := readTemplate(file)
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		files[e.Name()] = source{text, file}
	}
	return files, nil
}

func readTemplate(file string) (string, error) {
	f, err := os.Open(file) // #nosec G304 -- of the theme that the map names
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", file)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxTemplate:
		return "", fmt.Errorf("%s is larger than %d bytes", file, maxTemplate)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s is not UTF-8", file)
	}
	return string(text), nil
}
