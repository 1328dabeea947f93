package app

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// The ring of OpenID keys turns slowly: relying parties of others keep what they
// have fetched, some for a day.
const (
	openIDRotate  = 30 * 24 * time.Hour
	openIDOverlap = 24 * time.Hour
)

// openOpenID opens the OpenID provider. Its keys are a ring of their own: what it
// signs is for the outside, and no inside token.
func (s *system) openOpenID(ctx context.Context) error {
	ring, err := keys.NewRing(ctx, s.db, s.root, keys.RingConfig{Name: "openid", Rotate: openIDRotate, Overlap: openIDOverlap, Clock: s.clock, Log: s.log})
	if err != nil {
		return err
	}
	pages, err := page.New(page.Config{Zone: s.zone(), Log: s.log, Clock: s.clock})
	if err != nil {
		return err
	}
	z := s.zone()
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_oauth_events_total", Help: "What the OpenID provider gave out and refused, by event.",
	}, []string{"event"})
	s.metrics.Registry.MustRegister(events)
	s.introspected = recall.New(func(t oauth.Resolved, subject string) bool { return t.Subject == subject }, s.clock, s.fresh)
	s.openID, err = oauth.New(ctx, oauth.Config{
		Zone: z, Issuer: z.Identity.URL, MTLSBase: mtlsBase(z), DB: s.db, Values: s.values("openid"), Root: s.root, Keys: ring,
		Introspected: s.introspected, Users: openIDUsers{s}, Throttle: s.accounts.guesses, Pages: pages, Flows: s.accounts.flows, Secret: readSecret,
		Clock: s.clock, Log: s.log, Count: func(event string) { events.WithLabelValues(event).Inc() },
	})
	if err != nil {
		return err
	}
	s.sessions.SetHooks(session.Hooks{Ended: s.openID.RevokeSessionTx, Moved: s.openID.MoveSessionTx})
	s.background.add("OpenID keys", ring.Run)
	s.background.add("OpenID provider", s.openID.Run)
	return nil
}

// mtlsBase is where clients show certificates: the first listener that asks for
// them; empty when there is none.
func mtlsBase(z *zone.Zone) string {
	for _, l := range z.Listeners {
		if l.ClientCA == "" || len(l.Hosts) == 0 {
			continue
		}
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil || port == "443" {
			return "https://" + l.Hosts[0]
		}
		return "https://" + net.JoinHostPort(l.Hosts[0], port)
	}
	return ""
}

// openIDLocals are the provider's operations as the gateway serves them: on the
// account service's listener, and those of machines where certificates are shown.
func openIDLocals(z *zone.Zone, p *oauth.Provider) []gateway.Local {
	var list []gateway.Local
	for _, r := range p.Routes() {
		local := gateway.Local{
			Listener: z.Identity.Listener, Service: "oauth", Method: r.Method, Path: r.Path,
			Allow: zone.AllowAnonymous | zone.AllowUser, Durable: r.Durable, Raw: r.Raw, Body: r.Body, Handler: r.Handler,
		}
		list = append(list, local)
		if !r.MTLS {
			continue
		}
		for _, l := range z.Listeners {
			if l.ClientCA != "" && l.Name != z.Identity.Listener {
				local.Listener = l.Name
				list = append(list, local)
			}
		}
	}
	return list
}

// openIDUsers tells the provider of accounts and sessions.
type openIDUsers struct{ s *system }

// Claims are those of OpenID Connect Core section 5.4, and the roles of the zone
// for the scope `roles`.
func (u openIDUsers) Claims(ctx context.Context, user string, scopes []string) (map[string]any, error) {
	a, err := u.s.identity.User(ctx, user)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	if slices.Contains(scopes, "email") {
		claims["email"], claims["email_verified"] = a.Email, a.Verified
	}
	if slices.Contains(scopes, "profile") {
		if a.Name != "" {
			claims["name"] = a.Name
		}
		if a.Locale != "" {
			claims["locale"] = a.Locale
		}
	}
	if slices.Contains(scopes, "roles") {
		claims["roles"] = a.Roles
	}
	return claims, nil
}

// Active says whether a user may act now, and whether the session lives, until when
// if nobody uses it, and has the factors that the zone wants. Reason auth.step_up: it
// has not.
func (u openIDUsers) Active(ctx context.Context, user, id string) (time.Time, error) {
	until, reached, err := behind(ctx, u.s.sessions, user, id)
	if err != nil {
		return time.Time{}, err
	}
	_, err = u.s.accounts.current.Load().Principal(ctx, user, reached)
	return until, err
}

// behind is what the session says that stands behind a token: until when it lives if
// nobody uses it, and how many factors it has shown. A token without one was given for
// longer: it has its own end alone (zero), and was judged when it was given.
func behind(ctx context.Context, sessions *session.Sessions, user, id string) (until time.Time, reached int, err error) {
	if id == "" {
		return time.Time{}, policy.TwoFactors, nil
	}
	s, err := sessions.Find(ctx, user, id)
	if problem.ReasonOf(err) == problem.AuthInvalid { // whoever names one has seen it: it has ended
		err = problem.New(problem.AuthRevoked, err)
	}
	return s.ValidUntil, s.Reached, err
}

// EndSession logs a session out and takes its cookie back.
func (u openIDUsers) EndSession(w http.ResponseWriter, r *http.Request, user, id string) error {
	if err := u.s.sessions.Revoke(r.Context(), user, id); err != nil && problem.ReasonOf(err) != problem.AccountUnknown {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: identity.CookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return nil
}

// endUser ends what a user was granted without a session, or, when one session of
// theirs is spared, all but what lives and ends with that.
func (s *system) endUser(ctx context.Context, tx *store.Tx, user, spared string) error {
	return s.openID.RevokeOthersTx(ctx, tx, user, spared)
}

// isJWT says whether a bearer can be a JWT; tokens of ours that are opaque hold no dot.
func isJWT(value string) bool { return strings.Count(value, ".") == 2 }

// resolveToken returns the principal of an access token of our own provider.
func (c *credentials) resolveToken(ctx context.Context, value string) (policy.Principal, time.Time, error) {
	t, err := c.openID.Resolve(ctx, value)
	if err != nil {
		return policy.Principal{}, time.Time{}, err
	}
	p := policy.Principal{Kind: policy.Client, Subject: t.Subject}
	if t.Kind == "user" {
		// A session that runs out is told to nobody: its tokens are held against it here.
		until, reached, err := behind(ctx, c.sessions, t.Subject, t.Session)
		if err != nil {
			return policy.Principal{}, time.Time{}, err
		}
		if !until.IsZero() && until.Before(t.Until) {
			t.Until = until
		}
		if p, err = c.identity().Entering(ctx, t.Subject, reached); err != nil {
			return policy.Principal{}, time.Time{}, err
		}
	}
	p.OAuth, p.Client, p.Scopes, p.Method = true, t.Client, t.Scopes, "oauth"
	p.Level, p.AuthTime, p.Session = max(t.Level, 1), t.AuthTime, t.Session
	p.Bound = policy.Bound{JKT: t.JKT, X5T: t.X5T}
	return p, t.Until, nil
}
