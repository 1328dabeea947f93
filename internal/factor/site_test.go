package factor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	va "github.com/descope/virtualwebauthn"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func TestSite(t *testing.T) {
	for _, c := range []struct {
		name    string
		zone    string
		bases   []string
		rpID    string
		origins []string
	}{
		{"the zone's name", "shop.example", []string{"https://shop.example"}, "shop.example", []string{"https://shop.example"}},
		{"below it, with a port", "shop.example", []string{"https://LOGIN.shop.example:8443", "https://localhost:8443", "https://10.0.0.1"}, "shop.example", []string{"https://login.shop.example:8443"}},
		{"the scheme's own port", "shop.example", []string{"https://shop.example:443"}, "shop.example", []string{"https://shop.example"}},
		{"another name", "shop.internal", []string{"https://www.example.org", "https://localhost"}, "www.example.org", []string{"https://www.example.org"}},
		{"one name that is above the others", "shop.internal", []string{"https://www.example.org", "https://example.org"}, "example.org", []string{"https://example.org", "https://www.example.org"}},
		{"names that have nothing in common", "shop.internal", []string{"https://a.example", "https://b.example"}, "", nil},
		{"localhost alone", "shop.example", []string{"http://localhost:8080", "https://localhost:8443", "https://127.0.0.1:8443"}, "localhost", []string{"http://localhost:8080", "https://localhost:8443"}},
		{"a zone that is no host of its own", "localhost", []string{"https://localhost"}, "localhost", []string{"https://localhost"}},
		{"one label does not cover what is below", "example", []string{"https://shop.example"}, "shop.example", []string{"https://shop.example"}},
		{"addresses", "shop.example", []string{"https://127.0.0.1", "https://[::1]:8443"}, "", nil},
		{"plain http", "shop.example", []string{"http://shop.example"}, "", nil},
		{"nothing", "shop.example", nil, "", nil},
		{"nonsense", "shop.example", []string{"", "shop.example", "https://", "https://shop.example/path", "ftp://shop.example"}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rpID, origins := factor.Site(c.zone, c.bases)
			if rpID != c.rpID || !slices.Equal(origins, c.origins) {
				t.Errorf("Site(%q, %q) = %q, %q, want %q, %q", c.zone, c.bases, rpID, origins, c.rpID, c.origins)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		rpID    string
		origins []string
		say     string // empty: accepted
	}{
		{"positive control", rpID, []string{origin}, ""},
		{"positive control, the scheme's own port", rpID, []string{origin + ":443/"}, ""},
		{"no origins", rpID, nil, "no origins"},
		{"http", rpID, []string{origin, "http://shop.example"}, "need https"},
		{"another host", rpID, []string{"https://shop.example.evil.test"}, "neither at"},
		{"the end of its name only", rpID, []string{"https://myshop.example"}, "neither at"},
		{"a path", rpID, []string{origin + "/auth"}, "want https://HOST"},
		{"a user", rpID, []string{"https://x@shop.example"}, "want https://HOST"},
		{"an address", "127.0.0.1", []string{"https://127.0.0.1"}, "RP ID"},
		{"a port", "shop.example:8443", []string{"https://shop.example:8443"}, "RP ID"},
		{"capitals", "Shop.example", []string{origin}, "RP ID"},
		{"a scheme", origin, []string{origin}, "RP ID"},
		{"a dot at the end", "shop.example.", []string{origin}, "RP ID"},
		{"one label", "example", []string{origin}, "neither at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.At(t.Context(), c.rpID, c.origins)
			if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("At(%q, %q): %v, want %q in it", c.rpID, c.origins, err, c.say)
			}
		})
	}
	if _, err := factor.New(t.Context(), factor.Config{Zone: "x"}); err == nil {
		t.Error("New without a store: no error")
	}
}

func TestAnotherRPIDIsRefused(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	elsewhere := []string{"https://other.example"}
	// While there are no passkeys nothing is lost by it.
	for _, id := range []string{"other.example", "", rpID} {
		origins := elsewhere
		if id == rpID {
			origins = []string{origin}
		}
		if _, err := w.At(t.Context(), id, origins); err != nil {
			t.Fatalf("RP ID %q before there are passkeys: %v", id, err)
		}
	}
	w.enroll(alice, d)
	a, _ := w.enrollTOTP(alice)
	for _, id := range []string{"other.example", ""} {
		_, err := w.At(t.Context(), id, elsewhere)
		var refused *factor.SiteError
		if !errors.As(err, &refused) || *refused != (factor.SiteError{Recorded: rpID, Given: id, Passkeys: 1}) {
			t.Fatalf("RP ID %q: %v, want a SiteError", id, err)
		}
		for _, want := range []string{`"shop.example"`, "1 of them would stop working", "--leave-rp-id shop.example"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %s", err, want)
			}
		}
	}
	if _, err := w.At(t.Context(), rpID, []string{"https://new.shop.example"}); err != nil {
		t.Errorf("other origins of the same RP ID: %v", err)
	}
	config := w.config
	config.RPID, config.Origins, config.LeaveRPID = "other.example", elsewhere, "third.example"
	if _, err := factor.New(t.Context(), config); err == nil {
		t.Error("leaving another one than is recorded: no error")
	}
	_, err := w.login(d)
	w.want(err, problem.OK, "after refusals")

	// It leaves on purpose.
	_, begun := w.begin(bob)
	config.LeaveRPID = rpID
	moved, err := factor.New(t.Context(), config)
	w.must(err)
	if _, err := factor.New(t.Context(), config); err != nil {
		t.Errorf("once it has left, with the same configuration: %v", err)
	}
	// A process that has not heard of it makes no passkey that nobody could use.
	options, session := w.begin(bob)
	_, err = w.register(bob, session, va.CreateAttestationResponse(d.site, newDevice().auth, newDevice().cred, *options), "x")
	w.want(err, problem.AccountInvalid, "a passkey for the RP ID that was left")
	w.Factors = moved
	_, err = w.register(bob, begun, "{}", "x")
	w.want(err, problem.AuthInvalid, "a registration begun before")
	list, err := w.List(t.Context(), alice)
	if err != nil || len(list) != 2 || list[0].Kind == list[1].Kind {
		t.Fatalf("List = %+v, %v", list, err)
	}
	for _, fac := range list {
		if fac.Stale != (fac.Kind == factor.Passkey) {
			t.Errorf("%+v: stale %v", fac, fac.Stale)
		}
	}
	w.wantHeld(alice, factor.Held{Passkeys: 1, TOTP: 1}, "a stale passkey counts: the account does not become weaker")
	_, err = w.login(d)
	w.want(err, problem.AuthInvalid, "a stale passkey")
	d.site = va.RelyingParty{ID: "other.example", Origin: elsewhere[0]}
	_, err = w.login(d)
	w.want(err, problem.AuthInvalid, "a stale passkey's key at the new host")
	err = w.change(func(ctx context.Context, tx *store.Tx) error { _, _, err := w.BeginAssert(ctx, tx, alice); return err })
	w.want(err, problem.AccountInvalid, "asking for a stale passkey")
	w.wantTOTP(alice, a.at(0), factor.Right, "the app works on")
	next := newDevice()
	next.site = d.site
	w.enroll(alice, next)
	_, err = w.login(next)
	w.want(err, problem.OK, "a passkey of the new host")
}

func TestWithoutPasskeys(t *testing.T) {
	w := newWorld(t)
	var err error
	if w.Factors, err = w.At(t.Context(), "", nil); err != nil || w.HasPasskeys() {
		t.Fatalf("At nothing: %v, HasPasskeys %v", err, w.HasPasskeys())
	}
	_, _, err = w.BeginLogin(t.Context())
	w.want(err, problem.AccountInvalid, "BeginLogin")
	w.want(w.change(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := w.BeginRegistration(ctx, tx, alice, "a")
		return err
	}), problem.AccountInvalid, "BeginRegistration")
	_, err = w.finishLogin([]byte("{}"), "{}")
	w.want(err, problem.AccountInvalid, "FinishLogin")
	a, _ := w.enrollTOTP(alice)
	w.wantTOTP(alice, a.at(0), factor.Right, "apps work")
}

// Processes that start at once agree on one RP ID.
func TestNewAtOnce(t *testing.T) {
	w := newWorld(t)
	w.enroll(alice, newDevice())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			config, bad := w.config, i%2 == 1
			if bad {
				config.RPID, config.Origins = "other.example", []string{"https://other.example"}
			}
			if _, err := factor.New(t.Context(), config); (err != nil) != bad {
				t.Errorf("New for %s: %v", config.RPID, err)
			}
		})
	}
	wg.Wait()
}
