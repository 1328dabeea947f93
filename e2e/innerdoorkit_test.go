package e2e

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// innerMap has two services that call each other behind sidecars, one that nobody
// lets in, and one without inner door, which is given the inside token as it is.
const innerMap = head + `
services:
  front:
    upstream: unix:@run@/front.sock
    sidecar: "@frontdoor@"
    routes:
      GET /open: anonymous
      GET /hold: user
      GET /ask: user
      POST /upload: user
      GET /events: {allow: user, stream: sse}
      GET /case/{name}: user
    calls:
      ledger:
        - GET /entries/{id}
        - POST /entries
        - GET /loose
        - POST /transfers
        - {call: POST /postings, as: service}
  ledger:
    upstream: http://@ledger@
    sidecar: "@ledgerdoor@"
    routes:
      GET /entries/{id}: user
      POST /entries: user
      POST /postings: service
      POST /transfers: {allow: user, proof: signature}
      GET /loose: {allow: user, proof: channel}
      GET /unshared: user
      GET /users/{user}/entries: {allow: user, owner: "path:user"}
    calls:
      front: [GET /open, GET /hold]
  aside:
    upstream: unix:@run@/aside.sock
    sidecar: "@asidedoor@"
    routes:
      GET /aside: anonymous
  plain:
    upstream: http://@plain@
    routes:
      GET /plain: user
      POST /plain: user
`

// inner is a zone of innerMap with some of its sidecars.
type inner struct {
	*zoned
	plain    *upstream
	programs map[string]*program
	doors    map[string]*sidecarRun
}

// startInner serves the zone with the sidecars of some services; all programs run.
func startInner(t testing.TB, services ...string) *inner {
	t.Helper()
	n := newInner(t, innerMap)
	n.start()
	for _, service := range services {
		n.doors[service] = n.sidecar(service)
	}
	if n.doors["front"] != nil {
		n.reach("/open")
	}
	return n
}

// reach waits until the gateway finds the service of a path, which it may have
// asked for before there was a sidecar.
func (n *inner) reach(path string) {
	n.t.Helper()
	until(n.t, "the gateway finds "+path, func() bool { return n.do(call{path: path}).Status == 200 })
}

// newInner runs the programs of the map, and nothing else yet.
func newInner(t testing.TB, text string) *inner {
	t.Helper()
	plain := startUpstream(t, nil)
	ledger := startProgram(t, "127.0.0.1:0", nil)
	n := &inner{plain: plain, programs: map[string]*program{"ledger": ledger}, doors: map[string]*sidecarRun{}}
	n.zoned = newZone(t, text, map[string]string{"plain": plain.address, "ledger": ledger.address})
	for _, service := range []string{"front", "aside"} {
		n.programs[service] = startProgram(t, filepath.Join(n.runDir, service+".sock"), nil)
	}
	return n
}

// stolen is the inside token of a session, as a service without inner door has it.
func (n *inner) stolen(session string) string {
	n.t.Helper()
	got := n.settled(call{path: "/plain", bearer: session})
	in := n.plain.of(got.ID)
	if got.Status != 200 || len(in) != 1 || in[0].Header.Get("Txn-Token") == "" {
		n.t.Fatalf("plain: %d %s, asked %d times", got.Status, got.Body, len(in))
	}
	return in[0].Header.Get("Txn-Token")
}

// inside returns what gives a token of a session that lives on.
func (n *inner) inside(session string) func() string {
	return lasting(func() string { return n.stolen(session) })
}

// program is a service in any language: plain HTTP, and no library of the zone.
type program struct {
	address string
	server  *httptest.Server
	mu      sync.Mutex
	answer  http.HandlerFunc // guarded by mu; nil: 200 ok
	got     []received       // guarded by mu; those whose body was read to its end
}

// startProgram serves on host:port or the path of a unix socket until the test ends.
func startProgram(t testing.TB, address string, answer http.HandlerFunc) *program {
	t.Helper()
	p := &program{answer: answer}
	network := "tcp"
	if address[0] == '/' {
		network = "unix"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	p.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: p, ReadHeaderTimeout: patience}}
	p.server.Start()
	t.Cleanup(p.server.Close)
	return p
}

func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	in := received{Method: r.Method, Target: r.RequestURI, Header: r.Header.Clone(), Body: string(body), Err: err}
	in.Header.Set("Host", r.Host)
	p.mu.Lock()
	p.got = append(p.got, in)
	answer := p.answer
	p.mu.Unlock()
	if answer == nil {
		answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer(w, r)
}

// answers sets what the program does from now on.
func (p *program) answers(with http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = with
}

func (p *program) all() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.got...)
}

// of returns what was received under one correlation id.
func (p *program) of(id string) (list []received) {
	for _, r := range p.all() {
		if r.Header.Get("X-Correlation-Id") == id {
			list = append(list, r)
		}
	}
	return list
}

// zoneText is the map as it was written.
func (z *zoned) zoneText() string {
	z.t.Helper()
	text, err := os.ReadFile(filepath.Join(z.dir, "zone.yaml"))
	if err != nil {
		z.t.Fatal(err)
	}
	return string(text)
}
