package oauth

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// hint is what an ID token of ours says. It may be of long ago: nothing is granted
// for it.
type hint struct {
	Subject  string
	SID      string
	Audience []string
}

// parseHint reads an ID token that came as a hint: signed by us, of this issuer,
// and no other kind of token. It may have expired.
func (p *Provider) parseHint(ctx context.Context, token string) (hint, bool) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return hint{}, false
	}
	if typ, there := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; there && typ != "JWT" {
		return hint{}, false
	}
	keys, err := p.Keys.PublicKeys(ctx)
	if err != nil {
		return hint{}, false
	}
	for _, k := range keys {
		if k.ID != parsed.Headers[0].KeyID {
			continue
		}
		var claims jwt.Claims
		var raw map[string]json.RawMessage
		if parsed.Claims(k.Key, &claims, &raw) != nil || claims.Issuer != p.Issuer || claims.Subject == "" || raw["events"] != nil || raw["grant_id"] != nil {
			return hint{}, false
		}
		h := hint{Subject: claims.Subject, Audience: claims.Audience}
		_ = json.Unmarshal(raw["sid"], &h.SID) // it may have none
		return h, true
	}
	return hint{}, false
}

// readHint takes id_token_hint out of an authorization request: the library takes
// none that has expired, which is when clients send them.
func (p *Provider) readHint(ctx context.Context, c *call) error {
	if !c.form.Has("id_token_hint") || c.client == nil {
		return nil
	}
	h, ok := p.parseHint(ctx, c.form.Get("id_token_hint"))
	if !ok || !slices.Contains(h.Audience, c.client.ID) {
		return invalid("id_token_hint is not an ID token of ours for this client")
	}
	c.hint = h.Subject
	c.form.Del("id_token_hint")
	return nil
}
