package apikey

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// MaxSigning is how many live keys one API key signs with: one in use and one to
// come for each of two programs.
const MaxSigning = 4

const (
	signingPrefix = "sig_"
	hmacSize      = 32 // bytes; RFC 2104 section 3 wants no less than the hash has
	endedSigning  = 20 // that are kept of one API key
)

// Algorithm is how requests are signed, as RFC 9421 section 3.3 names it.
type Algorithm string

// The algorithms.
const (
	Ed25519    Algorithm = "ed25519"
	HMACSHA256 Algorithm = "hmac-sha256"
)

// SigningKey is a key with which the holder of an API key signs requests.
type SigningKey struct {
	ID        string // keyid of its signatures
	Key       Key    // whose holder it is
	Algorithm Algorithm
	Public    ed25519.PublicKey // of Ed25519
	Secret    []byte            // of an HMAC, and only where SigningKey returned it; the caller keeps it to itself
	Created   time.Time
	Expires   time.Time // zero: with the API key
	Used      time.Time // to the minute: when a request last came with it; zero: never
}

// AddSigning stores the public key of an API key. Its requests may be signed with
// it until expires (zero: as long as the API key lives).
// Reasons: admin.invalid, admin.unknown, admin.conflict (MaxSigning).
func (k *Keys) AddSigning(ctx context.Context, key string, public ed25519.PublicKey, expires time.Time) (SigningKey, error) {
	return k.addPublic(ctx, nil, whose{anybody: true}, key, public, expires)
}

func (k *Keys) addPublic(ctx context.Context, in *store.Tx, w whose, key string, public ed25519.PublicKey, expires time.Time) (SigningKey, error) {
	if len(public) != ed25519.PublicKeySize || !safePoint(public) {
		return SigningKey{}, w.invalid("%v", errWeakKey)
	}
	return k.addSigning(ctx, in, w, key, SigningKey{Algorithm: Ed25519, Public: public, Expires: expires}, nil)
}

// NewHMAC makes a secret for an API key and returns it in base64, the only time
// it is told: 32 random bytes.
// Reasons: admin.invalid, admin.unknown, admin.conflict (MaxSigning).
func (k *Keys) NewHMAC(ctx context.Context, key string, expires time.Time) (SigningKey, obs.Secret, error) {
	return k.newHMAC(ctx, nil, whose{anybody: true}, key, expires)
}

func (k *Keys) newHMAC(ctx context.Context, in *store.Tx, w whose, key string, expires time.Time) (SigningKey, obs.Secret, error) {
	secret := randomBytes(hmacSize)
	defer clear(secret)
	s, err := k.addSigning(ctx, in, w, key, SigningKey{Algorithm: HMACSHA256, Expires: expires}, secret)
	if err != nil {
		return SigningKey{}, "", err
	}
	return s, obs.Secret(base64.StdEncoding.EncodeToString(secret)), nil
}

// sealedPlace binds a secret to its row and its API key.
func sealedPlace(id, key string) string { return "api_key_signing/" + id + "/" + key }

func (k *Keys) addSigning(ctx context.Context, in *store.Tx, w whose, key string, s SigningKey, secret []byte) (SigningKey, error) {
	now := k.now()
	s.ID, s.Created = signingPrefix+newKeyID(), now
	s.Expires = store.FromMicros(store.Micros(s.Expires))
	if !s.Expires.IsZero() && store.Micros(s.Expires) <= store.Micros(now) {
		return SigningKey{}, w.invalid("expires: lies in the past")
	}
	var public, sealed any // NULL
	if s.Algorithm == Ed25519 {
		public = []byte(s.Public)
	} else {
		b, err := k.root.Seal(sealedPlace(s.ID, key), secret)
		if err != nil {
			return SigningKey{}, problem.New(problem.InternalError, err)
		}
		sealed = b
	}
	err := k.within(ctx, in, func(ctx context.Context, t tx) (err error) {
		// Those whose time is over are no longer counted, nor their secrets kept.
		if _, err := t.Exec(ctx, "UPDATE api_key_signing SET ended_at = expires_at, sealed = NULL WHERE key_id = ? AND ended_at = 0 AND expires_at <> 0 AND expires_at <= ?",
			key, store.Micros(now)); err != nil {
			return err
		}
		s.Key, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+" FROM api_keys k WHERE k.id = ?", key))
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && !(s.Key.Live(now) && w.has(s.Key)):
			return w.unknown()
		case err != nil:
			return err
		case !s.Key.Expires.IsZero() && s.Expires.After(s.Key.Expires):
			return w.invalid("expires: lies after the end of the API key")
		}
		var live int
		if err := t.QueryRow(ctx, "SELECT COUNT(*) FROM api_key_signing WHERE key_id = ? AND ended_at = 0", key).Scan(&live); err != nil {
			return err
		}
		if live >= MaxSigning {
			return w.conflict("the API key signs with as many keys as it may; remove one")
		}
		if _, err := t.Exec(ctx, `DELETE FROM api_key_signing WHERE id IN (
			SELECT id FROM api_key_signing WHERE key_id = ? AND ended_at > 0 ORDER BY ended_at DESC, id LIMIT 1000 OFFSET ?)`, key, endedSigning); err != nil {
			return err
		}
		_, err = t.Exec(ctx, "INSERT INTO api_key_signing (id, key_id, algorithm, public, sealed, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			s.ID, key, string(s.Algorithm), public, sealed, store.Micros(now), store.Micros(s.Expires))
		return err
	})
	if err != nil {
		return SigningKey{}, err
	}
	return s, nil
}

// RemoveSigning ends a signing key of an API key at once; a secret is wiped.
// Reason admin.unknown: the API key has no such live one, whoever else may.
func (k *Keys) RemoveSigning(ctx context.Context, key, id string) error {
	return k.removeSigning(ctx, whose{anybody: true}, key, id)
}

func (k *Keys) removeSigning(ctx context.Context, w whose, key, id string) error {
	now := k.now()
	where, args := w.where(key)
	return k.db.change(ctx, func(ctx context.Context, t tx) error {
		n, err := t.Exec(ctx, "UPDATE api_key_signing SET ended_at = ?, sealed = NULL WHERE id = ? AND ended_at = 0 AND key_id IN (SELECT id FROM api_keys"+where+")",
			append([]any{store.Micros(now), id}, args...)...)
		if err != nil {
			return err
		}
		if n == 0 {
			return problem.WithDetail(problem.ReasonOf(w.unknown()), "the API key has no such signing key")
		}
		return revokeSubject(ctx, t, key, now)
	})
}

const signingColumns = "s.id, s.algorithm, s.public, s.created_at, s.expires_at, s.used_at"

func scanSigning(row scanner, more ...any) (SigningKey, error) {
	var s SigningKey
	var algorithm string
	var public []byte
	var created, expires, used int64
	err := row.Scan(append([]any{&s.ID, &algorithm, &public, &created, &expires, &used}, more...)...)
	s.Algorithm, s.Public = Algorithm(algorithm), public
	s.Created, s.Expires, s.Used = store.FromMicros(created), store.FromMicros(expires), store.FromMicros(used)
	return s, err
}

// Signing returns the live signing keys of an API key, the newest first, without
// their secrets.
func (k *Keys) Signing(ctx context.Context, key Key) ([]SigningKey, error) {
	now := store.Micros(k.now())
	list := []SigningKey{}
	err := k.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, "SELECT "+signingColumns+` FROM api_key_signing s
			WHERE s.key_id = ? AND s.ended_at = 0 AND (s.expires_at = 0 OR s.expires_at > ?) ORDER BY s.created_at DESC, s.id`, key.ID, now)
		if err != nil {
			return err
		}
		for rows.Next() {
			s, err := scanSigning(rows)
			if err != nil {
				return err
			}
			s.Key = key
			list = append(list, s)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// SigningKey returns the live key of a keyid, with its secret if it has one, and
// counts as its use. Who asks has authenticated the API key already, and compares
// it with the one returned: a signature with another's key proves nothing.
// Reasons: auth.invalid, auth.expired, auth.revoked (also of the API key),
// auth.unavailable.
func (k *Keys) SigningKey(ctx context.Context, keyid string) (SigningKey, error) {
	if len(keyid) != len(signingPrefix)+keyID || keyid[:len(signingPrefix)] != signingPrefix || !onlyOf(keyid[len(signingPrefix):], base32) {
		return SigningKey{}, problem.New(problem.AuthInvalid, nil)
	}
	var s SigningKey
	var sealed []byte
	var ended int64
	var lives int
	err := k.db.view(ctx, func(ctx context.Context, t tx) error {
		var key string
		var err error
		s, err = scanSigning(t.QueryRow(ctx, "SELECT "+signingColumns+", s.key_id, s.sealed, s.ended_at FROM api_key_signing s WHERE s.id = ?", keyid), &key, &sealed, &ended)
		if errors.Is(err, store.ErrNotFound) {
			return problem.New(problem.AuthInvalid, nil)
		}
		if err != nil {
			return err
		}
		s.Key, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+", "+ownerLives+" FROM api_keys k"+ownerJoin+" WHERE k.id = ?", key), &lives)
		return err
	})
	if err != nil {
		return SigningKey{}, err
	}
	s.Expires = earliest(s.Expires, s.Key.Expires)
	switch {
	case ended != 0 || !s.Key.Ended.IsZero() || lives == 0:
		return SigningKey{}, problem.New(problem.AuthRevoked, nil)
	case !s.Expires.IsZero() && !k.now().Before(s.Expires):
		return SigningKey{}, problem.New(problem.AuthExpired, nil)
	}
	switch s.Algorithm {
	case Ed25519:
		if len(s.Public) != ed25519.PublicKeySize {
			return SigningKey{}, problem.New(problem.InternalError, errors.New("apikey: stored public key has not 32 bytes"))
		}
	case HMACSHA256:
		if s.Secret, err = k.root.Open(sealedPlace(s.ID, s.Key.ID), sealed); err != nil {
			return SigningKey{}, problem.New(problem.InternalError, err)
		}
	default:
		return SigningKey{}, problem.New(problem.InternalError, errors.New("apikey: stored algorithm is not known"))
	}
	k.touch(ctx, "signing key", s.ID, s.Used, "UPDATE api_key_signing SET used_at = ? WHERE id = ? AND used_at <= ?")
	return s, nil
}
