package mailtest

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Message is a letter as it came.
type Message struct {
	From    string   // of the envelope
	To      []string // of the envelope
	Header  mail.Header
	Subject string // decoded
	Text    string // decoded, with \n
	HTML    string // decoded, with \n; may be empty
	Raw     []byte

	seen bool
}

// parse reads a message: one text, or a multipart/alternative of text and HTML.
func parse(raw []byte) (Message, error) {
	m := Message{Raw: raw}
	read, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return m, fmt.Errorf("read message: %w", err)
	}
	m.Header = read.Header
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject")); err != nil {
		return m, fmt.Errorf("subject: %w", err)
	}
	kind, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil {
		return m, fmt.Errorf("content type: %w", err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		m.Text, err = body(read.Body, read.Header.Get("Content-Transfer-Encoding"))
		return m, err
	}
	if kind != "multipart/alternative" {
		return m, fmt.Errorf("a message of the type %s", kind)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return m, fmt.Errorf("part: %w", err)
		}
		text, err := body(part, part.Header.Get("Content-Transfer-Encoding"))
		if err != nil {
			return m, err
		}
		switch kind := part.Header.Get("Content-Type"); kind {
		case "text/plain; charset=UTF-8":
			m.Text = text
		case "text/html; charset=UTF-8":
			m.HTML = text
		default:
			return m, fmt.Errorf("a part of the type %s", kind)
		}
	}
}

func body(r io.Reader, encoding string) (string, error) {
	if encoding == "quoted-printable" {
		r = quotedprintable.NewReader(r)
	}
	text, err := io.ReadAll(r)
	return strings.ReplaceAll(string(text), "\r\n", "\n"), err
}

var link = regexp.MustCompile(`https?://[^\s<>"]+`)

// Links are the addresses in the text, in their order.
func (m Message) Links() []string { return link.FindAllString(m.Text, -1) }

// Link returns the first link whose path is this, and fails when there is none.
func (m Message) Link(t testing.TB, path string) *url.URL {
	t.Helper()
	for _, text := range m.Links() {
		if u, err := url.Parse(text); err == nil && u.Path == path {
			return u
		}
	}
	t.Fatalf("mailtest: no link to %s in the letter %q:\n%s", path, m.Subject, m.Text)
	return nil
}
