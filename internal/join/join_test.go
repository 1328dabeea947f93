package join

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// fixture is tokens with a hand-set clock.
type fixture struct {
	*Tokens
	t   *testing.T
	db  *store.DB
	dir string
	now atomic.Int64 // unix microseconds
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.now.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMicro())
	var err error
	if f.db, err = pgtest.OpenAt(t, filepath.Join(f.dir, "store.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	f.Tokens = New(f.db, func() time.Time { return time.UnixMicro(f.now.Load()) })
	return f
}

func (f *fixture) pass(d time.Duration) { f.now.Add(d.Microseconds()) }

func (f *fixture) create(service string) (Token, Secret) {
	f.t.Helper()
	token, secret, err := f.Create(f.t.Context(), service)
	if err != nil {
		f.t.Fatal(err)
	}
	return token, secret
}

// want redeems and checks service or reason.
func (f *fixture) want(what string, id ID, secret []byte, service string, reason problem.Reason) {
	f.t.Helper()
	got, err := f.Redeem(f.t.Context(), id[:], secret)
	if got != service || problem.ReasonOf(err) != reason {
		f.t.Errorf("%s: %q, %v, want %q, %s", what, got, err, service, reason)
	}
}

func (f *fixture) list() []Token {
	f.t.Helper()
	list, err := f.List(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func TestRedeem(t *testing.T) {
	f := newFixture(t)
	orders, secret := f.create("orders")
	if left := orders.Expires.Sub(orders.Created); left != 10*time.Minute || orders.Service != "orders" || !orders.Open(orders.Created) {
		t.Errorf("token %+v, want ten minutes for orders", orders)
	}
	stock, stockSecret := f.create("stock")
	if orders.ID == stock.ID || secret == stockSecret || secret == (Secret{}) || orders.ID == (ID{}) {
		t.Error("two tokens share id or secret, or have none")
	}
	f.want("another token's secret", orders.ID, stockSecret[:], "", problem.JoinRefused)
	f.want("first use", orders.ID, secret[:], "orders", problem.OK)
	f.want("second use", orders.ID, secret[:], "", problem.JoinRefused)
	f.want("the other token", stock.ID, stockSecret[:], "stock", problem.OK)
}

func TestTokensExpire(t *testing.T) {
	f := newFixture(t)
	early, earlySecret := f.create("orders")
	late, lateSecret := f.create("orders")
	f.pass(Life - time.Microsecond)
	f.want("a moment before its end", early.ID, earlySecret[:], "orders", problem.OK)
	f.pass(time.Microsecond)
	f.want("at its end", late.ID, lateSecret[:], "", problem.JoinRefused)
	if list := f.list(); len(list) != 0 {
		t.Errorf("%d tokens are listed after their end", len(list))
	}
	if n := f.rows(); n != 2 {
		t.Fatalf("%d rows, want the 2 that have expired", n)
	}
	f.create("orders")
	if n := f.rows(); n != 1 {
		t.Errorf("%d rows after the next was made, want 1", n)
	}
}

func (f *fixture) rows() (n int) {
	f.t.Helper()
	err := f.db.View(f.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM join_tokens").Scan(&n)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// Wrong secrets burn a token, but not before their bound.
func TestWrongSecretsBurnTheToken(t *testing.T) {
	for _, c := range []struct {
		wrong int
		want  problem.Reason
	}{{0, problem.OK}, {MaxTries - 1, problem.OK}, {MaxTries, problem.JoinRefused}, {MaxTries + 3, problem.JoinRefused}} {
		f := newFixture(t)
		token, secret := f.create("orders")
		other, otherSecret := f.create("stock")
		for i := range c.wrong {
			guess := secret
			guess[i%len(guess)] ^= 1
			f.want("a guess", token.ID, guess[:], "", problem.JoinRefused)
		}
		service := ""
		if c.want == problem.OK {
			service = "orders"
		}
		if got := f.list(); got[slices.IndexFunc(got, func(t Token) bool { return t.ID == token.ID })].Open(token.Created) != (c.want == problem.OK) {
			t.Errorf("after %d guesses the list says %+v", c.wrong, got)
		}
		f.want(fmt.Sprintf("after %d guesses", c.wrong), token.ID, secret[:], service, c.want)
		f.want("another token", other.ID, otherSecret[:], "stock", problem.OK)
	}
}

// Whatever is wrong, the caller reads the same.
func TestRefusalsReadTheSame(t *testing.T) {
	f := newFixture(t)
	open, _ := f.create("orders")
	spent, spentSecret := f.create("orders")
	f.want("the control", spent.ID, spentSecret[:], "orders", problem.OK)
	burnt, burntSecret := f.create("orders")
	for range MaxTries {
		f.want("a guess", burnt.ID, nil, "", problem.JoinRefused)
	}
	revoked, revokedSecret := f.create("orders")
	if err := f.Revoke(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	redeem := func(id, secret []byte) func() error {
		return func() error {
			service, err := f.Redeem(t.Context(), id, secret)
			if service != "" {
				t.Errorf("service %q with a refusal", service)
			}
			return err
		}
	}
	var first string
	for _, c := range []struct {
		name  string
		cause error
		try   func() error
	}{
		{"wrong secret", errSecret, redeem(open.ID[:], spentSecret[:])},
		{"no secret", errSecret, redeem(open.ID[:], nil)},
		{"a longer secret", errSecret, redeem(open.ID[:], make([]byte, 33))},
		{"unknown id", errUnknown, redeem(make([]byte, 16), spentSecret[:])},
		{"no id", errUnknown, redeem(nil, spentSecret[:])},
		{"a longer id", errUnknown, redeem(append(open.ID[:], 0), spentSecret[:])},
		{"spent", errSpent, redeem(spent.ID[:], spentSecret[:])},
		{"burnt", errTries, redeem(burnt.ID[:], burntSecret[:])},
		{"revoked", errUnknown, redeem(revoked.ID[:], revokedSecret[:])},
		{"expired", errExpired, func() error { f.pass(Life); return redeem(open.ID[:], spentSecret[:])() }},
	} {
		err := c.try()
		w := httptest.NewRecorder()
		problem.WriteError(w, err, "c0ffee")
		answer := fmt.Sprint(w.Code, w.Header(), w.Body)
		if first == "" {
			first = answer
		}
		if answer != first || w.Code != 403 {
			t.Errorf("%s is answered %s, want %s", c.name, answer, first)
		}
		if !errors.Is(err, c.cause) {
			t.Errorf("%s: for the log %v, want %v", c.name, err, c.cause)
		}
	}
}

// Of many at once one succeeds; the twin: of many tokens all do.
func TestRedeemedOnce(t *testing.T) {
	const callers = 32
	f := newFixture(t)
	second := New(f.db, f.clock)
	for range 5 {
		token, secret := f.create("orders")
		if won := f.race(callers, func(i int) error {
			_, err := []*Tokens{f.Tokens, second}[i%2].Redeem(t.Context(), token.ID[:], secret[:])
			return err
		}); won != 1 {
			t.Errorf("%d of %d redeemed one token, want 1", won, callers)
		}
	}
	var ids [callers]ID
	var secrets [callers]Secret
	for i := range callers {
		var token Token
		token, secrets[i] = f.create("orders")
		ids[i] = token.ID
	}
	if won := f.race(callers, func(i int) error {
		_, err := f.Redeem(t.Context(), ids[i][:], secrets[i][:])
		return err
	}); won != callers {
		t.Errorf("%d of %d redeemed a token of their own", won, callers)
	}
}

// race starts callers at once and counts those that succeed; the others must
// have been refused.
func (f *fixture) race(callers int, call func(i int) error) int {
	var won atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			<-begin
			switch err := call(i); problem.ReasonOf(err) {
			case problem.OK:
				won.Add(1)
			case problem.JoinRefused:
			default:
				f.t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return int(won.Load())
}

// Guesses at once get no more tries than guesses one after the other.
func TestGuessesAtOnceAreCounted(t *testing.T) {
	f := newFixture(t)
	token, secret := f.create("orders")
	if won := f.race(16, func(i int) error {
		guess := secret
		guess[0] ^= byte(i + 1)
		_, err := f.Redeem(t.Context(), token.ID[:], guess[:])
		return err
	}); won != 0 {
		t.Errorf("%d guesses were right", won)
	}
	if tries := f.list()[0].Tries; tries != MaxTries {
		t.Errorf("%d tries are counted, want %d", tries, MaxTries)
	}
	f.want("the right secret, too late", token.ID, secret[:], "", problem.JoinRefused)
}

func TestOpenTokensAreBounded(t *testing.T) {
	f := newFixture(t)
	first, secret := f.create("orders")
	second, _ := f.create("orders")
	third, _ := f.create("orders")
	for range MaxOpen - 3 {
		f.create("orders")
	}
	full := func(when string) {
		t.Helper()
		if _, _, err := f.Create(t.Context(), "orders"); problem.ReasonOf(err) != problem.AdminConflict {
			t.Errorf("%s: %v, want admin.conflict", when, err)
		}
	}
	full("at the bound")
	f.want("one is used", first.ID, secret[:], "orders", problem.OK)
	f.create("orders")
	full("at the bound again")
	if err := f.Revoke(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	f.create("orders")
	full("and again")
	for range MaxTries { // one is burnt
		f.want("a guess", third.ID, nil, "", problem.JoinRefused)
	}
	f.create("orders")
	full("for the last time")
	f.pass(Life)
	f.create("orders") // all others have expired
}

func TestCreateRefusesAName(t *testing.T) {
	f := newFixture(t)
	for service, want := range map[string]problem.Reason{
		"a": problem.OK, strings.Repeat("a", 63): problem.OK, "": problem.AdminInvalid, strings.Repeat("a", 64): problem.AdminInvalid,
	} {
		if _, _, err := f.Create(t.Context(), service); problem.ReasonOf(err) != want {
			t.Errorf("%q: %v, want %s", service, err, want)
		}
	}
}

func TestListAndRevoke(t *testing.T) {
	f := newFixture(t)
	if list := f.list(); list == nil || len(list) != 0 {
		t.Errorf("no tokens: %v, want an empty list", list)
	}
	spent, spentSecret := f.create("orders")
	f.pass(time.Second)
	open, openSecret := f.create("stock")
	f.want("a guess", open.ID, nil, "", problem.JoinRefused)
	f.want("use", spent.ID, spentSecret[:], "orders", problem.OK)
	spent.Spent, spent.Tries, open.Tries = spent.Created.Add(time.Second), 1, 1
	if got, want := f.list(), []Token{open, spent}; !slices.Equal(got, want) {
		t.Errorf("list %+v, want %+v", got, want)
	}
	if !open.Open(open.Created) || spent.Open(open.Created) || open.Open(open.Expires) {
		t.Error("Open is wrong about an open, a spent or an expired token")
	}
	for _, c := range []struct {
		name string
		id   ID
		want problem.Reason
	}{
		{"open", open.ID, problem.OK},
		{"again", open.ID, problem.AdminUnknown},
		{"spent", spent.ID, problem.AdminUnknown},
		{"unknown", ID{}, problem.AdminUnknown},
	} {
		if err := f.Revoke(t.Context(), c.id); problem.ReasonOf(err) != c.want {
			t.Errorf("revoke %s: %v, want %s", c.name, err, c.want)
		}
	}
	f.want("revoked", open.ID, openSecret[:], "", problem.JoinRefused)
}
