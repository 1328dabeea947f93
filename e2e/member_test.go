package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// member is a workload of a zone: a test that has the real certificate of a
// service, as the Workload API gives it to processes of this user.
type member struct {
	z      *zoned
	name   string
	source *svid.Source
	own    string   // its own inside token, once asked for
	doors  sync.Map // of services, by name: to read the map for each request would take most of the time
}

// member returns a service of the zone, whose identity is renewed until the test ends.
func (z *zoned) member(name string) *member {
	z.t.Helper()
	m := &member{z: z, name: name, source: svid.NewSource(nil)}
	ctx, cancel := context.WithCancel(context.Background())
	api := svid.WorkloadAPI{Socket: filepath.Join(z.runDir, "workload.sock"), Service: name, Log: slog.New(slog.DiscardHandler)}
	ended := make(chan error, 1)
	go func() { ended <- api.Run(ctx, m.source) }()
	z.t.Cleanup(func() { cancel(); <-ended })
	wait, over := context.WithTimeout(ctx, patience)
	defer over()
	if err := m.source.Wait(wait); err != nil {
		z.t.Fatalf("identity of %s: %v\n%s", name, err, z.stderr)
	}
	return m
}

// control asks the control listener.
func (m *member) control(method, path string) (status int, body string) {
	m.z.t.Helper()
	id, err := svid.ServiceID("shop.example", svid.ControlName)
	if err != nil {
		m.z.t.Fatal(err)
	}
	conns := svid.NewConns(nil)
	defer conns.Close()
	req, err := http.NewRequestWithContext(m.z.t.Context(), method, "https://"+m.z.address["control"]+path, http.NoBody)
	if err != nil {
		m.z.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		res, err := svid.NewTransport(m.source, id, conns, &http.Transport{}).RoundTrip(req)
		if err == nil {
			defer res.Body.Close()
			return res.StatusCode, readAll(res)
		}
		if time.Now().After(deadline) {
			m.z.t.Fatalf("%s asks control for %s: %v", m.name, path, err)
		}
	}
}

// aWhile is what an inside token has to live on for a test to use it: more than a
// machine stands still for, and less than those have that are given out.
const aWhile = 25 * time.Second

// livesOn says whether an inside token may still be used for a while.
func livesOn(token string) bool {
	var claims struct{ Exp int64 }
	if parts := strings.Split(token, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claims)
	}
	return time.Until(time.Unix(claims.Exp, 0)) > aWhile
}

// lasting returns a token that was taken by take and may still be used, each time
// it is called: the gateway gives one out for half of its minute.
func lasting(take func() string) func() string {
	token := ""
	return func() string {
		if !livesOn(token) {
			token = take()
		}
		return token
	}
}

// ownToken is the inside token of the service itself.
func (m *member) ownToken() string {
	m.z.t.Helper()
	if !livesOn(m.own) {
		status, body := m.control("POST", "/v1/token")
		if status != 200 {
			m.z.t.Fatalf("own token of %s: %d %s", m.name, status, body)
		}
		m.own, _ = fieldsOf(m.z.t, body)["token"].(string)
	}
	return m.own
}

// innerCall is a request to an inner door.
type innerCall struct {
	to     string // service
	method string // default GET
	target string
	token  string // empty: no Txn-Token
	proof  zone.Proof
	bare   bool // no proof at all
	body   string
	header http.Header
	id     string // correlation id; default one of its own
}

// innerAnswer is what came back, read to its end. Err is that of the connection.
type innerAnswer struct {
	Status int
	Reason string // of a refusal by the guard
	Body   string
	Err    error
}

func (a innerAnswer) String() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Reason))
}

// passed says that the inner door let the request through and the service took it.
func (a innerAnswer) passed() bool { return a.Err == nil && a.Status/100 == 2 && a.Reason == "" }

// door is the address of a service's inner door.
func (z *zoned) door(service string) string {
	z.t.Helper()
	svc := z.model().Service(service)
	if svc == nil || !svc.InnerDoor() {
		z.t.Fatalf("the map has no inner door of %q", service)
	}
	return svc.Doors()[0].Address
}

// door is the address of a service's inner door, which no test moves.
func (m *member) door(service string) string {
	m.z.t.Helper()
	if known, ok := m.doors.Load(service); ok {
		return known.(string)
	}
	address := m.z.door(service)
	m.doors.Store(service, address)
	return address
}

// model is the map as it was read.
func (z *zoned) model() *zone.Zone {
	z.t.Helper()
	model, err := zone.Load(filepath.Join(z.dir, "zone.yaml"))
	if err != nil {
		z.t.Fatal(err)
	}
	return model
}

// ask makes one request over mutual TLS on a connection of its own. It always gets
// an answer that says something of it: a door hangs up on who keeps it waiting, and
// takes no signature while Valkey has not the time to note it.
func (m *member) ask(c innerCall) (got innerAnswer) {
	m.z.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if got = m.askOnce(c); got.Err == nil && got.Reason != "proof.unavailable" || time.Now().After(deadline) {
			return got
		}
	}
}

func (m *member) askOnce(c innerCall) innerAnswer {
	m.z.t.Helper()
	id, err := svid.ServiceID("shop.example", c.to)
	if err != nil {
		m.z.t.Fatal(err)
	}
	raw, err := net.Dial("tcp", m.door(c.to))
	if err != nil {
		return innerAnswer{Err: err}
	}
	conns := svid.NewConns(nil)
	defer conns.Close()
	conn, err := conns.Client(m.z.t.Context(), raw, svid.ClientTLS(m.source, id))
	if err != nil {
		return innerAnswer{Err: err}
	}
	return exchangeInside(conn, m.prove(conn, c), c.method)
}

// prove returns the request with its proof.
func (m *member) prove(conn *tls.Conn, c innerCall) []byte {
	m.z.t.Helper()
	if c.method == "" {
		c.method = "GET"
	}
	if c.id == "" {
		c.id = newID()
	}
	msg := httpsig.Message{
		Method: c.method, Target: c.target, Authority: c.to, Token: c.token, Correlation: c.id,
		Client: "-", Digest: httpsig.Digest([]byte(c.body)),
	}
	h := c.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	for name, value := range map[string]string{"Txn-Token": c.token, "X-Correlation-Id": c.id, "Sallyport-Client": msg.Client, "Content-Digest": msg.Digest} {
		if value != "" {
			h[name] = []string{value}
		}
	}
	if c.proof == zone.ProofChannel { // mutual TLS is all, and nothing covers a digest
		h.Del("Content-Digest")
	} else if !c.bare && c.token != "" { // a proof covers a token
		if err := m.sign(h, &msg, conn, c.proof); err != nil {
			m.z.t.Fatalf("%s signs %s %s: %v", m.name, c.method, c.target, err)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nContent-Type: application/json\r\n", c.method, c.target, c.to, len(c.body))
	_ = h.Write(&b)
	b.WriteString("\r\n" + c.body)
	return b.Bytes()
}

func (m *member) sign(h http.Header, msg *httpsig.Message, conn *tls.Conn, proof zone.Proof) error {
	if proof == zone.ProofSignature {
		own, err := m.source.Current()
		if err != nil {
			return err
		}
		signer, err := httpsig.NewSigner(own.Certificate.PrivateKey.(crypto.Signer), own.Certificate.Certificate)
		if err != nil {
			return err
		}
		return signer.Set(h, msg, httpsig.Profile{Demand: httpsig.Signature}, time.Now())
	}
	state := conn.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err != nil {
		return err
	}
	signer, err := httpsig.NewMACSigner(key)
	if err != nil {
		return err
	}
	return signer.Set(h, msg, httpsig.Profile{Demand: httpsig.MAC}, time.Now())
}

// exchangeInside sends a request and reads the answer.
func exchangeInside(conn net.Conn, request []byte, method string) innerAnswer {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(request); err != nil {
		return innerAnswer{Err: err}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return innerAnswer{Status: res.StatusCode, Reason: res.Header.Get("Sallyport-Reason"), Body: string(body), Err: err}
}

// stranger sends a request over TLS without a certificate of the zone.
func (z *zoned) stranger(t testing.TB, service, request string, cfg *tls.Config) innerAnswer {
	t.Helper()
	cfg.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", z.door(service), cfg)
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer conn.Close()
	return exchangeInside(conn, []byte(request), "GET")
}
