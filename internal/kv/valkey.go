package kv

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Valkey is the engine that several processes share: one Valkey or Redis server
// that takes writes, 6.2 or newer. It was run against redis-server 7.0 only.
//
// Counters. What Memory promises about rates holds over all processes, in one
// atomic script. Time is the server's: gateways have clocks that differ, and one
// that is ahead would forget for the others. A server clock that is set back
// makes counters stand still for up to a window and an eighth; one that is set
// forward forgets what that time would have. A counter costs about 220 bytes (a nonce 170)
// and is gone when nothing in it counts any more. None makes room for another:
// keys that are cheap to make (addresses) should be coarse. A server without
// room answers ErrFull.
//
// Values. None is forgotten early by a server that runs: one that may evict is
// refused when it is opened, and its writes when it becomes one. When a server
// comes back without what it held, the processes that knew it before notice: all
// refuse nonces (ErrUnavailable) until the longest-lived of the lost ones is
// over. What is not noticed: a server that comes back without its last writes
// alone (appendfsync everysec, a replica that takes over), and one that is lost
// while no process runs. appendonly yes with appendfsync always prevents all of
// it; OpenValkey warns where appendonly is off.
//
// Failure. Every call is over within the timeout. Nothing is sent twice. What
// cannot be asked is ErrUnavailable, and after the first such failure all calls
// are, at once, until a heartbeat comes through: see circuit. Fallback keeps
// limits meanwhile; values and nonces are refused.
//
// What is sent. Keys and names of channels go as hashes: what is in them
// (addresses, subjects) is not to be read in the server's dump, slow log or
// monitor. Values and messages go as they are.
type Valkey struct {
	ValueSpace

	client  *redis.Client
	address address
	prefix  string // of all keys and channels
	id      string // of this process
	timeout time.Duration
	life    time.Duration // of a heartbeat
	quiet   time.Duration // of a connection that listens
	log     *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	parts  sync.WaitGroup // the goroutines

	circuit  *circuit
	beating  *redis.Script
	gateways atomic.Int64
	steady   atomic.Int64           // beats for which gateways does not fall
	noncing  *redis.Script          // SetNX
	undoing  *redis.Script          // Undo
	born     atomic.Pointer[string] // since when the server's memory is whole, as it says itself
	longest  atomic.Int64           // longest life of a nonce of this process, in milliseconds
	evicts   atomic.Bool            // the server may forget values to make room
	warnings atomic.Pointer[[]string]
	takes    takes
	channels channels
	listener *listener
}

var _ Store = (*Valkey)(nil)

// ValkeyOptions are how OpenValkey opens. The zero value of all but Zone is usable.
type ValkeyOptions struct {
	Zone    string        // the zone's name: part of every key, so that zones may share a server
	Timeout time.Duration // longest time that a call takes; 0: 500 ms, at least 10 ms
	TLS     *tls.Config   // roots and client certificate; nil: the system's roots
	Log     *slog.Logger  // nil: nothing is logged

	life  time.Duration // of a heartbeat; 0: lifeOfBeat
	quiet time.Duration // how long a connection that listens may be silent; 0: quietFor
}

const (
	defaultTimeout = 500 * time.Millisecond
	minTimeout     = 10 * time.Millisecond
	openTimeout    = 5 * time.Second
	maxConnections = 16       // and one that listens
	bufferSize     = 16 << 10 // of a connection, each way
	maxZone        = 253
)

// OpenValkey opens the server that a url names (see parseURL: redis, rediss,
// valkey, valkeys, unix). It asks the server once; one that cannot be reached is
// ErrUnavailable, one that may forget values early or is not a primary is
// refused. One process opens it once: each counts as a gateway of the zone.
func OpenValkey(ctx context.Context, url string, o ValkeyOptions) (*Valkey, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("kv: the url of the valkey %w", err)
	}
	if o.Zone == "" || len(o.Zone) > maxZone || strings.ContainsAny(o.Zone, ": \t\r\n*?[]{}") {
		return nil, errors.New("kv: a valkey needs the name of a zone")
	}
	config, err := a.tlsConfig(o.TLS)
	if err != nil {
		return nil, fmt.Errorf("kv: valkey: %w", err)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	o.Timeout = max(o.Timeout, minTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	logging.Disable() // the library's own lines go to stderr, in a form of their own
	v := newValkey(redis.NewClient(clientOptions(a, config, o.Timeout)), a, o)
	if err := v.greet(ctx); err != nil {
		v.cancel()
		_ = v.client.Close()
		return nil, err
	}
	v.parts.Go(v.keep)
	v.parts.Go(v.listener.run)
	for range takers {
		v.parts.Go(v.takeAll)
	}
	return v, nil
}

// newValkey puts the parts together; nothing runs yet.
func newValkey(client *redis.Client, a address, o ValkeyOptions) *Valkey {
	v := &Valkey{
		client: client, address: a, prefix: "sallyport:" + o.Zone + ":", id: rand.Text(),
		timeout: o.Timeout, life: cmp.Or(o.life, lifeOfBeat), quiet: cmp.Or(o.quiet, quietFor), log: o.Log,
		circuit: newCircuit(o.Log), beating: redis.NewScript(beatScript), takes: newTakes(),
	}
	v.ValueSpace = ValueSpace{v: v}
	v.noncing = redis.NewScript(nonceScript)
	v.undoing = redis.NewScript(undoScript)
	v.born.Store(new(string))
	v.listener = newListener(v)
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v
}

// greet sees for the first time what is there.
func (v *Valkey) greet(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, max(openTimeout, v.timeout))
	defer cancel()
	if err := v.client.Ping(ctx).Err(); err != nil {
		return v.failed(parent, 1, "open", err) // 1: there is no circuit yet
	}
	if err := v.inspect(ctx); err != nil {
		return fmt.Errorf("kv: valkey %w", err)
	}
	if err := v.beat(ctx); err != nil {
		return v.failed(parent, 1, "open", err)
	}
	for _, w := range v.Warnings() {
		v.log.Warn("valkey", "warning", w)
	}
	return nil
}

// clientOptions bound everything and try nothing twice.
func clientOptions(a address, config *tls.Config, timeout time.Duration) *redis.Options {
	return &redis.Options{
		Network: a.network, Addr: a.addr, Username: a.user, Password: a.password, DB: a.db, TLSConfig: config,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1, DialerRetries: 1,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout, ContextTimeoutEnabled: true,
		PoolSize: maxConnections, MaxActiveConns: maxConnections, PipelinePoolSize: -1, MaxIdleConns: maxConnections,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
	}
}

// Close ends all subscriptions and connections. Calls that run end with ErrUnavailable.
func (v *Valkey) Close() error {
	v.leave()
	v.cancel()
	v.listener.close()
	err := v.client.Close()
	v.parts.Wait()
	v.channels.end()
	if err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("kv: close: %s", v.redact(err))
	}
	return nil
}

// hashed returns what stands for a key on the server: 128 bits of its SHA-256,
// of one length for all. Two keys that meet would share a limit or refuse a
// nonce; nobody can make them meet.
func hashed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
