package password

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// maxStored bounds what is read as a hash, in bytes.
const maxStored = 1024

// foreign is a hash that was read, of any kind that can be checked.
type foreign struct {
	format  string
	kib     int64                      // memory that matches needs
	matches func(password []byte) bool // in constant time as to the hash

	own phc // of argon2
}

// Foreign names the format of a hash as an import brings it, or says why it is
// not taken. It takes what Check can check within this process's memory:
//
//	argon2id, argon2i   $argon2id$v=19$m=..,t=..,p=..$..$..  {ARGON2}..  Django's argon2$..
//	bcrypt              $2a$ $2b$ $2x$ $2y$  {CRYPT}..  {BLF-CRYPT}..  Django's bcrypt$..
//	bcrypt-sha256       Django's bcrypt_sha256$..
//	pbkdf2              $pbkdf2$ $pbkdf2-sha256$ $pbkdf2-sha512$ (passlib and PHC), {PBKDF2-SHA256}.., Django's pbkdf2_sha256$.. and pbkdf2_sha1$..
//	scrypt              $scrypt$ln=..,r=..,p=..$..$..  Django's scrypt$..
//	ssha                {SSHA} {SSHA256} {SSHA384} {SSHA512}
//	sha256crypt         $5$..  {CRYPT}..  {SHA256-CRYPT}..
//	sha512crypt         $6$..  {CRYPT}..  {SHA512-CRYPT}..
//
// No hash without a salt is taken, and none that would cost more than about
// three seconds or the budget of memory. The error holds nothing of the hash.
// Store the hash as it came, with FormRaw.
func (s *Passwords) Foreign(stored string) (format string, err error) {
	f, err := s.parse(stored)
	return f.format, err
}

// parse reads a stored hash whose check fits into the budget of memory.
func (s *Passwords) parse(stored string) (foreign, error) {
	f, err := parse(stored)
	if err == nil && f.kib > s.gate.budget {
		return foreign{}, fmt.Errorf("%s: needs %d KiB of memory, of %d KiB for all hashes", f.format, f.kib, s.gate.budget)
	}
	return f, err
}

func parse(stored string) (foreign, error) {
	switch {
	case stored == "":
		return foreign{}, errors.New("no hash")
	case len(stored) > maxStored:
		return foreign{}, fmt.Errorf("hash longer than %d bytes", maxStored)
	case strings.ContainsFunc(stored, func(r rune) bool { return r <= ' ' || r > '~' }):
		return foreign{}, errors.New("hash with spaces or signs that no format has")
	case stored[0] == '$':
		return parseCrypt(stored)
	case stored[0] == '{':
		return parseLDAP(stored)
	}
	return parseDjango(stored)
}

// parseCrypt reads the form that crypt(3) began: $kind$...
func parseCrypt(stored string) (foreign, error) {
	kind, rest, _ := strings.Cut(stored[1:], "$")
	switch kind {
	case "argon2id", "argon2i":
		return parseArgon2(stored)
	case "2a", "2b", "2x", "2y":
		return parseBcrypt(stored)
	case "pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512":
		return parsePBKDF2(kind, rest)
	case "scrypt":
		return parseScrypt(rest)
	case "5", "6":
		return parseSHACrypt(stored)
	case "argon2d":
		return foreign{}, errors.New("argon2d is not taken: argon2id and argon2i are")
	case "1", "apr1":
		return foreign{}, errors.New("md5crypt is not taken: the account has to recover its password")
	case "2":
		return foreign{}, errors.New("bcrypt $2$ is not taken: $2a$, $2b$, $2x$ and $2y$ are")
	}
	return foreign{}, errors.New("unknown format")
}

// parseLDAP reads RFC 2307's {SCHEME}value, as directories and Dovecot write it.
func parseLDAP(stored string) (foreign, error) {
	scheme, value, ok := strings.Cut(stored[1:], "}")
	if !ok {
		return foreign{}, errors.New("unknown format")
	}
	switch scheme = strings.ToUpper(scheme); scheme {
	case "SSHA", "SSHA256", "SSHA384", "SSHA512":
		return parseSalted(scheme, value)
	case "PBKDF2":
		return parsePBKDF2("pbkdf2", value)
	case "PBKDF2-SHA256", "PBKDF2-SHA512":
		return parsePBKDF2(strings.ToLower(scheme), value)
	case "CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "ARGON2", "ARGON2I", "ARGON2ID":
		if strings.HasPrefix(value, "$") {
			return parseCrypt(value)
		}
		return foreign{}, errors.New("{" + scheme + "} of a kind that is not taken")
	case "SHA", "SHA256", "SHA512", "MD5", "SMD5", "CLEARTEXT", "PLAIN":
		return foreign{}, errors.New("{" + scheme + "} is not taken: it has no salt or is broken")
	}
	return foreign{}, errors.New("unknown format")
}

// parseDjango reads Django's algorithm$... (its django.contrib.auth.hashers).
func parseDjango(stored string) (foreign, error) {
	kind, rest, ok := strings.Cut(stored, "$")
	if !ok {
		return foreign{}, errors.New("unknown format")
	}
	switch kind {
	case "argon2":
		return parseArgon2("$" + rest)
	case "bcrypt":
		return parseBcrypt(rest)
	case "bcrypt_sha256":
		return parseBcryptSHA256(rest)
	case "pbkdf2_sha256", "pbkdf2_sha1":
		return parseDjangoPBKDF2(kind, rest)
	case "scrypt":
		return parseDjangoScrypt(rest)
	case "md5", "sha1", "unsalted_md5", "unsalted_sha1", "crypt":
		return foreign{}, errors.New(kind + " is not taken: the account has to recover its password")
	}
	return foreign{}, errors.New("unknown format")
}

func parseArgon2(stored string) (foreign, error) {
	h, err := parsePHC(stored)
	if err != nil {
		return foreign{}, err
	}
	compute := argon2.IDKey
	if h.kind == "argon2i" {
		compute = argon2.Key
	}
	return foreign{
		format: h.kind,
		kib:    int64(h.cost.Memory),
		own:    h,
		matches: func(password []byte) bool {
			return same(compute(password, h.salt, h.cost.Passes, h.cost.Memory, h.cost.Threads, uint32(len(h.sum))), h.sum)
		},
	}, nil
}
