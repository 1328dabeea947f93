package oauth_test

import (
	"context"
	"net/url"
	"testing"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// spent is a throttle of which one kind is used up.
type spent struct {
	oauth.Throttle
	kind string
}

func (s spent) Take(ctx context.Context, kind, subject string, rates ...zone.Rate) error {
	if kind == s.kind {
		return problem.New(problem.LimitRate, nil)
	}
	return s.Throttle.Take(ctx, kind, subject, rates...)
}

// TestProofsAreBounded: who has not shown who it is has us keep so many ids of proofs
// and no more; a client that has signed is not held up by them.
func TestProofsAreBounded(t *testing.T) {
	for kind, refused := range map[string]bool{"oauth proof": true, "another": false} {
		w := newWorld(t, func(c *oauth.Config) { c.Throttle = spent{c.Throttle, kind} })
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}}
		a := w.post("/oauth/token", form, basic("batch", secret), w.proves(newKey(t), "/oauth/token"))
		if want := map[bool]int{true: 429, false: 200}[refused]; a.Code != want || refused && a.text("error") != "temporarily_unavailable" {
			t.Errorf("%s is used up: %d %s, want %d", kind, a.Code, a.Body, want)
		}
		w.post("/oauth/token", form, basic("batch", secret)).want(t, 200, "")
		w.post("/oauth/token", with(form, w.asserts(nil)), w.proves(newKey(t), "/oauth/token")).want(t, 200, "")
	}
}
