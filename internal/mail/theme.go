package mail

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

//go:embed letters/*.tmpl
var builtIn embed.FS

const (
	maxTemplate  = 64 << 10  // bytes
	themeLetters = "letters" // the folder of ours in a theme
)

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
	root, err := os.OpenRoot(theme) // links do not lead out of it
	if err != nil {
		return nil, fmt.Errorf("mail: identity.theme: %w", err)
	}
	defer root.Close()
	own, err := fs.ReadDir(root.FS(), themeLetters)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mail: identity.theme: %w", err)
	}
	for _, e := range own {
		file := filepath.Join(theme, themeLetters, e.Name())
		if !strings.HasSuffix(e.Name(), ".tmpl") {
			continue
		}
		if _, known := files[e.Name()]; !known {
			return nil, fmt.Errorf("mail: %s: no template has this name; take one such as verify.en.txt.tmpl", file)
		}
		text, err := readTemplate(root, path.Join(themeLetters, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("mail: %s: %w", file, err)
		}
		files[e.Name()] = source{text, file}
	}
	return files, nil
}

// readTemplate reads a regular file of the theme. What it is, is asked first: to
// open a FIFO would wait for its writer.
func readTemplate(root *os.Root, name string) (string, error) {
	if info, err := root.Stat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxTemplate:
		return "", fmt.Errorf("larger than %d bytes", maxTemplate)
	case !utf8.Valid(text):
		return "", errors.New("not UTF-8")
	}
	return string(text), nil
}
