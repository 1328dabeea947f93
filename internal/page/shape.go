package page

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
)

// The bounds inside a body.
const (
	listMax       = 64     // elements of a list
	listSeparator = "\x00" // no element may hold it
	rawDepth      = 16     // levels of a raw field
)

// setJSON sets a field to a value that is known to be well-formed JSON.
func (s Shape) setJSON(v Values, name string, value json.RawMessage) error {
	switch value[0] {
	case '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return invalid("the body is not JSON")
		}
		return s.setText(v, name, text)
	case 't', 'f':
		return s.setFlag(v, name, value[0] == 't')
	case '[':
		return s.setArray(v, name, value)
	case '{':
		if slices.Contains(s.Raw, name) {
			return s.setRaw(v, name, value)
		}
	}
	return s.wrongType(v, name)
}

func (s Shape) setArray(v Values, name string, value json.RawMessage) error {
	if !slices.Contains(s.Lists, name) {
		return s.wrongType(v, name)
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(value, &elements); err != nil {
		return invalid("the body is not JSON")
	}
	list := make([]string, 0, min(len(elements), listMax+1))
	for _, e := range elements {
		var text string
		if e[0] != '"' || json.Unmarshal(e, &text) != nil {
			return s.wrongType(v, name)
		}
		if list = append(list, text); len(list) > listMax {
			break
		}
	}
	return s.setList(v, name, list)
}

// fromForm reads the pairs of an HTML form.
func (s Shape) fromForm(body []byte) (Values, error) {
	pairs, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalid("the body is not a form")
	}
	v := make(Values)
	for _, name := range slices.Sorted(maps.Keys(pairs)) { // in order, so that the same body has the same answer
		given := pairs[name]
		if slices.Contains(s.Lists, name) {
			if err := s.setList(v, name, given); err != nil {
				return nil, err
			}
			continue
		}
		if len(given) > 1 {
			v[name] = "" // admit refuses the second
		}
		switch value := given[0]; {
		case slices.Contains(s.Flags, name):
			if value != "on" && value != "true" {
				return nil, s.wrongType(v, name)
			}
			err = s.setFlag(v, name, true)
		case slices.Contains(s.Raw, name):
			if !json.Valid([]byte(value)) {
				return nil, s.wrongType(v, name)
			}
			err = s.setRaw(v, name, json.RawMessage(value))
		default:
			err = s.setText(v, name, value)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, s.complete(v)
}

func (s Shape) setText(v Values, name, value string) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if !slices.Contains(s.Required, name) && !slices.Contains(s.Optional, name) {
		return s.wrongType(v, name)
	}
	if err := wellFormed(name, value); err != nil {
		return err
	}
	v[name] = value
	return nil
}

// wellFormed refuses U+FFFD, which is what decoders leave of damaged text: two
// different passwords must not become one.
func wellFormed(name, value string) error {
	if !utf8.ValidString(value) || strings.ContainsRune(value, utf8.RuneError) {
		return invalid(name + ": not UTF-8")
	}
	return nil
}

func (s Shape) setFlag(v Values, name string, value bool) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if !slices.Contains(s.Flags, name) {
		return s.wrongType(v, name)
	}
	v[name] = ""
	if value {
		v[name] = "true"
	}
	return nil
}

func (s Shape) setList(v Values, name string, list []string) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if len(list) > listMax {
		return invalid(name + ": too many")
	}
	for _, element := range list {
		if err := wellFormed(name, element); err != nil {
			return err
		}
		if element == "" || strings.Contains(element, listSeparator) {
			return invalid(name + ": an element is empty or not text")
		}
	}
	v[name] = strings.Join(list, listSeparator)
	return nil
}

// setRaw keeps an object as it was written, once it says one thing only.
func (s Shape) setRaw(v Values, name string, value json.RawMessage) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	if !utf8.Valid(value) {
		return invalid(name + ": not UTF-8")
	}
	if fault := checkObject(value); fault != "" {
		return invalid(name + ": " + fault)
	}
	v[name] = string(value)
	return nil
}

// admit refuses names that are unknown or were there before.
func (s Shape) admit(v Values, name string) error {
	if !s.holds(name) {
		if plainName(name) {
			return invalid("unknown field " + name)
		}
		return invalid("unknown field")
	}
	if _, twice := v[name]; twice {
		return invalid(name + ": given twice")
	}
	return nil
}

func (s Shape) holds(name string) bool {
	for _, list := range [][]string{s.Required, s.Optional, s.Flags, s.Lists, s.Raw} {
		if slices.Contains(list, name) {
			return true
		}
	}
	return false
}

// plainName says whether an unknown field's name may be repeated in the answer.
func plainName(name string) bool {
	return name != "" && len(name) <= 32 && name[0] >= 'a' && name[0] <= 'z' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (s Shape) wrongType(v Values, name string) error {
	if err := s.admit(v, name); err != nil {
		return err
	}
	switch {
	case slices.Contains(s.Flags, name):
		return invalid(name + ": want true or false")
	case slices.Contains(s.Lists, name):
		return invalid(name + ": want a list of texts")
	case slices.Contains(s.Raw, name):
		return invalid(name + ": want an object")
	}
	return invalid(name + ": want text")
}

func (s Shape) complete(v Values) error {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return invalid(name + ": required")
		}
	}
	return nil
}

func invalid(detail string) error {
	return problem.WithDetail(problem.AccountInvalid, detail)
}
