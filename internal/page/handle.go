package page

import (
	"log/slog"
	"net/http"
	"strconv"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// Option changes what Handle asks of a request.
type Option uint8

// CrossSite lets requests of other sites through: for an operation whose body is
// itself the proof of who sent it, as the assertion that a browser posts from a
// SAML provider.
const CrossSite Option = 1

// Handle makes a handler of an operation; its error becomes a refusal. The gateway
// has refused requests from other sites already; here they are refused again,
// whoever serves the routes.
func (p *Pages) Handle(do func(http.ResponseWriter, *http.Request) error, options ...Option) http.Handler {
	sameSite := http.NewCrossOriginProtection()
	var open bool
	for _, o := range options {
		open = open || o == CrossSite
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Vary", "Accept, Accept-Language")
		if !open {
			if err := sameSite.Check(r); err != nil {
				p.Refuse(w, r, problem.New(problem.AuthCrossSite, err))
				return
			}
		}
		if err := do(w, r); err != nil {
			p.Refuse(w, r, err)
		}
	})
}

// Refuse ends a request with the reason of err, as a page or a problem document.
// Who comes without a session is shown the way to the login page, whoever needs a
// fresh or stronger one to that step.
func (p *Pages) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	p.LogFailure(r, err)
	reason, h := problem.ReasonOf(err), w.Header()
	if after := RetryAfter(err); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	if !WantsPage(r) {
		if reason.Status() == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
			h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2
		}
		problem.WriteError(w, err, correlationID(r))
		return
	}
	switch reason {
	case problem.AuthMissing, problem.AuthRevoked, problem.AuthExpired:
		h.Set(problem.ReasonHeader, reason.Code())
		_ = Redirect(w, withNext(LoginPath, wayBack(r)))
	case problem.AuthStepUp:
		h.Set(problem.ReasonHeader, reason.Code())
		_ = Redirect(w, withNext(StepUpPath, wayBack(r)))
	default:
		refusal := RefusalOf(err)
		if p.Write(w, r, 0, refused{CorrelationID: correlationID(r)}, refusal) != nil {
			problem.WriteError(w, err, correlationID(r))
		}
	}
}

// LogFailure keeps the private cause of a refusal that is our own fault. Refuse
// does it itself; who shows a form again calls it.
func (p *Pages) LogFailure(r *http.Request, err error) {
	if reason := problem.ReasonOf(err); reason.Status() >= 500 && reason != problem.LimitBusy {
		p.log.ErrorContext(r.Context(), "request of the account service failed", slog.String("reason", reason.Code()), slog.Any("error", err))
	}
}

func correlationID(r *http.Request) string { return obs.RequestFrom(r.Context()).CorrelationID }
