package oauth

import (
	"net/http"

	"sallyport.dev/internal/page"
)

// Route is one operation of the provider, to be served on the listener of the
// account service.
type Route struct {
	Method string
	Path   string // Go ServeMux syntax

	// Raw routes read their credentials themselves: the gateway looks at none, lets
	// Authorization pass, and takes requests of other sites. The others are pages,
	// for users with a session and for anybody.
	Raw     bool
	MTLS    bool  // to be served on the listener with client_ca as well
	Body    int64 // bound of the request body in bytes; 0: there is none
	Durable bool  // its record is on stable storage before the answer leaves
	Handler http.Handler
}

// Routes are all operations.
func (p *Provider) Routes() []Route {
	anybody := func(h http.HandlerFunc) http.Handler { return h }
	list := []Route{
		{Method: "GET", Path: "/.well-known/openid-configuration", Raw: true, Handler: anybody(p.discover)},
		{Method: "OPTIONS", Path: "/.well-known/openid-configuration", Raw: true, Handler: p.preflight(true, "GET")},
		{Method: "GET", Path: "/.well-known/oauth-authorization-server", Raw: true, Handler: anybody(p.discover)},
		{Method: "OPTIONS", Path: "/.well-known/oauth-authorization-server", Raw: true, Handler: p.preflight(true, "GET")},
		{Method: "GET", Path: "/.well-known/jwks.json", Raw: true, Handler: anybody(p.serveKeys)},
		{Method: "OPTIONS", Path: "/.well-known/jwks.json", Raw: true, Handler: p.preflight(true, "GET")},
		{Method: "GET", Path: "/oauth/userinfo", Raw: true, MTLS: true, Handler: anybody(p.userinfo)},
		{Method: "POST", Path: "/oauth/userinfo", Raw: true, MTLS: true, Body: maxBody, Handler: anybody(p.userinfo)},
		{Method: "OPTIONS", Path: "/oauth/userinfo", Raw: true, Handler: p.preflight(false, "GET", "POST")},
	}
	for _, endpoint := range []string{endpointToken, endpointPAR, endpointIntrospect, endpointRevoke, endpointDeviceAuth} {
		list = append(list, Route{
			Method: "POST", Path: prefix + "/" + endpoint, Raw: true, MTLS: true, Body: maxBody,
			Durable: endpoint == endpointToken || endpoint == endpointRevoke, Handler: p.back(endpoint),
		}, Route{Method: "OPTIONS", Path: prefix + "/" + endpoint, Raw: true, Handler: p.preflight(false, "POST")})
	}
	h := p.Pages.Handle
	return append(list,
		Route{Method: "GET", Path: "/oauth/authorize", Handler: h(p.authorize)},
		Route{Method: "POST", Path: "/oauth/authorize", Raw: true, Body: maxBody, Handler: h(p.postAuthorize, page.CrossSite)},
		Route{Method: "GET", Path: "/oauth/authorize/{id}", Handler: h(p.goOn(endpointAuthorize))},
		Route{Method: "POST", Path: "/oauth/consent", Body: page.BodyMax, Durable: true, Handler: h(p.decideConsent)},
		Route{Method: "GET", Path: "/oauth/device", Handler: h(p.askCode)},
		Route{Method: "POST", Path: "/oauth/device", Body: page.BodyMax, Handler: h(p.enterCode)},
		Route{Method: "GET", Path: "/oauth/device/{id}", Handler: h(p.goOn(endpointDevice))},
		Route{Method: "GET", Path: "/oauth/logout", Durable: true, Handler: h(p.logout)},
		Route{Method: "POST", Path: "/oauth/logout", Raw: true, Body: maxBody, Durable: true, Handler: h(p.postLogout, page.CrossSite)},
	)
}

// goOn serves the way back from a login.
func (p *Provider) goOn(endpoint string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return p.browse(w, r, endpoint, r.PathValue("id"), "")
	}
}
