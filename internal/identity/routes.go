package identity

import (
	"net/http"
	"slices"

	"sallyport.dev/internal/page"
	"sallyport.dev/zone"
)

// Route is one operation of the account service, for the gateway to serve on
// the listener of `identity.listener`. The handler reads the principal with
// policy.PrincipalFrom and the request with obs.RequestFrom.
type Route struct {
	Method string // GET also takes HEAD
	Path   string // Go ServeMux syntax
	Allow  zone.Allow
	// Durable: its record is on disk before the last byte of the answer.
	Durable bool
	// CrossSite: requests of other sites come in, without a credential; what they
	// say is judged by what the body proves.
	CrossSite bool
	Body      int64 // bytes of the request's body, at most
	Handler   http.Handler
}

// bodyMax bounds what a form or JSON under /auth/ may hold, ceremonyMax what the
// answer of a browser to a passkey's challenge may.
const (
	bodyMax     = page.BodyMax
	ceremonyMax = 192 << 10 // 64 KiB as a form, and what stands beside it
)

// Whom the routes take: those for accounts also see anonymous requests, which
// they answer with 401 or a way to the login page. So a browser whose session
// has ended can reach them too.
const anyone = zone.AllowAnonymous | zone.AllowUser

// operation is the body of a handler; its error becomes a refusal.
type operation func(http.ResponseWriter, *http.Request) error

func (id *Identity) get(path string, do operation, options ...page.Option) Route {
	return Route{Method: "GET", Path: path, Allow: anyone, Handler: id.pages.Handle(do, options...)}
}

func (id *Identity) post(path string, do operation, options ...page.Option) Route {
	return Route{Method: "POST", Path: path, Allow: anyone, Durable: true, Body: bodyMax, Handler: id.pages.Handle(do, options...)}
}

// sized is a route whose body has another bound.
func sized(r Route, most int64) Route {
	r.Body = most
	return r
}

// PathsOf returns the operations that exist in a zone, for who wants to know them
// without an account service: their handlers are not to be called.
func PathsOf(z *zone.Zone) []Route { return (&Identity{zone: z}).Routes() }

// Routes returns the operations that exist in this zone: where registration is
// closed there is none, and its path answers like every unknown path.
func (id *Identity) Routes() []Route {
	return slices.Concat(
		id.loginRoutes(), id.mfaRoutes(), id.stepUpRoutes(), id.factorRoutes(), id.bootstrapRoutes(), id.sessionRoutes(), id.registerRoutes(), id.accountRoutes(), id.assetRoutes(),
	)
}

// assetRoutes are the files that pages load.
func (id *Identity) assetRoutes() []Route {
	if id.pages == nil { // see PathsOf
		var routes []Route
		for _, name := range []string{"style.css", "icon.svg", "form.js", "passkey.js"} {
			routes = append(routes, Route{Method: "GET", Path: "/auth/" + name, Allow: anyone, Handler: http.NotFoundHandler()})
		}
		return routes
	}
	var routes []Route
	for _, a := range id.pages.Assets() {
		routes = append(routes, Route{Method: "GET", Path: a.Path, Allow: anyone, Handler: a.Handler})
	}
	return routes
}
