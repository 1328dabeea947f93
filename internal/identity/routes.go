package identity

import (
	"log/slog"
	"net/http"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
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
	Body    int64 // bytes of the request's body, at most
	Handler http.Handler
}

// bodyMax bounds what a form or JSON under /auth/ may hold.
const bodyMax = 4 << 10

// Whom the routes take: those for accounts also see anonymous requests, which
// they answer with 401 or a way to the login page. So a browser whose session
// has ended can reach them too.
const anyone = zone.AllowAnonymous | zone.AllowUser

// PathsOf returns the operations that exist in a zone, for who wants to know them
// without an account service: their handlers are not to be called.
func PathsOf(z *zone.Zone) []Route { return (&Identity{zone: z}).Routes() }

// Routes returns the operations that exist in this zone: where registration is
// closed there is none, and its path answers like every unknown path.
func (id *Identity) Routes() []Route {
	routes := []Route{
		{Method: "GET", Path: "/auth/login", Handler: id.handle(id.loginPage)},
		{Method: "POST", Path: "/auth/login", Durable: true, Body: bodyMax, Handler: id.handle(id.login)},
		{Method: "POST", Path: "/auth/logout", Durable: true, Body: bodyMax, Handler: id.handle(id.logout)},
		{Method: "GET", Path: "/auth/me", Handler: id.handle(id.me)},
		{Method: "GET", Path: "/auth/sessions", Handler: id.handle(id.listSessions)},
		{Method: "POST", Path: "/auth/sessions/revoke-others", Durable: true, Body: bodyMax, Handler: id.handle(id.revokeOthers)},
		{Method: "POST", Path: "/auth/sessions/{id}/revoke", Durable: true, Body: bodyMax, Handler: id.handle(id.revokeSession)},
		{Method: "DELETE", Path: "/auth/sessions/{id}", Durable: true, Body: bodyMax, Handler: id.handle(id.revokeSession)},
		{Method: "GET", Path: stylePath, Handler: id.handle(id.style)},
		{Method: "GET", Path: iconPath, Handler: id.handle(id.icon)},
	}
	if id.zone.Identity.Registration == zone.RegistrationOpen {
		routes = append(routes,
			Route{Method: "GET", Path: "/auth/register", Handler: id.handle(id.registerPage)},
			Route{Method: "POST", Path: "/auth/register", Durable: true, Body: bodyMax, Handler: id.handle(id.register)})
	}
	for i := range routes {
		routes[i].Allow = anyone
	}
	return routes
}

// handle makes a handler of an operation. The gateway has refused requests from
// other sites already; here they are refused again, whoever serves the routes.
func (id *Identity) handle(do func(http.ResponseWriter, *http.Request) error) http.Handler {
	sameSite := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Vary", "Accept")
		err := sameSite.Check(r)
		if err != nil {
			err = problem.New(problem.AuthCrossSite, err)
		} else {
			err = do(w, r)
		}
		if err != nil {
			id.refuse(w, r, err)
		}
	})
}

// logFailure keeps the private cause of a refusal that is our own fault.
func (id *Identity) logFailure(r *http.Request, err error) {
	if reason := problem.ReasonOf(err); reason.Status() >= 500 && reason != problem.LimitBusy {
		id.log.ErrorContext(r.Context(), "request under /auth/ failed", slog.String("reason", reason.Code()), slog.Any("error", err))
	}
}

func correlationID(r *http.Request) string { return obs.RequestFrom(r.Context()).CorrelationID }
