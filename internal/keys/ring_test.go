package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

// start is where hand-set clocks stand.
var start = time.Date(2026, 10, 17, 12, 0, 0, 0, time.UTC)

// clock is a hand-set clock.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newRing(t *testing.T, db *store.DB, root *Root, now func() time.Time) *Ring {
	t.Helper()
	r, err := NewRing(t.Context(), db, root, RingConfig{Name: "txn-token", Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rotate(t *testing.T, r *Ring) {
	t.Helper()
	if err := r.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// signs returns the kid that a ring signs with.
func signs(t *testing.T, r *Ring) string {
	t.Helper()
	k, err := r.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

// publishes returns the kids that a ring publishes, sorted.
func publishes(t *testing.T, r *Ring) []string {
	t.Helper()
	public, err := r.PublicKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range public {
		ids = append(ids, k.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestRingSignsAndVerifiesTokens(t *testing.T) {
	db, _ := newDB(t)
	at := &clock{start}
	r := newRing(t, db, newRoot(t), at.Now)
	m, err := token.NewMinter(token.Config{Zone: "z", Issuer: "https://z", Workload: "spiffe://z/gateway", Signers: r, Clock: at.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := token.NewVerifier(token.VerifierConfig{Zone: "z", Issuer: "https://z", Keys: r, Clock: at.Now})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := m.Mint(t.Context(), token.Subject{Subject: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second from memory
		if c, err := v.Verify(t.Context(), tok.Value); err != nil || c.Subject != "ann" {
			t.Fatalf("Verify: %v, %v", c, err)
		}
	}

	// A key that was withdrawn elsewhere takes its tokens along, those that were remembered too.
	old := signs(t, r)
	if err := withdraw(t, db, r, old); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), tok.Value); problem.ReasonOf(err) != problem.InsideTokenInvalid {
		t.Errorf("token of a withdrawn key: %v, want %v", err, problem.InsideTokenInvalid)
	}
	if got := publishes(t, r); len(got) != 1 || got[0] == old || signs(t, r) != got[0] {
		t.Errorf("after the withdrawal: publishes %v, want one new key that signs", got)
	}
	if tok, err = m.Mint(t.Context(), token.Subject{Subject: "ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), tok.Value); err != nil {
		t.Errorf("token of the new key: %v", err)
	}
	if err := withdraw(t, db, r, old); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second withdrawal: %v, want %v", err, store.ErrNotFound)
	}
	if err := withdraw(t, db, r, "unknown"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("withdrawal of an unknown key: %v, want %v", err, store.ErrNotFound)
	}
}

// A ring that cannot look at its database signs for a while, then refuses.
func TestRingWithoutDatabaseStopsSigning(t *testing.T) {
	db, _ := newDB(t)
	at := &clock{start}
	r := newRing(t, db, newRoot(t), at.Now)
	kid := signs(t, r)
	at.now = start.Add(5 * time.Minute)
	if got := signs(t, r); got != kid { // the twin: the database is there, it looks
		t.Errorf("%s signs, want %s", got, kid)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	at.now = at.now.Add(4*time.Minute - 1)
	if got := signs(t, r); got != kid {
		t.Errorf("%s signs, want %s", got, kid)
	}
	at.now = at.now.Add(1)
	if _, err := r.SigningKey(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("SigningKey: %v, want %v", err, store.ErrUnavailable)
	}
}

// What was read is old when either clock says so: a host that slept stopped the
// one, an administrator may set back the other.
func TestOldByEitherClock(t *testing.T) {
	read := time.Now()
	for _, c := range []struct {
		name  string
		now   time.Time
		fresh bool
	}{
		{"soon", read.Add(4*time.Minute - 1), true},
		{"late", read.Add(4 * time.Minute), false},
		{"slept for a while", slept(t, read, 3*time.Minute), true},
		{"slept for long", slept(t, read, 4*time.Minute), false},
		{"set back", slept(t, read, -time.Hour), true},
		{"set back, late", slept(t, read, -time.Hour).Add(4 * time.Minute), false},
	} {
		r := &Ring{cfg: RingConfig{Overlap: defaultOverlap, Clock: func() time.Time { return c.now }}}
		if got := r.fresh(&snapshot{read: read}); got != c.fresh {
			t.Errorf("%s: fresh %v, want %v", c.name, got, c.fresh)
		}
	}
}

// slept returns t as time.Now would after the host slept for d: its wall clock
// has gone on, its monotonic clock has stood still. Negative, the wall clock was
// set back. Only the runtime makes such times; the layout is that of time.Time
// with a monotonic reading (seconds from bit 30 on).
func slept(t *testing.T, from time.Time, d time.Duration) time.Time {
	t.Helper()
	to := from
	*(*uint64)(unsafe.Pointer(&to)) += uint64(d/time.Second) << 30
	if to.Sub(from) != 0 || to.Round(0).Sub(from.Round(0)) != d {
		t.Fatalf("the clocks differ by %s and %s, want 0 and %s", to.Sub(from), to.Round(0).Sub(from.Round(0)), d)
	}
	return to
}

// Who can write to the database and lacks the root cannot bring in a key, nor
// move one.
func TestPlantedRowsAreRefused(t *testing.T) {
	attackers, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plant := func(t *testing.T, db *store.DB, root *Root, place string) {
		kid, err := token.KeyID(&attackers.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(attackers)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := root.Seal(strings.ReplaceAll(place, "KID", kid), der)
		if err != nil {
			t.Fatal(err)
		}
		write(t, db, `INSERT INTO signing_keys (id, ring, state, sealed, published_at, active_at) VALUES (?, 'txn-token', 'next', ?, ?, ?)`,
			kid, sealed, store.Micros(start), store.Micros(start))
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, db *store.DB, root *Root, ring *Ring)
		want error
	}{
		{"nothing", func(*testing.T, *store.DB, *Root, *Ring) {}, nil},
		{"key sealed right (the control)", func(t *testing.T, db *store.DB, root *Root, _ *Ring) {
			plant(t, db, root, "signing_keys/txn-token/KID")
		}, nil},
		{"key sealed under another root", func(t *testing.T, db *store.DB, _ *Root, _ *Ring) {
			plant(t, db, newRoot(t), "signing_keys/txn-token/KID")
		}, ErrWrongRoot},
		{"key sealed for another ring", func(t *testing.T, db *store.DB, root *Root, _ *Ring) {
			plant(t, db, root, "signing_keys/other/KID")
		}, ErrAltered},
		{"key sealed for another kid", func(t *testing.T, db *store.DB, root *Root, _ *Ring) {
			plant(t, db, root, "signing_keys/txn-token/x")
		}, ErrAltered},
		{"kid changed", func(t *testing.T, db *store.DB, _ *Root, _ *Ring) {
			write(t, db, `UPDATE signing_keys SET id = 'x'`)
		}, ErrAltered},
		{"moved to another ring", func(t *testing.T, db *store.DB, root *Root, _ *Ring) {
			if _, err := NewRing(t.Context(), db, root, RingConfig{Name: "other"}); err != nil {
				t.Fatal(err)
			}
			write(t, db, `UPDATE signing_keys SET state = 'retiring' WHERE ring = 'txn-token'`)
			write(t, db, `UPDATE signing_keys SET ring = 'txn-token' WHERE ring = 'other'`)
		}, ErrAltered},
		{"not a key", func(t *testing.T, db *store.DB, root *Root, ring *Ring) {
			kid := signs(t, ring)
			sealed, err := root.Seal("signing_keys/txn-token/"+kid, []byte("not a key"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, db, `UPDATE signing_keys SET sealed = ?`, sealed)
		}, ErrAltered},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, _ := newDB(t)
			root := newRoot(t)
			at := &clock{start}
			ring := newRing(t, db, root, at.Now)
			c.do(t, db, root, ring)
			if err := ring.Rotate(t.Context()); !errors.Is(err, c.want) {
				t.Fatalf("Rotate: %v, want %v", err, c.want)
			}
			if _, err := NewRing(t.Context(), db, root, RingConfig{Name: "txn-token", Clock: at.Now}); !errors.Is(err, c.want) {
				t.Errorf("NewRing: %v, want %v", err, c.want)
			}
		})
	}
}

// A row that does not open can be withdrawn, and the ring goes on.
func TestDamagedRowCanBeWithdrawn(t *testing.T) {
	db, _ := newDB(t)
	root := newRoot(t)
	ring := newRing(t, db, root, (&clock{start}).Now)
	kid := signs(t, ring)
	write(t, db, `UPDATE signing_keys SET sealed = ?`, []byte{0})
	if err := ring.Rotate(t.Context()); !errors.Is(err, ErrAltered) {
		t.Fatalf("Rotate over a damaged row: %v, want %v", err, ErrAltered)
	}
	if got := signs(t, ring); got != kid {
		t.Errorf("%s signs, want %s: what was read before still serves", got, kid)
	}
	if err := withdraw(t, db, ring, kid); err != nil {
		t.Fatal(err)
	}
	if got := signs(t, ring); got == kid {
		t.Error("the damaged key still signs")
	}
}

func TestTraceOfGoneKeysIsBounded(t *testing.T) {
	db, _ := newDB(t)
	at := &clock{start}
	ring := newRing(t, db, newRoot(t), at.Now)
	for range 3 {
		if err := withdraw(t, db, ring, signs(t, ring)); err != nil {
			t.Fatal(err)
		}
	}
	if n := rows(t, db); n != 4 {
		t.Fatalf("%d rows, want the key and three traces", n)
	}
	at.now = start.Add(keepGone + time.Hour)
	rotate(t, ring) // publishes the next, and tidies up
	if n := rows(t, db); n != 2 {
		t.Errorf("%d rows after %s, want two keys and no trace", n, keepGone)
	}
}

// withdraw ends a key as another process would have, by a row that the ring finds.
func withdraw(t *testing.T, db *store.DB, ring *Ring, kid string) error {
	t.Helper()
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return ring.destroy(ctx, tx, kid, start) }); err != nil {
		return err
	}
	return ring.Rotate(t.Context())
}

func rows(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM signing_keys`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRingConfigurationIsChecked(t *testing.T) {
	db, _ := newDB(t)
	root := newRoot(t)
	for _, c := range []struct {
		name string
		cfg  RingConfig
		ok   bool
	}{
		{"defaults", RingConfig{Name: "a"}, true},
		{"no name", RingConfig{}, false},
		{"name with a slash", RingConfig{Name: "a/b"}, false},
		{"overlap shorter than a token's life", RingConfig{Name: "b", Overlap: 6 * time.Minute}, false},
		{"least overlap", RingConfig{Name: "b", Overlap: 6*time.Minute + 40*time.Second}, true},
		{"negative overlap", RingConfig{Name: "c", Overlap: -time.Hour}, false},
		{"rotation within the overlap", RingConfig{Name: "c", Rotate: 19 * time.Minute}, false},
		{"least rotation", RingConfig{Name: "c", Rotate: 20 * time.Minute}, true},
	} {
		if _, err := NewRing(t.Context(), db, root, c.cfg); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}
