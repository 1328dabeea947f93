package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
)

// BodyMax bounds a body whose shape has no bound of its own.
const BodyMax = 4 << 10

// Shape says which fields a body holds. Everything else is refused: unknown,
// repeated, missing or mistyped fields, and whatever follows.
type Shape struct {
	Required []string // text
	Optional []string // text
	Flags    []string // true or false; in a form `on`, `true` or nothing
	Lists    []string // an array of texts; in a form the field may be repeated. Never required
	Raw      []string // a JSON object, kept as it was written; in a form its text. Never required
	Max      int64    // bytes of the body; 0: BodyMax
}

// Values are the fields of a body. A flag that is set is "true"; a list is read
// with List, a raw field with Raw.
type Values map[string]string

// Flag says whether a flag is set.
func (v Values) Flag(name string) bool { return v[name] != "" }

// List returns the elements of a list; nil when it is empty or missing.
func (v Values) List(name string) []string {
	if v[name] == "" {
		return nil
	}
	return strings.Split(v[name], listSeparator)
}

// Raw returns the JSON of a raw field; nil when it is missing.
func (v Values) Raw(name string) json.RawMessage {
	if v[name] == "" {
		return nil
	}
	return json.RawMessage(v[name])
}

// Media says how a body is written.
type Media uint8

// The two ways in which a body may be written.
const (
	NoMedia Media = iota
	JSON
	Form
)

// mediaOf reads Content-Type; NoMedia for what is not taken here.
func mediaOf(r *http.Request) Media {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) != 1 || r.Header.Get("Content-Encoding") != "" {
		return NoMedia
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return NoMedia
		}
	}
	switch kind {
	case "application/json":
		return JSON
	case "application/x-www-form-urlencoded":
		return Form
	}
	return NoMedia
}

// Decode reads the body of a request in one of two shapes.
// Reasons: request.content, request.body_too_large, request.malformed,
// account.invalid with the field in its detail.
func Decode(r *http.Request, asJSON, asForm Shape) (Values, Media, error) {
	kind := mediaOf(r)
	if kind == NoMedia {
		return nil, kind, problem.New(problem.RequestContent, nil)
	}
	shape := asJSON
	if kind == Form {
		shape = asForm
	}
	most := shape.Max
	if most <= 0 {
		most = BodyMax
	}
	if r.ContentLength > most {
		return nil, kind, problem.New(problem.RequestBodyTooLarge, nil)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok { // a tighter bound of the listener
			return nil, kind, problem.New(problem.RequestBodyTooLarge, err)
		}
		return nil, kind, problem.New(problem.RequestMalformed, err)
	}
	if int64(len(body)) > most {
		return nil, kind, problem.New(problem.RequestBodyTooLarge, nil)
	}
	var v Values
	if kind == JSON {
		v, err = shape.fromJSON(body)
	} else {
		v, err = shape.fromForm(body)
	}
	return v, kind, err
}

// fromJSON reads one object of the shape (RFC 8259).
func (s Shape) fromJSON(body []byte) (Values, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, invalid("the body is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body)) // by tokens: Unmarshal would take a repeated name
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("the body is not a JSON object")
	}
	v := make(Values)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, invalid("the body is not JSON")
		}
		key, _ := name.(string) // a name is always a string
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, invalid("the body is not JSON")
		}
		if err := s.setJSON(v, key, value); err != nil {
			return nil, err
		}
	}
	return v, s.complete(v)
}
