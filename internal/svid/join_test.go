package svid

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

// TestJoin: redeemed once, then renewed at half life over mutual TLS, with a new
// key each time, for as long as it runs and without a gap.
func TestJoin(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			c := openControl(t, zone, 2*time.Second)
			s, stop := c.with(t, Join{Token: c.token("orders"), Want: mustID(t, "orders"), Dir: dir})
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if _, err := s.Current(); err != nil {
					t.Fatalf("a gap: %v", err)
				}
				time.Sleep(99 * time.Millisecond)
			}
			joins, renewals, keys := c.counts()
			if joins != 1 || renewals < 8 || renewals > 25 || keys != renewals+1 {
				t.Errorf("%d redemptions, %d renewals, %d keys; want 1, about 12, one more key", joins, renewals, keys)
			}
			if err := stop(); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
}

// TestJoinHour: with certificates of an hour nothing is asked in between.
func TestJoinHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
		s, _ := c.with(t, Join{Token: c.token("orders")})
		for _, step := range []struct {
			after       time.Duration
			least, most int
		}{{23 * time.Minute, 0, 0}, {14 * time.Minute, 1, 1}, {36 * time.Minute, 2, 3}} {
			time.Sleep(step.after)
			synctest.Wait()
			if _, n, _ := c.counts(); n < step.least || n > step.most {
				t.Errorf("%d renewals, want %d to %d", n, step.least, step.most)
			}
		}
		if i, err := s.Current(); err != nil || time.Until(i.NotAfter) < 20*time.Minute {
			t.Errorf("%v, %v", i, err)
		}
	})
}

// TestJoinRefused: what waiting does not mend ends Run, with what to do.
func TestJoinRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(c *controlPart, j *Join)
		want  string
		joins int // requests that reached control with the secret
	}{
		{"a token that is unknown", func(c *controlPart, j *Join) { j.Token = newJoinToken(c.zone.root) }, "run `sallyport join NAME` again", 1},
		{"a token with another secret", func(c *controlPart, j *Join) { j.Token.Secret[0] ^= 1 }, "run `sallyport join NAME` again", 1},
		{"a token of another zone", func(c *controlPart, j *Join) {
			j.Token = newJoinToken(newAuthority(c.zone.t, "bank.example", time.Now()).root)
		}, "nothing was sent", 0},
		{"a token of an imposter's root", func(c *controlPart, j *Join) {
			j.Token = newJoinToken(newAuthority(c.zone.t, testZone, time.Now()).root)
		}, "nothing was sent", 0},
		{"a token for another service", func(c *controlPart, j *Join) { j.Want = mustID(c.zone.t, "stock") }, "the token is for spiffe://shop.example/orders", 1},
		{"another zone", func(c *controlPart, j *Join) { c.domain, j.Want = "bank.example", ID{} }, "an identity of another zone", 1},
		{"another service than the token's", func(c *controlPart, _ *Join) {
			c.set(func(_, _ string, a *Issued) bool {
				other := c.zone.identity("stock", time.Now(), time.Hour)
				a.Certificates = other.Certificate.Certificate
				return true
			})
		}, "private key is not that", 1},
		{"no root in the answer", func(c *controlPart, _ *Join) {
			c.set(func(_, _ string, a *Issued) bool { a.Roots = nil; return true })
		}, "0 roots", 1},
		{"a foreign root in the answer", func(c *controlPart, _ *Join) {
			root := newAuthority(c.zone.t, testZone, time.Now()).root
			c.set(func(_, _ string, a *Issued) bool { a.Roots = [][]byte{root.Raw}; return true })
		}, "unknown authority", 1},
		{"no token", func(_ *controlPart, j *Join) { j.Token = JoinToken{} }, "no join token", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			control := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
			j := Join{Token: control.token("orders"), Control: "https://control.invalid:8441", Log: quietLog(), dial: control.dial}
			c.spoil(control, &j)
			s := NewSource(nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := j.Run(ctx, s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: Run = %v, want an error with %q", c.name, err, c.want)
			}
			if !j.Token.IsZero() && problem.ReasonOf(err) != problem.JoinRefused {
				t.Errorf("%s: reason %s, want join.refused", c.name, problem.ReasonOf(err))
			}
			if strings.Contains(err.Error(), j.Token.String()) {
				t.Errorf("%s: the error shows the token", c.name)
			}
			if _, err := s.Current(); err == nil {
				t.Errorf("%s: there is an identity", c.name)
			}
			if joins, _, _ := control.counts(); joins != c.joins {
				t.Errorf("%s: control was asked %d times, want %d", c.name, joins, c.joins)
			}
		})
	}
}

// TestJoinSpent: a token works once.
func TestJoinSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
		token := c.token("orders")
		first, _ := c.with(t, Join{Token: token})
		if err := first.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, stop := c.with(t, Join{Token: token})
		synctest.Wait()
		if err := stop(); problem.ReasonOf(err) != problem.JoinRefused {
			t.Errorf("the second use: %v, want join.refused", err)
		}
	})
}

// TestJoinSendsNothingToStrangers: whoever answers in control's place gets no
// byte of a request, whatever it presents. The positive control is its own row.
func TestJoinSendsNothingToStrangers(t *testing.T) {
	now := time.Now()
	zone := newAuthority(t, testZone, now)
	imposter := newAuthority(t, testZone, now)
	web, webKey := zone.signer("web", now, zone.root, zone.rootKey, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	branch := *zone
	branch.mid, branch.midKey = web, webKey
	show := func(a *authority, name string, change func(*x509.Certificate), more ...[]byte) tls.Certificate {
		leaf, key := a.leaf(name, now.Add(-time.Minute), time.Hour, change)
		return tls.Certificate{Certificate: append([][]byte{leaf.Raw, a.mid.Raw}, more...), PrivateKey: key}
	}
	for _, c := range []struct {
		name string
		cert tls.Certificate
		sent bool
	}{
		{"control", show(zone, ControlName, nil, zone.root.Raw), true},
		{"control without the root", show(zone, ControlName, nil), false},
		{"a service of the zone", show(zone, "orders", nil, zone.root.Raw), false},
		{"the gateway", show(zone, GatewayName, nil, zone.root.Raw), false},
		{"control in a path", show(zone, "x/control", nil, zone.root.Raw), false},
		{"an imposter with the root beside it", show(imposter, ControlName, nil, zone.root.Raw), false},
		{"an imposter with its own root", show(imposter, ControlName, nil, imposter.root.Raw), false},
		{"a web certificate that names control", show(&branch, ControlName, nil, zone.root.Raw), false},
		{"expired", show(zone, ControlName, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, zone.root.Raw), false},
		{"control of another zone under the root", show(zone, "", uriNamesRaw(t, "spiffe://bank.example/control"), zone.root.Raw), false},
		{"the root's own key", tls.Certificate{Certificate: [][]byte{zone.root.Raw}, PrivateKey: zone.rootKey}, false},
	} {
		var got sync.Map
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got.Store("request", string(body))
			w.WriteHeader(http.StatusTeapot)
		}))
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{c.cert}, MinVersion: tls.VersionTLS13}
		srv.StartTLS()
		ctx, cancel := context.WithCancel(t.Context())
		raw := make(chan struct{}, 100)
		j := Join{Control: srv.URL, Token: newJoinToken(zone.root), Want: mustID(t, "orders"), Log: quietLog()}
		j.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw <- struct{}{}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx, NewSource(nil)) }()
		for n := 0; n < 2 && len(done) == 0; { // a second attempt means that the first was refused
			select {
			case <-raw:
				n++
			case err := <-done:
				done <- err
			}
		}
		cancel()
		<-done
		srv.Close()
		if body, sent := got.Load("request"); sent != c.sent {
			t.Errorf("%s: request sent %v, want %v (%v)", c.name, sent, c.sent, body)
		}
	}
}

// TestJoinRetries: control that is away or busy is asked again, with growing
// pauses, until the context ends.
func TestJoinRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
		c.set(func(string, string, *Issued) bool { return false })
		s, stop := c.with(t, Join{Token: c.token("orders")})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if joins, _, _ := c.counts(); joins < 25 || joins > 60 {
			t.Errorf("%d attempts in five minutes, want 25 to 60", joins)
		}
		c.set(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		c.set(func(string, string, *Issued) bool { return false })
		_, stop = c.with(t, Join{Token: c.token("orders")})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
}

// TestJoinRenewalFails: the identity in use stays until its end; control that
// comes back in time mends it, control that gives somebody else's does not.
func TestJoinRenewalFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(c *controlPart) func(path, name string, a *Issued) bool
	}{
		{"away", func(*controlPart) func(string, string, *Issued) bool {
			return func(path, _ string, _ *Issued) bool { return path == JoinPath }
		}},
		{"another key", func(c *controlPart) func(string, string, *Issued) bool {
			return func(path, _ string, a *Issued) bool {
				if path == IdentityPath {
					a.Certificates = c.zone.identity("orders", time.Now(), time.Hour).Certificate.Certificate
				}
				return true
			}
		}},
		{"another service", func(c *controlPart) func(string, string, *Issued) bool {
			c.alias = "stock" // the caller holds mu
			return nil
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			control := openControl(t, newAuthority(t, testZone, time.Now()), 10*time.Minute)
			spoil := func() { control.mu.Lock(); defer control.mu.Unlock(); control.spoil = c.spoil(control) }
			mend := func() { control.mu.Lock(); defer control.mu.Unlock(); control.spoil, control.alias = nil, "" }
			spoil()
			s, stop := control.with(t, Join{Token: control.token("orders")})
			time.Sleep(9 * time.Minute)
			if i, err := s.Current(); err != nil || i.ID != mustID(t, "orders") {
				t.Fatalf("%s: %v, %v, want the identity kept", c.name, i, err)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if _, err := s.Current(); err == nil {
				t.Errorf("%s: an identity after its end", c.name)
			}
			err := stop()
			if problem.ReasonOf(err) != problem.InsideUnavailable || !strings.Contains(err.Error(), "run `sallyport join orders`") {
				t.Errorf("%s: Run = %v, want inside.unavailable and what to do", c.name, err)
			}

			spoil()
			s, stop = control.with(t, Join{Token: control.token("orders")})
			time.Sleep(9 * time.Minute)
			mend()
			time.Sleep(2 * time.Minute)
			if _, err := s.Current(); err != nil {
				t.Errorf("%s, then mended: %v", c.name, err)
			}
			if err := stop(); err != nil {
				t.Errorf("%s, then mended: %v", c.name, err)
			}
		})
	}
}

// TestJoinNewRoot: a renewal may bring a second root, which counts from then on.
func TestJoinNewRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newAuthority(t, testZone, time.Now())
		c := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
		c.set(func(path, _ string, a *Issued) bool {
			if path == IdentityPath {
				a.Roots = append(a.Roots, next.root.Raw)
			}
			return true
		})
		s, _ := c.with(t, Join{Token: c.token("orders")})
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		peer := next.identity("stock", time.Now(), 2*time.Hour)
		chain := []*x509.Certificate{peer.Certificate.Leaf, next.mid}
		if _, err := s.Verify(chain); problem.ReasonOf(err) != problem.InsidePeer {
			t.Errorf("before: %v, want inside.peer", err)
		}
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		if p, err := s.Verify(chain); err != nil || p.ID != mustID(t, "stock") {
			t.Errorf("after: %v, %v", p, err)
		}
	})
}

func TestJoinConfig(t *testing.T) {
	for _, control := range []string{"", "control", "http://127.0.0.1:8441", "https://", "https://u@h", "https://h?x", "https://h#x", "://"} {
		err := Join{Control: control, Log: quietLog()}.Run(t.Context(), NewSource(nil))
		if err == nil || !strings.Contains(err.Error(), "https URL") {
			t.Errorf("control %q: %v, want it refused", control, err)
		}
	}
}

// TestReadIssued: the answer is bounded and strict.
func TestReadIssued(t *testing.T) {
	for _, c := range []struct {
		body string
		ok   bool
	}{
		{`{"certificates":["AA=="],"roots":["AA=="]}`, true},
		{`{"certificates":[],"roots":[]}` + "\n", true},
		{`{"certificates":[],"roots":[],"more":1}`, false},
		{`{"certificates":[],"roots":[]}{}`, false},
		{`{"certificates":"AA=="}`, false},
		{`{"certificates":["*"]}`, false},
		{``, false},
		{`{"roots":["` + strings.Repeat("A", MaxJoinBody) + `"]}`, false},
	} {
		if _, err := readIssued(strings.NewReader(c.body)); (err == nil) != c.ok {
			t.Errorf("readIssued(%.50q) = %v, want accepted %v", c.body, err, c.ok)
		}
	}
}
