package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
)

// shape says which fields a body holds. Everything else is refused: unknown,
// repeated, missing or mistyped fields, and whatever follows.
type shape struct {
	required []string // text
	optional []string // text
	flags    []string // true or false; in a form `on` or nothing
}

// values are the fields of a body. A flag that is set is "true".
type values map[string]string

// media says how a body is written.
type media uint8

const (
	noMedia media = iota
	mediaJSON
	mediaForm
)

// mediaOf reads Content-Type; noMedia for what is not taken here.
func mediaOf(r *http.Request) media {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) != 1 || r.Header.Get("Content-Encoding") != "" {
		return noMedia
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return noMedia
		}
	}
	switch kind {
	case "application/json":
		return mediaJSON
	case "application/x-www-form-urlencoded":
		return mediaForm
	}
	return noMedia
}

// decode reads the body of a request in one of two shapes.
// Reasons: request.content, request.body_too_large, request.malformed,
// account.invalid with the field in its detail.
func decode(r *http.Request, asJSON, asForm shape) (values, media, error) {
	kind := mediaOf(r)
	if kind == noMedia {
		return nil, kind, problem.New(problem.RequestContent, nil)
	}
	if r.ContentLength > bodyMax {
		return nil, kind, problem.New(problem.RequestBodyTooLarge, nil)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok { // a tighter bound of the listener
			return nil, kind, problem.New(problem.RequestBodyTooLarge, err)
		}
		return nil, kind, problem.New(problem.RequestMalformed, err)
	}
	if len(body) > bodyMax {
		return nil, kind, problem.New(problem.RequestBodyTooLarge, nil)
	}
	if kind == mediaJSON {
		v, err := asJSON.fromJSON(body)
		return v, kind, err
	}
	v, err := asForm.fromForm(body)
	return v, kind, err
}

// fromJSON reads one object of the shape (RFC 8259).
func (s shape) fromJSON(body []byte) (values, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, invalid("the body is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body)) // by tokens: Unmarshal would take a repeated name
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("the body is not a JSON object")
	}
	v := make(values)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, invalid("the body is not JSON")
		}
		value, err := dec.Token()
		if err != nil {
			return nil, invalid("the body is not JSON")
		}
		key, _ := name.(string) // a name is always a string
		switch x := value.(type) {
		case string:
			err = s.setText(v, key, x)
		case bool:
			err = s.setFlag(v, key, x)
		default:
			err = s.wrongType(v, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, s.complete(v)
}

// fromForm reads the pairs of an HTML form.
func (s shape) fromForm(body []byte) (values, error) {
	pairs, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalid("the body is not a form")
	}
	v := make(values)
	for _, name := range slices.Sorted(maps.Keys(pairs)) { // in order, so that the same body has the same answer
		if len(pairs[name]) > 1 {
			v[name] = "" // setText and setFlag refuse the second
		}
		value := pairs[name][0]
		if slices.Contains(s.flags, name) {
			if value != "on" && value != "true" {
				return nil, s.wrongType(v, name)
			}
			err = s.setFlag(v, name, true)
		} else {
			err = s.setText(v, name, value)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, s.complete(v)
}

func (s shape) setText(v values, name, value string) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if slices.Contains(s.flags, name) {
		return s.wrongType(v, name)
	}
	// U+FFFD is what decoders leave of damaged text: two different passwords
	// must not become one.
	if !utf8.ValidString(value) || strings.ContainsRune(value, utf8.RuneError) {
		return invalid(name + ": not UTF-8")
	}
	v[name] = value
	return nil
}

func (s shape) setFlag(v values, name string, value bool) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if !slices.Contains(s.flags, name) {
		return s.wrongType(v, name)
	}
	v[name] = ""
	if value {
		v[name] = "true"
	}
	return nil
}

// admit refuses names that are unknown or were there before.
func (s shape) admit(v values, name string) error {
	if !slices.Contains(s.required, name) && !slices.Contains(s.optional, name) && !slices.Contains(s.flags, name) {
		if len(name) <= 32 && validName(name, 32, "-_") {
			return invalid("unknown field " + name)
		}
		return invalid("unknown field")
	}
	if _, twice := v[name]; twice {
		return invalid(name + ": given twice")
	}
	return nil
}

func (s shape) wrongType(v values, name string) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if slices.Contains(s.flags, name) {
		return invalid(name + ": want true or false")
	}
	return invalid(name + ": want text")
}

func (s shape) complete(v values) error {
	for _, name := range s.required {
		if _, ok := v[name]; !ok {
			return invalid(name + ": required")
		}
	}
	return nil
}

func invalid(detail string) error {
	return problem.WithDetail(problem.AccountInvalid, detail)
}
