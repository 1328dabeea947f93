package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/svid"
)

// redeem joins with a token and returns the identity, or why there is none.
func (z *zoned) redeem(token string) (*svid.Identity, error) {
	z.t.Helper()
	parsed, err := svid.ParseJoinToken(strings.TrimSpace(token))
	if err != nil {
		z.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	source := svid.NewSource(nil)
	ended := make(chan error, 1)
	j := svid.Join{Control: "https://" + z.address["control"], Token: parsed, Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- j.Run(ctx, source) }()
	joined := make(chan error, 1)
	go func() { joined <- source.Wait(ctx) }()
	select {
	case err := <-ended:
		return nil, err
	case err := <-joined:
		cancel()
		if err != nil {
			return nil, err
		}
		return source.Current()
	}
}

// joins are the records of attempts to join.
func (z *zoned) joins() (list []record) {
	z.t.Helper()
	for _, r := range z.records("--service", "control", "--limit", "0") {
		if r.Route == "POST /v1/join" {
			list = append(list, r)
		}
	}
	return list
}

// TestInnerDoorJoinTokens: a join token makes one identity of one service, once.
func TestInnerDoorJoinTokens(t *testing.T) {
	t.Parallel()
	n := startInner(t)
	token := n.must("join", "front")
	own, err := n.redeem(token)
	if err != nil || own.ID.String() != "spiffe://shop.example/front" {
		t.Fatalf("positive control: %v %v", own, err)
	}
	if rs := n.joins(); len(rs) != 1 || rs[0].Reason != "ok" || !strings.HasPrefix(rs[0].Principal, "join:") || rs[0].Status != 200 {
		t.Errorf("the records are %+v, want one of a join", rs)
	}
	revoked := n.must("join", "front")
	parsed, err := svid.ParseJoinToken(strings.TrimSpace(revoked))
	if err != nil {
		t.Fatal(err)
	}
	n.must("join", "--revoke", hex.EncodeToString(parsed.ID[:]))
	wrong := parsed
	other, err := svid.ParseJoinToken(strings.TrimSpace(n.must("join", "front")))
	if err != nil {
		t.Fatal(err)
	}
	wrong.ID = other.ID // the secret of another token
	for what, bad := range map[string]string{"used": token, "revoked": revoked, "with another's secret": wrong.String()} {
		if own, err := n.redeem(bad); err == nil || !strings.Contains(err.Error(), "join token") {
			t.Errorf("a token that is %s: %v %v, want it refused", what, own, err)
		}
	}
	refused := 0
	for _, r := range n.joins() {
		if r.Reason == "join.refused" && r.Status == 403 {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d records of refused tokens, want 3: %+v", refused, n.joins())
	}
	if list := n.must("join", "--list"); strings.Contains(list, strings.TrimSpace(token)) || strings.Contains(list, hex.EncodeToString(other.Secret[:])) {
		t.Errorf("the list shows a secret:\n%s", list)
	}
	for what, args := range map[string][]string{"no service of the map": {"join", "nobody"}, "a service without inner door": {"join", "plain"}, "the gateway": {"join", "gateway"}, "the control": {"join", "control"}} {
		if out, errs, code := n.run(args...); code == 0 || strings.Contains(out, "spj_") {
			t.Errorf("a token for %s: exit code %d, %s %s", what, code, out, errs)
		}
	}

	// The same by the sidecar of the built binary.
	garbage := map[string]string{"used": token, "garbage": "spj_AAAA", "no token": "hello", "empty": ""}
	for what, bad := range garbage {
		s := n.launchSidecar("zone.yaml", "front", "bad-"+strings.ReplaceAll(what, " ", "-"), "--join-file", n.write("bad.join", bad))
		if code := s.waitEnd(); code == 0 {
			t.Errorf("a sidecar with a token that is %s: exit code %d\n%s", what, code, s.stderr)
		}
		if text := strings.TrimSpace(bad); text != "" && len(text) > 10 && strings.Contains(s.stderr.String(), text[4:]) {
			t.Errorf("a sidecar with a token that is %s wrote it down:\n%s", what, s.stderr)
		}
	}
	s := n.launchSidecar("zone.yaml", "ledger", "not-mine", "--join-file", n.write("front.join", n.must("join", "front")))
	if code := s.waitEnd(); code == 0 {
		t.Errorf("ledger's sidecar with front's token: exit code %d\n%s", code, s.stderr)
	}
}

// fakeControl is somebody who answers where control should, and keeps what is
// sent to him.
type fakeControl struct {
	address string
	mu      sync.Mutex
	met     int    // guarded by mu; handshakes begun
	sent    []byte // guarded by mu; all that came over TLS
}

func startFakeControl(t testing.TB, certificate tls.Certificate) *fakeControl {
	t.Helper()
	f := &fakeControl{}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return f
}

func (f *fakeControl) serve(c net.Conn) {
	defer c.Close()
	f.mu.Lock()
	f.met++
	f.mu.Unlock()
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	n, _ := c.Read(buf)
	f.mu.Lock()
	f.sent = append(f.sent, buf[:n]...)
	f.mu.Unlock()
	if n > 0 {
		_, _ = c.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

func (f *fakeControl) saw() (met int, sent string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met, string(f.sent)
}

// TestInnerDoorFalseControl: who joins learns first whether control is that of the
// token's zone, and sends nothing to anybody else.
func TestInnerDoorFalseControl(t *testing.T) {
	t.Parallel()
	n, other := startInner(t), startInner(t)
	foreign := newForeignCA(t)
	leaf := foreign.leaf("control")
	leaf.Certificate = append(leaf.Certificate, foreign.root.Raw)
	stolenRoot := leaf // the true root is public: showing it proves nothing
	otherRoot, err := other.redeem(other.must("join", "front"))
	if err != nil {
		t.Fatal(err)
	}
	stolenRoot.Certificate = append(slices.Clone(leaf.Certificate), otherRoot.RootCerts[0].Raw)
	notControl := other.issue("front", time.Hour)
	front := notControl.Certificate
	front.Certificate = append(slices.Clone(front.Certificate), notControl.RootCerts[0].Raw)

	join := func(token, control, folder string) *sidecarRun {
		return n.launchSidecar("zone.yaml", "front", folder, "--join-file", n.write(folder+".join", token), "--control", "https://"+control)
	}
	token := svid.JoinToken{ID: [16]byte{1}, Secret: [32]byte{2}, Root: sha256.Sum256(foreign.root.Raw)}.String() // positive control: this control is of the token's zone
	fake := startFakeControl(t, leaf)
	s := join(token, fake.address, "positive")
	until(t, "the secret is sent to whom the token names", func() bool {
		_, sent := fake.saw()
		return strings.Contains(sent, "POST /v1/join") && strings.Contains(sent, `"secret"`)
	})
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.waitEnd()

	token = other.must("join", "front")
	for what, certificate := range map[string]tls.Certificate{"of another zone": leaf, "that shows a root that is not its own": stolenRoot, "that is a service": front} {
		fake, folder := startFakeControl(t, certificate), "fake-"+strings.ReplaceAll(what, " ", "-")
		s := join(token, fake.address, folder[:12])
		until(t, "the fake control was met, or the sidecar ended", func() bool {
			met, _ := fake.saw()
			return met > 1 || isClosed(s.exited)
		})
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		s.waitEnd()
		if met, sent := fake.saw(); met == 0 || sent != "" {
			t.Errorf("a control %s was met %d times and got %q; want nothing to be sent\n%s", what, met, sent, s.stderr)
		}
	}
	// A token of another zone, at the true control of this one.
	s = join(token, n.address["control"], "crossed")
	if code := s.waitEnd(); code == 0 || !strings.Contains(s.stderr.String(), "another zone") {
		t.Errorf("a token of another zone: exit code %d\n%s", code, s.stderr)
	}
	if rs := n.joins(); len(rs) != 0 {
		t.Errorf("control has records of it: %+v; want that nothing was sent", rs)
	}
	if own, err := other.redeem(token); err != nil || own.ID.Path() != "/front" {
		t.Errorf("positive control: the token still holds in its own zone: %v %v", own, err)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
