package oauth

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// FuzzClaims: of whatever claims, no acr is demanded that there is not, and what is
// refused is refused in words of the protocol.
func FuzzClaims(f *testing.F) {
	f.Add(`{"id_token":{"acr":{"essential":true,"values":["2","1"]}}}`)
	f.Add(`{"id_token":{"acr":{"value":"2"}},"userinfo":null}`)
	f.Add(`{"id_token":{"acr":null}}`)
	f.Add(`[{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		c := &call{form: url.Values{"claims": {text}}}
		err := c.readClaims()
		if _, ok := errors.AsType[*fault](err); err != nil && !ok {
			t.Errorf("%q: %v", text, err)
		}
		for _, level := range []string{c.essential, c.form.Get("acr_values")} {
			if strings.Trim(level, " 12") != "" {
				t.Errorf("%q: level %q", text, level)
			}
		}
	})
}
