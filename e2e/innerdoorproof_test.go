package e2e

import (
	"strings"
	"testing"

	"sallyport.dev/internal/httpsig"
)

// TestInnerDoorStolenToken: an inside token is worth nothing without the proof of
// this very request on this very connection, by a caller whose map names the call.
func TestInnerDoorStolenToken(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	alice := n.addUser("alice@shop.example")
	token := n.inside(n.login(alice))
	front, aside, mac := n.member("front"), n.member("aside"), httpsig.MAC

	w := front.wire(t, "ledger")
	good := w.craft(mac, "GET", "/entries/1", token(), "")
	w.send(good).mustPass(t, "front's declared call with a valid proof")
	if in := n.programs["ledger"].of(good.Header.Get("X-Correlation-Id")); len(in) != 1 || in[0].Header.Get("X-User-Id") != alice.ID || in[0].Header.Get("X-Caller") != "front" {
		t.Errorf("positive control: the service received %v, want one request of alice by front", in)
	}
	w.send(good).wants(t, "the same bytes again on the same connection", "proof.replayed")
	w.send(w.craft(mac, "GET", "/entries/2", token(), "")).mustPass(t, "the connection after a replay")

	other := front.wire(t, "ledger")
	other.send(w.craft(mac, "GET", "/entries/1", token(), "")).wants(t, "the proof of another connection", "proof.invalid")
	other.send(other.craft(mac, "GET", "/entries/1", token(), "")).mustPass(t, "the connection's own proof")

	stranger := aside.wire(t, "ledger")
	for _, s := range []struct {
		what, reason string
		w            *wire
		craft        func(w *wire) *crafted
	}{
		{"no proof", "proof.missing", w, func(w *wire) *crafted {
			return strip(w.craft(mac, "GET", "/entries/1", token(), ""), "Signature", "Signature-Input")
		}},
		{"no proof, no digest", "proof.missing", w, func(w *wire) *crafted { return w.craft(httpsig.Channel, "GET", "/entries/1", token(), "") }},
		{"no signature beside its input", "proof.invalid", w, func(w *wire) *crafted { return strip(w.craft(mac, "GET", "/entries/1", token(), ""), "Signature") }},
		{"the proof of another request", "proof.invalid", w, func(w *wire) *crafted {
			c, of := w.craft(mac, "POST", "/entries", token(), "1"), w.craft(mac, "GET", "/entries/1", token(), "")
			c.Header["Signature"], c.Header["Signature-Input"] = of.Header["Signature"], of.Header["Signature-Input"]
			return c
		}},
		{"the proof of another request with its digest", "proof.invalid", w, func(w *wire) *crafted {
			c := w.craft(mac, "GET", "/entries/1", token(), "")
			c.Method, c.Target, c.Body = "POST", "/entries", "1"
			return c
		}},
		{"the proof of another member's connection", "proof.invalid", w, func(*wire) *crafted { return stranger.craft(mac, "GET", "/entries/1", token(), "") }},
		{"front's proof on another member's connection", "proof.invalid", stranger, func(*wire) *crafted { return w.craft(mac, "GET", "/entries/1", token(), "") }},
		{"another service's certificate", "inside.call", stranger, func(w *wire) *crafted { return w.craft(mac, "GET", "/entries/1", token(), "") }},
		{"another service that says it is front", "inside.call", stranger, func(w *wire) *crafted {
			return with(w.craft(mac, "GET", "/entries/1", token(), ""), "X-Caller", "front")
		}},
		{"another service that says it is the gateway", "inside.call", stranger, func(w *wire) *crafted {
			return with(w.craft(mac, "GET", "/entries/1", token(), ""), "X-Caller", "gateway")
		}},
		{"the right certificate on an undeclared call", "inside.call", w, func(w *wire) *crafted { return w.craft(mac, "GET", "/unshared", token(), "") }},
		{"what the callee does not have", "inside.route", w, func(w *wire) *crafted { return w.craft(mac, "GET", "/debug/pprof/", token(), "") }},
		{"a user's token on a call as service", "inside.call", w, func(w *wire) *crafted { return w.craft(mac, "POST", "/postings", token(), "1") }},
		{"the service's own token on a user's call", "inside.call", w, func(w *wire) *crafted { return w.craft(mac, "GET", "/entries/1", front.ownToken(), "") }},
		{"another service's own token", "inside.token_invalid", w, func(w *wire) *crafted { return w.craft(mac, "POST", "/postings", aside.ownToken(), "1") }},
	} {
		s.w.send(s.craft(s.w)).wants(t, s.what, s.reason)
	}
	w.send(w.craft(mac, "POST", "/postings", front.ownToken(), "1")).mustPass(t, "front's own token on its call as service")
	if all := n.programs["ledger"].all(); len(all) != 4 {
		t.Errorf("the service was asked %d times, want 4 by the positive controls: %v", len(all), all)
	}
	loose := w.craft(httpsig.Channel, "GET", "/loose", token(), "")
	w.send(loose).mustPass(t, "a route with proof: channel")
	stranger.send(stranger.craft(httpsig.Channel, "GET", "/loose", token(), "")).wants(t, "proof: channel by another service", "inside.call")
}

// strip takes headers out of a request.
func strip(c *crafted, names ...string) *crafted {
	for _, name := range names {
		c.Header.Del(name)
	}
	return c
}

// with adds a header line.
func with(c *crafted, name, value string) *crafted {
	c.Header[name] = append(c.Header[name], value)
	return c
}

// TestInnerDoorTampered: one flipped bit in any covered part is refused, in both
// strengths, and the service sees nothing of it.
func TestInnerDoorTampered(t *testing.T) {
	t.Parallel()
	exactly(t, tampered) // a signature is taken by Valkey's leave
}

func tampered(t *attempt) {
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	bobs := n.inside(n.login(n.addUser("bob@shop.example")))
	front, passed := n.member("front"), 0
	for _, strength := range []httpsig.Strength{httpsig.MAC, httpsig.Signature} {
		flip := func(name string, at func(s string) int) func(c *crafted) {
			return func(c *crafted) {
				s := c.Header.Get(name)
				c.Header.Set(name, flipped(s, at(s)))
			}
		}
		after := func(mark string) func(string) int {
			return func(s string) int { return strings.Index(s, mark) + len(mark) }
		}
		half := func(s string) int { return len(s) / 2 }
		for _, s := range []struct {
			part, reason string
			change       func(c *crafted)
		}{
			{"method", "proof.invalid", func(c *crafted) { c.Method = "HEAD" }},
			{"target", "proof.invalid", func(c *crafted) { c.Target += "?x=1" }},
			{"query", "proof.invalid", func(c *crafted) { c.Target += "?" }},
			{"authority", "proof.invalid", func(c *crafted) { c.Host = "ledges" }},
			{"port of the authority", "proof.invalid", func(c *crafted) { c.Host = "ledger:81" }},
			{"token's head", "inside.token_invalid", func(c *crafted) { c.Header.Set("Txn-Token", flippedToken(t, token(), 0)) }},
			{"token's claims", "inside.token_invalid", func(c *crafted) { c.Header.Set("Txn-Token", flippedToken(t, token(), 1)) }},
			{"token's signature", "inside.token_invalid", func(c *crafted) { c.Header.Set("Txn-Token", flippedToken(t, token(), 2)) }},
			{"token of another user", "proof.invalid", func(c *crafted) { c.Header.Set("Txn-Token", bobs()) }},
			{"correlation id", "proof.invalid", func(c *crafted) { c.Header.Set("X-Correlation-Id", newID()) }},
			{"correlation id in capitals", "proof.invalid", func(c *crafted) {
				c.Header.Set("X-Correlation-Id", strings.ToUpper(c.Header.Get("X-Correlation-Id")))
			}},
			{"client", "proof.invalid", flip("Sallyport-Client", func(string) int { return 4 })},
			{"listener of the client", "proof.invalid", flip("Sallyport-Client", after("listener="))},
			{"digest", "proof.invalid", flip("Content-Digest", after("sha-256=:"))},
			{"digest and body", "proof.invalid", func(c *crafted) { c.Body = "3"; c.Header.Set("Content-Digest", httpsig.Digest([]byte("3"))) }},
			{"no digest", "proof.invalid", func(c *crafted) { c.Header.Del("Content-Digest") }},
			{"body", "proof.digest", func(c *crafted) { c.Body = flipped(c.Body, 0) }},
			{"longer body", "proof.digest", func(c *crafted) { c.Body += " " }},
			{"no body", "proof.digest", func(c *crafted) { c.Body = "" }},
			{"signature", "proof.invalid", flip("Signature", half)},
			{"time of the proof", "", flip("Signature-Input", func(s string) int { return strings.Index(s, "created=") + len("created=123456789") })},
			{"nonce", "proof.invalid", flip("Signature-Input", after(`nonce="`))},
			{"covered parts", "proof.invalid", func(c *crafted) {
				c.Header.Set("Signature-Input", strings.Replace(c.Header.Get("Signature-Input"), ` "content-digest"`, "", 1))
			}},
			{"label", "", func(c *crafted) {
				c.Header.Set("Signature-Input", "x"+c.Header.Get("Signature-Input"))
				c.Header.Set("Signature", "x"+c.Header.Get("Signature"))
			}},
			{"a parameter more", "proof.invalid", func(c *crafted) {
				c.Header.Set("Signature-Input", c.Header.Get("Signature-Input")+`;alg="hmac-sha256"`)
			}},
		} {
			w := front.wire(t, "ledger")
			c := w.craft(strength, "GET", "/entries/1", token(), "1")
			s.change(c)
			got := w.send(c)
			what := strength.String() + ": " + s.part
			if s.reason != "" {
				got.wants(t, what, s.reason)
			} else if got.Err != nil || got.passed() || !strings.HasPrefix(got.Reason, "proof.") {
				t.Errorf("%s: %s, want a reason of the family proof", what, got)
			}
		}
		w := front.wire(t, "ledger")
		w.send(w.craft(strength, "GET", "/entries/1", token(), "1")).mustPass(t, strength.String()+" unchanged, on a route that asks for mac")
		passed++
		if strength == httpsig.Signature {
			w.send(w.craft(strength, "POST", "/transfers", token(), "1")).mustPass(t, "a signature unchanged")
			passed++
		}
	}
	if all := n.programs["ledger"].all(); len(all) != passed {
		t.Errorf("the service was asked %d times, want %d by the positive controls: %v", len(all), passed, all)
	}
}

// TestInnerDoorDoubledHeaders: a header that decides is there once or the request
// is refused; nobody chooses among two.
func TestInnerDoorDoubledHeaders(t *testing.T) {
	t.Parallel()
	exactly(t, doubledHeaders) // a signature is taken by Valkey's leave
}

func doubledHeaders(t *attempt) {
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	bobs := n.inside(n.login(n.addUser("bob@shop.example")))
	front, ledger := n.member("front"), n.programs["ledger"]
	for _, s := range []struct{ name, value, reason string }{
		{"Txn-Token", "", "inside.token_invalid"}, {"Txn-Token", bobs(), "inside.token_invalid"},
		{"X-Correlation-Id", "", "proof.invalid"}, {"X-Correlation-Id", newID(), "proof.invalid"},
		{"Sallyport-Client", "", "proof.invalid"}, {"Sallyport-Client", "-", "proof.invalid"},
		{"Content-Digest", "", "proof.invalid"}, {"Content-Digest", httpsig.EmptyDigest, "proof.invalid"},
		{"Signature", "", "proof.invalid"}, {"Signature-Input", "", "proof.invalid"}, {"Sallyport-Certificate", "", "proof.invalid"},
	} {
		for _, joined := range []bool{false, true} {
			if joined && s.name == "Sallyport-Certificate" { // it is a list
				continue
			}
			w := front.wire(t, "ledger")
			c := w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
			first, second := c.Header.Get(s.name), s.value
			if second == "" {
				second = first
			}
			c.Header[s.name] = []string{first, second}
			what := "two lines of " + s.name
			if joined {
				c.Header[s.name] = []string{first + ", " + second}
				what = "two values in one line of " + s.name
			}
			w.send(c).wants(t, what, s.reason)
		}
	}
	for _, name := range []string{"X-User-Id", "X-User-Roles", "X-Caller", "X_User_Id", "X-Client-Id", "Sallyport-Request", "Forwarded", "X-Forwarded-For", "X-Original-Url"} {
		w := front.wire(t, "ledger")
		c := with(with(w.craft(httpsig.MAC, "POST", "/entries", token(), "1"), name, "mallory"), name, "mallory")
		w.send(c).mustPass(t, name+" from outside is dropped")
		in := ledger.of(c.Header.Get("X-Correlation-Id"))
		if len(in) != 1 {
			t.Fatalf("%s: the service was asked %d times", name, len(in))
		}
		for got, values := range in[0].Header {
			if strings.Contains(strings.Join(values, ","), "mallory") {
				t.Errorf("%s reached the service as %s: %q", name, got, values)
			}
		}
	}
	w := front.wire(t, "ledger")
	twice := w.craft(httpsig.MAC, "POST", "/entries", token(), "1")
	twice.Header["Host"] = []string{"ledger"}
	if got := w.send(twice); got.Err == nil && got.Status != 400 {
		t.Errorf("two lines of Host: %s, want 400", got)
	}
}

// TestInnerDoorDowngraded: less proof than the route wants is refused, whatever
// else is right.
func TestInnerDoorDowngraded(t *testing.T) {
	t.Parallel()
	exactly(t, downgraded) // a signature is taken by Valkey's leave
}

func downgraded(t *attempt) {
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	front, aside := n.member("front"), n.member("aside")
	w := front.wire(t, "ledger")
	w.send(w.craft(httpsig.MAC, "POST", "/transfers", token(), "1")).wants(t, "a mac where a signature is asked for", "proof.downgraded")
	w.send(w.craft(httpsig.Channel, "POST", "/transfers", token(), "1")).wants(t, "no proof where a signature is asked for", "proof.missing")
	w.send(w.craft(httpsig.Channel, "POST", "/entries", token(), "1")).wants(t, "no proof where a mac is asked for", "proof.missing")
	w.send(w.craft(httpsig.Signature, "POST", "/entries", token(), "1")).mustPass(t, "a signature where a mac is asked for")
	w.send(w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")).mustPass(t, "a signature where it is asked for")

	both := w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	mac := w.craft(httpsig.MAC, "POST", "/transfers", token(), "1")
	for _, name := range []string{"Signature", "Signature-Input"} {
		both.Header.Set(name, mac.Header.Get(name)+", "+both.Header.Get(name))
	}
	if got := w.send(both); got.passed() || !strings.HasPrefix(got.Reason, "proof.") {
		t.Errorf("both proofs at once: %s, want a reason of the family proof", got)
	}

	relabelled := w.craft(httpsig.MAC, "POST", "/transfers", token(), "1")
	for _, name := range []string{"Signature", "Signature-Input"} {
		relabelled.Header.Set(name, strings.Replace(relabelled.Header.Get(name), "mac=", "wimse=", 1))
	}
	w.send(relabelled).wants(t, "a mac that says it is a signature", "proof.invalid")

	signed := aside.wire(t, "ledger").craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	w.send(signed).wants(t, "another service's signature on front's connection", "proof.invalid")
	swapped := aside.wire(t, "ledger").craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	swapped.Header["Sallyport-Certificate"] = w.craft(httpsig.Signature, "POST", "/transfers", token(), "1").Header["Sallyport-Certificate"]
	w.send(swapped).wants(t, "another service's signature beside front's certificate", "proof.invalid")
	theirs := aside.wire(t, "ledger")
	theirs.send(w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")).wants(t, "front's signature on another service's connection", "proof.invalid")
	w.send(w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")).mustPass(t, "the connection after all this")
	if all := n.programs["ledger"].all(); len(all) != 3 {
		t.Errorf("the service was asked %d times, want 3 by the positive controls", len(all))
	}
}
