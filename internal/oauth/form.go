package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// The bounds of a request.
const (
	maxBody   = 64 << 10
	maxQuery  = 16 << 10
	maxParams = 64
)

// longest are the bounds of parameters, in bytes. Others have longestOther.
var longest = map[string]int{
	"client_id": 100, "state": 2048, "nonce": 512, "scope": 2048, "redirect_uri": 2048, "request_uri": 256, "code": 128, "user_code": 64,
	"device_code": 128, "code_challenge": 128, "code_verifier": 128, "login_hint": 320, "client_secret": 512, "prompt": 64, "max_age": 10,
	"grant_type": 128, "response_type": 64, "response_mode": 32, "dpop_jkt": 64, "acr_values": 256,
}

const longestOther = 8 << 10

// fault is an error of the protocol (RFC 6749 section 5.2), in fixed words.
type fault struct {
	code, text string
	status     int // 0: 400
}

func (f *fault) Error() string { return f.code + ": " + f.text }

func invalid(text string) error { return &fault{code: "invalid_request", text: text} }

// readForm reads the body of a back-channel request.
func readForm(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, &fault{code: "invalid_request", text: "the body must be application/x-www-form-urlencoded", status: http.StatusUnsupportedMediaType}
	}
	if r.ContentLength > maxBody {
		return nil, &fault{code: "invalid_request", text: "the body is too large", status: http.StatusRequestEntityTooLarge}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || len(body) > maxBody {
		return nil, &fault{code: "invalid_request", text: "the body is too large", status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return nil, invalid("the body cannot be read")
	}
	return parseForm(string(body))
}

// parseForm reads parameters strictly: once each (RFC 6749 section 3.1), UTF-8,
// within their bounds. Those without a value are as if they were not there.
func parseForm(text string) (url.Values, error) {
	all, err := url.ParseQuery(text)
	if err != nil || len(all) > maxParams {
		return nil, invalid("the parameters are malformed or too many")
	}
	for name, values := range all {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return nil, invalid("a parameter is there twice")
		}
		bound, ok := longest[name]
		if !ok {
			bound = longestOther
		}
		for _, v := range values {
			if len(v) > bound {
				return nil, invalid("a parameter is too long")
			}
			if !utf8.ValidString(name) || !utf8.ValidString(v) || strings.ContainsFunc(v, control) {
				return nil, invalid("a parameter is not plain text")
			}
		}
		if len(values) == 1 && values[0] == "" {
			delete(all, name)
		}
	}
	return all, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }

// only keeps some parameters.
func only(form url.Values, names ...string) url.Values {
	kept := url.Values{}
	for _, name := range names {
		if form.Has(name) {
			kept[name] = form[name]
		}
	}
	return kept
}

// checkAuthorization checks the parameters of an authorization request, and takes
// those out that OpenID Connect says to ignore and the library would refuse.
func checkAuthorization(form url.Values) error {
	switch {
	case form.Has("request"):
		return &fault{code: "request_not_supported", text: "request objects are not supported"}
	case form.Has("registration"):
		return &fault{code: "registration_not_supported", text: "registration is not supported"}
	case form.Get("response_type") != "code":
		return &fault{code: "unsupported_response_type", text: "response_type must be code"}
	case form.Has("response_mode") && form.Get("response_mode") != "query":
		return invalid("response_mode must be query")
	case !wellFormed(form.Get("code_challenge"), ""):
		return invalid("code_challenge is required: 43 characters")
	case form.Get("code_challenge_method") != string(goidc.CodeChallengeMethodSHA256):
		return invalid("code_challenge_method must be S256")
	case form.Has("dpop_jkt") && !wellFormed(form.Get("dpop_jkt"), ""):
		return invalid("dpop_jkt is malformed")
	}
	if strings.Trim(form.Get("max_age"), "0123456789") != "" || len(form.Get("max_age")) > 9 {
		return invalid("max_age is malformed")
	}
	prompt := fields(form.Get("prompt"))
	for _, word := range prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, word) {
			return invalid("prompt is not supported")
		}
	}
	if slices.Contains(prompt, "none") && len(prompt) > 1 {
		return invalid("prompt none stands alone")
	}
	acr := slices.DeleteFunc(fields(form.Get("acr_values")), func(s string) bool { return s != "1" && s != "2" })
	form.Del("acr_values")
	if len(acr) > 0 {
		form.Set("acr_values", strings.Join(acr, " "))
	}
	for _, name := range []string{"display", "claims", "response_mode", "authorization_details", "user_code"} {
		form.Del(name)
	}
	return checkScope(form)
}

// checkScope holds a scope parameter to its grammar (RFC 6749 section 3.3).
func checkScope(form url.Values) error {
	if !form.Has("scope") {
		return nil
	}
	for word := range strings.SplitSeq(form.Get("scope"), " ") {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return &fault{code: "invalid_scope", text: "the scope is malformed"}
		}
	}
	return nil
}

// checkToken checks the parameters of a token request.
func checkToken(form url.Values) error {
	if v := form.Get("code_verifier"); v != "" && (len(v) < 43 || len(v) > 128 ||
		strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "") {
		return &fault{code: "invalid_grant", text: "code_verifier is malformed"}
	}
	if !form.Has("grant_type") {
		return invalid("grant_type is required")
	}
	form.Del("authorization_details")
	return checkScope(form)
}
