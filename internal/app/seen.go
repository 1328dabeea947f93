package app

import (
	"context"
	"crypto/sha256"
	"time"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/recall"
)

// seen are the credentials, remembered for a moment: a route with `proof: signature`
// has a token minted for each request, and the store asked for each would cost more
// than the signature.
type seen struct {
	credentials *credentials
	*recall.Memory[policy.Principal]
}

// Authenticate is that of the credentials. The hash is made of the credential
// itself: what the caller says of it is not believed.
func (s seen) Authenticate(ctx context.Context, cred gateway.Credential) (policy.Principal, error) {
	key := recall.Key{Hash: sha256.Sum256([]byte(cred.Value)), Kind: uint8(cred.Kind)}
	return s.Recall(ctx, key, func(ctx context.Context) (policy.Principal, time.Time, error) {
		return s.credentials.Authenticate(ctx, cred)
	})
}

// isAbout says whether a principal changes when a subject's rights do.
func isAbout(p policy.Principal, subject string) bool {
	return p.Subject == subject || p.Owner == subject
}
