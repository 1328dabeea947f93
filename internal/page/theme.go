package page

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// The bounds of a theme's files.
const (
	themeStyleMax    = 256 << 10
	themeIconMax     = 64 << 10
	themeTemplateMax = 64 << 10
	themeMessagesMax = 256 << 10
	themeLanguages   = 64
)

// themeFiles are the files of a zone's theme. A theme is the operator's own: it
// can say anything on our pages, but it cannot widen the content policy.
type themeFiles struct {
	folder    string
	style     []byte            // style.css: in place of ours
	added     []byte            // theme.css: after the style
	icon      []byte            // icon.svg: in place of ours
	templates map[string]string // templates/NAME.html: in place of ours
	messages  map[string][]byte // messages/LANG.json: added to or in place of ours
}

// readTheme reads the theme's folder; none is no theme. What it does not know is
// an error, since a file with a mistyped name would have no effect; the folder
// `letters`, hidden files and a README are others' affair.
func readTheme(folder string) (themeFiles, error) {
	t := themeFiles{folder: folder, templates: make(map[string]string), messages: make(map[string][]byte)}
	if folder == "" {
		return t, nil
	}
	root, err := os.OpenRoot(folder) // links do not lead out of it
	if err != nil {
		return t, fmt.Errorf("theme: %w", err)
	}
	defer root.Close()
	files := root.FS()
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return t, fmt.Errorf("theme %s: %w", folder, err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "style.css":
			t.style, err = readThemeFile(files, name, themeStyleMax)
		case name == "theme.css":
			t.added, err = readThemeFile(files, name, themeStyleMax)
		case name == "icon.svg":
			if t.icon, err = readThemeFile(files, name, themeIconMax); err == nil {
				err = checkIcon(t.icon)
			}
		case name == "templates" && e.IsDir():
			err = t.readTemplates(files)
		case name == "messages" && e.IsDir():
			err = t.readMessages(files)
		case name == "letters" && e.IsDir(), strings.HasPrefix(name, "."), strings.HasPrefix(name, "README"):
		default:
			err = errors.New("a theme holds style.css, theme.css, icon.svg, templates/, messages/ and letters/")
		}
		if err != nil {
			return t, fmt.Errorf("theme %s: %s: %w", folder, e.Name(), err)
		}
	}
	return t, nil
}

func (t themeFiles) readTemplates(files fs.FS) error {
	known := append([]string{}, parts...)
	for _, v := range views() {
		known = append(known, v.template())
	}
	entries, err := fs.ReadDir(files, "templates")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, html := strings.CutSuffix(e.Name(), ".html")
		if !html || !slices.Contains(known, name) {
			return fmt.Errorf("no page has the template %s; want one of %s, each with .html", e.Name(), strings.Join(known, ", "))
		}
		text, err := readThemeFile(files, path.Join("templates", e.Name()), themeTemplateMax)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		t.templates[name] = string(text)
	}
	return nil
}

func (t themeFiles) readMessages(files fs.FS) error {
	entries, err := fs.ReadDir(files, "messages")
	if err != nil {
		return err
	}
	if len(entries) > themeLanguages {
		return fmt.Errorf("more than %d languages", themeLanguages)
	}
	for _, e := range entries {
		tag, isJSON := strings.CutSuffix(e.Name(), ".json")
		if !isJSON {
			return fmt.Errorf("%s: want LANGUAGE.json, such as fr.json", e.Name())
		}
		if t.messages[tag], err = readThemeFile(files, path.Join("messages", e.Name()), themeMessagesMax); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// readThemeFile reads a regular file of at most so many bytes. What it is, is
// asked first: to open a FIFO would wait for its writer.
func readThemeFile(files fs.FS, name string, most int64) ([]byte, error) {
	if info, err := fs.Stat(files, name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	return b, nil
}

// checkIcon refuses what browsers would not show as a picture. A script in it
// would not run: it is loaded as an image, and by itself in a sandbox.
func checkIcon(icon []byte) error {
	dec := xml.NewDecoder(strings.NewReader(string(icon)))
	root := ""
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if e, ok := t.(xml.StartElement); ok && root == "" {
			root = e.Name.Local
		}
	}
	if root != "svg" {
		return errors.New("not an SVG picture")
	}
	return nil
}

// template returns the text of a template and the file that it is from.
func (t themeFiles) template(name string) (text, from string, err error) {
	if own, ok := t.templates[name]; ok {
		return own, "theme " + path.Join(t.folder, "templates", name+".html"), nil
	}
	from = "web/" + name + ".html"
	b, err := web.ReadFile(from)
	return string(b), from, err
}
