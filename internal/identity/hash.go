package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// cost is the price of one argon2id hash (RFC 9106 section 3.1).
type cost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// The current cost is the first choice of the OWASP password storage cheat sheet:
// 19 MiB, two passes, one lane.
const (
	currentMemory  = 19 * 1024 // KiB
	currentPasses  = 2
	currentThreads = 1
)

// Bounds of what is read from the store: a row cannot ask for hours or
// gigabytes. The admission gate bounds memory further.
const (
	maxMemory  = 1 << 20 // KiB: 1 GiB
	maxPasses  = 16
	maxThreads = 16
	saltBytes  = 16
	sumBytes   = 32
)

// derive computes one argon2id. It is a field of hasher so that tests count it.
type derive func(password, salt []byte, c cost) []byte

func argon2id(password, salt []byte, c cost) []byte {
	return argon2.IDKey(password, salt, c.passes, c.memory, c.threads, sumBytes)
}

// stored is a password hash as the store holds it, in PHC string form:
//
//	$argon2id$v=19$m=19456,t=2,p=1$SALT$SUM
//
// with unpadded standard base64, as the reference implementation writes it.
type stored struct {
	cost cost
	salt []byte
	sum  []byte
}

// phc is the PHC form. It is not a secret that opens anything, but it is
// what a guesser works on: it goes to the store only.
func (s stored) phc() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		s.cost.memory, s.cost.passes, s.cost.threads, enc.EncodeToString(s.salt), enc.EncodeToString(s.sum))
}

var errHashForm = errors.New("identity: stored hash is not argon2id in PHC form")

// parsePHC reads exactly the form that phc writes: another order, version,
// padding or leading zero is refused, so that one hash has one spelling.
func parsePHC(text string) (stored, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return stored{}, errHashForm
	}
	price := strings.Split(part[3], ",")
	if len(price) != 3 {
		return stored{}, errHashForm
	}
	memory, okM := costOf(price[0], "m=", maxMemory)
	passes, okT := costOf(price[1], "t=", maxPasses)
	threads, okP := costOf(price[2], "p=", maxThreads)
	if !okM || !okT || !okP || memory < 8*threads { // RFC 9106 section 3.1: at least 8p KiB
		return stored{}, errHashForm
	}
	salt, errSalt := base64.RawStdEncoding.Strict().DecodeString(part[4])
	sum, errSum := base64.RawStdEncoding.Strict().DecodeString(part[5])
	if errSalt != nil || errSum != nil || len(salt) < 8 || len(salt) > 64 || len(sum) != sumBytes {
		return stored{}, errHashForm
	}
	s := stored{cost: cost{memory: memory, passes: passes, threads: uint8(threads)}, salt: salt, sum: sum} //nolint:gosec // threads <= maxThreads
	if s.phc() != text {
		return stored{}, errHashForm
	}
	return s, nil
}

func costOf(text, name string, most uint32) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0 && n <= uint64(most)
}

// hasher makes and checks hashes at one current cost. It does not bound how
// many run at once: see gate.
type hasher struct {
	cost   cost
	derive derive
	dummy  stored // what an unknown account is checked against; no password has this sum
}

func newHasher(c cost, d derive) hasher {
	h := hasher{cost: c, derive: d}
	h.dummy = stored{cost: c, salt: randomBytes(saltBytes), sum: randomBytes(sumBytes)}
	return h
}

// hash makes the stored form of a new password.
func (h hasher) hash(password []byte) stored {
	s := stored{cost: h.cost, salt: randomBytes(saltBytes)}
	s.sum = h.derive(password, s.salt, s.cost)
	return s
}

// check compares a password with a stored hash and costs exactly one hash at
// the current cost, whatever the outcome. A hash of another cost costs that
// much more besides, and is renewed by the one at the current cost: renewed is
// what to store instead when the password was right.
//
// An account whose hash is outdated can so be told from others by time until
// its owner logs in; raising the cost is rare and the remainder shrinks.
func (h hasher) check(password []byte, s stored) (ok bool, renewed *stored) {
	sum := h.derive(password, s.salt, s.cost)
	ok = subtle.ConstantTimeCompare(sum, s.sum) == 1
	if s.cost == h.cost {
		return ok, nil
	}
	fresh := h.hash(password)
	if !ok {
		return false, nil
	}
	return true, &fresh
}

// weight is the memory that check needs, in KiB.
func (h hasher) weight(s stored) int64 { return int64(max(h.cost.memory, s.cost.memory)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails (Go 1.24)
	return b
}
