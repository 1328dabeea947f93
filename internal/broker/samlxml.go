package broker

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/beevik/etree"
	xmlcheck "github.com/mattermost/xml-roundtrip-validator"

	"sallyport.dev/internal/outward"
)

const (
	protocolNamespace  = "urn:oasis:names:tc:SAML:2.0:protocol"
	assertionNamespace = "urn:oasis:names:tc:SAML:2.0:assertion"
	signatureNamespace = "http://www.w3.org/2000/09/xmldsig#"

	maxDepth      = 64
	maxElements   = 20_000
	maxAttributes = 64 // of an element
)

// parseXML reads a document of which nothing is left to interpretation: UTF-8, one
// root, no document type and so no entities, no processing instructions, nothing
// that reads otherwise when it is written and read again. Comments, which some
// parsers take for the end of a text, are refused where they could matter.
func parseXML(data []byte, most int, comments bool) (*etree.Element, error) {
	if len(data) > most {
		return nil, fmt.Errorf("a document of %d bytes is longer than %d", len(data), most)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("the document is not UTF-8")
	}
	if err := scanXML(data, comments); err != nil {
		return nil, err
	}
	if err := xmlcheck.Validate(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("the document is ambiguous: %w", err)
	}
	document := etree.NewDocument()
	if err := document.ReadFromBytes(data); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if document.Root() == nil {
		return nil, errors.New("the document is empty")
	}
	return document.Root(), nil
}

func scanXML(data []byte, comments bool) error {
	d := xml.NewDecoder(bytes.NewReader(data)) // without a CharsetReader it takes UTF-8 only
	depth, elements := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if elements == 0 {
				return errors.New("the document is empty")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the document: %w", err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return errors.New("the document has a document type")
		case xml.ProcInst:
			if t.Target != "xml" || elements > 0 {
				return errors.New("the document has a processing instruction")
			}
		case xml.Comment:
			if !comments {
				return errors.New("the document has a comment")
			}
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errors.New("the document has text beside its root")
			}
		case xml.StartElement:
			if depth == 0 && elements > 0 {
				return errors.New("the document has two roots")
			}
			depth, elements = depth+1, elements+1
			if depth > maxDepth || elements > maxElements || len(t.Attr) > maxAttributes {
				return errors.New("the document is too deep or has too many parts")
			}
			if err := attributes(t.Attr); err != nil {
				return err
			}
		case xml.EndElement:
			depth--
		}
	}
}

// attributes refuses one that is there twice, and an ID that is of another
// namespace and yet found as ID.
func attributes(list []xml.Attr) error {
	seen := make(map[xml.Name]bool, len(list))
	for _, a := range list {
		if seen[a.Name] {
			return fmt.Errorf("an element has the attribute %q twice", outward.Clip(a.Name.Local))
		}
		seen[a.Name] = true
		if strings.EqualFold(a.Name.Local, "id") && a.Name.Space != "" {
			return errors.New("an element has an ID of another namespace")
		}
	}
	return nil
}

// children returns the elements of a name directly below el.
func children(el *etree.Element, space, tag string) []*etree.Element {
	var found []*etree.Element
	for _, c := range el.ChildElements() {
		if c.Tag == tag && c.NamespaceURI() == space {
			found = append(found, c)
		}
	}
	return found
}

// only returns the one element of a name directly below el.
func only(el *etree.Element, space, tag string) (*etree.Element, error) {
	found := children(el, space, tag)
	if len(found) != 1 {
		return nil, fmt.Errorf("%s has %d times %s, want once", el.Tag, len(found), tag)
	}
	return found[0], nil
}

// textOf returns the text of an element that has nothing else below it. (etree's
// own Text ends at the first thing that is no text.)
func textOf(el *etree.Element) (string, error) {
	var text strings.Builder
	for _, c := range el.Child {
		data, ok := c.(*etree.CharData)
		if !ok {
			return "", fmt.Errorf("%s has more than text in it", el.Tag)
		}
		text.WriteString(data.Data)
	}
	return strings.TrimSpace(text.String()), nil
}

// attribute returns an attribute that has no namespace.
func attribute(el *etree.Element, name string) string {
	for _, a := range el.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value
		}
	}
	return ""
}

// each visits el and all elements below it.
func each(el *etree.Element, visit func(*etree.Element)) {
	visit(el)
	for _, c := range el.ChildElements() {
		each(c, visit)
	}
}

func isLine(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }
