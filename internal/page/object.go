package page

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// checkObject says what is wrong with a JSON object that another library will
// read; "" for nothing. A name that stands twice, in any letter case, would be one
// value to us and another to it.
func checkObject(raw json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "want an object"
	}
	return checkMembers(dec, 1)
}

// checkMembers reads the members of an object up to its end.
func checkMembers(dec *json.Decoder, depth int) string {
	if depth > rawDepth {
		return "too deep"
	}
	seen := make(map[string]struct{})
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return "not JSON"
		}
		name, _ := t.(string) // a name is always a string
		folded := strings.ToLower(name)
		if _, twice := seen[folded]; twice {
			return "a name is given twice"
		}
		seen[folded] = struct{}{}
		if fault := checkValue(dec, depth); fault != "" {
			return fault
		}
	}
	_, _ = dec.Token() // the closing brace: the text was valid before
	return ""
}

func checkValue(dec *json.Decoder, depth int) string {
	t, err := dec.Token()
	if err != nil {
		return "not JSON"
	}
	switch x := t.(type) {
	case string:
		if strings.ContainsRune(x, utf8.RuneError) {
			return "not UTF-8"
		}
	case json.Delim:
		if x == '{' {
			return checkMembers(dec, depth+1)
		}
		if depth+1 > rawDepth {
			return "too deep"
		}
		for dec.More() {
			if fault := checkValue(dec, depth+1); fault != "" {
				return fault
			}
		}
		_, _ = dec.Token()
	}
	return ""
}
