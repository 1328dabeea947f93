package app

import (
	"context"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/reqsig"
)

// signingKeys hands the keys that sign requests to the outer door, in its words.
type signingKeys struct{ keys *apikey.Keys }

// SigningKey returns a live key and the API key that it is of. Reasons:
// proof.invalid, proof.unavailable.
func (s signingKeys) SigningKey(ctx context.Context, id string) (reqsig.Key, string, error) {
	k, err := s.keys.SigningKey(ctx, id)
	switch reason := problem.ReasonOf(err); {
	case err == nil:
		return reqsig.Key{Algorithm: string(k.Algorithm), Public: k.Public, Secret: k.Secret}, k.Key.ID, nil
	case reason.Status() >= 500:
		return reqsig.Key{}, "", problem.New(problem.ProofUnavailable, err)
	}
	return reqsig.Key{}, "", problem.New(problem.ProofInvalid, err)
}
