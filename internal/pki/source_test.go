package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// handshake makes a TLS connection to a listener with the source and sends a
// byte each way, so that both sides know how it ended.
func handshake(t testing.TB, s *Source, client *tls.Config) error {
	t.Helper()
	return connect(t, &tls.Config{GetCertificate: s.GetCertificate, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}, client)
}

// connect is handshake with any two configurations. It goes over loopback: in
// a pipe without a buffer two alerts would wait for each other. In a synctest
// bubble the network is outside of its clock, so no time passes meanwhile.
func connect(t testing.TB, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	served := make(chan error, 1)
	go func() { served <- serveByte(l, server) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, client)
	_, err = c.Write([]byte{'x'})
	if err == nil {
		var b [1]byte
		_, err = io.ReadFull(c, b[:])
	}
	_ = conn.Close()
	if serverErr := <-served; err == nil {
		err = serverErr
	}
	return err
}

// serveByte echoes one byte to one connection.
func serveByte(l net.Listener, config *tls.Config) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	c := tls.Server(conn, config)
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	_, err = c.Write(b[:])
	return err
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// Over a month of renewals no handshake fails. The clock is synctest's, for the
// CA, the client and the server alike.
func TestRenewalIsNeverNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := openCA(t, newGround(t), time.Now)
		s := serverCertificate(t, ca, "shop.example")
		client := &tls.Config{RootCAs: trusting(t, ca), ServerName: "shop.example", MinVersion: tls.VersionTLS13}
		idle := serverCertificate(t, ca, "shop.example") // the control: nobody runs it
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })

		began := time.Now()
		serials := map[string]bool{}
		for time.Since(began) < 30*day {
			if err := handshake(t, s, client); err != nil {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			serials[s.Leaf().SerialNumber.String()] = true
			if left := time.Until(s.Leaf().NotAfter); left < 2*day {
				t.Fatalf("after %s: a leaf with %s to live is served, want it renewed at two thirds", time.Since(began), left)
			}
			time.Sleep(4 * time.Hour)
		}
		if len(serials) < 6 {
			t.Errorf("%d certificates in 30 days, want 7 or so: nothing was renewed", len(serials))
		}
		if err := handshake(t, idle, client); err == nil {
			t.Error("a leaf that was not renewed for 30 days is accepted: the test proves nothing")
		}
		cancel()
		wg.Wait()
	})
}

// Handshakes and replacements at the same time, in real time.
func TestReloadUnderHandshakes(t *testing.T) {
	ca := openCA(t, newGround(t), time.Now)
	s := serverCertificate(t, ca, "shop.example")
	client := &tls.Config{RootCAs: trusting(t, ca), ServerName: "shop.example", MinVersion: tls.VersionTLS13}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := handshake(t, s, client); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 50 {
		before := s.Leaf()
		if err := s.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		if s.Leaf().Equal(before) {
			t.Error("Reload kept the leaf")
		}
	}
	close(done)
	wg.Wait()
}

// A CA that cannot sign leaves the listener with what it has, and says so.
func TestFailedRenewalKeepsTheCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		g := newGround(t)
		ca, err := OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Log: logTo(&log)})
		if err != nil {
			t.Fatal(err)
		}
		s := serverCertificate(t, ca, "shop.example")
		first := s.Leaf()
		s.from = failing{s.from}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		time.Sleep(5 * day)
		synctest.Wait()
		if !s.Leaf().Equal(first) {
			t.Error("the certificate changed")
		}
		if !strings.Contains(log.String(), "the one in use stays") {
			t.Errorf("the log says nothing: %s", log.String())
		}
		client := &tls.Config{RootCAs: trusting(t, ca), ServerName: "shop.example", MinVersion: tls.VersionTLS13}
		if err := handshake(t, s, client); err != nil {
			t.Errorf("handshake: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

// failing is a supplier that knows when, but not how.
type failing struct{ supplier }

func (failing) supply(context.Context, time.Time, *tls.Certificate) (*tls.Certificate, error) {
	return nil, errors.New("the CA is away")
}

func TestZeroSourceServesNothing(t *testing.T) {
	var s Source
	if c, err := s.GetCertificate(nil); err == nil || c != nil || s.Leaf() != nil {
		t.Errorf("GetCertificate: %v, %v, want an error", c, err)
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
