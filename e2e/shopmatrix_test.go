package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/zone"
)

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// example is a request that a route of the shop takes: its path values belong to
// the user, its body is what the operation wants.
func example(rt *zone.Route, user string) (target, body string) {
	target = strings.NewReplacer("{user}", user, "{id}", "1", "{product}", "1").Replace(rt.Path)
	if rt.Path == "/accounts/{id}" {
		target = "/accounts/" + user
	}
	switch rt.Pattern() {
	case "GET /export":
		target += "?file=prices.csv"
	case "POST /charges":
		body = `{"amount":1}`
	case "POST /sales":
		body = `[1]`
	case "POST /orders":
		body = `{"product":1,"amount":1}`
	case "POST /callbacks/payment":
		body = `{"charge":1}`
	}
	return target, body
}

// TestShopMatrix tries every operation of the shop as every service of it, with
// the service's real certificate and a proof as the route wants it: with a user's
// token and with the service's own. What the map's calls name passes, as they
// name it; all else is refused by the caller, whatever the token says.
func TestShopMatrix(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	alice := s.addUser("alice@shop.example", "support", "merchant") // no role stands in the way
	session := s.login(alice)
	users := lasting(func() string { return s.insideToken(session) })
	model := s.model()

	var passed []string
	cells := 0
	for _, caller := range model.Services {
		if !caller.InnerDoor() {
			continue // mirror has no identity to call with
		}
		m := s.member(caller.Name)
		for _, callee := range model.Services {
			if !callee.InnerDoor() {
				continue
			}
			for _, rt := range callee.Routes {
				target, body := example(rt, alice.ID)
				for _, asService := range []bool{false, true} {
					token, mode := users(), "with a user's token"
					if asService {
						token, mode = m.ownToken(), "as itself"
					}
					name := fmt.Sprintf("%s calls %s %s of %s %s", caller.Name, rt.Method, target, callee.Name, mode)
					declared := slices.ContainsFunc(caller.Calls, func(c zone.Call) bool {
						return c.Service == callee.Name && c.Method == rt.Method && c.Path == rt.Path && c.AsService == asService
					})
					c := innerCall{to: callee.Name, method: rt.Method, target: target, token: token, proof: rt.Proof, body: body}
					got := m.ask(c)
					cells++
					switch {
					case declared && !got.passed():
						t.Errorf("%s: %s %s, want it to pass", name, got, got.Body)
					case declared:
						passed = append(passed, name)
						s.mustProve(m, c, name)
					case got.Status != 403 || got.Reason != "inside.call":
						t.Errorf("%s: %s %s, want inside.call", name, got, got.Body)
					}
				}
			}
			got := m.ask(innerCall{to: callee.Name, target: "/debug/pprof/", token: users()})
			if got.Status != 404 || got.Reason != "inside.route" {
				t.Errorf("%s calls what %s does not have: %s, want inside.route", caller.Name, callee.Name, got)
			}
		}
	}
	calls, routes := 0, 0
	for _, svc := range model.Services {
		if svc.InnerDoor() {
			calls, routes = calls+len(svc.Calls), routes+len(svc.Routes)
		}
	}
	if len(passed) != calls || calls < 7 || cells != 2*6*routes || routes < 20 {
		t.Errorf("%d of %d cells passed, the map declares %d calls of %d routes: %q", len(passed), cells, calls, routes, passed)
	}
	if t.Failed() {
		t.Logf("the services and sidecars wrote:\n%s", s.out)
	}
}

// mustProve sends a call that passes with less proof than its route wants.
func (s *shopped) mustProve(m *member, c innerCall, name string) {
	s.t.Helper()
	if c.proof == zone.ProofChannel {
		return
	}
	bare := c
	bare.bare = true
	if got := m.ask(bare); got.Reason != "proof.missing" {
		s.t.Errorf("%s without a proof: %s, want proof.missing", name, got)
	}
	if c.proof != zone.ProofSignature {
		return
	}
	c.proof = zone.ProofMAC
	if got := m.ask(c); got.Reason != "proof.downgraded" {
		s.t.Errorf("%s with a mac: %s, want proof.downgraded", name, got)
	}
}

// TestServicesRefuseThePastGateway: whoever reaches an inner door past the
// gateway is refused: without a certificate in the handshake, with one for want
// of a token that the zone made.
func TestServicesRefuseThePastGateway(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	session := s.login(s.addUser("alice@shop.example", "support"))
	inside := lasting(func() string { return s.insideToken(session) })
	const request = "GET /products HTTP/1.1\r\nHost: catalog\r\n\r\n"
	for _, service := range []string{"catalog", "orders", "reviews"} {
		if got := s.stranger(t, service, request, &tls.Config{}); got.Err == nil {
			t.Errorf("%s without a certificate: %s", service, got)
		}
		if got := s.stranger(t, service, request, &tls.Config{MaxVersion: tls.VersionTLS12}); got.Err == nil {
			t.Errorf("%s by TLS 1.2: %s", service, got)
		}
		plain, err := net.Dial("tcp", s.door(service))
		if err != nil {
			t.Fatal(err)
		}
		if got := exchangeInside(plain, []byte(request), "GET"); got.Err == nil && got.Status != 400 {
			t.Errorf("%s in plain: %s", service, got)
		}
		_ = plain.Close()
	}
	const unsigned = "eyJhbGciOiJub25lIiwidHlwIjoidHhudG9rZW4rand0In0.eyJzdWIiOiJhIn0."
	claims := http.Header{"X-User-Id": {"1"}, "X-User-Roles": {"support"}, "X-Caller": {"orders"}}
	catalog, reviews := s.member("catalog"), s.member("reviews")
	for _, step := range []struct {
		name   string
		caller *member
		call   innerCall
		status int
		reason string
	}{
		{"no token", catalog, innerCall{to: "catalog", target: "/products"}, 401, "inside.token_missing"}, // also on an anonymous route
		{"the outside token", catalog, innerCall{to: "payments", target: "/payments", header: bearer(session)}, 401, "inside.token_missing"},
		{"the outside token as inside token", catalog, innerCall{to: "payments", target: "/payments", token: session}, 401, "inside.token_invalid"},
		{"claims in plain", catalog, innerCall{to: "payments", target: "/payments", header: claims}, 401, "inside.token_missing"},
		{"unsigned", catalog, innerCall{to: "payments", target: "/payments", token: unsigned}, 401, "inside.token_invalid"},
		{"a call as if of orders", catalog, innerCall{to: "payments", method: "POST", target: "/charges", token: inside(), proof: zone.ProofSignature, body: `{"amount":1}`, header: claims}, 403, "inside.call"},
		{"undeclared path", catalog, innerCall{to: "catalog", target: "/debug/pprof/"}, 401, "inside.token_missing"},
		{"another's own token", reviews, innerCall{to: "orders", method: "POST", target: "/sales", token: catalog.ownToken(), body: "[1]"}, 401, "inside.token_invalid"},
		{"a handle as token", catalog, innerCall{to: "orders", method: "POST", target: "/sales", token: "AAAAAAAAAAAAAAAAAAAAAA", body: "[1]"}, 401, "inside.token_invalid"},
	} {
		if got := step.caller.ask(step.call); got.Status != step.status || got.Reason != step.reason {
			t.Errorf("%s: %s %s, want %d %s", step.name, got, got.Body, step.status, step.reason)
		}
	}
	if got := catalog.ask(innerCall{to: "orders", method: "POST", target: "/sales", token: catalog.ownToken(), body: "[1]"}); !got.passed() {
		t.Errorf("positive control: catalog's declared call: %s %s", got, got.Body)
	}
	if got := s.do(call{path: "/products", bearer: session}); got.Status != 200 {
		t.Errorf("positive control: through the gateway: %d", got.Status)
	}
}
