package outward

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/jws"
)

// Keys are the keys of an issuer. A token is verified with the key that its kid
// names, and nothing that it brings along.
type Keys struct {
	*Document[*KeySet]
	scheduled  bool
	algorithms []jose.SignatureAlgorithm
	fetch      func(context.Context) ([]byte, error)
	log        *slog.Logger
}

// KeysConfig is what Keys are made of. All is required but where it is said.
type KeysConfig struct {
	Algorithms []string                              // those that the map allows
	Fetch      func(context.Context) ([]byte, error) // a JWK Set
	Clock      func() time.Time
	Log        *slog.Logger // it names the provider
	Refresh    time.Duration
	Keep       time.Duration
	Timeout    time.Duration
	// Scheduled says that somebody runs Run: a request does not wait for keys that are
	// merely due for a look.
	Scheduled bool
}

// NewKeys returns keys that nobody has asked for yet.
func NewKeys(cfg KeysConfig) *Keys {
	k := &Keys{scheduled: cfg.Scheduled, fetch: cfg.Fetch, log: cfg.Log}
	for _, a := range cfg.Algorithms {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(a))
	}
	k.Document = &Document[*KeySet]{Fetch: k.read, Clock: cfg.Clock, Refresh: cfg.Refresh, Keep: cfg.Keep, Timeout: cfg.Timeout}
	return k
}

// read makes one look. A set that is the one before is the same one: what was
// verified with it stays so.
func (k *Keys) read(ctx context.Context) (*KeySet, error) {
	before, _, failed := k.State()
	data, err := k.fetch(ctx)
	var set *KeySet
	if err == nil {
		set, err = parseKeys(data, k.algorithms)
	}
	switch {
	case err != nil:
		k.log.Warn("keys of an issuer could not be had", slog.Any("error", err), slog.Bool("kept", before != nil))
		return nil, err
	case before == nil || before.digest != set.digest:
		k.log.Info("keys of an issuer", slog.Int("keys", len(set.keys)), slog.Any("skipped", set.skipped[:min(len(set.skipped), mostTold)]))
		return set, nil
	case failed != nil:
		k.log.Info("keys of an issuer can be had again")
	}
	return before, nil
}

// Uses says whether a set is the one in use.
func (k *Keys) Uses(set *KeySet) bool {
	current, err := k.Current()
	return err == nil && current == set
}

// ErrSignature is why a token is refused whose issuer could be asked. All other
// errors of Verify are that it could not.
var ErrSignature = errors.New("the signature does not hold")

// Parse takes a JWS apart, whose algorithm must be allowed.
func (k *Keys) Parse(token string) (*jose.JSONWebSignature, error) {
	signed, err := jose.ParseSignedCompact(token, jws.Names(k.algorithms))
	if err == nil && len(signed.Signatures) != 1 {
		err = errors.New("it is not signed once")
	}
	return signed, err
}

// Verify returns the payload of a JWS that Parse has read, and the keys by which its
// signature holds. A kid that is not known may be of a new key: the issuer is asked,
// if it was not a moment ago.
func (k *Keys) Verify(ctx context.Context, signed *jose.JSONWebSignature) ([]byte, *KeySet, error) {
	header := signed.Signatures[0].Protected
	set, err := k.inUse(ctx)
	var found []key
	known := false
	if err == nil {
		found, known = set.find(header)
	}
	if len(found) == 0 && !known {
		if err := k.again(ctx); err != nil {
			return nil, nil, err
		}
		if set, err = k.Current(); err != nil {
			return nil, nil, err
		}
		// Of an issuer that cannot be asked it is open whether it has the key.
		if found, _ = set.find(header); len(found) == 0 {
			if _, _, failed := k.State(); failed != nil {
				return nil, nil, failed
			}
		}
	}
	for _, one := range found {
		if payload, err := jws.Verify(signed, one.public); err == nil {
			return payload, set, nil
		}
	}
	return nil, nil, &signatureError{len(found), header}
}

func (k *Keys) inUse(ctx context.Context) (*KeySet, error) {
	if k.scheduled {
		return k.Current()
	}
	return k.Get(ctx)
}
