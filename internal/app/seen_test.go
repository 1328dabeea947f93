package app

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/store"
)

// TestSeen: what the token service looked up is used again for the same credential
// in the same place, and goes with its subject's rights and its owner's.
func TestSeen(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	hash := sha256.Sum256([]byte("sps_alice"))
	alice := gateway.Credential{Kind: gateway.BearerCredential, Value: obs.Secret("sps_alice")}
	for _, c := range []struct {
		what   string
		revoke string
		cred   gateway.Credential
		want   string
	}{
		{"positive control", "usr_2", alice, "usr_1"},
		{"another credential", "usr_2", gateway.Credential{Kind: gateway.BearerCredential, Value: obs.Secret("other")}, "asked"},
		{"another place", "usr_2", gateway.Credential{Kind: gateway.KeyCredential, Value: obs.Secret("sps_alice")}, "asked"},
		{"its hash alone", "usr_2", gateway.Credential{Kind: gateway.BearerCredential, Value: "other", Hash: hash}, "asked"},
		{"the subject revoked", "usr_1", alice, "asked"},
		{"the owner revoked", "usr_0", alice, "asked"},
	} {
		s := seen{&credentials{}, recall.New(isAbout, clock, func(time.Time) bool { return true })}
		_, err := s.Recall(t.Context(), recall.Key{Hash: hash, Kind: uint8(gateway.BearerCredential)}, func(context.Context) (policy.Principal, time.Time, error) {
			return policy.Principal{Subject: "usr_1", Owner: "usr_0"}, now.Add(time.Hour), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Forget(store.Revocation{Kind: store.KindSubject, Subject: c.revoke})
		got := "asked" // the credentials know nobody: it had to be looked up
		if p, err := s.Authenticate(t.Context(), c.cred); err == nil {
			got = p.Subject
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	for _, kind := range gateway.CredentialKinds() {
		if kind >= recall.Kinds {
			t.Errorf("kind %d is never remembered", kind)
		}
	}
}
