package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// tap is a relay that keeps what goes through it in both directions.
type tap struct {
	address string
	mu      sync.Mutex
	seen    bytes.Buffer // guarded by mu
}

// startTap relays connections to an address until the test ends.
func startTap(t testing.TB, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{address: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			end := sync.OnceFunc(func() { _ = in.Close(); _ = out.Close() })
			context.AfterFunc(ctx, end)
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				serving.Go(func() {
					defer end()
					_, _ = io.Copy(way[1], io.TeeReader(way[0], p))
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		serving.Wait()
	})
	return p
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.Write(b)
}

// holds says whether a text went by, in either direction, and how much did in all.
func (p *tap) holds(text string) (found bool, bytesSeen int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.seen.Bytes(), []byte(text)), p.seen.Len()
}

// TestInnerDoorSniffed: what goes to a service with an inner door, and from one to
// another, cannot be read on the wire; without it, it can (SV-03).
func TestInnerDoorSniffed(t *testing.T) {
	t.Parallel()
	n := newInner(t, innerMap)
	const asked, told, noted = "word-of-the-body", "word-of-the-answer", "word-of-the-header"
	n.plain = startUpstream(t, func(c net.Conn, _ received) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(told), told)
	})
	real := map[string]string{"frontdoor": freeAddress(t), "ledgerdoor": freeAddress(t)}
	taps := map[string]*tap{"plain": startTap(t, n.plain.address)}
	n.given["plain"] = taps["plain"].address
	for name, address := range real {
		taps[name] = startTap(t, address)
		n.given[name] = taps[name].address
	}
	n.settle()
	n.start()
	text := n.zoneText()
	for name, address := range real {
		text = strings.ReplaceAll(text, taps[name].address, address)
	}
	n.write("beside.yaml", text)
	for _, service := range []string{"front", "ledger"} {
		token := n.write(service+".join", n.must("join", service))
		n.doors[service] = n.launchSidecar("beside.yaml", service, service+"-door", "--join-file", token)
		n.doors[service].waitReady()
	}
	n.reach("/open")
	session := n.login(n.addUser("alice@shop.example"))
	n.programs["ledger"].answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, told) })
	n.programs["front"].answers(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := n.doors["front"].call(outCall{to: "ledger", method: "POST", target: "/entries", handles: r.Header["Sallyport-Request"], body: string(body), header: http.Header{"X-Note": r.Header["X-Note"]}})
		w.WriteHeader(got.Status)
		_, _ = io.WriteString(w, got.Body)
	})
	note := http.Header{"X-Note": {noted}}
	plain := n.do(call{method: "POST", path: "/plain", bearer: session, body: asked, header: note})
	inside := n.do(call{method: "POST", path: "/upload", bearer: session, body: asked, header: note})
	if plain.Status != 200 || plain.Body != told || inside.Status != 200 || inside.Body != told {
		t.Fatalf("plain: %d %s; with inner doors: %d %s", plain.Status, plain.Body, inside.Status, inside.Body)
	}
	in := n.programs["ledger"].of(inside.ID)
	if len(in) != 1 || in[0].Body != asked || in[0].Header.Get("X-Note") != noted {
		t.Fatalf("ledger got %v", in)
	}
	token := n.plain.of(plain.ID)[0].Header.Get("Txn-Token") // the same to all services: it is cached
	for what, word := range map[string]string{"body": asked, "answer": told, "header": noted, "token": token, "token's claims": strings.Split(token, ".")[1], "name of a header": "Txn-Token", "correlation id": plain.ID} {
		if found, seen := taps["plain"].holds(word); !found {
			t.Errorf("positive control: %s is not among the %d bytes to and from plain", what, seen)
		}
	}
	for _, name := range []string{"frontdoor", "ledgerdoor"} {
		if found, seen := taps[name].holds("\x16\x03\x01"); !found || seen < 1000 { // the first bytes of a TLS record
			t.Errorf("positive control: the tap of %s saw %d bytes", name, seen)
		}
		for _, word := range []string{asked, told, noted, token, strings.Split(token, ".")[1], "Txn-Token", "Signature", "HTTP/1.1", "spiffe://", inside.ID} {
			if found, _ := taps[name].holds(word); found {
				t.Errorf("%.40q was read on the way to %s", word, name)
			}
		}
	}
}
