package guard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// innerShop is a map for guards that meet over real connections; @NAME is where
// a service listens.
const innerShop = `
zone: shop.example
staleness: 1h
services:
  orders:
    upstream: https://@orders
    embedded: true
    health: GET /healthz
    routes:
      GET /mac: user
      POST /mac: user
      POST /signed: {allow: user, proof: signature}
      POST /plain: {allow: user, proof: channel}
      POST /live: {allow: user, stream: sse}
      GET /inner: service
      GET /own: service
    calls:
      catalog: [GET /products]
  catalog:
    upstream: https://@catalog
    embedded: true
    routes:
      GET /products: service
      GET /start: user
    calls:
      orders: [GET /inner, GET /mac, POST /mac, POST /signed, POST /plain, POST /live, {call: GET /own, as: service}]
  nosy:
    upstream: https://@nosy
    embedded: true
    routes:
      GET /nosy: user
    calls:
      orders: [GET /inner]
`

// patience is against hanging alone: no verdict hangs on it.
const patience = 2 * time.Minute

const correlation = "4ff4a6a2-5e8e-4b62-9c27-3a2b8a9a5a10"

// world is a zone with a CA, inside keys and a control in memory for each guard.
type world struct {
	t         testing.TB
	clock     func() time.Time
	ca        *testca.CA
	key       testKey
	zone      *zone.Zone
	listeners map[string]net.Listener
	controls  map[string]*fakeControl
}

func newWorld(t testing.TB, text string, clock func() time.Time) *world {
	t.Helper()
	w := &world{
		t: t, clock: clock, ca: testca.New(t, "shop.example", clock()), key: newTestKey(t, "k1"),
		listeners: map[string]net.Listener{}, controls: map[string]*fakeControl{},
	}
	for {
		_, rest, found := strings.Cut(text, "https://@")
		if !found {
			break
		}
		name, _, _ := strings.Cut(rest, "\n")
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		w.listeners[name] = l
		text = strings.Replace(text, "@"+name+"\n", l.Addr().String()+"\n", 1)
	}
	w.zone = w.parse(text)
	return w
}

func (w *world) parse(text string) *zone.Zone {
	w.t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return z
}

func (w *world) slice(z *zone.Zone, service string) []byte {
	w.t.Helper()
	s, ok := z.Slice(service)
	if !ok {
		w.t.Fatalf("no service %s", service)
	}
	b, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// guard returns a ready guard of a service.
func (w *world) guard(service string, change func(*Config)) *Guard {
	w.t.Helper()
	c := &fakeControl{slice: w.slice(w.zone, service), keys: jwks(w.t, w.key), waits: true, mint: w.own(service)}
	w.controls[service] = c
	cfg := Config{Service: service, Control: "https://control.invalid", Clock: w.clock, Log: slog.New(slog.DiscardHandler), Spool: w.t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	parts := standin.Parts{Source: w.ca.Source(w.t, service, w.clock), Control: c}
	if len(w.listeners) > 0 { // real connections, in real time
		parts.Patience = patience
	}
	ctx := standin.With(w.t.Context(), parts)
	g, err := New(ctx, cfg)
	if err == nil {
		err = g.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// open lets a guard listen until the test ends.
func (w *world) open(g *Guard, h http.Handler) string {
	w.t.Helper()
	l := w.listeners[g.cfg.Service]
	w.serve(g, l, h)
	return l.Addr().String()
}

func (w *world) serve(g *Guard, l net.Listener, h http.Handler) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l, h) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Errorf("%s serves until %v", g.cfg.Service, err)
		}
	})
}

// token returns an inside token of a user, from the gateway's listener.
func (w *world) token(subject string) string {
	return w.mint(token.Subject{Subject: subject, Listener: "public", Method: "session"})
}

// own returns what mints control's answers to a service that asks for itself.
func (w *world) own(service string) func() string {
	return func() string {
		id := "spiffe://shop.example/" + service
		tok := w.mint(token.Subject{Subject: id, Workload: id, Method: token.MethodSVID})
		return `{"token":"` + tok + `","expires_at":"` + w.clock().Add(time.Minute).Format(time.RFC3339) + `"}`
	}
}

func (w *world) mint(s token.Subject) string {
	m, err := token.NewMinter(token.Config{
		Zone: "shop.example", Issuer: "https://shop.example", Workload: "spiffe://shop.example/gateway", Signers: w.key, Clock: w.clock,
	})
	if err != nil {
		w.t.Error(err)
		return ""
	}
	tok, err := m.Mint(w.t.Context(), s)
	if err != nil {
		w.t.Error(err)
	}
	return tok.Value
}

// line is a connection of a sender that says what it likes.
type line struct {
	t      testing.TB
	conn   *tls.Conn
	mac    *httpsig.MACSigner
	signer *httpsig.Signer
	clock  func() time.Time
	in     *bufio.Reader
}

// dial connects to a guard with an identity.
func (w *world) dial(address string, own *svid.Source) *line {
	w.t.Helper()
	raw, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.over(raw, own)
}

func (w *world) over(raw net.Conn, own *svid.Source) *line {
	w.t.Helper()
	return w.overTo(raw, own, "orders")
}

func (w *world) overTo(raw net.Conn, own *svid.Source, service string) *line {
	w.t.Helper()
	want, err := svid.ServiceID("shop.example", service)
	if err != nil {
		w.t.Fatal(err)
	}
	l := &line{t: w.t, conn: tls.Client(raw, svid.ClientTLS(own, want)), clock: w.clock}
	if err := l.conn.HandshakeContext(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.conn.Close() })
	l.in = bufio.NewReader(l.conn)
	state := l.conn.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err == nil {
		l.mac, err = httpsig.NewMACSigner(key)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	identity, err := own.Current()
	if err == nil {
		l.signer, err = httpsig.NewSigner(signerOf(identity), identity.Certificate.Certificate)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// message is a request without proof.
func message(t testing.TB, method, target, tok, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://orders"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Txn-Token": {tok}, "X-Correlation-Id": {correlation}, "Sallyport-Client": {"192.0.2.7;listener=public"},
		"Content-Digest": {httpsig.Digest([]byte(body))}, "User-Agent": {"test"},
	}
	return r
}

// prove adds the proof of a strength; Channel is none.
func (l *line) prove(r *http.Request, strength httpsig.Strength) *http.Request {
	l.t.Helper()
	p := httpsig.Profile{Demand: strength, NoDigest: len(r.Header["Content-Digest"]) == 0}
	m, err := httpsig.FromOutgoing(r)
	switch {
	case err != nil:
	case strength == httpsig.MAC:
		err = l.mac.Set(r.Header, &m, p, l.clock())
	case strength == httpsig.Signature:
		err = l.signer.Set(r.Header, &m, p, l.clock())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// bytesOf writes a request as it goes over the wire.
func bytesOf(t testing.TB, r *http.Request) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// send sends bytes and returns the reason of the answer, or its status; "gone"
// when there is none.
func (l *line) send(request []byte) string {
	got, _ := l.exchange(request)
	return got
}

func (l *line) exchange(request []byte) (reason, body string) {
	if _, err := l.conn.Write(request); err != nil {
		return "gone", ""
	}
	res, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return "gone", ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return "gone", ""
	}
	if reason := res.Header.Get(problem.ReasonHeader); reason != "" {
		return reason, string(b)
	}
	return res.Status[:3], string(b)
}

// told answers with what the guard knows of a request.
func told(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	in := inboundFrom(r.Context())
	_ = json.NewEncoder(w).Encode(map[string]string{
		"caller": Caller(r.Context()), "sub": PrincipalFrom(r.Context()).Subject, "correlation": CorrelationID(r.Context()), "client": in.client, "body": string(b),
	})
}
