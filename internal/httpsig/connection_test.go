package httpsig

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/internal/problem"
)

// door is a receiver over real connections: one verifier for each of them.
type door struct{ *httptest.Server }

type conn struct {
	once sync.Once
	v    *MACVerifier
	err  error
}

func (c *conn) verifier(state *tls.ConnectionState) (*MACVerifier, error) {
	c.once.Do(func() {
		var key []byte
		if key, c.err = MACKey(state); c.err == nil {
			c.v, c.err = NewMACVerifier(key)
		}
	})
	return c.v, c.err
}

type connKey struct{}

func newDoor(t *testing.T, p Profile, sender svid) door {
	t.Helper()
	signatures := newVerifier(t, sender)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := func() error {
			m, err := FromRequest(r)
			if err != nil {
				return err
			}
			proof, err := ProofFrom(r.Header)
			if err != nil {
				return err
			}
			if proof.Strength() == Signature {
				_, err = signatures.Verify(r.Context(), &m, p, proof, start)
			} else {
				v, kerr := r.Context().Value(connKey{}).(*conn).verifier(r.TLS)
				if kerr != nil {
					return kerr
				}
				err = v.Verify(&m, p, proof, start)
			}
			if err != nil {
				return err
			}
			body, err := (&Spool{dir: t.TempDir(), budget: 1 << 20, memoryBudget: 1 << 20}).Take(r.Body, 1<<20)
			if err != nil {
				return err
			}
			return CheckDigest(m.Digest, body.Sum)
		}()
		if err != nil {
			problem.WriteError(w, err, "")
			return
		}
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, &conn{})
	}
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true}
	s.StartTLS()
	t.Cleanup(s.Close)
	return door{s}
}

// dial opens a connection as sender; proto is its ALPN.
func (d door) dial(t *testing.T, sender svid, proto string) *tls.Conn {
	t.Helper()
	config := d.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.Certificates = []tls.Certificate{{Certificate: sender.chain[:1], PrivateKey: sender.key}}
	config.NextProtos = []string{proto}
	config.ServerName = "example.com"
	c, err := tls.Dial("tcp", d.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func signerOf(t *testing.T, c *tls.Conn) *MACSigner {
	t.Helper()
	state := c.ConnectionState()
	key, err := MACKey(&state)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewMACSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// head is what a gateway writes of m before its proof.
func head(m Message) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nTxn-Token: %s\r\nX-Correlation-Id: %s\r\nSallyport-Client: %s\r\nContent-Digest: %s\r\nContent-Length: %d\r\n",
		m.Method, m.Target, m.Authority, m.Token, m.Correlation, m.Client, m.Digest, len(content))
}

func exchange(t *testing.T, c *tls.Conn, head []byte, body string) (status int, text string) {
	t.Helper()
	if _, err := c.Write(append(append(bytes.Clone(head), "\r\n"...), body...)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func wantReply(t *testing.T, what string, status int, text string, want problem.Reason) {
	t.Helper()
	if want == problem.OK && status != 200 || want != problem.OK && !strings.Contains(text, want.Code()+`"`) {
		t.Errorf("%s: %d %s, want %s", what, status, text, want)
	}
}

func TestMACOverHTTP1(t *testing.T) {
	sender := newSVID(t, senderID)
	d := newDoor(t, routeMAC, sender)
	a, b := d.dial(t, sender, "http/1.1"), d.dial(t, sender, "http/1.1")
	m := good()
	prove := func(s *MACSigner) []byte {
		h, err := s.Append(head(m), &m, routeMAC, start)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	sa, sb := signerOf(t, a), signerOf(t, b)
	first := prove(sa)
	status, text := exchange(t, a, first, content)
	wantReply(t, "as sent", status, text, problem.OK)
	status, text = exchange(t, a, first, content)
	wantReply(t, "again", status, text, problem.ProofReplayed)
	status, text = exchange(t, b, prove(sa), content)
	wantReply(t, "on another connection", status, text, problem.ProofInvalid)
	status, text = exchange(t, b, prove(sb), content)
	wantReply(t, "on its own", status, text, problem.OK)
	status, text = exchange(t, b, prove(sb), strings.Replace(content, "tea", "mud", 1))
	wantReply(t, "with other content", status, text, problem.ProofDigest)
	status, text = exchange(t, b, head(m), content)
	wantReply(t, "without proof", status, text, problem.ProofMissing)
	twice := append(prove(sb), "Txn-Token: "+m.Token+"\r\n"...)
	status, text = exchange(t, b, twice, content)
	wantReply(t, "two tokens", status, text, problem.ProofInvalid)
}

func TestSignatureOverHTTP1(t *testing.T) {
	sender := newSVID(t, senderID)
	d := newDoor(t, routeSig, sender)
	c := d.dial(t, sender, "http/1.1")
	m := good()
	h, err := sender.signer(t).Append(head(m), &m, routeSig, start)
	if err != nil {
		t.Fatal(err)
	}
	status, text := exchange(t, c, h, content)
	wantReply(t, "as sent", status, text, problem.OK)
	status, text = exchange(t, d.dial(t, sender, "http/1.1"), h, content)
	wantReply(t, "again, on another connection", status, text, problem.ProofReplayed)
	if h, err = signerOf(t, c).Append(head(m), &m, routeMAC, start); err != nil {
		t.Fatal(err)
	}
	status, text = exchange(t, c, h, content)
	wantReply(t, "a mac only", status, text, problem.ProofDowngraded)
}

// Over HTTP/2 the requests of one connection run beside each other, and the
// covered components are pseudo-header fields.
func TestMACOverHTTP2(t *testing.T) {
	sender := newSVID(t, senderID)
	d := newDoor(t, routeMAC, sender)
	c := d.dial(t, sender, "h2")
	signer := signerOf(t, c)
	transport := &http.Transport{ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := good()
			r, err := http.NewRequestWithContext(t.Context(), want.Method, "https://Shop.Example:443"+want.Target, strings.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header = http.Header{TokenHeader: {want.Token}, CorrelationHeader: {want.Correlation}, ClientHeader: {want.Client}, DigestHeader: {want.Digest}}
			m, err := FromOutgoing(r)
			if err != nil {
				t.Error(err)
				return
			}
			reason := problem.OK
			if err := signer.Set(r.Header, &m, routeMAC, start); err != nil {
				t.Error(err)
			}
			if i%4 == 3 {
				reason = problem.ProofInvalid
				r.Header.Set(ClientHeader, `"203.0.113.8";listener=public`)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			text, _ := io.ReadAll(resp.Body)
			wantReply(t, "HTTP/2", resp.StatusCode, string(text), reason)
			if reason == problem.OK && string(text) != "HTTP/2.0" {
				t.Errorf("protocol %s", text)
			}
		})
	}
	wg.Wait()
}

func TestMACKey(t *testing.T) {
	if _, err := MACKey(nil); err == nil {
		t.Error("of no connection")
	}
	if _, err := MACKey(&tls.ConnectionState{Version: tls.VersionTLS13}); err == nil {
		t.Error("before the handshake")
	}
	sender := newSVID(t, senderID)
	keys := func(version uint16, auth tls.ClientAuthType) (client, server []byte, cerr, serr error) {
		certificate := tls.Certificate{Certificate: sender.chain[:1], PrivateKey: sender.key}
		// The certificates are not what is tested: any will do.
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: auth, InsecureSkipVerify: true, MaxVersion: version}
		a, b := net.Pipe()
		ca, sb := tls.Client(a, config), tls.Server(b, config)
		defer func() { _ = a.Close(); _ = b.Close() }()
		done := make(chan error)
		go func() { done <- sb.Handshake() }()
		if err := ca.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		cs, ss := ca.ConnectionState(), sb.ConnectionState()
		client, cerr = MACKey(&cs)
		server, serr = MACKey(&ss)
		return client, server, cerr, serr
	}
	a, b, err, serr := keys(tls.VersionTLS13, tls.RequireAnyClientCert)
	if err != nil || serr != nil || len(a) != KeySize || !bytes.Equal(a, b) {
		t.Errorf("both ends: %x %v, %x %v", a, err, b, serr)
	}
	if other, _, err, _ := keys(tls.VersionTLS13, tls.RequireAnyClientCert); err != nil || bytes.Equal(a, other) {
		t.Errorf("another connection has the same key, %v", err)
	}
	if _, _, cerr, serr := keys(tls.VersionTLS12, tls.RequireAnyClientCert); cerr == nil || serr == nil {
		t.Error("of TLS 1.2")
	}
	if _, _, cerr, serr := keys(tls.VersionTLS13, tls.NoClientCert); cerr != nil || serr == nil {
		t.Errorf("the server of a client without certificate: %v, %v", cerr, serr)
	}
}
