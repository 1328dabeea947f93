package oauth

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// requestsPerAddress bounds the authorization requests of one network: each is a
// row for some minutes.
var requestsPerAddress = zone.Rate{Count: 120, Window: time.Minute}

// proofsPerAddress bounds the proofs that one network shows before it has shown who it
// is: the id of each is kept for its life, of all networks a quarter of a million.
var proofsPerAddress = zone.Rate{Count: 3000, Window: time.Minute}

func clientAddress(r *http.Request) string { return obs.RequestFrom(r.Context()).Client.String() }

// errorBody is an error as clients read it (RFC 6749 section 5.2).
type errorBody struct {
	Code string `json:"error"`
	Text string `json:"error_description,omitempty"`
}

// refuse answers a request that the door did not let through, or that a part of
// ours could not answer.
func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, c *call, err error) {
	f, ok := errors.AsType[*fault](err)
	if c.failed != nil || !ok {
		p.Log.ErrorContext(r.Context(), "oauth request failed", slog.String("endpoint", c.endpoint), slog.Any("error", err))
		after := max(1, page.RetryAfter(err))
		w.Header().Set("Retry-After", itoa(after))
		f = &fault{code: "temporarily_unavailable", text: "try again later", status: http.StatusServiceUnavailable}
	} else if f.code == "invalid_client" {
		p.wrong(r, c)
	}
	status := f.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	h := w.Header()
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", itoa(int(pause/time.Second)))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="oauth"`)
	}
	h.Set(problem.ReasonHeader, reasonOf(f.code).Code())
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(errorBody{f.code, f.text}) // the client may be gone
}

// errorCode is the error of the library's answer; empty when it is none.
func (a *reply) errorCode() string {
	var e errorBody
	_ = json.Unmarshal(a.body.Bytes(), &e) // then it is none
	return e.Code
}

// mend makes of the library's answer what the standards say.
func (p *Provider) mend(r *http.Request, c *call, a *reply) {
	a.header.Set("Cache-Control", "no-store")
	if a.status < http.StatusBadRequest {
		return
	}
	var e errorBody
	if json.Unmarshal(a.body.Bytes(), &e) != nil || e.Code == "" {
		e = errorBody{"server_error", "internal error"}
		a.status = http.StatusInternalServerError
	}
	switch {
	case c.unheld:
		e = errorBody{"invalid_dpop_proof", "it is bound to a key, which a DPoP proof must show"}
		a.status = http.StatusBadRequest
	case c.slow:
		e = errorBody{"slow_down", "ask less often"}
		a.status = http.StatusBadRequest
	case e.Code == "expired_token" && !strings.HasPrefix(e.Text, "device code"):
		e.Code = "invalid_grant"
	case e.Code == "unauthorized_client" || e.Code == "access_denied":
		a.status = http.StatusBadRequest
	case e.Code == "internal_error":
		e.Code = "server_error"
	case e.Code == "invalid_client":
		a.status = http.StatusUnauthorized
		a.header.Set("WWW-Authenticate", `Basic realm="oauth"`)
		p.wrong(r, c)
	}
	a.header.Set(problem.ReasonHeader, reasonOf(e.Code).Code())
	a.header.Set("Content-Type", "application/json")
	a.body.Reset()
	_ = json.NewEncoder(&a.body).Encode(e) // texts always marshal
}

// reasonOf is what our own records say of an error.
func reasonOf(code string) problem.Reason {
	switch code {
	case "invalid_client":
		return problem.OAuthClient
	case "invalid_grant", "expired_token", "invalid_token":
		return problem.OAuthGrant
	case "invalid_dpop_proof", "use_dpop_nonce":
		return problem.OAuthProof
	case "invalid_scope", "invalid_target":
		return problem.OAuthScope
	case "access_denied", "unauthorized_client":
		return problem.OAuthDenied
	case "authorization_pending", "slow_down":
		return problem.OAuthPending
	case "temporarily_unavailable":
		return problem.AuthUnavailable
	case "server_error":
		return problem.InternalError
	}
	return problem.OAuthRequest
}

// crossOrigin lets scripts of public clients' pages read the answer (Fetch
// standard). No cookie is ever taken with it.
func (p *Provider) crossOrigin(w http.ResponseWriter, r *http.Request, anybody bool) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case anybody:
		h.Set("Access-Control-Allow-Origin", "*")
	case origin == "" || !p.allowedOrigin(r.Context(), p.state.Load(), origin):
		return false
	default:
		h.Set("Access-Control-Allow-Origin", origin)
	}
	h.Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
	return true
}

// preflight answers what browsers ask before a request of a script.
func (p *Provider) preflight(anybody bool, methods ...string) http.Handler {
	allowed := strings.Join(slices.Concat(methods, []string{http.MethodOptions}), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.crossOrigin(w, r, anybody) {
			w.Header().Set("Access-Control-Allow-Methods", allowed)
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
			w.Header().Set("Access-Control-Max-Age", "600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
