package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// The endpoints of the library, by the last part of their paths.
const (
	endpointAuthorize  = "authorize"
	endpointToken      = "token"
	endpointPAR        = "par"
	endpointIntrospect = "introspect"
	endpointRevoke     = "revoke"
	endpointDeviceAuth = "device_authorization"
	endpointDevice     = "device"
)

// back serves a back-channel endpoint: the door, the library, the commit.
func (p *Provider) back(endpoint string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.crossOrigin(w, r, false)
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("DPoP-Nonce", p.nonces.At(p.Clock()))
		r = r.Clone(r.Context()) // what is read of it is written into it
		c := &call{p: p, st: p.state.Load(), endpoint: endpoint, place: clientAddress(r)}
		a, err := p.admit(r, c)
		if err != nil {
			p.refuse(w, r, c, err)
			return
		}
		p.mend(r, c, a)
		a.send(w)
	})
}

// admit reads and checks a request, in the order in which it costs, and has it
// answered.
func (p *Provider) admit(r *http.Request, c *call) (*reply, error) {
	var err error
	if c.form, err = readForm(r); err != nil {
		return nil, err
	}
	if err := c.identify(r); err != nil {
		return nil, err
	}
	c.readCertificate(r)
	if err := p.paused(r, c); err != nil {
		return nil, err
	}
	if err := p.lookUp(r.Context(), c); err != nil {
		return nil, c.fail(err)
	}
	if err := p.bounded(r, c); err != nil {
		return nil, err
	}
	if c.endpoint == endpointIntrospect && c.secretive() {
		return p.introspect(r, c)
	}
	if err := c.check(r.Context()); err != nil {
		return nil, err
	}
	if err := p.asserted(r, c); err != nil {
		return nil, err
	}
	if c.endpoint == endpointToken || c.endpoint == endpointPAR {
		if err := p.prove(r, c, ""); err != nil {
			return nil, err
		}
		if c.endpoint == endpointToken && c.proof == nil && c.client != nil && c.client.DPoP {
			return nil, &fault{code: "invalid_dpop_proof", text: "the client's tokens must be bound to a key"}
		}
		if jkt := c.form.Get("dpop_jkt"); c.proof != nil && jkt != "" && jkt != c.proof.JKT {
			return nil, &fault{code: "invalid_dpop_proof", text: "dpop_jkt is of another key"}
		}
	}
	a, err := p.run(r, c)
	if err == nil && c.endpoint == endpointIntrospect && (a.status == http.StatusOK || a.status == http.StatusForbidden) {
		p.introspected(r, c, a) // the library has let the client in; what is so the table says
	}
	return a, err
}

// bounded bounds the rows that a client makes which shows nothing of who it is.
func (p *Provider) bounded(r *http.Request, c *call) error {
	if c.endpoint != endpointPAR && c.endpoint != endpointDeviceAuth || c.client == nil || !c.client.public() {
		return nil
	}
	return p.take(r, c, "oauth authorize", requestsPerAddress)
}

// take counts what one network has us keep.
func (p *Provider) take(r *http.Request, c *call, kind string, rate zone.Rate) error {
	err := p.Throttle.Take(r.Context(), kind, clientAddress(r), rate)
	if problem.ReasonOf(err) == problem.LimitRate {
		return &fault{code: "temporarily_unavailable", text: "too many requests; try again later", status: http.StatusTooManyRequests}
	}
	if err != nil {
		return c.fail(err)
	}
	return nil
}

// check holds the parameters to what the endpoint takes.
func (c *call) check(ctx context.Context) error {
	switch c.endpoint {
	case endpointToken:
		return checkToken(c.form)
	case endpointDeviceAuth:
		c.form = only(c.form, "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope")
		return checkScope(c.form)
	case endpointPAR:
		if c.form.Has("request_uri") {
			return invalid("request_uri cannot be pushed")
		}
		if err := c.readClaims(); err != nil {
			return err
		}
		if err := checkAuthorization(c.form); err != nil {
			return err
		}
		if err := c.checkRedirect(); err != nil {
			return err
		}
		return c.p.readHint(ctx, c)
	}
	return nil
}

// checkRedirect compares the redirect URI by its bytes: the library does so after
// writing it anew, so that others pass.
func (c *call) checkRedirect() error {
	uri := c.form.Get("redirect_uri")
	if c.client == nil {
		return nil // the library refuses the client
	}
	if !c.client.redirects(uri) {
		return invalid("redirect_uri is not registered for the client")
	}
	c.redirect = uri
	return nil
}

// tries bound how often a call is answered anew because another was faster.
const tries = 4

// run has the library answer and commits what it changed. No answer leaves before.
func (p *Provider) run(r *http.Request, c *call) (*reply, error) {
	for range tries {
		c.unit, c.refused, c.handed, c.slow, c.unheld = &unit{}, nil, false, false, false
		a := newReply()
		p.callLibrary(a, r, c)
		if c.failed != nil {
			return nil, c.failed
		}
		if c.refused != nil || a.status >= http.StatusBadRequest {
			c.unit.refused()
		}
		c.unit.access = a.takeToken(c)
		err := p.commit(r.Context(), c, a.status != http.StatusUnauthorized || a.errorCode() != "invalid_client")
		switch {
		case err == nil:
			if c.unit.token != nil {
				p.Count(EventToken)
			}
			return a, nil
		case errors.Is(err, errRotated):
			continue // now it sees who was faster
		case errors.Is(err, errReplayed):
			if err := p.endReplayed(r.Context(), c.unit); err != nil {
				return nil, c.fail(err)
			}
			return nil, &fault{code: "invalid_grant", text: "the code was redeemed before"}
		case errors.Is(err, errEnded):
			return nil, &fault{code: "invalid_grant", text: "the request or grant has ended"}
		case errors.Is(err, errAssertion):
			return nil, &fault{code: "invalid_client", text: "the client assertion was used before", status: http.StatusUnauthorized}
		}
		return nil, c.fail(err)
	}
	return nil, &fault{code: "invalid_grant", text: "the refresh token was used meanwhile"}
}

// callLibrary calls the library with what the door has read, and nothing else.
func (p *Provider) callLibrary(a *reply, r *http.Request, c *call) {
	lib := r.WithContext(withCall(r.Context(), c))
	path := *r.URL
	lib.URL = &path
	lib.Form, lib.PostForm, lib.Body = nil, nil, http.NoBody
	if r.Method == http.MethodPost {
		lib.URL.RawQuery = ""
		lib.Form = c.shown()
		lib.PostForm = lib.Form
	} else {
		lib.URL.RawQuery = c.form.Encode()
	}
	c.st.library.ServeHTTP(a, lib)
}

// endReplayed ends the grants of a code that two redeemed at once: one of them
// has stolen it.
func (p *Provider) endReplayed(ctx context.Context, u *unit) error {
	p.Count(EventCodeReplay)
	return p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, g := range u.grants {
			if err := p.endGrants(ctx, tx, "code_replay", "id = ?", g.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeToken reads the access token that the answer gives out, and takes what is
// not of the protocol out of it.
func (a *reply) takeToken(c *call) string {
	if c.unit.token == nil || a.status != http.StatusOK {
		c.unit.token = nil
		return ""
	}
	var answer map[string]json.RawMessage
	var token string
	if json.Unmarshal(a.body.Bytes(), &answer) != nil || json.Unmarshal(answer["access_token"], &token) != nil {
		return ""
	}
	delete(answer, "resources")
	if b, err := json.Marshal(answer); err == nil {
		a.body.Reset()
		a.body.Write(b)
	}
	return token
}
