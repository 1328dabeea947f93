package app

import (
	"crypto/sha256"
	"testing"
	"time"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/store"
)

// TestRemembered: what the token service looked up is used again for a moment,
// and dropped by the revocation of the credential or of its subject; a look-up
// that was under way at a revocation is not kept.
func TestRemembered(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRemembered(&credentials{clock: func() time.Time { return now }}, func() time.Time { return now }, func(time.Time) bool { return true })
	alice := gateway.Credential{Kind: gateway.BearerCredential, Value: obs.Secret("sps_alice")}
	hash := sha256.Sum256([]byte("sps_alice"))
	put := func() {
		r.known[rememberedKey{hash, gateway.BearerCredential}] = knownPrincipal{policy.Principal{Subject: "usr_1", Owner: "usr_0"}, now.Add(rememberedLife)}
	}
	ask := func(c gateway.Credential) string {
		p, err := r.Authenticate(t.Context(), c)
		if err != nil {
			return "asked" // the credentials know nobody: it had to be looked up
		}
		return p.Subject
	}
	for _, c := range []struct {
		what string
		do   func()
		cred gateway.Credential
		want string
	}{
		{"positive control", func() {}, alice, "usr_1"},
		{"another credential", func() {}, gateway.Credential{Kind: gateway.BearerCredential, Value: obs.Secret("other")}, "asked"},
		{"another place", func() {}, gateway.Credential{Kind: gateway.KeyCredential, Value: obs.Secret("sps_alice")}, "asked"},
		{"its hash alone", func() {}, gateway.Credential{Kind: gateway.BearerCredential, Value: "other", Hash: hash}, "asked"},
		{"a revocation of somebody else", func() { r.forget(store.Revocation{Kind: store.KindSubject, Subject: "usr_2"}) }, alice, "usr_1"},
		{"the credential revoked", func() { r.forget(store.Revocation{Kind: store.KindCredential, Credential: hash}) }, alice, "asked"},
		{"the subject revoked", func() { r.forget(store.Revocation{Kind: store.KindSubject, Subject: "usr_1"}) }, alice, "asked"},
		{"the owner revoked", func() { r.forget(store.Revocation{Kind: store.KindSubject, Subject: "usr_0"}) }, alice, "asked"},
		{"a kind of revocation that is not known", func() { r.forget(store.Revocation{Kind: "new"}) }, alice, "asked"},
		{"all revoked", func() { r.forget(store.Revocation{Kind: store.KindAll}) }, alice, "asked"},
		{"its time over", func() { now = now.Add(rememberedLife) }, alice, "asked"},
	} {
		put()
		c.do()
		if got := ask(c.cred); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}

	// In whatever place it was sent.
	kinds := []gateway.CredentialKind{gateway.BearerCredential, gateway.KeyCredential, gateway.CookieCredential}
	for _, kind := range kinds {
		r.known[rememberedKey{hash, kind}] = knownPrincipal{policy.Principal{Subject: "usr_1"}, now.Add(rememberedLife)}
	}
	r.forget(store.Revocation{Kind: store.KindCredential, Credential: hash})
	if len(r.known) != 0 {
		t.Errorf("%d of %d places of a revoked credential are remembered", len(r.known), len(kinds))
	}
}
