package recall

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"sallyport.dev/internal/store"
)

type world struct {
	*Memory[string]
	t     *testing.T
	now   time.Time
	fresh bool
	asked int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Unix(1_700_000_000, 0), fresh: true}
	about := func(v, subject string) bool { return v == subject }
	w.Memory = New(about, func() time.Time { return w.now }, func(time.Time) bool { return w.fresh })
	return w
}

var alice = Key{Hash: sha256.Sum256([]byte("alice")), Kind: 1}

// again says whether the credential had to be asked for.
func (w *world) again(key Key, until time.Duration) bool {
	w.t.Helper()
	before := w.asked
	v, err := w.Recall(w.t.Context(), key, func(context.Context) (string, time.Time, error) {
		w.asked++
		return "usr_1", w.now.Add(until), nil
	})
	if err != nil || v != "usr_1" {
		w.t.Fatalf("recalled %q, %v", v, err)
	}
	return w.asked != before
}

func TestRecall(t *testing.T) {
	elsewhere := Key{Hash: alice.Hash, Kind: 2}
	other := Key{Hash: sha256.Sum256([]byte("bob")), Kind: 1}
	for _, c := range []struct {
		what string
		do   func(w *world)
		key  Key
		want bool // it is asked for again
	}{
		{"positive control", func(*world) {}, alice, false},
		{"another credential", func(*world) {}, other, true},
		{"another place", func(*world) {}, elsewhere, true},
		{"somebody else revoked", func(w *world) { w.Forget(store.Revocation{Kind: store.KindSubject, Subject: "usr_2"}) }, alice, false},
		{"another credential revoked", func(w *world) { w.Forget(store.Revocation{Kind: store.KindCredential, Credential: other.Hash}) }, alice, false},
		{"the credential revoked", func(w *world) { w.Forget(store.Revocation{Kind: store.KindCredential, Credential: alice.Hash}) }, alice, true},
		{"the subject revoked", func(w *world) { w.Forget(store.Revocation{Kind: store.KindSubject, Subject: "usr_1"}) }, alice, true},
		{"all revoked", func(w *world) { w.Forget(store.Revocation{Kind: store.KindAll}) }, alice, true},
		{"a kind of revocation that is not known", func(w *world) { w.Forget(store.Revocation{Kind: "new"}) }, alice, true},
		{"its time nearly over", func(w *world) { w.now = w.now.Add(life - 1) }, alice, false},
		{"its time over", func(w *world) { w.now = w.now.Add(life) }, alice, true},
		{"revocations of others not heard", func(w *world) { w.fresh = false }, alice, true},
	} {
		w := newWorld(t)
		if !w.again(alice, time.Hour) {
			t.Fatal("the first is not asked for")
		}
		c.do(w)
		if got := w.again(c.key, time.Hour); got != c.want {
			t.Errorf("%s: asked again %v, want %v", c.what, got, c.want)
		}
	}
}

// TestEnd: what ends sooner is not believed for longer.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	w.again(alice, time.Second)
	w.now = w.now.Add(time.Second)
	if !w.again(alice, time.Second) {
		t.Error("it is believed beyond its end")
	}
}

// TestRevokedMeanwhile: what was asked before a revocation and answered after it is
// not kept.
func TestRevokedMeanwhile(t *testing.T) {
	for what, revoke := range map[string]func(w *world){
		"positive control": func(*world) {},
		"revoked":          func(w *world) { w.Forget(store.Revocation{Kind: store.KindCredential, Credential: alice.Hash}) },
	} {
		w := newWorld(t)
		_, err := w.Recall(t.Context(), alice, func(context.Context) (string, time.Time, error) {
			revoke(w)
			return "usr_1", w.now.Add(time.Hour), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := w.again(alice, time.Hour), what == "revoked"; got != want {
			t.Errorf("%s: asked again %v, want %v", what, got, want)
		}
	}
}

// TestNotKept: neither errors, nor what a revocation would miss, nor more than fits.
func TestNotKept(t *testing.T) {
	w := newWorld(t)
	gone := errors.New("gone")
	if _, err := w.Recall(t.Context(), alice, func(context.Context) (string, time.Time, error) {
		return "", w.now.Add(time.Hour), gone
	}); !errors.Is(err, gone) {
		t.Fatalf("error %v, want that of ask", err)
	}
	if !w.again(alice, time.Hour) {
		t.Error("an error was remembered")
	}
	strange := Key{Hash: alice.Hash, Kind: Kinds}
	if w.again(strange, time.Hour); !w.again(strange, time.Hour) {
		t.Error("a kind without bound was remembered")
	}
	for n := range 3 * most {
		w.again(Key{Hash: sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16)})}, time.Hour)
	}
	if len(w.known) > most {
		t.Errorf("%d are remembered, want %d at most", len(w.known), most)
	}
}

// TestEveryPlace: a revoked credential is forgotten in whatever place it was sent.
func TestEveryPlace(t *testing.T) {
	w := newWorld(t)
	for kind := range uint8(Kinds) {
		w.again(Key{alice.Hash, kind}, time.Hour)
	}
	w.Forget(store.Revocation{Kind: store.KindCredential, Credential: alice.Hash})
	if len(w.known) != 0 {
		t.Errorf("%d places of a revoked credential are remembered", len(w.known))
	}
}
