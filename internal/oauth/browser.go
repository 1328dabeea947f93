package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// flowCookie binds what is under way to the browser in which it began. The
// account service uses the same: it keeps the value that it finds.
const flowCookie = "__Host-flow"

// browserOf returns the hash of the browser's cookie, and gives it one when it has
// none. Two cookies of the name are none: one of them may be another's.
func browserOf(w http.ResponseWriter, r *http.Request) []byte {
	if value := flowOf(r); value != "" {
		return hashOf("browser " + value)
	}
	value := newSecret()
	http.SetCookie(w, &http.Cookie{Name: flowCookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return hashOf("browser " + value)
}

// flowOf returns the value of the browser's cookie; empty when there is none.
func flowOf(r *http.Request) string {
	found := r.CookiesNamed(flowCookie)
	if len(found) == 1 && len(found[0].Value) >= secretLength && len(found[0].Value) <= 128 {
		return found[0].Value
	}
	return ""
}

// person returns who is logged in in this browser: a user with a session, not a
// program with a token of theirs.
func person(r *http.Request) (*policy.Principal, bool) {
	who := policy.PrincipalFrom(r.Context())
	return who, who.Kind == policy.User && who.Session != "" && !who.OAuth && who.Subject != ""
}

// authorize begins an authorization request.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > maxQuery {
		return problem.WithDetail(problem.OAuthRequest, "the request is too long")
	}
	if err := p.Throttle.Take(r.Context(), "oauth authorize", clientAddress(r), requestsPerAddress); err != nil {
		return err
	}
	form, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return refusedForm(err)
	}
	c := &call{p: p, st: p.state.Load(), endpoint: endpointAuthorize, form: form, claimed: form.Get("client_id"), browser: browserOf(w, r)}
	if err := p.lookUp(r.Context(), c); err != nil {
		return problem.New(problem.AuthUnavailable, err)
	}
	if c.client == nil {
		return problem.New(problem.OAuthClient, nil)
	}
	if form.Has("request_uri") {
		c.form = only(form, "client_id", "request_uri") // all else was pushed
		if !strings.HasPrefix(form.Get("request_uri"), "urn:ietf:params:oauth:request_uri:") {
			return problem.WithDetail(problem.OAuthRequest, "request_uri is not one of ours")
		}
	} else {
		if err := c.checkRedirect(); err != nil {
			return refusedForm(err)
		}
		err := c.readClaims()
		if err == nil {
			err = checkAuthorization(form)
		}
		if err != nil {
			return page.Redirect(w, p.errorRedirect(form, err))
		}
		if c.client.PAR {
			return page.Redirect(w, p.errorRedirect(form, invalid("the request must be pushed")))
		}
		if err := p.readHint(r.Context(), c); err != nil {
			return page.Redirect(w, p.errorRedirect(form, err))
		}
	}
	return p.browser(w, r, c)
}

// errorRedirect tells the client of an error (RFC 6749 section 4.1.2.1, RFC 9207).
// The redirect URI was compared.
func (p *Provider) errorRedirect(form url.Values, err error) string {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = &fault{code: "server_error", text: "internal error"}
	}
	answer := url.Values{"error": {f.code}, "error_description": {f.text}, "iss": {p.Issuer}}
	if form.Has("state") {
		answer.Set("state", form.Get("state"))
	}
	return withQuery(form.Get("redirect_uri"), answer)
}

func withQuery(uri string, more url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + more.Encode()
	}
	return uri + "?" + more.Encode()
}

func refusedForm(err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return problem.WithDetail(problem.OAuthRequest, f.text)
	}
	return err
}

// browse goes on with a request that waits for its user.
func (p *Provider) browse(w http.ResponseWriter, r *http.Request, endpoint, id, decision string) error {
	if !wellFormed(id, "") {
		return problem.New(problem.AccountFlow, nil)
	}
	c := &call{p: p, st: p.state.Load(), endpoint: endpoint, form: url.Values{}, browser: browserOf(w, r), decision: decision}
	on := r.Clone(r.Context())
	on.Method, on.Body = http.MethodGet, http.NoBody
	on.URL.Path, on.URL.RawPath = prefix+"/"+endpoint+"/"+id, ""
	return p.browser(w, on, c)
}

// browser answers a step of a request with a page, the way to another, or the way
// back to the client.
func (p *Provider) browser(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := p.run(r, c)
	switch {
	case c.failed != nil:
		return problem.New(problem.AuthUnavailable, c.failed)
	case err != nil:
		return problem.New(problem.AccountFlow, err)
	case c.refused != nil:
		return p.refusedPage(w, r, c)
	}
	to := a.redirectsTo()
	if to == "" || c.handed {
		a.send(w)
		return nil
	}
	if u, err := url.Parse(to); err != nil || !u.IsAbs() || u.Host == "" {
		return problem.New(problem.OAuthRequest, errors.New("oauth: no place to answer to")) // before a redirect URI was known
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	if c.decision != "" {
		return page.Onward(w, to)
	}
	return page.Redirect(w, to)
}

// refusedPage is what a person reads when a request has come to an end without
// anybody to tell.
func (p *Provider) refusedPage(w http.ResponseWriter, r *http.Request, c *call) error {
	var e goidc.Error
	if c.endpoint == endpointDevice && c.decision == "deny" && errors.As(c.refused, &e) && e.Code == goidc.ErrorCodeAccessDenied {
		return p.Pages.Write(w, r, 0, page.DeviceDone{}, nil)
	}
	if errors.As(c.refused, &e) && e.Code == goidc.ErrorCodeInvalidRequest && c.unit.request == nil && c.endpoint != endpointAuthorize || strings.Contains(r.URL.Path, "/authorize/") {
		return problem.New(problem.AccountFlow, c.refused)
	}
	return refusal(c.refused)
}
