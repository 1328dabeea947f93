package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

func TestServable(t *testing.T) {
	for _, c := range []struct {
		name, add string
		stops     string // in the error; empty: it serves
		says      string // in the log
	}{
		{"plain", "", "", ""},
		{"weak", "identity: {registration: open}\n", "", "map: weak"},
		{"not enforced", "traffic: {action: block}\n", "", "not enforced yet"},
		{"stops", "policies: [p/*.cedar]\n", "policies", ""},
		{"stops by its certificate", "", "ACME", ""},
	} {
		text := testMap + c.add
		if strings.Contains(c.name, "certificate") {
			text = strings.Replace(text, `public: {address: "127.0.0.1:1"}`, `public: {address: "127.0.0.1:1", certificate: acme}`, 1)
		}
		z, err := zone.Parse("zone.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var log buffer
		tellNotices(z, slog.New(slog.NewTextHandler(&log, nil)))
		err = servable(z)
		if (err != nil) != (c.stops != "") || err != nil && !(strings.Contains(err.Error(), c.stops) && strings.Contains(err.Error(), "zone.yaml:")) {
			t.Errorf("%s: %v, want an error with its place and %q", c.name, err, c.stops)
		}
		if !strings.Contains(log.String(), c.says) {
			t.Errorf("%s: logged %q, want %q", c.name, log.String(), c.says)
		}
	}
}

// TestPortTaken: whichever port is taken, nothing is served, the error names
// the listener and the address, and all that was opened is closed again.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(socketDir(t), "data")
	for i, name := range []string{"listener public", "admin listener", "control listener"} {
		addresses := make([]string, 3)
		addresses[i] = taken.Addr().String()
		called := false
		err := Serve(t.Context(), parsed(t, addresses...), Options{Data: data, Log: quiet, Ready: func() { called = true }})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%s: %v, want the listener and its address", name, err)
		}
		if called {
			t.Errorf("%s: it was called ready", name)
		}
		if _, err := os.Lstat(filepath.Join(data, "admin.sock")); !os.IsNotExist(err) {
			t.Errorf("%s: the admin socket is left (%v)", name, err)
		}
	}
	r := serveZone(t, parsed(t), data) // the folder, its lock and its journal are free
	if status, body := r.ask("GET", "/v1/status", nil); status != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// TestControlWithoutHost: an address that is only a port is every address of this
// host, and the certificate names loopback.
func TestControlWithoutHost(t *testing.T) {
	r := serveZone(t, parsed(t, "", "", ":0"), filepath.Join(socketDir(t), "data"))
	if status, body := r.ask("GET", "/v1/status", nil); status != 200 {
		t.Errorf("status: %d %s", status, body)
	}
}

// TestStopWhileStarting: who is told to stop before it serves ends as cleanly as
// who served.
func TestStopWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := filepath.Join(socketDir(t), "data")
	if err := Serve(ctx, parsed(t), Options{Data: data, Log: quiet}); err != nil {
		t.Errorf("told to stop at once: %v, want none", err)
	}
	if err := serveZone(t, parsed(t), data).stop(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestPartEnds: a part that dies takes the zone with it, with its error; one
// that just ends is no better.
func TestPartEnds(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"fails": {errors.New("it is broken"), "clock: it is broken"},
		"ends":  {nil, "clock: it ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := build(t.Context(), parsed(t), Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.close() }()
			s.background.add("clock", func(context.Context) error { return c.err })
			if err := s.run(t.Context()); err == nil || err.Error() != c.want {
				t.Errorf("run = %v, want %q", err, c.want)
			}
			if waiting := s.waiting(t.Context()); len(waiting) == 0 {
				t.Error("it is called ready while it ends")
			}
		})
	}
}

// TestFollowersDoNotHoldTheEnd: a stop does not wait for who follows the log. One
// that does breaks the stream off after drainTime, each time; a machine that was
// slow for as long is asked again.
func TestFollowersDoNotHoldTheEnd(t *testing.T) {
	for attempt := 1; ; attempt++ {
		took, broke := stopFollowed(t)
		if broke == nil {
			return
		}
		if took < drainTime || attempt == 5 {
			t.Fatalf("after %v the follower's stream broke: %v, want its end", took, broke)
		}
	}
}

// stopFollowed stops a zone whose log is followed, and returns how long the stop took
// and what became of the stream.
func stopFollowed(t *testing.T) (took time.Duration, broke error) {
	t.Helper()
	r := serveZone(t, parsed(t), filepath.Join(socketDir(t), "data"))
	res, err := r.admin.Get("http://admin/v1/logs?follow=1&limit=1&form=json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, first); err != nil { // its own record
		t.Fatal(err)
	}
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	took = time.Since(began)
	_, broke = io.Copy(io.Discard, res.Body)
	return took, broke
}

// TestSessionsEndTogether: over the real store a password is not changed when
// the sessions cannot be ended, and no session outlives the change.
func TestSessionsEndTogether(t *testing.T) {
	s, err := build(t.Context(), parsed(t), Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	u, err := s.identity.AddUser(t.Context(), "ada@shop.example", "a long enough passphrase", nil)
	if err != nil {
		t.Fatal(err)
	}
	login := func() string {
		t.Helper()
		token, _, err := s.sessions.Create(t.Context(), session.NewSession{User: u.ID, Level: 1, Method: "password"})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	exec := func(query string) {
		t.Helper()
		if err := s.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	password := func() (phc string) {
		t.Helper()
		if err := s.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT password FROM users").Scan(&phc)
		}); err != nil {
			t.Fatal(err)
		}
		return phc
	}

	token, before := login(), password()
	exec("CREATE TRIGGER planted BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'planted'); END")
	if err := s.identity.SetPassword(t.Context(), u.ID, "another long passphrase"); err == nil {
		t.Error("the password was set though the sessions cannot be ended")
	}
	if password() != before {
		t.Error("the password changed without the sessions")
	}
	exec("DROP TRIGGER planted")
	if _, err := s.sessions.Lookup(t.Context(), token); err != nil {
		t.Errorf("the session after the refused change: %v", err)
	}
	for _, change := range []func() error{
		func() error { return s.identity.SetPassword(t.Context(), u.ID, "another long passphrase") },
		func() error { return s.identity.SetDisabled(t.Context(), u.ID, true) },
		func() error { return s.identity.DeleteUser(t.Context(), u.ID) },
	} {
		token := login()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.sessions.Lookup(t.Context(), token); problem.ReasonOf(err) != problem.AuthRevoked {
			t.Errorf("a session after the change: %v, want auth.revoked", err)
		}
	}
}

// TestPruneRevocations: however many there are, none that is too old stays, and
// none that is not is lost.
func TestPruneRevocations(t *testing.T) {
	s, err := build(t.Context(), parsed(t), Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	s.clock = func() time.Time { return now }
	const old, young = 1200, 3
	if err := s.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range old + young {
			r := store.Revocation{Kind: store.KindSubject, Subject: "u", At: now.Add(-8 * 24 * time.Hour)}
			if i >= old {
				r.At = now.Add(-6 * 24 * time.Hour)
			}
			if err := tx.Revoke(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.pruneOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := s.db.RevocationsAfter(t.Context(), 0, old+young)
	if err != nil || len(left) != young || left[0].Number != old+1 {
		t.Errorf("%d are left, the first %+v (%v), want the last %d", len(left), left, err, young)
	}
}

// TestAdminLists: lists come in pages, each of them bounded.
func TestAdminLists(t *testing.T) {
	r := serveZone(t, parsed(t), filepath.Join(socketDir(t), "data"))
	for i := range 3 {
		email := fmt.Sprintf("u%d@shop.example", i)
		if status, body := r.ask("POST", "/v1/users", NewUser{Email: email, Password: "a long enough passphrase"}); status != 200 {
			t.Fatalf("add %s: %d %s", email, status, body)
		}
	}
	var page Users
	_, body := r.ask("GET", "/v1/users?after=U0@shop.example", nil)
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Users) != 2 || page.Users[0].Email != "u1@shop.example" || page.Next != "" {
		t.Errorf("after the first: %s (%v), want the other two", body, err)
	}
	if _, body := r.ask("GET", "/v1/keys", nil); body != `{"keys":[]}` {
		t.Errorf("keys %s, want none", body)
	}
}
