package upstream

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// serverTLS is the server's side of the tests: one key for all, it takes time to make.
var serverTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0), DNSNames: []string{"shop"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
})

// overTLS is a Dial that speaks TLS over what dial connects. Whom it speaks to
// is no matter here.
func overTLS(dial func(context.Context, zone.Upstream) (net.Conn, error)) upstreamtest.Dial {
	return func(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error) {
		raw, err := dial(ctx, to)
		if err != nil {
			return nil, err
		}
		c := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, ServerName: svc.Name, InsecureSkipVerify: true})
		return c, c.HandshakeContext(ctx)
	}
}

func dialTCP(ctx context.Context, to zone.Upstream) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, to.Network, to.Address)
}

// held keeps what is written until flush: it arrives in one piece then.
type held struct {
	net.Conn
	hold bool
	kept []byte
}

func (h *held) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

func (h *held) flush() {
	h.hold = false
	_ = h.SetWriteDeadline(time.Time{}) // crypto/tls leaves one behind its farewell
	_, _ = h.Conn.Write(h.kept)
}

// secured makes a function that serves TLS of one that speaks; it gets what lies
// below, too.
func secured(serve func(c *upstreamtest.Conn, below *held)) func(*upstreamtest.Conn) {
	return func(c *upstreamtest.Conn) {
		h := &held{Conn: c.Conn}
		c.Conn = tls.Server(h, serverTLS())
		c.R = bufio.NewReader(c.Conn)
		serve(c, h)
	}
}

// Nothing is said in clear to an instance that is declared to speak TLS, and
// nothing to one whose handshake is not done.
func TestNothingInClear(t *testing.T) {
	for _, c := range []struct {
		name, scheme string
		dial         upstreamtest.Dial
		want         problem.Reason
	}{
		{"control: http", "http", nil, problem.OK},
		{"control: http over TLS", "http", overTLS(dialTCP), problem.OK},
		{"control: https over TLS", "https", overTLS(dialTCP), problem.OK},
		{"by default", "https", nil, problem.UpstreamUnreachable},
		{"a plain connection", "https", func(ctx context.Context, _ *zone.Service, to zone.Upstream) (net.Conn, error) {
			return dialTCP(ctx, to)
		}, problem.UpstreamUnreachable},
		{"no handshake yet", "https", func(ctx context.Context, _ *zone.Service, to zone.Upstream) (net.Conn, error) {
			raw, err := dialTCP(ctx, to)
			return tls.Client(raw, &tls.Config{InsecureSkipVerify: true}), err
		}, problem.UpstreamUnreachable},
		{"a dial that fails", "https", func(context.Context, *zone.Service, zone.Upstream) (net.Conn, error) {
			return nil, errTest
		}, problem.UpstreamUnreachable},
	} {
		said := make(chan string, 16)
		serve := func(c *upstreamtest.Conn) {
			raw, _ := c.Head()
			said <- raw
			c.Say(upstreamtest.Sized("ok"))
		}
		if strings.Contains(c.name, "over TLS") {
			clear := serve
			serve = secured(func(c *upstreamtest.Conn, _ *held) { clear(c) })
		}
		s := upstreamtest.Listen(t, "tcp", serve)
		set := newTestSet(t, Config{Dial: c.dial}, s)
		set.instances[0].Scheme = c.scheme
		wantReason(t, c.name, send(set, someRequest("GET", "/")), c.want)
		for range s.Conns.Load() {
			if raw := <-said; (raw != "") != (c.want == problem.OK) {
				t.Errorf("%s: the service read %q", c.name, raw)
			}
		}
	}
}

// A connection over TLS is used again when it is as silent as one without, and
// what TLS holds back counts.
func TestLeftoversOverTLS(t *testing.T) {
	answer, poison := upstreamtest.Sized("first"), upstreamtest.Sized("poison")
	for _, c := range []struct {
		name  string
		after func(c *upstreamtest.Conn, below *held) // writes the answer, and more
		want  string
	}{
		{"control", func(c *upstreamtest.Conn, _ *held) { c.Say(answer) }, "reused"},
		{"control: two records", func(c *upstreamtest.Conn, h *held) { c.Say(answer[:20]); c.Say(answer[20:]) }, "reused"},
		{"in the same record", func(c *upstreamtest.Conn, _ *held) { c.Say(answer + poison) }, "clean"},
		{"in the same record, beyond the reader", func(c *upstreamtest.Conn, _ *held) {
			body := strings.Repeat("x", 2*readBuffer)
			c.Say(upstreamtest.Sized(body) + poison)
		}, "clean"},
		{"in another record of the same piece", func(c *upstreamtest.Conn, h *held) {
			h.hold = true
			c.Say(answer)
			c.Say(poison)
			h.flush()
		}, "clean"},
		{"in another record, later", func(c *upstreamtest.Conn, _ *held) { c.Say(answer); c.Say(poison) }, "clean"},
		{"a farewell of the same piece", func(c *upstreamtest.Conn, h *held) {
			h.hold = true
			c.Say(answer)
			_ = c.Conn.(*tls.Conn).CloseWrite()
			h.flush()
		}, "clean"},
		{"a farewell, later", func(c *upstreamtest.Conn, _ *held) { c.Say(answer); _ = c.Conn.(*tls.Conn).CloseWrite() }, "clean"},
		{"one byte that is no record", func(c *upstreamtest.Conn, h *held) { c.Say(answer); _, _ = h.Write([]byte{1}) }, "clean"},
	} {
		done := make(chan struct{})
		s := upstreamtest.Listen(t, "tcp", secured(func(conn *upstreamtest.Conn, h *held) {
			if conn.N > 0 {
				upstreamtest.Always(upstreamtest.Sized("clean"))(conn)
				return
			}
			conn.Request()
			c.after(conn, h)
			close(done)
			if _, ok := conn.Request(); ok {
				conn.Say(upstreamtest.Sized("reused"))
			}
		}))
		set := newTestSet(t, Config{Dial: overTLS(dialTCP)}, s)
		wantReason(t, c.name, send(set, someRequest("GET", "/")), problem.OK)
		<-done // on loopback, what was written has arrived
		wantServed(t, c.name, send(set, someRequest("GET", "/")), c.want)
	}
}

// exporterProof is a proof that holds on one connection alone: what the inner
// door will do, without its form.
func exporterProof(c *tls.Conn, head []byte) string {
	state := c.ConnectionState()
	key, err := state.ExportKeyingMaterial("EXPORTER-test", nil, sha256.Size)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(head)
	return hex.EncodeToString(mac.Sum(nil))
}

func TestProveOverTLS(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", secured(func(c *upstreamtest.Conn, _ *held) {
		for {
			raw, ok := c.Request()
			if !ok {
				return
			}
			head, said, _ := strings.Cut(raw, "Proof: ")
			if said != exporterProof(c.Conn.(*tls.Conn), []byte(head))+"\r\n\r\n" {
				c.Say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			c.Say(upstreamtest.Sized("ok"))
		}
	}))
	first := "" // the proof of the first request, to be sent again where it is worth nothing
	prove := func(dst []byte, c *Conn, _ *Request) ([]byte, error) {
		proof := exporterProof(c.Net.(*tls.Conn), dst)
		if first == "" {
			first = proof
		}
		return AppendField(dst, "Proof", proof)
	}
	set := newTestSet(t, Config{Dial: overTLS(dialTCP), Prove: prove}, s)
	for range 2 {
		wantServed(t, "proved", send(set, someRequest("GET", "/")), "ok")
	}
	stolen := newTestSet(t, Config{Dial: overTLS(dialTCP), Prove: func(dst []byte, _ *Conn, _ *Request) ([]byte, error) {
		return AppendField(dst, "Proof", first)
	}}, s)
	if got := send(stolen, someRequest("GET", "/")); got.status != 401 {
		t.Errorf("the proof of another connection: got %d %q (%v), want 401", got.status, got.body, got.err)
	}
}

// Hanging up does not wait for a peer that reads nothing.
func TestHangUpOverTLS(t *testing.T) {
	serverTLS() // made outside the bubble
	synctest.Test(t, func(t *testing.T) {
		s, dial := upstreamtest.Pipe(secured(func(c *upstreamtest.Conn, _ *held) {
			c.Head()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
			time.Sleep(time.Hour)
		}))
		set := newTestSet(t, Config{Dial: overTLS(func(ctx context.Context, to zone.Upstream) (net.Conn, error) { return dial(ctx, nil, to) })}, s)
		defer s.Serving.Wait()
		defer set.Close()
		start := time.Now()
		x, err := set.Send(context.Background(), someRequest("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		x.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}
