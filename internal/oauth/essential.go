package oauth

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // names as they are written, and once each

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/store"
)

const codeUnmet = "unmet_authentication_requirements"

// readClaims reads what the claims parameter (OpenID Connect Core section 5.5) says of
// the acr of the ID token, and nothing else: what is told of users goes by scopes. An
// essential acr must be met, or the request ends (OpenID Connect Core Error Code
// unmet_authentication_requirements 1.0); another is a wish, as acr_values is.
func (c *call) readClaims() error {
	text := c.form.Get("claims")
	if text == "" {
		return nil
	}
	var asked struct {
		IDToken map[string]json.RawMessage `json:"id_token"`
	}
	if json.Unmarshal([]byte(text), &asked) != nil {
		return invalid("claims is malformed")
	}
	raw := asked.IDToken["acr"]
	if len(raw) == 0 {
		return nil
	}
	var acr struct {
		Essential bool     `json:"essential"`
		Value     string   `json:"value"`
		Values    []string `json:"values"`
	}
	if json.Unmarshal(raw, &acr) != nil {
		return invalid("claims is malformed: acr")
	}
	if acr.Value != "" {
		acr.Values = append(acr.Values, acr.Value)
	}
	if len(acr.Values) == 0 { // any will do, and there is always one
		return nil
	}
	known := slices.DeleteFunc(acr.Values, func(v string) bool { return v != "1" && v != "2" })
	switch {
	case !acr.Essential && !c.form.Has("acr_values"):
		c.form.Set("acr_values", strings.Join(known, " "))
	case !acr.Essential:
	case len(known) == 0:
		return &fault{code: codeUnmet, text: "there is no such acr"}
	default:
		c.essential = strings.Join(slices.Compact(sorted(known)), " ")
	}
	return nil
}

// wants says whether another login could meet what the request asks of the level of
// this one. Who holds no second factor has shown all there is once a step-up came after
// the request.
func (f *facts) wants(wished string, who *policy.Principal) bool {
	levels := fields(f.Essential)
	if len(levels) == 0 {
		levels = fields(wished)
	}
	return !slices.Contains(levels, "1") && slices.Contains(levels, "2") && who.Level < policy.TwoFactors && store.Micros(who.AuthTime) < f.Asked
}

// level is the one that the client is told of, and its tokens have: an essential acr
// is met by itself, not by a higher one. It is 0 when it cannot be met.
func (f *facts) level(who *policy.Principal) int {
	levels := fields(f.Essential)
	switch {
	case len(levels) == 0:
		return who.Level
	case who.Level >= policy.TwoFactors && slices.Contains(levels, "2"):
		return who.Level
	case slices.Contains(levels, "1"):
		return min(who.Level, 1)
	}
	return 0
}

// tooOld says whether a login is older than the request takes it: as of the request, or
// max_age=0 would never be met.
func (f *facts) tooOld(who *policy.Principal, maxAge *int) bool {
	return maxAge != nil && store.FromMicros(f.Asked).Sub(who.AuthTime) > time.Duration(max(0, *maxAge))*time.Second
}
