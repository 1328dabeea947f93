package password

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Cost is the price of one argon2id hash (RFC 9106 section 3.1).
type Cost struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// DefaultCost returns the first choice of OWASP ASVS 5.0 (annex C) and of the
// OWASP password storage cheat sheet: 46 MiB, one pass, one lane.
func DefaultCost() Cost { return Cost{Memory: 46 << 10, Passes: 1, Threads: 1} }

// leastMemory is the cheat sheet's second choice: 19 MiB, with two passes.
const (
	leastMemory = 19 << 10 // KiB
	leastPasses = 2        // with less memory than the default's
)

// Bounds of what is read from the store or an import: a row cannot ask for
// hours or gigabytes. At each bound a check takes about three seconds of CPU.
const (
	maxMemory  = 256 << 10 // KiB
	maxPasses  = 16
	maxThreads = 16
	maxWork    = 2 << 20 // KiB times passes
)

// check refuses a cost that is too low to hash with, or beyond what is read back.
func (c Cost) check() error {
	switch least := DefaultCost(); {
	case c.Threads == 0 || c.Passes == 0 || c.Memory < leastMemory:
		return fmt.Errorf("password: cost m=%d,t=%d,p=%d is too low: want 19 MiB (m=19456) with t=2 at least", c.Memory, c.Passes, c.Threads)
	case c.Memory < least.Memory && c.Passes < leastPasses:
		return fmt.Errorf("password: cost m=%d,t=%d,p=%d is too low: with less than 46 MiB (m=47104) want t=2 at least", c.Memory, c.Passes, c.Threads)
	}
	return c.bounded()
}

func (c Cost) bounded() error {
	switch {
	case c.Memory > maxMemory:
		return fmt.Errorf("argon2: m=%d is above %d KiB", c.Memory, maxMemory)
	case c.Passes == 0 || c.Passes > maxPasses:
		return fmt.Errorf("argon2: t=%d is not between 1 and %d", c.Passes, maxPasses)
	case c.Threads == 0 || c.Threads > maxThreads:
		return fmt.Errorf("argon2: p=%d is not between 1 and %d", c.Threads, maxThreads)
	case c.Memory < 8*uint32(c.Threads): // RFC 9106 section 3.1
		return fmt.Errorf("argon2: m=%d is below 8 KiB for each of %d lanes", c.Memory, c.Threads)
	case uint64(c.Memory)*uint64(c.Passes) > maxWork:
		return fmt.Errorf("argon2: m=%d with t=%d is above %d KiB in all passes", c.Memory, c.Passes, maxWork)
	}
	return nil
}

// derive computes one argon2id. It is a field of Passwords so that tests count it.
type derive func(password, salt []byte, c Cost, size uint32) []byte

func argon2id(password, salt []byte, c Cost, size uint32) []byte {
	return argon2.IDKey(password, salt, c.Passes, c.Memory, c.Threads, size)
}
