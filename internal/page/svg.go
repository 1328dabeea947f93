package page

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"slices"
	"strings"
)

// svgMax bounds a picture inside a page.
const svgMax = 128 << 10

// SVG lets a picture of ours, a QR code, stand in a page as it is, once it is
// seen to hold nothing but shapes: no script, no style, no address.
func (f *frame) SVG(text string) (template.HTML, error) {
	if len(text) > svgMax || !strings.HasPrefix(text, "<svg ") {
		return "", errors.New("not an SVG picture")
	}
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return template.HTML(text), nil // #nosec G203 -- shapes only, as was just seen
		}
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if !slices.Contains([]string{"svg", "g", "path", "rect", "title"}, t.Name.Local) {
				return "", errors.New("svg: element " + t.Name.Local)
			}
			for _, a := range t.Attr {
				if !slices.Contains([]string{"xmlns", "viewBox", "width", "height", "role", "aria-label", "shape-rendering", "fill", "d", "x", "y", "transform"}, a.Name.Local) ||
					strings.ContainsAny(a.Value, `<&"`) && a.Name.Local != "aria-label" {
					return "", errors.New("svg: attribute " + a.Name.Local)
				}
			}
		case xml.Directive, xml.ProcInst, xml.Comment:
			return "", errors.New("svg: more than a picture")
		}
	}
}
