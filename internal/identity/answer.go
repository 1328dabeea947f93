package identity

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// wantsPage says whether the answer is a page: the client names text/html, and
// did not itself speak JSON. `*/*` and a missing Accept get JSON.
func wantsPage(r *http.Request) bool {
	return mediaOf(r) != mediaJSON && acceptsHTML(r.Header.Values("Accept"))
}

// acceptsHTML reads Accept (RFC 9110 section 12.5.1): text/html must be named,
// with a weight above zero and not below that of JSON.
func acceptsHTML(accept []string) bool {
	var html, asJSON float64
	for entry := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(entry, ";")
		weight := 1.0
		for p := range strings.SplitSeq(params, ";") {
			if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
				var err error
				if weight, err = strconv.ParseFloat(q, 64); err != nil || !(weight >= 0 && weight <= 1) {
					weight = 0
				}
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, weight)
		case "application/json", problem.ContentType:
			asJSON = max(asJSON, weight)
		}
	}
	return html > 0 && html >= asJSON
}

// The answers of the account service in JSON.
type (
	userJSON struct {
		ID    string   `json:"id"`
		Email string   `json:"email"`
		Roles []string `json:"roles"`
	}
	loginJSON struct {
		Token     string   `json:"token"`
		ExpiresAt string   `json:"expires_at"`
		User      userJSON `json:"user"`
	}
	sessionJSON struct {
		ID         string `json:"id"`
		CreatedAt  string `json:"created_at"`
		LastUsedAt string `json:"last_used_at"`
		ExpiresAt  string `json:"expires_at"`
		Client     string `json:"client"`
		Agent      string `json:"agent"`
		Current    bool   `json:"current"`
	}
	sessionsJSON struct {
		Sessions []sessionJSON `json:"sessions"`
	}
	revokedJSON struct {
		Revoked int `json:"revoked"`
	}
)

func userAnswer(u User) userJSON { return userJSON{ID: u.ID, Email: u.Email, Roles: u.Roles} }

// stamp writes a time as the interface does: RFC 3339, UTC, whole seconds.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func writeJSON(w http.ResponseWriter, status int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return problem.New(problem.InternalError, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone; the record says so elsewhere
	return nil
}

// redirect sends a browser on with GET. Location is ours or from localPath.
func redirect(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// refuse ends a request with the reason of err, as a page or a problem document.
func (id *Identity) refuse(w http.ResponseWriter, r *http.Request, err error) {
	id.logFailure(r, err)
	reason, h := problem.ReasonOf(err), w.Header()
	if after := retryAfter(err); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	if reason.Status() == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2
	}
	if !wantsPage(r) {
		problem.WriteError(w, err, correlationID(r))
		return
	}
	switch reason {
	case problem.AuthMissing, problem.AuthRevoked: // who comes without a session is shown the way
		h.Del("WWW-Authenticate")
		h.Set(problem.ReasonHeader, reason.Code())
		_ = redirect(w, loginURL(r))
	default:
		id.pages.refusal(w, r, err)
	}
}

// caller returns the user of a request. Reasons: auth.missing for nobody,
// access.kind for a key, a client or a user of another issuer, who have no account.
func caller(r *http.Request) (*policy.Principal, error) {
	switch p := policy.PrincipalFrom(r.Context()); {
	case ofIssuer(p):
		return nil, problem.New(problem.AccessKind, nil)
	case p.Kind == policy.User:
		return p, nil
	case p.Kind == policy.Anonymous:
		return nil, problem.New(problem.AuthMissing, nil)
	default:
		return nil, problem.New(problem.AccessKind, nil)
	}
}

// ofIssuer says whether a user is one of another issuer: its subject names that
// (PROVIDER:SUB), which no account of this zone does.
func ofIssuer(p *policy.Principal) bool {
	return p.Kind == policy.User && strings.Contains(p.Subject, ":")
}
