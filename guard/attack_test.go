package guard

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// TestStrangers: who gets as far as a request, and who does not.
func TestStrangers(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	past := svid.NewSource(func() time.Time { return time.Now().Add(-time.Hour) })
	past.Set(w.ca.Identity(t, "gateway", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)))
	foreign := testca.New(t, "shop.example", time.Now())
	orders, err := svid.ServiceID("shop.example", "orders")
	if err != nil {
		t.Fatal(err)
	}
	show := func(s *svid.Source) *tls.Config {
		cfg := svid.ClientTLS(s, orders)
		cfg.VerifyConnection = nil // a stranger does not care who answers
		return cfg
	}
	nobody := show(w.ca.Source(t, "gateway", time.Now))
	nobody.GetClientCertificate = nil
	old := show(w.ca.Source(t, "gateway", time.Now))
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		ok   bool
	}{
		{"the gateway", show(w.ca.Source(t, "gateway", time.Now)), true},
		{"a service", show(w.ca.Source(t, "catalog", time.Now)), true},
		{"no certificate", nobody, false},
		{"the gateway of a foreign CA", show(foreign.Source(t, "gateway", time.Now)), false},
		{"the gateway of another zone", show(testca.New(t, "evil.example", time.Now()).Source(t, "gateway", time.Now)), false},
		{"the gateway, expired", show(past), false},
		{"control", show(w.ca.Source(t, "control", time.Now)), false},
		{"a name of several parts", show(w.ca.Source(t, "ns/a/gateway", time.Now)), false},
		{"TLS 1.2", old, false},
	} {
		request := bytesOf(t, message(t, "GET", "/healthz", w.token("u1"), ""))
		raw, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, tt.cfg)
		_, err = conn.Write(request)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the server speaks after the client is done
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want an answer: %v", tt.name, err, tt.ok)
		}
		_ = conn.Close()
	}
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = raw.Write(bytesOf(t, message(t, "GET", "/mac", w.token("u1"), "")))
	if answer, _ := io.ReadAll(raw); strings.Contains(string(answer), "u1") || !strings.HasPrefix(string(answer), "HTTP/1.0 400") {
		t.Errorf("plain HTTP is answered with %q", answer)
	}
}

// TestProofDemanded: which strength suffices where.
func TestProofDemanded(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, innerShop, clock.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	clock.set(clock.Now().Add(2 * time.Second)) // signatures of the guard's first second are too old
	gateway := w.ca.Source(t, "gateway", clock.Now)
	for _, tt := range []struct {
		target   string
		strength httpsig.Strength
		digest   bool
		want     string
	}{
		{"/mac", httpsig.MAC, true, "200"},
		{"/mac", httpsig.Signature, true, "200"},
		{"/mac", httpsig.Channel, true, "proof.missing"},
		{"/mac", httpsig.MAC, false, "proof.invalid"},
		{"/signed", httpsig.Signature, true, "200"},
		{"/signed", httpsig.MAC, true, "proof.downgraded"},
		{"/signed", httpsig.Channel, true, "proof.missing"},
		{"/signed", httpsig.Signature, false, "proof.invalid"},
		{"/plain", httpsig.Channel, false, "200"},
		{"/plain", httpsig.MAC, false, "200"},
		{"/plain", httpsig.MAC, true, "proof.invalid"},
		{"/live", httpsig.MAC, false, "200"},
		{"/live", httpsig.MAC, true, "proof.invalid"},
		{"/live", httpsig.Channel, false, "proof.missing"},
	} {
		l := w.dial(address, gateway)
		r := message(t, "POST", tt.target, w.token("u1"), "body")
		if !tt.digest {
			r.Header.Del("Content-Digest")
		}
		got, body := l.exchange(bytesOf(t, l.prove(r, tt.strength)))
		if got != tt.want {
			t.Errorf("POST %s by %s, digest %v = %s, want %s", tt.target, tt.strength, tt.digest, got, tt.want)
		}
		if got == "200" && (!strings.Contains(body, `"body":"body"`) || !strings.Contains(body, `192.0.2.7;listener=public`)) {
			t.Errorf("POST %s by %s: the handler saw %s", tt.target, tt.strength, body)
		}
	}
}

// TestTampered: one changed byte of each part that a proof covers, in both
// strengths, and security headers that come twice or not at all.
func TestTampered(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, innerShop, clock.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	clock.set(clock.Now().Add(2 * time.Second))
	gateway := w.ca.Source(t, "gateway", clock.Now)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	again := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = slices.Repeat(r.Header[name], 2) }
	}
	without := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	flip := func(name string) func(*http.Request) {
		return func(r *http.Request) {
			b := []byte(r.Header.Get(name))
			b[len(b)-8] ^= 1
			r.Header.Set(name, string(b))
		}
	}
	other := w.token("u2")
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   string // the reason, or its family
	}{
		{"nothing", func(*http.Request) {}, "200"},
		{"a header that is not covered", set("Accept", "text/plain"), "200"},
		{"method", func(r *http.Request) { r.Method = "GET" }, "proof.invalid"},
		{"path", func(r *http.Request) { r.URL.Path = "/mad" }, "inside.route"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a=2" }, "proof.invalid"},
		{"query gone", func(r *http.Request) { r.URL.RawQuery = "" }, "proof.invalid"},
		{"authority", func(r *http.Request) { r.Host = "order" }, "proof.invalid"},
		{"token", flip("Txn-Token"), "inside.token_invalid"},
		{"token of another request", set("Txn-Token", other), "proof.invalid"},
		{"token twice", again("Txn-Token"), "inside.token_invalid"},
		{"token gone", without("Txn-Token"), "inside.token_missing"},
		{"correlation id", flip("X-Correlation-Id"), "proof.invalid"},
		{"correlation id twice", again("X-Correlation-Id"), "proof.invalid"},
		{"correlation id gone", without("X-Correlation-Id"), "proof.invalid"},
		{"client", set("Sallyport-Client", "192.0.2.8;listener=public"), "proof.invalid"},
		{"client twice", again("Sallyport-Client"), "proof.invalid"},
		{"client gone", without("Sallyport-Client"), "proof.invalid"},
		{"digest", set("Content-Digest", httpsig.Digest([]byte("Body"))), "proof.invalid"},
		{"digest twice", again("Content-Digest"), "proof.invalid"},
		{"digest gone", without("Content-Digest"), "proof.invalid"},
		{"body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("Body")) }, "proof.digest"},
		{"body cut", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("bod")), 3 }, "proof.digest"},
		{"body gone", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }, "proof.digest"},
		{"body longer", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body+")), 5 }, "proof.digest"},
		{"signature", flip("Signature"), "proof.invalid"},
		{"signature twice", again("Signature"), "proof.invalid"},
		{"signature gone", without("Signature"), "proof.invalid"},
		{"input", flip("Signature-Input"), "proof.invalid"},
		{"input twice", again("Signature-Input"), "proof.invalid"},
		{"input gone", without("Signature-Input"), "proof.invalid"},
		{"proof gone", func(r *http.Request) { without("Signature")(r); without("Signature-Input")(r) }, "proof.missing"},
		{"certificate twice", again("Sallyport-Certificate"), "proof.invalid"},
	} {
		for _, strength := range []httpsig.Strength{httpsig.MAC, httpsig.Signature} {
			if strength == httpsig.MAC && strings.HasPrefix(tt.name, "certificate") {
				continue
			}
			l := w.dial(address, gateway)
			r := l.prove(message(t, "POST", "/mac?a=1", w.token("u1"), "body"), strength)
			tt.change(r)
			if got := l.send(bytesOf(t, r)); got != tt.want {
				t.Errorf("%s, %s: %s, want %s", tt.name, strength, got, tt.want)
			}
		}
	}
}

// TestStolen: what a breached service can do with what it sees and has.
func TestStolen(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, innerShop, clock.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	clock.set(clock.Now().Add(2 * time.Second))
	gateway, catalog, nosy := w.ca.Source(t, "gateway", clock.Now), w.ca.Source(t, "catalog", clock.Now), w.ca.Source(t, "nosy", clock.Now)
	orders := w.ca.Source(t, "orders", clock.Now)
	user, own := w.token("u1"), w.ownToken("catalog")
	expired := func() string {
		m := *w
		m.clock = func() time.Time { return clock.Now().Add(-2 * time.Minute) }
		return m.token("u1")
	}()
	for _, tt := range []struct {
		name                  string
		as                    *svid.Source
		method, target, token string
		strength              httpsig.Strength
		want                  string
	}{
		{"declared", catalog, "GET", "/inner", user, httpsig.MAC, "200"},
		{"declared to another service", nosy, "GET", "/mac", user, httpsig.MAC, "inside.call"},
		{"declared to another service, signed", nosy, "POST", "/signed", user, httpsig.Signature, "inside.call"},
		{"a service's own certificate", orders, "GET", "/inner", user, httpsig.MAC, "inside.call"},
		{"past the gateway's routes", gateway, "GET", "/inner", user, httpsig.MAC, "inside.route"},
		{"a stolen token without proof", catalog, "GET", "/inner", user, httpsig.Channel, "proof.missing"},
		{"no token", catalog, "GET", "/inner", "", httpsig.Channel, "inside.token_missing"},
		{"an expired token", catalog, "GET", "/inner", expired, httpsig.MAC, "inside.token_expired"},
		{"for itself", catalog, "GET", "/own", own, httpsig.MAC, "200"},
		{"another's own token", nosy, "GET", "/inner", own, httpsig.MAC, "inside.token_invalid"},
		{"its own token where a user's is due", catalog, "GET", "/inner", own, httpsig.MAC, "inside.call"},
		{"a user's token where its own is due", catalog, "GET", "/own", user, httpsig.MAC, "inside.call"},
	} {
		l := w.dial(address, tt.as)
		r := message(t, tt.method, tt.target, tt.token, "")
		if tt.token == "" {
			r.Header.Del("Txn-Token")
		}
		r.Header.Set("X-Caller", "catalog") // which nobody reads
		if got := l.send(bytesOf(t, l.prove(r, tt.strength))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// What one workload signed is worth nothing on the connection of another.
	honest, thief := w.dial(address, catalog), w.dial(address, gateway)
	signed := honest.prove(message(t, "POST", "/mac", user, "x"), httpsig.Signature)
	if got := thief.send(bytesOf(t, signed)); got != "proof.invalid" {
		t.Errorf("signed by catalog, sent by the gateway: %s, want proof.invalid", got)
	}
	again := honest.prove(message(t, "POST", "/mac", user, "x"), httpsig.Signature)
	if got := honest.send(bytesOf(t, again)); got != "200" {
		t.Errorf("signed and sent by catalog: %s, want 200", got)
	}
}

// ownToken returns the inside token of a service itself.
func (w *world) ownToken(service string) string {
	_, rest, _ := strings.Cut(w.own(service)(), `"token":"`)
	tok, _, _ := strings.Cut(rest, `"`)
	return tok
}
