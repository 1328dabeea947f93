package broker

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"sallyport.dev/internal/outward"
)

// answer is what a provider sends back with the browser (RFC 6749 section 4.1.2,
// RFC 9207).
type answer struct {
	code, state string
	issuer      string
	hasIssuer   bool
	failed      string // error
	description string // error_description
}

// HandleOf returns the handle of an answer, which names its flow; empty when there
// is none. It proves nothing: Finish compares it. Of a POST it reads the body,
// which Finish finds in r.PostForm.
func HandleOf(r *http.Request) string {
	name, values, err := "state", url.Values(nil), error(nil)
	if r.Method == http.MethodPost {
		name = "RelayState"
		values, err = form(r)
	} else {
		values, err = query(r.URL.RawQuery)
	}
	if err != nil {
		return ""
	}
	if handle, _, err := single(values, name); err == nil && isHandle(handle) {
		return handle
	}
	return ""
}

// parseAnswer reads the query of a callback.
func parseAnswer(r *http.Request) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, invalid("the answer came by %s", outward.Clip(r.Method))
	}
	values, err := query(r.URL.RawQuery)
	if err != nil {
		return answer{}, invalid("%w", err)
	}
	var a answer
	for _, p := range []struct {
		name string
		into *string
		has  *bool
	}{
		{"code", &a.code, nil}, {"state", &a.state, nil}, {"iss", &a.issuer, &a.hasIssuer},
		{"error", &a.failed, nil}, {"error_description", &a.description, nil},
	} {
		value, has, err := single(values, p.name)
		if err != nil {
			return answer{}, invalid("%w", err)
		}
		*p.into = value
		if p.has != nil {
			*p.has = has
		}
	}
	if values.Has("response") {
		return answer{}, invalid("the answer is a JWT, which was not asked for")
	}
	if (a.code == "") == (a.failed == "") {
		return answer{}, invalid("the answer has neither a code nor an error, or both")
	}
	return a, nil
}

// of refuses an answer to another flow. It comes first: whoever does not know the
// state can neither finish a login nor end it.
func (a answer) of(s *State) error {
	if subtle.ConstantTimeCompare([]byte(a.state), []byte(s.Handle)) != 1 || s.Handle == "" {
		return invalid("the answer has the state of another flow")
	}
	return nil
}

// refusal is what the provider's error means (RFC 6749 section 4.1.2.1, OpenID
// Connect Core section 3.1.2.6).
func (a answer) refusal() error {
	switch a.failed {
	case "":
		return nil
	case "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required":
		return denied("the provider answers %q: %q", outward.Clip(a.failed), outward.Clip(a.description))
	default: // our configuration, or the provider's trouble
		return unavailableAnswer(a.failed, a.description)
	}
}

func query(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, fmt.Errorf("a query of %d bytes is longer than %d", len(raw), maxQuery)
	}
	return url.ParseQuery(raw)
}

// single returns a value that is there once at most.
func single(values url.Values, name string) (value string, has bool, err error) {
	all := values[name]
	switch {
	case len(all) == 0:
		return "", false, nil
	case len(all) > 1:
		return "", true, fmt.Errorf("%s is there %d times", name, len(all))
	case len(all[0]) > maxParameter || !utf8.ValidString(all[0]):
		return "", true, fmt.Errorf("%s is too long or no text", name)
	}
	return all[0], true, nil
}

// form reads the body of a POST, once: it stays in r.PostForm.
func form(r *http.Request) (url.Values, error) {
	if r.PostForm != nil {
		return r.PostForm, nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, errors.New("the answer is no form")
	}
	if r.Body == nil {
		return nil, errors.New("the answer has no body")
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, MaxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(data) > MaxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes", MaxAnswer)
	}
	values, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	r.PostForm = values
	return values, nil
}
