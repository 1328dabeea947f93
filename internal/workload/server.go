package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
)

// Issuer makes the identities.
type Issuer interface {
	// IssueSVID signs an X.509-SVID for the service name of the zone: DER, leaf
	// first, without the root.
	IssueSVID(ctx context.Context, name string, pub crypto.PublicKey) (chainDER [][]byte, notAfter time.Time, err error)

	// Roots are the trust domain's roots at this moment.
	Roots() []*x509.Certificate
}

// Entry says which processes are a service of the map.
type Entry struct {
	Service   string
	Selectors map[string][]string // by uid, gid, path; empty: the uid of this process
}

// Config is what a Server needs.
type Config struct {
	Zone    string // trust domain
	Entries []Entry
	Issuer  Issuer
	UID     int // the uid of this process, for entries without selectors
	Clock   func() time.Time
	Log     *slog.Logger
	Limits  Limits
}

// Limits bound what local processes can use up. Zero is the default.
type Limits struct {
	Connections           int // 1024 in all; one uid has at most half of them
	ConnectionsPerProcess int // 8
	StreamsPerProcess     int // 16

	FirstWords time.Duration // 5 s until a connection speaks HTTP/2
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		limit *int
		value int
	}{{&l.Connections, 1024}, {&l.ConnectionsPerProcess, 8}, {&l.StreamsPerProcess, 16}} {
		if *d.limit <= 0 {
			*d.limit = d.value
		}
	}
	if l.FirstWords <= 0 {
		l.FirstWords = firstWords
	}
	return l
}

// Server is the Workload API of one zone on one host.
type Server struct {
	domain  spiffeid.TrustDomain
	issuer  Issuer
	uid     uint32
	clock   func() time.Time
	log     *slog.Logger
	limits  Limits
	denials denials
	streams counts[int]   // by pid
	issuing chan struct{} // places for keys in the making
	looks   looks

	serving  atomic.Bool
	stopping chan struct{} // closed when Serve ends

	mu      sync.Mutex
	rules   []rule        // guarded by mu
	changed chan struct{} // guarded by mu; closed when the rules or the roots changed
}

// maxIssuing bounds the keys and certificates made at the same time: what a
// crowd of processes asks for must not take the host from the gateway.
const maxIssuing = 4

// New makes a server. It fails where the entries are nothing that a map says;
// values that no process can have are only logged.
func New(c Config) (*Server, error) {
	domain, err := spiffeid.TrustDomainFromString(c.Zone)
	if err != nil || domain.Name() != c.Zone {
		return nil, fmt.Errorf("workload api: %q is no trust domain", c.Zone)
	}
	if c.Issuer == nil {
		return nil, errors.New("workload api: no issuer")
	}
	if c.UID < 0 || uint64(c.UID) >= uint64(noID) {
		return nil, fmt.Errorf("workload api: %d is no uid", c.UID)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limits := c.Limits.withDefaults()
	s := &Server{
		domain: domain, issuer: c.Issuer, uid: uint32(c.UID), clock: c.Clock, log: c.Log, limits: limits, // #nosec G115 -- checked above
		denials:  denials{clock: c.Clock},
		streams:  counts[int]{most: limits.StreamsPerProcess},
		issuing:  make(chan struct{}, maxIssuing),
		looks:    newLooks(),
		stopping: make(chan struct{}),
		changed:  make(chan struct{}),
	}
	if err := s.SetEntries(c.Entries); err != nil {
		return nil, err
	}
	return s, nil
}

// SetEntries puts other entries in place of the present ones, and open streams
// learn of it at once. Names of users and groups are looked up here and now. On
// an error nothing changes.
func (s *Server) SetEntries(entries []Entry) error {
	rules, err := compile(entries, s.domain, s.uid)
	if err != nil {
		return fmt.Errorf("workload api: %w", err)
	}
	for _, r := range rules {
		for _, w := range r.wants {
			for _, why := range w.never {
				s.log.Warn("selector fits no process", "service", r.service, "selector", w.selector, "why", why)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = rules
	s.wake()
	return nil
}

// wake tells open streams to look again; they do so by themselves within half a
// minute. It is called with mu held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// current returns the rules, and what is closed when they are no longer current.
func (s *Server) current() ([]rule, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules, s.changed
}

// drainTime bounds how long the end of the server waits for its clients.
const drainTime = time.Second

// Serve answers on the socket until ctx ends, then ends the streams
// (Unavailable), closes the socket and returns nil when nothing is left of them.
// It serves once. Where the kernel does not tell who connects it refuses.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	if err := supported(); err != nil {
		return errors.Join(fmt.Errorf("workload api: %w", err), l.Close())
	}
	if s.serving.Swap(true) {
		return errors.Join(errors.New("workload api: it serves once"), l.Close())
	}
	srv := newGRPC(s)
	d := newDoor(l, s.limits, s.log)
	defer d.watchers.Wait()
	drained := make(chan struct{})
	drain := context.AfterFunc(ctx, func() {
		defer close(drained)
		close(s.stopping)
		hard := time.AfterFunc(drainTime, d.closeAll)
		defer hard.Stop()
		srv.GracefulStop()
	})
	err := srv.Serve(d)
	if drain() { // the socket broke
		close(s.stopping)
		d.closeAll()
		srv.Stop()
		return fmt.Errorf("workload api: %w", err)
	}
	<-drained
	return nil
}

// newGRPC makes the gRPC server, with every bound set.
func newGRPC(s *Server) *grpc.Server {
	srv := grpc.NewServer(s.options()...)
	registerAPI(srv, s)
	return srv
}
