package keys

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

const (
	defaultRotate  = 24 * time.Hour
	defaultOverlap = 10 * time.Minute

	// ticks is how often a ring looks at the database within an overlap: what
	// one process publishes, another publishes a tick later.
	ticks = 10
)

// RingConfig is what a ring of signing keys is made of.
type RingConfig struct {
	Name   string        // of the ring in the database, such as "txn-token"
	Rotate time.Duration // how long a key signs; 0: 24 h

	// Overlap is how long a key is published before it signs, and after it
	// signed last; 0: 10 min. It outlasts what verifiers need to hear of a new
	// key (seconds, when they ask often; a guard's staleness at most) and what a
	// token lives.
	Overlap time.Duration

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged
}

// Ring is a ring of ES256 signing keys that turns with time. It is a
// token.Signers and a token.KeySource. Safe for concurrent use, also by several
// processes on one database.
type Ring struct {
	db   *store.DB
	root *Root
	cfg  RingConfig

	mu   sync.Mutex           // one turn at a time in this process
	seen map[string]time.Time // guarded by mu; since when this process publishes each key

	now atomic.Pointer[snapshot] // what is served; replaced whole
}

// snapshot is the ring at one moment.
type snapshot struct {
	read   time.Time // by the ring's clock
	active token.SigningKey
	public []token.PublicKey
	set    token.KeySet
}

// ringName keeps the parts of a seal's name apart.
var ringName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// NewRing opens a ring and makes its first key when it has none. The root must
// fit the database (ErrWrongRoot).
func NewRing(ctx context.Context, db *store.DB, root *Root, cfg RingConfig) (*Ring, error) {
	if cfg.Rotate == 0 {
		cfg.Rotate = defaultRotate
	}
	if cfg.Overlap == 0 {
		cfg.Overlap = defaultOverlap
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// Another process may sign with a retired key for one tick longer.
	least := (token.MaxLife + token.MaxLeeway) * ticks / (ticks - 1)
	switch {
	case !ringName.MatchString(cfg.Name):
		return nil, fmt.Errorf("keys: ring name %q is not a name of the map", cfg.Name)
	case cfg.Overlap < least:
		return nil, fmt.Errorf("keys: ring %s: an overlap of %s is less than %s: tokens would outlive their key", cfg.Name, cfg.Overlap, least)
	case cfg.Rotate < 2*cfg.Overlap:
		return nil, fmt.Errorf("keys: ring %s: rotation each %s leaves no room for an overlap of %s twice", cfg.Name, cfg.Rotate, cfg.Overlap)
	}
	r := &Ring{db: db, root: root, cfg: cfg, seen: map[string]time.Time{}}
	if err := r.Rotate(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// SigningKey returns the active key. A ring that has not looked at the database
// for long (a host that slept) looks now, and refuses when it cannot: its key
// may be gone before the tokens that it would sign.
func (r *Ring) SigningKey(ctx context.Context) (token.SigningKey, error) {
	if s := r.now.Load(); r.fresh(s) {
		return s.active, nil
	}
	if err := r.Rotate(ctx); err != nil {
		return token.SigningKey{}, err
	}
	return r.now.Load().active, nil
}

// PublicKeys returns all keys that verifiers should know: the one to come, the
// active one, and those whose last tokens may still live.
func (r *Ring) PublicKeys(context.Context) ([]token.PublicKey, error) {
	return slices.Clone(r.now.Load().public), nil
}

// Key returns a published key by its kid, for a verifier in this process.
func (r *Ring) Key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	return r.now.Load().set.Key(ctx, kid)
}

// fresh says whether the active key, were it retired right after it was read,
// is still published for the life of a token signed now. The clock that says
// longer decides: the monotonic one stands still while a host sleeps, the wall
// clock may be set back.
func (r *Ring) fresh(s *snapshot) bool {
	now := r.cfg.Clock()
	age := max(now.Sub(s.read), now.Round(0).Sub(s.read.Round(0)))
	return age < r.cfg.Overlap-token.MaxLife-token.MaxLeeway
}
