package reqsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The names of the fields, in the canonical form of Go.
const (
	InputHeader     = "Signature-Input"
	SignatureHeader = "Signature"
)

// The bounds of the fields.
const (
	maxInput      = 4 << 10
	maxComponents = 32
	maxValue      = 256 // bytes of keyid and nonce
	maxSignature  = 128 // bytes in base64
)

// input is Signature-Input, read.
type input struct {
	label      string
	components []string // in lower case, each once
	created    int64    // unix seconds
	expires    int64    // unix seconds; 0: not there
	keyID      string
	nonce      string
	algorithm  string // empty: not there
	params     string // the value of @signature-params, as it came
}

// parseInput reads the value of Signature-Input: LABEL=("a" "b");name=value...
func parseInput(s string) (in input, err error) {
	if len(s) > maxInput {
		return in, fmt.Errorf("%s of %d bytes", InputHeader, len(s))
	}
	var ok bool
	if in.label, in.params, ok = strings.Cut(s, "=("); !ok || !isKey(in.label) {
		return in, fmt.Errorf("%s is not LABEL=(...)", InputHeader)
	}
	in.params = "(" + in.params
	list, rest, ok := strings.Cut(in.params[1:], ")")
	if !ok {
		return in, errors.New("the list of components has no end")
	}
	if in.components, err = parseComponents(list); err != nil {
		return in, err
	}
	seen := map[string]bool{}
	for rest != "" {
		var name string
		if rest, ok = strings.CutPrefix(rest, ";"); !ok {
			return in, errors.New("more than one signature, or a parameter out of form")
		}
		if name, rest, ok = strings.Cut(rest, "="); !ok || !isKey(name) || seen[name] {
			return in, errors.New("a parameter is out of form or there twice")
		}
		seen[name] = true
		if rest, err = in.parameter(name, rest); err != nil {
			return in, err
		}
	}
	switch {
	case in.created == 0:
		return in, errors.New("created is missing")
	case in.keyID == "" || in.nonce == "":
		return in, errors.New("keyid or nonce is missing")
	}
	return in, nil
}

// parseComponents reads "a" "b": identifiers without parameters, each once.
func parseComponents(list string) ([]string, error) {
	var all []string
	for list != "" {
		quoted, rest, more := strings.Cut(list, " ")
		name, ok := unquote(quoted)
		if !ok || !isComponent(name) {
			return nil, fmt.Errorf("component %.60q", quoted)
		}
		for _, other := range all {
			if other == name {
				return nil, fmt.Errorf("component %q is there twice", name)
			}
		}
		if all = append(all, name); len(all) > maxComponents {
			return nil, fmt.Errorf("more than %d components", maxComponents)
		}
		if more && rest == "" {
			return nil, errors.New("the list of components ends with a space")
		}
		list = rest
	}
	return all, nil
}

// parameter reads the value of one parameter and returns what follows. Those that
// are not known are refused: they could mean anything.
func (in *input) parameter(name, s string) (rest string, err error) {
	bad := func() (string, error) { return "", fmt.Errorf("parameter %s is out of form", name) }
	end := strings.IndexByte(s, ';')
	if end < 0 {
		end = len(s)
	}
	switch name {
	case "created", "expires":
		n, err := strconv.ParseInt(s[:end], 10, 64)
		if err != nil || n <= 0 || n > 1<<40 || strconv.FormatInt(n, 10) != s[:end] {
			return bad()
		}
		if name == "created" {
			in.created = n
		} else {
			in.expires = n
		}
		return s[end:], nil
	case "keyid", "nonce", "alg", "tag":
		if !strings.HasPrefix(s, `"`) {
			return bad()
		}
		closing := strings.IndexByte(s[1:], '"')
		if closing < 0 {
			return bad()
		}
		value, ok := unquote(s[:closing+2])
		if !ok || value == "" || len(value) > maxValue {
			return bad()
		}
		switch name {
		case "keyid":
			in.keyID = value
		case "nonce":
			in.nonce = value
		case "alg":
			in.algorithm = value
		}
		return s[closing+2:], nil
	}
	return "", fmt.Errorf("parameter %.30q is not known", name)
}

// unquote reads a string of RFC 9651 section 3.3.3 without escapes.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	return s, !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// isKey is `key` of RFC 9651 section 3.1.2.
func isKey(s string) bool {
	if s == "" || len(s) > 64 || s[0] != '*' && (s[0] < 'a' || s[0] > 'z') {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.*", r)
	})
}

// isComponent says whether a component is one of those derived of a request (RFC
// 9421 section 2.2) or a field name in lower case.
func isComponent(s string) bool {
	switch s {
	case "@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query":
		return true
	case "", "cookie", "signature", "signature-input": // of the first there may be several fields, of the others more at the next hop
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// parseSignature reads the value of Signature: LABEL=:BASE64:.
func parseSignature(s, label string) ([]byte, error) {
	text, ok := strings.CutPrefix(s, label+"=:")
	if !ok || len(text) > maxSignature || !strings.HasSuffix(text, ":") || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%s is not one byte sequence under the label of %s", SignatureHeader, InputHeader)
	}
	value, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(text, ":"))
	if err != nil {
		return nil, fmt.Errorf("%s is not canonical base64", SignatureHeader)
	}
	return value, nil
}
