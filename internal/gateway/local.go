package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// localAnswer bounds the answer of a built-in route: pages and documents.
const localAnswer = 1 << 20

var errLocalAnswer = errors.New("the answer of a local route is too large")

// localStage runs a built-in route. The handler writes into memory: its answer
// leaves when its record is kept.
func localStage(g *Gateway, t *trip) problem.Reason {
	answer := buffer{header: make(http.Header)}
	t.route.local.Handler.ServeHTTP(&answer, t.localRequest())
	if answer.tooLarge {
		t.cause = fmt.Errorf("%s: %w", t.route.pattern, errLocalAnswer)
		return problem.InternalError
	}
	t.reason = problem.OK
	if code := answer.header.Get(problem.ReasonHeader); code != "" {
		reason, known := problem.Parse(code)
		if !known {
			t.cause = fmt.Errorf("%s: unknown reason %q", t.route.pattern, code)
		}
		t.reason = reason // of an unknown code it is internal.error
	}
	if clearing := t.extra["Set-Cookie"]; len(clearing) > 0 {
		if set := answer.header["Set-Cookie"]; !setsOurs(set) { // a fresh session needs no clearing of the old
			answer.header["Set-Cookie"] = append(set, clearing...)
		}
		delete(t.extra, "Set-Cookie")
	}
	if answer.status == 0 {
		answer.status = http.StatusOK
	}
	g.challenge(t, t.reason)
	g.reply(t, answer.status, answer.header, answer.body.Bytes())
	return problem.OK
}

// localRequest is the request as a built-in handler sees it: who and what it is
// comes by the context alone. Its names are copies, since a handler may leave a
// goroutine behind.
func (t *trip) localRequest() *http.Request {
	names := t.Request
	ctx := obs.WithRequest(policy.WithPrincipal(t.r.Context(), t.principal), &names)
	r := t.r.WithContext(ctx)
	r.Header = make(http.Header, len(t.r.Header))
	for name, values := range t.r.Header {
		if passesInward(name) || t.route.local.Raw && (name == "Authorization" || name == "Dpop") {
			r.Header[name] = values
		}
	}
	if cookies := r.Header["Cookie"]; len(cookies) > 0 {
		kept := make([]string, 0, len(cookies))
		for _, field := range cookies {
			if field = cookiesLocal(field); field != "" {
				kept = append(kept, field)
			}
		}
		r.Header["Cookie"] = kept
	}
	r.Body = http.NoBody
	if t.body != nil {
		r.Body = t.body
	}
	for _, v := range t.values {
		r.SetPathValue(v.Name, v.Value)
	}
	return r
}

// answersOrigins reports whether the handler itself judges which pages of other
// origins may read its answers.
func (t *trip) answersOrigins() bool {
	return t.route != nil && t.route.local != nil && t.route.local.Raw
}

func setsOurs(cookies []string) bool {
	for _, c := range cookies {
		if strings.HasPrefix(c, sessionCookie+"=") {
			return true
		}
	}
	return false
}

// buffer is a bounded http.ResponseWriter in memory.
type buffer struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	tooLarge bool
}

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) {
	if b.status == 0 && status >= 200 {
		b.status = status
	}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	if b.body.Len()+len(p) > localAnswer {
		b.tooLarge = true
		return 0, errLocalAnswer
	}
	return b.body.Write(p)
}
