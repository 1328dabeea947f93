package identity

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
)

// The bounds of guessing. An account takes strangerRate attempts an hour from
// all addresses together, after a burst; each address has its own growing
// delay. Together with two known addresses at about twenty an hour each, at most
// 100 attempts reach a hash per account and hour.
const (
	strangerBurst = 28
	strangerEvery = 130 * time.Second // one more attempt: 27 an hour
	freeAttempts  = 8                 // of one address, before the delay starts at a second and doubles
	delayMax      = 15 * time.Minute
	forgetAfter   = 24 * time.Hour
	knownMax      = 2       // addresses an account remembers to have logged in from
	guessEntries  = 1 << 16 // accounts, and pairs of account and address, remembered
)

// guesses bounds how often the password of one account is tried, before a hash
// is computed. Accounts are counted by the address that was typed, known or not,
// so that a refusal tells nothing; who succeeded lately from an address is
// counted apart there, so that strangers cannot lock the owner out from it.
//
// This is the first part of control ID-05: one process, in memory, client
// addresses instead of devices. The engine over kv, with device cookies and a
// global budget, replaces it. An entry is made only by an attempt that was
// admitted, so flushing the table costs an attacker as many hashes as it has
// entries.
type guesses struct {
	clock func() time.Time

	mu       sync.Mutex
	accounts *recent[accountKey, accountGuesses] // guarded by mu
	pairs    *recent[pairKey, pairGuesses]       // guarded by mu
}

type accountKey [sha256.Size]byte // of the folded address: the table holds no addresses

type pairKey struct {
	account accountKey
	from    netip.Prefix
}

type accountGuesses struct {
	full  time.Time // when the burst is whole again (GCRA: theoretical arrival time)
	known [knownMax]netip.Prefix
}

type pairGuesses struct {
	failures int
	last     time.Time // the latest attempt
	next     time.Time // no attempt before
}

func newGuesses(clock func() time.Time, entries int) *guesses {
	return &guesses{clock: clock,
		accounts: newRecent[accountKey, accountGuesses](entries),
		pairs:    newRecent[pairKey, pairGuesses](entries)}
}

// attempt is one admitted guess. It counts as failed until it is told
// otherwise, so that guesses made at once are all counted.
type attempt struct {
	g     *guesses
	key   pairKey
	known bool
}

// begin admits an attempt on an account from a client, or says when to come back.
func (g *guesses) begin(email string, client netip.Addr) (attempt, error) {
	a := attempt{g: g, key: pairKey{account: sha256.Sum256([]byte(email)), from: network(client)}}
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()

	pair, _ := g.pairs.get(a.key)
	if now.Sub(pair.last) > forgetAfter {
		pair = pairGuesses{}
	}
	if wait := pair.next.Sub(now); wait > 0 {
		return attempt{}, later(problem.LimitRate, wait)
	}
	acct, remembered := g.accounts.get(a.key.account)
	a.known = remembered && (acct.known[0] == a.key.from || acct.known[1] == a.key.from)
	if !a.known {
		full := latest(acct.full, now).Add(strangerEvery)
		if wait := full.Sub(now) - strangerBurst*strangerEvery; wait > 0 {
			return attempt{}, later(problem.LimitRate, wait)
		}
		acct.full = full
		g.accounts.put(a.key.account, acct)
	}
	pair.failures++
	pair.last = now
	pair.next = now.Add(delay(pair.failures))
	g.pairs.put(a.key, pair)
	return a, nil
}

// succeeded takes the attempt back and remembers the address as the owner's.
func (a attempt) succeeded() {
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	a.g.pairs.remove(a.key)
	acct, _ := a.g.accounts.get(a.key.account)
	if !a.known {
		acct.full = acct.full.Add(-strangerEvery)
		copy(acct.known[1:], acct.known[:])
		acct.known[0] = a.key.from
	}
	a.g.accounts.put(a.key.account, acct)
}

// withdrawn takes back an attempt that reached no hash.
func (a attempt) withdrawn() {
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	if pair, ok := a.g.pairs.get(a.key); ok && pair.failures > 0 {
		pair.failures--
		pair.next = time.Time{}
		a.g.pairs.put(a.key, pair)
	}
	if acct, ok := a.g.accounts.get(a.key.account); ok && !a.known {
		acct.full = acct.full.Add(-strangerEvery)
		a.g.accounts.put(a.key.account, acct)
	}
}

// delay is how long an address waits after its n-th failure in a row.
func delay(n int) time.Duration {
	over := n - freeAttempts
	if over < 0 {
		return 0
	}
	if over > 10 { // 2^10 s is beyond delayMax
		return delayMax
	}
	return min(time.Second<<over, delayMax)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
