package password

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/trustelem/zxcvbn"

	"sallyport.dev/internal/obs"
)

// Config is what Passwords are made of. Its zero value is the recommended one.
type Config struct {
	// Memory is what hashes at work may hold together, in bytes; 0 is 192 MiB.
	// Foreign hashes that need more are not taken.
	Memory int64
	// Cost of new hashes; zero is DefaultCost. Less is refused below 19 MiB and
	// two passes.
	Cost Cost
	// Breached passwords; nil is the list that ships.
	Breached *Breached
}

// Passwords judges, hashes and checks. It is safe for concurrent use.
type Passwords struct {
	cost   Cost
	dummy  phc // what an unknown account is checked against; no password has this sum
	gate   *gate
	derive derive
	score  func(password string, words []string) zxcvbn.Result
	common map[string]struct{} // folded; read only

	breached atomic.Pointer[Breached]
	hashes   atomic.Uint64
}

// New returns Passwords, or an error when the cost is too low or its memory does
// not fit into the budget.
func New(c Config) (*Passwords, error) {
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost()
	}
	if err := c.Cost.check(); err != nil {
		return nil, err
	}
	if c.Memory == 0 {
		c.Memory = max(defaultMemory, 2*int64(c.Cost.Memory)<<10)
	}
	return newPasswords(c, argon2id)
}

// newPasswords is New for any cost.
func newPasswords(c Config, d derive) (*Passwords, error) {
	if c.Memory>>10 < int64(c.Cost.Memory) {
		return nil, fmt.Errorf("password: one hash of %d KiB does not fit into the memory of %d KiB", c.Cost.Memory, c.Memory>>10)
	}
	p := &Passwords{
		cost:   c.Cost,
		dummy:  phc{kind: "argon2id", cost: c.Cost, salt: randomBytes(saltBytes), sum: randomBytes(sumBytes)},
		gate:   newGate(c.Memory>>10, defaultQueue, defaultPatience),
		derive: d,
		score:  zxcvbn.PasswordStrength,
		common: commonPasswords(),
	}
	p.SetBreached(c.Breached)
	return p, nil
}

// SetBreached replaces the list of breached passwords; nil is the one that ships.
func (s *Passwords) SetBreached(b *Breached) {
	if b == nil {
		b = Embedded()
	}
	s.breached.Store(b)
}

// Hashes returns how many argon2id were computed at the current cost. Tests
// compare it between accounts that are known and unknown.
func (s *Passwords) Hashes() uint64 { return s.hashes.Load() }

// Hash makes the stored form of a password and names the form of Unicode to
// store beside it. It does not judge. Refusals: account.invalid, limit.busy
// (a *BusyError), client.closed.
func (s *Passwords) Hash(ctx context.Context, p obs.Secret) (encoded, form string, err error) {
	plain, err := present(p)
	if err != nil {
		return "", "", err
	}
	leave, err := s.gate.enter(ctx, int64(s.cost.Memory))
	if err != nil {
		return "", "", err
	}
	defer leave()
	return s.fresh(plain), FormNFC, nil
}

// Check compares a password with what is stored for an account: "" when there is
// no such account, or it has no password. Renew, when it is not empty, is what
// to store instead, with FormNFC.
//
// A wrong password costs exactly one argon2id at the current cost, as does a
// right one that needs no renewal. A hash of another cost or kind costs its own
// besides, so its account can be told from others by time until its owner logs
// in; so does one of FormRaw, when the password is not in NFC. A right password in
// an older form of Unicode may cost one more.
//
// What is stored and cannot be used (see Foreign) is like an account without a
// password: ok is false, with no error, so that answers tell nothing of it.
// Refusals are as Hash's.
func (s *Passwords) Check(ctx context.Context, p obs.Secret, stored, form string) (ok bool, renew string, err error) {
	plain, err := present(p)
	if err != nil {
		return false, "", err
	}
	f, err := s.parse(stored)
	typed, known := plain.in(form)
	if err != nil || !known {
		f, typed, form = foreign{own: s.dummy}, plain.nfc, FormNFC
	}
	leave, err := s.gate.enter(ctx, max(f.kib, int64(s.cost.Memory)))
	if err != nil {
		return false, "", err
	}
	defer leave()

	if s.current(f.own) && (form != FormRaw || bytes.Equal(plain.raw, plain.nfc)) {
		if !s.matches(f.own, typed) {
			return false, "", nil
		}
		switch {
		case form == FormNFC:
			return true, "", nil
		case bytes.Equal(typed, plain.nfc): // another form of the same bytes
			return true, stored, nil
		}
		return true, s.fresh(plain), nil
	}
	ok = f.matches(typed)
	if !ok && form == FormRaw && !bytes.Equal(plain.raw, plain.nfc) {
		ok = f.matches(plain.nfc)
	}
	renew = s.fresh(plain) // also when the password is wrong: see above
	if !ok {
		return false, "", nil
	}
	return true, renew, nil
}

// current tells whether a hash is as new ones are.
func (s *Passwords) current(h phc) bool {
	return h.kind == "argon2id" && h.cost == s.cost && len(h.sum) == sumBytes && len(h.salt) >= saltBytes
}

// fresh is the stored form of a new hash at the current cost.
func (s *Passwords) fresh(p presented) string {
	h := phc{kind: "argon2id", cost: s.cost, salt: randomBytes(saltBytes)}
	h.sum = s.counted(p.nfc, h.salt)
	return h.String()
}

func (s *Passwords) matches(h phc, typed []byte) bool {
	return subtle.ConstantTimeCompare(s.counted(typed, h.salt), h.sum) == 1
}

func (s *Passwords) counted(plain, salt []byte) []byte {
	s.hashes.Add(1)
	return s.derive(plain, salt, s.cost, sumBytes)
}

// Expired tells whether a password that was set at a time is older than a zone
// lets it be. No maxAge, no ageing: it makes passwords worse (NIST SP 800-63B-4
// section 3.1.1.2, OWASP ASVS 5.0 6.2.10), so it is done only where a zone says
// so. A password whose time is not known has expired.
func Expired(set time.Time, maxAge time.Duration, now time.Time) bool {
	return maxAge > 0 && (set.IsZero() || now.Sub(set) >= maxAge)
}
