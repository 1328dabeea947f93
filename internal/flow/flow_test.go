package flow

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestLife, TestOtherBrowser, TestTries, TestTakenOnce, TestEndAndPrune, TestRefusesAtBegin)
}

type world struct {
	testing.TB
	flows *Flows
	db    *store.DB
	now   time.Time
	path  string
}

type note struct{ Text string }

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{TB: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), path: filepath.Join(dir, "zone.db")}
	var err error
	if w.db, err = pgtest.OpenAt(t, w.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	root, err := keys.OpenRoot(filepath.Join(dir, "root"), true)
	if err != nil {
		t.Fatal(err)
	}
	w.flows = New(w.db, root, func() time.Time { return w.now })
	return w
}

func (w *world) tx(fn func(context.Context, *store.Tx) error) error {
	return w.db.Tx(w.Context(), fn)
}

func (w *world) begin(r Record, text string) (id string) {
	w.Helper()
	if r.Expires.IsZero() {
		r.Expires = w.now.Add(10 * time.Minute)
	}
	err := w.tx(func(ctx context.Context, tx *store.Tx) (err error) {
		id, err = w.flows.Begin(ctx, tx, r, note{text})
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) get(kind, id, browser string) (Record, string, error) {
	var r Record
	var n note
	err := w.tx(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = w.flows.Get(ctx, tx, kind, id, browser, &n)
		return err
	})
	return r, n.Text, err
}

func (w *world) take(kind, id, browser string) (string, error) {
	var n note
	err := w.tx(func(ctx context.Context, tx *store.Tx) error {
		_, err := w.flows.Take(ctx, tx, kind, id, browser, &n)
		return err
	})
	return n.Text, err
}

func (w *world) refused(err error, what string) {
	w.Helper()
	if problem.ReasonOf(err) != problem.AccountFlow {
		w.Errorf("%s: %v, want account.flow", what, err)
	}
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	id := w.begin(Record{Kind: "verify", User: "u1", Tries: 3}, "hello")
	r, text, err := w.get("verify", id, "")
	if err != nil || text != "hello" || r.User != "u1" || r.Tries != 3 || !r.Expires.Equal(w.now.Add(10*time.Minute)) {
		t.Fatalf("%+v %q %v", r, text, err)
	}
	if err := w.tx(func(ctx context.Context, tx *store.Tx) error {
		return w.flows.Update(ctx, tx, "verify", id, note{"changed"})
	}); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.get("recover", id, "")
	w.refused(err, "another kind")
	for _, other := range []string{"", "x", strings.Repeat("A", 43), id + "A", id[:42]} {
		_, _, err = w.get("verify", other, "")
		w.refused(err, "id "+other)
	}
	w.now = w.now.Add(10*time.Minute - time.Microsecond)
	if _, text, err := w.get("verify", id, ""); err != nil || text != "changed" {
		t.Errorf("in its last moment: %q %v", text, err)
	}
	w.now = w.now.Add(time.Microsecond)
	_, _, err = w.get("verify", id, "")
	w.refused(err, "expired")
	_, err = w.take("verify", id, "")
	w.refused(err, "expired, taken")
	w.refused(w.tx(func(ctx context.Context, tx *store.Tx) error {
		return w.flows.Update(ctx, tx, "verify", id, note{})
	}), "expired, updated")
}

func TestOtherBrowser(t *testing.T) {
	w := newWorld(t)
	id := w.begin(Record{Kind: "mfa", Browser: "cookie"}, "x")
	for _, other := range []string{"", "another"} {
		_, _, err := w.get("mfa", id, other)
		w.refused(err, "read by browser "+other)
		_, err = w.take("mfa", id, other)
		w.refused(err, "taken by browser "+other)
	}
	if text, err := w.take("mfa", id, "cookie"); err != nil || text != "x" {
		t.Errorf("its own browser, after others tried: %q %v", text, err)
	}
}

func TestTries(t *testing.T) {
	w := newWorld(t)
	id := w.begin(Record{Kind: "mfa", Tries: 2}, "x")
	try := func() (left int, err error) {
		err = w.tx(func(ctx context.Context, tx *store.Tx) (err error) {
			left, err = w.flows.Try(ctx, tx, "mfa", id)
			return err
		})
		return left, err
	}
	for want := 1; want >= 0; want-- {
		if left, err := try(); err != nil || left != want {
			t.Fatalf("%d left, %v; want %d", left, err, want)
		}
	}
	_, err := try()
	w.refused(err, "a try too many")
	_, _, err = w.get("mfa", id, "")
	w.refused(err, "read without tries")
}

func TestTakenOnce(t *testing.T) {
	w := newWorld(t)
	id := w.begin(Record{Kind: "verify"}, "x")
	var wait sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		wait.Go(func() {
			_, err := w.take("verify", id, "")
			results <- err
		})
	}
	wait.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else {
			w.refused(err, "late")
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 took it", won)
	}
}

func TestEndAndPrune(t *testing.T) {
	w := newWorld(t)
	a, b := w.begin(Record{Kind: "mfa", User: "u1"}, "a"), w.begin(Record{Kind: "verify", User: "u1"}, "b")
	other, nobody := w.begin(Record{Kind: "mfa", User: "u2"}, "c"), w.begin(Record{Kind: "mfa"}, "d")
	end := func(user string, kinds ...string) {
		if err := w.tx(func(ctx context.Context, tx *store.Tx) error { return w.flows.End(ctx, tx, user, kinds...) }); err != nil {
			t.Fatal(err)
		}
	}
	end("u1", "mfa")
	end("")
	_, _, err := w.get("mfa", a, "")
	w.refused(err, "ended by kind")
	for kind, id := range map[string]string{"verify": b, "mfa": other} {
		if _, _, err := w.get(kind, id, ""); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, _, err := w.get("mfa", nobody, ""); err != nil {
		t.Errorf("of nobody: %v", err)
	}
	end("u1")
	_, _, err = w.get("verify", b, "")
	w.refused(err, "ended with all")
	w.now = w.now.Add(time.Hour)
	if n, err := w.flows.Prune(t.Context()); err != nil || n != 2 {
		t.Errorf("pruned %d, %v; want 2", n, err)
	}
}

func TestRefusesAtBegin(t *testing.T) {
	w := newWorld(t)
	for name, r := range map[string]Record{
		"no kind": {Expires: w.now.Add(time.Minute)}, "no end": {Kind: "x"}, "past": {Kind: "x", Expires: w.now},
		"too long": {Kind: "x", Expires: w.now.Add(31 * 24 * time.Hour)},
	} {
		if err := w.tx(func(ctx context.Context, tx *store.Tx) error {
			_, err := w.flows.Begin(ctx, tx, r, note{})
			return err
		}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := w.tx(func(ctx context.Context, tx *store.Tx) error {
		_, err := w.flows.Begin(ctx, tx, Record{Kind: "x", Expires: w.now.Add(time.Minute)}, note{strings.Repeat("x", maxData)})
		return err
	}); err == nil {
		t.Error("more data than the bound is taken")
	}
}

// TestAtRest looks for data and id in the database's own file: neither may be
// found, where the kind, which is in clear, is.
func TestAtRest(t *testing.T) {
	w := newWorld(t)
	id := w.begin(Record{Kind: "plantedkind", Browser: "plantedcookie"}, "plantedword")
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range []string{w.path, w.path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if !bytes.Contains(all, []byte("plantedkind")) {
		t.Fatal("positive control: the kind is not found")
	}
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"data": []byte("plantedword"), "id": []byte(id), "id's bytes": raw, "cookie": []byte("plantedcookie")} {
		if bytes.Contains(all, secret) {
			t.Errorf("the %s is in the file", name)
		}
	}
}

// TestMoved puts the data of one flow into the row of another.
func TestMoved(t *testing.T) {
	w := newWorld(t)
	_ = w.begin(Record{Kind: "a"}, "of a")
	b := w.begin(Record{Kind: "b"}, "of b")
	if err := w.tx(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE flows SET data = (SELECT data FROM flows WHERE kind = 'a') WHERE kind = 'b'")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, text, err := w.get("b", b, ""); err == nil {
		t.Errorf("data that was moved opens: %q", text)
	}
}
