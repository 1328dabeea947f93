package session_test

import (
	"sync"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
)

// Of many new tokens for one session at once, one is given.
func TestOneRaiseWins(t *testing.T) {
	f := newFixture(t)
	_, s := f.login("u")
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			next, _, err := f.raise("u", s.ID, 2, "totp")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, next)
			} else if problem.ReasonOf(err) != problem.AuthRevoked {
				t.Errorf("one that lost: %v, want auth.revoked", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of 8 won, want 1", len(won))
	}
	f.want(won[0], problem.OK, "the winner")
	if n := f.count("SELECT COUNT(*) FROM sessions WHERE revoked_at = 0"); n != 1 {
		t.Errorf("%d live sessions, want 1", n)
	}
}

// No lookup that starts after a revocation was answered succeeds, and
// subscribers know by then, however many lookups are under way.
func TestRevocationIsSeenAtOnce(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	known := map[[32]byte]bool{}
	f.db.Subscribe(func(r store.Revocation) {
		mu.Lock()
		defer mu.Unlock()
		known[r.Credential] = true
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 5 {
				token, s, err := f.Create(t.Context(), session.NewSession{User: "u", Level: 1, Method: "password"})
				if err != nil {
					t.Error(err)
					return
				}
				lookups := make(chan struct{})
				wg.Go(func() { // goes on until it is refused
					defer close(lookups)
					for range 1000 {
						if _, err := f.Lookup(t.Context(), token); err != nil {
							if problem.ReasonOf(err) != problem.AuthRevoked {
								t.Error(err)
							}
							return
						}
					}
				})
				if err := f.Revoke(t.Context(), "u", s.ID); err != nil {
					t.Error(err)
				}
				if _, err := f.Lookup(t.Context(), token); problem.ReasonOf(err) != problem.AuthRevoked {
					t.Errorf("lookup after the revocation: %v, want auth.revoked", err)
				}
				mu.Lock()
				if !known[session.Hash(token)] {
					t.Error("the revocation was answered before subscribers knew")
				}
				mu.Unlock()
				<-lookups
			}
		})
	}
	wg.Wait()
}
