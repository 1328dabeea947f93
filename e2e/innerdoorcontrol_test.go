package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
)

func modeOf(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().String()
}

// askControl asks the control listener on a connection of its own; status 0: there
// was none.
func (z *zoned) askControl(t testing.TB, cfg *tls.Config, method, path string, header http.Header) innerAnswer {
	t.Helper()
	cfg.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", z.address["control"], cfg)
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer conn.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: control\r\n", method, path)
	_ = header.Write(&b)
	b.WriteString("\r\n")
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(b.Bytes()); err != nil {
		return innerAnswer{Err: err}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return innerAnswer{Status: res.StatusCode, Reason: res.Header.Get("Etag"), Body: string(body), Err: err}
}

// TestInnerDoorControl: a service learns from control what is its own, and nobody
// else learns anything.
func TestInnerDoorControl(t *testing.T) {
	t.Parallel()
	n := startInner(t)
	own := func(name string) *tls.Config {
		current, err := n.member(name).source.Current()
		if err != nil {
			t.Fatal(err)
		}
		return always(current.Certificate)
	}
	front := own("front")
	foreign := newForeignCA(t)
	for _, s := range []struct {
		what         string
		as           *tls.Config
		method, path string
		status       int // 0: no connection
	}{
		{"its own slice", front, "GET", "/v1/services/front", 200}, {"the keys", front, "GET", "/.well-known/jwks.json", 200}, {"a token of its own", front, "POST", "/v1/token", 200},
		{"another's slice", front, "GET", "/v1/services/ledger", 403}, {"the slice of none", front, "GET", "/v1/services/nobody", 403}, {"the gateway's slice", front, "GET", "/v1/services/gateway", 403},
		{"a slice around the path", front, "GET", "/v1/services/front/../ledger", 0}, {"an encoded path", front, "GET", "/v1/services/front%2f..%2fledger", 403},
		{"a slice without a certificate", &tls.Config{}, "GET", "/v1/services/front", 403}, {"the keys without a certificate", &tls.Config{}, "GET", "/.well-known/jwks.json", 403},
		{"a token without a certificate", &tls.Config{}, "POST", "/v1/token", 403}, {"an identity without a certificate", &tls.Config{}, "POST", "/v1/identity", 403},
		{"the gateway's token", always(n.issue("gateway", time.Hour).Certificate), "POST", "/v1/token", 403},
		{"the administration", front, "GET", "/v1/join", 404}, {"a join without a body", &tls.Config{}, "POST", "/v1/join", 400},
		{"a foreign front", always(foreign.leaf("front")), "GET", "/v1/services/front", 0}, {"a service that is not in the map", always(n.issue("ghost", time.Hour).Certificate), "GET", "/.well-known/jwks.json", 0},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, "GET", "/.well-known/jwks.json", 0},
	} {
		got := n.askControl(t, s.as, s.method, s.path, nil)
		if s.path == "/v1/services/front/../ledger" { // ServeMux may point to the clean path; it must not follow it
			if got.Status == 200 || strings.Contains(got.Body, "/entries") {
				t.Errorf("%s: %s %s", s.what, got, got.Body)
			}
			continue
		}
		if got.Status != s.status || (got.Err != nil) != (s.status == 0) || s.status != 200 && strings.Contains(got.Body, "/entries") {
			t.Errorf("%s: %d %.100s %v, want %d", s.what, got.Status, got.Body, got.Err, s.status)
		}
	}
	slice := n.askControl(t, front, "GET", "/v1/services/front", nil)
	for _, secret := range []string{"/unshared", "/aside", "front.sock", "/plain"} { // of others, or of nobody's business
		if strings.Contains(slice.Body, secret) {
			t.Errorf("front's slice tells %s:\n%s", secret, slice.Body)
		}
	}
	if !strings.Contains(slice.Body, "/entries/{id}") || slice.Reason == "" {
		t.Errorf("positive control: front's slice has its calls and a revision:\n%s %s", slice.Reason, slice.Body)
	}
	began := time.Now()
	held := n.askControl(t, front, "GET", "/v1/services/front", http.Header{"If-None-Match": {slice.Reason}, "Prefer": {"wait=1"}})
	if took := time.Since(began); held.Status != 304 || took < time.Second {
		t.Errorf("a question that waits: %d after %v, want 304 after a second", held.Status, took)
	}
	if now := n.askControl(t, front, "GET", "/v1/services/front", http.Header{"If-None-Match": {`"another"`}, "Prefer": {"wait=60"}}); now.Status != 200 {
		t.Errorf("a question with another revision: %d, want 200 at once", now.Status)
	}
	answered := make(chan innerAnswer, 1)
	go func() {
		answered <- n.askControl(t, front, "GET", "/v1/services/front", http.Header{"If-None-Match": {slice.Reason}, "Prefer": {"wait=10"}})
	}()
	if err := n.end(syscall.SIGTERM); err != nil {
		t.Errorf("the zone ended: %v", err)
	}
	if got := <-answered; got.Err == nil && got.Status != 304 {
		t.Errorf("a question that waits while the zone ends: %s", got)
	}
}

// TestInnerDoorStale: a sidecar that does not hear from control refuses everything
// after the bound of the map, and takes requests again when control is back (SV-15).
func TestInnerDoorStale(t *testing.T) {
	t.Parallel()
	n := newInner(t, "staleness: 4s\n"+innerMap)
	n.start()
	n.doors["ledger"], n.doors["front"] = n.sidecar("ledger"), n.sidecar("front")
	session := n.login(n.addUser("alice@shop.example"))
	n.reach("/open")
	t.Cleanup(func() { _ = n.signal(syscall.SIGCONT) }) // before it is killed
	token, front := n.inside(session), n.member("front")
	attempts(t, func(a *attempt) { n.silence(a, token, front) })
	if asked := len(n.programs["ledger"].all()); asked < 5 {
		t.Errorf("ledger was asked %d times", asked)
	}
}

// silence stops control, until its sidecars are deaf, and lets it go on.
func (n *inner) silence(a *attempt, token func() string, front *member) {
	const bound = 4 * time.Second // of the map
	door := n.door("ledger")
	with := func(token string) innerAnswer {
		w, err := dialDoor(a, front.source, "ledger", door)
		if err != nil {
			return innerAnswer{Err: err}
		}
		defer w.conn.Close()
		return w.send(w.craft(httpsig.MAC, "GET", "/entries/1", token, ""))
	}
	posting := outCall{to: "ledger", method: "POST", target: "/postings", body: "1"}
	until(n.t, "front's own calls pass while control answers", func() bool { return n.doors["front"].call(posting).passed() })
	until(n.t, "ledger's sidecar takes requests while control answers", func() bool { return with(token()).passed() })

	last := token() // nobody gives one out from now on
	stopped := time.Now()
	if err := n.signal(syscall.SIGSTOP); err != nil {
		a.Fatal(err)
	}
	if got := with(last); !got.passed() {
		a.disturbed = "the sidecar may have heard of control as long ago as the bound"
		a.Errorf("just after control went silent: %s %.200s, want it to pass", got, got.Body)
	}
	until(n.t, "ledger's sidecar refuses", func() bool { return with(last).Reason == "inside.stale" })
	if took := time.Since(stopped); took < bound/4 {
		a.disturbed = "the sidecar may have heard of control as long ago as the bound"
		a.Errorf("it refused after %v, the bound is %v", took, bound)
	}
	with(last).wants(n.t, "when control is silent", "inside.stale")
	until(n.t, "front's own calls are refused too", func() bool { return n.doors["front"].call(posting).Reason == "inside.stale" })
	if got := n.doors["front"].call(outCall{to: "sidecar", target: "/ready"}); got.Status != 503 {
		n.t.Errorf("front's sidecar says that it is ready: %s", got)
	}
	if err := n.signal(syscall.SIGCONT); err != nil {
		a.Fatal(err)
	}
	until(n.t, "ledger's sidecar takes requests again", func() bool { return with(token()).passed() })
	until(n.t, "front's calls pass again", func() bool { return n.doors["front"].call(posting).passed() })
}

// TestInnerDoorShortStaleness: a bound that the map accepts can be held while
// control answers.
func TestInnerDoorShortStaleness(t *testing.T) {
	t.Parallel()
	n := newInner(t, "staleness: 2s\n"+innerMap)
	n.start()
	n.doors["front"] = n.sidecar("front")
	attempts(t, func(a *attempt) {
		n.reach("/open")
		client := n.client()
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if got := n.do(call{path: "/open", client: client}); got.Status != 200 {
				a.disturbed = "control may not have had the time to answer"
				a.Fatalf("control answers, and the service %d %s: staleness of 2s is in the map", got.Status, got.reason())
			}
		}
	})
}
