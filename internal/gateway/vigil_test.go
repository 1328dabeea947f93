package gateway

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// A stream ends with the right to it, within a look; without a change it goes on.
func TestStreamEndsWithTheRight(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Gateway, *fakeAuth) // a while after the stream began
		reason string
		after  time.Duration
	}{
		{"control", func(*Gateway, *fakeAuth) {}, "ok", 10 * time.Minute},
		{"session revoked", func(g *Gateway, a *fakeAuth) {
			a.fail(problem.New(problem.AuthRevoked, nil))
			g.Forget(hashOf(rootToken))
		}, "auth.revoked", time.Minute + vigilTime},
		{"session expired", func(_ *Gateway, a *fakeAuth) { a.fail(problem.New(problem.AuthExpired, nil)) },
			"auth.expired", time.Minute + principalLife},
		{"lifetime over", func(_ *Gateway, a *fakeAuth) { a.end(time.Now().Add(5*time.Minute + 300*time.Millisecond)) },
			"auth.expired", 6*time.Minute + 2*vigilTime},
		{"role taken", func(g *Gateway, a *fakeAuth) {
			a.set(rootToken, policy.Principal{Kind: policy.User, Subject: "root", Level: 1})
			g.ForgetSubject("root")
		}, "access.role", time.Minute + vigilTime},
		{"a factor is asked for", func(g *Gateway, a *fakeAuth) {
			a.set(rootToken, policy.Principal{Kind: policy.User, Subject: "root", Roles: []string{"admin"}, Level: 1, AuthTime: time.Now(), StepUp: true})
			g.ForgetAll()
		}, "auth.step_up", time.Minute + vigilTime},
		{"accounts unreachable", func(g *Gateway, a *fakeAuth) {
			a.fail(errTest)
			g.Forget(hashOf(rootToken))
		}, "auth.unavailable", time.Minute + vigilTime},
		{"an error that says ok", func(g *Gateway, a *fakeAuth) {
			a.fail(problem.New(problem.OK, errTest))
			g.Forget(hashOf(rootToken))
		}, "auth.unavailable", time.Minute + vigilTime},
		{"login grows old", func(*Gateway, *fakeAuth) {}, "auth.step_up", 5*time.Minute + vigilTime},
		{"another session revoked", func(g *Gateway, _ *fakeAuth) { g.Forget(hashOf(aliceToken)) }, "ok", 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(func(conn *upstreamtest.Conn) {
					conn.Request()
					conn.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
					for range 10 {
						time.Sleep(time.Minute)
						if !conn.Say("2\r\n\n\n\r\n") {
							return
						}
					}
					conn.Say("0\r\n\r\n")
				})
				rt := sseRoute()
				rt.Allow, rt.Roles, rt.MaxAge = zone.AllowUser, []string{"admin"}, 12*time.Minute
				if c.name == "login grows old" {
					rt.MaxAge = 5 * time.Minute
				}
				g, kept := pipedGateway(t, s, dial, rt)
				defer s.Serving.Wait()
				defer g.Close()
				auth := g.auth.(*fakeAuth)
				auth.set(rootToken, policy.Principal{Kind: policy.User, Subject: "root", Roles: []string{"admin"}, Level: 1, AuthTime: time.Now()})
				go func() {
					time.Sleep(time.Minute - time.Millisecond) // not at a moment when the vigil looks
					c.change(g, auth)
				}()
				r := httptest.NewRequest("GET", "https://shop.example/live", nil)
				r.RequestURI, r.URL.Scheme, r.URL.Host, r.RemoteAddr, r.TLS.ServerName = "/live", "", "", "127.0.0.1:4711", "shop.example"
				r.Header.Set("Authorization", "Bearer "+rootToken)
				start := time.Now()
				func() {
					defer func() { _ = recover() }() // net/http's sign for a broken connection
					g.serve(g.now().listeners[0], newTaker(), r)
				}()
				took := time.Since(start).Round(time.Second)
				records := kept.all()
				if len(records) != 2 || records[1].Kind != journal.KindEnd || records[1].Reason != c.reason || took > c.after || took < time.Minute {
					t.Errorf("after %v: records %+v, want %s after at most %v", took, records, c.reason, c.after)
				}
			})
		})
	}
}

// end sets until when every credential is good.
func (f *fakeAuth) end(at time.Time) { f.mu.Lock(); defer f.mu.Unlock(); f.until = at }

// revokedStream runs a stream whose session is revoked after a minute, and
// returns the gateway as it is afterwards. The look-up that notices takes a
// while, and last is what the service does in it.
func revokedStream(t *testing.T, last func(*upstreamtest.Conn)) (*Gateway, []journal.Record) {
	t.Helper()
	s, dial := upstreamtest.Pipe(func(conn *upstreamtest.Conn) {
		conn.Request()
		conn.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		time.Sleep(time.Minute + vigilTime)
		last(conn)
		conn.Stay()
	})
	rt := sseRoute()
	rt.Allow = zone.AllowUser
	g, kept := pipedGateway(t, s, dial, rt)
	t.Cleanup(s.Serving.Wait)
	t.Cleanup(g.Close) // before the wait: it hangs up
	auth := g.auth.(*fakeAuth)
	start := time.Now()
	auth.before = func(Credential) {
		if time.Since(start) >= time.Minute {
			time.Sleep(2 * time.Second)
		}
	}
	go func() {
		time.Sleep(time.Minute - time.Millisecond)
		auth.fail(problem.New(problem.AuthRevoked, nil))
		g.Forget(hashOf(rootToken))
	}()
	r := httptest.NewRequest("GET", "https://shop.example/live", nil)
	r.RequestURI, r.URL.Scheme, r.URL.Host, r.RemoteAddr, r.TLS.ServerName = "/live", "", "", "127.0.0.1:4711", "shop.example"
	r.Header.Set("Authorization", "Bearer "+rootToken)
	func() {
		defer func() { _ = recover() }() // net/http's sign for a broken connection
		g.serve(g.now().listeners[0], newTaker(), r)
	}()
	return g, kept.all()
}

// A stream that ends while its vigil is still asking leaves no connection in the
// pool: the vigil may close it, and it would close it under somebody else.
func TestVigilClosesNobodyElsesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, records := revokedStream(t, func(c *upstreamtest.Conn) { c.Say("0\r\n\r\n") })
		if len(records) != 2 || records[1].Reason != "auth.revoked" {
			t.Errorf("records %+v, want an end with auth.revoked", records)
		}
		for _, in := range g.now().pools["shop"].Status() {
			if in.Idle != 0 || in.Outstanding != 0 {
				t.Errorf("%d idle connections, %d requests under way; want none", in.Idle, in.Outstanding)
			}
		}
	})
}

// What we cut ourselves says nothing about the instance: a user could eject it
// by logging out with a few streams open.
func TestVigilIsNotTheServicesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, records := revokedStream(t, func(*upstreamtest.Conn) {})
		if len(records) != 2 || records[1].Reason != "auth.revoked" {
			t.Errorf("records %+v, want an end with auth.revoked", records)
		}
		if n := failuresOf(g); n != 0 {
			t.Errorf("%d failures counted against the instances, want none", n)
		}
	})
}

func failuresOf(g *Gateway) (n int) {
	for _, in := range g.now().pools["shop"].Status() {
		n += in.Failures
	}
	return n
}
