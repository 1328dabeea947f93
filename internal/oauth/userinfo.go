package oauth

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/problem"
)

// userinfo tells a client of its user (OpenID Connect Core section 5.3): by an
// access token with openid, in the scheme that it is bound to, and by nothing else.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	p.crossOrigin(w, r, false)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("DPoP-Nonce", p.nonces.At(p.Clock()))
	c := &call{p: p, st: p.state.Load(), endpoint: "userinfo"}
	c.readCertificate(r)
	claims, err := p.tell(r, c)
	if err != nil {
		p.refuseBearer(w, r, c, err)
		return
	}
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(claims) // the client may be gone
}

func (p *Provider) tell(r *http.Request, c *call) (map[string]any, error) {
	authorization := r.Header.Values("Authorization")
	if len(authorization) != 1 {
		return nil, &fault{status: http.StatusUnauthorized}
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	bound := strings.EqualFold(scheme, "DPoP")
	if !bound && !strings.EqualFold(scheme, "Bearer") {
		return nil, &fault{status: http.StatusUnauthorized}
	}
	bad := &fault{code: "invalid_token", text: "the token is not valid", status: http.StatusUnauthorized}
	t, err := p.Resolve(r.Context(), token)
	if err == nil {
		_, err = p.alive(r.Context(), t)
	}
	switch {
	case err != nil && problem.ReasonOf(err).Status() >= http.StatusInternalServerError:
		return nil, c.fail(err)
	case err != nil, bound != (t.JKT != ""), t.X5T != "" && t.X5T != c.x5t():
		return nil, bad
	}
	if bound {
		if len(r.Header.Values("DPoP")) != 1 {
			return nil, &fault{code: "invalid_dpop_proof", text: "one DPoP proof is required", status: http.StatusUnauthorized}
		}
		if err := p.prove(r, c, token); err != nil {
			return nil, err
		}
		if c.jkt() != t.JKT {
			return nil, &fault{code: "invalid_dpop_proof", text: "the proof is of another key", status: http.StatusUnauthorized}
		}
	}
	if t.Kind != kindUser || !slices.Contains(t.Scopes, scopeOpenID) {
		return nil, &fault{code: "insufficient_scope", text: "the token has no scope openid", status: http.StatusForbidden}
	}
	claims, err := p.Users.Claims(r.Context(), t.Subject, t.Scopes)
	if err != nil {
		return nil, c.fail(err)
	}
	out := map[string]any{}
	for name, value := range claims {
		out[name] = value
	}
	out["sub"] = t.Subject // whatever else was told
	return out, nil
}

// refuseBearer answers as a resource does (RFC 6750 section 3, RFC 9449 section 7).
func (p *Provider) refuseBearer(w http.ResponseWriter, r *http.Request, c *call, err error) {
	f, ok := err.(*fault) //nolint:errorlint // made here
	if c.failed != nil || !ok {
		p.Log.ErrorContext(r.Context(), "oauth userinfo failed", slog.Any("error", err))
		w.Header().Set("Retry-After", "1")
		problem.Write(w, problem.AuthUnavailable, "", "")
		return
	}
	h := w.Header()
	status := f.status
	if status == 0 { // of the proof: a resource answers 401
		status = http.StatusUnauthorized
	}
	reason := problem.AuthMissing
	challenge := ""
	if f.code != "" {
		challenge = `error="` + f.code + `", error_description="` + f.text + `"`
		reason = problem.AuthInvalid
	}
	algs := `algs="` + strings.Join(dpop.Algorithms(), " ") + `"`
	if f.code == "invalid_dpop_proof" || f.code == "use_dpop_nonce" {
		reason = problem.OAuthProof
		h.Add("WWW-Authenticate", "DPoP "+challenge+", "+algs)
	} else {
		h.Add("WWW-Authenticate", strings.TrimSuffix("Bearer "+challenge, " "))
		h.Add("WWW-Authenticate", "DPoP "+algs)
	}
	h.Set(problem.ReasonHeader, reason.Code())
	if f.code == "" {
		w.WriteHeader(status)
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(errorBody{f.code, f.text}) // the client may be gone
}
