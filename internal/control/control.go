package control

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// CA certifies the keys of workloads; *pki.CA is one.
type CA interface {
	// IssueSVID certifies a P-256 key as spiffe://ZONE/name: leaf and intermediate in DER.
	IssueSVID(ctx context.Context, name string, pub crypto.PublicKey) (chainDER [][]byte, notAfter time.Time, err error)
	Roots() []*x509.Certificate
}

// Tokens are the join tokens at rest; *join.Tokens is one.
type Tokens interface {
	// Redeem spends a token and returns the service that it was made for.
	Redeem(ctx context.Context, id, secret []byte) (service string, err error)
}

// Minter signs inside tokens; *token.Minter is one.
type Minter interface {
	Mint(ctx context.Context, s token.Subject) (token.Token, error)
}

// Journal keeps records; *journal.Journal is one.
type Journal interface {
	Admit(admin bool) error
	AppendSync(r *journal.Record) error
}

// Config is what the listener stands on. Every field is needed.
type Config struct {
	Zone     *zone.Zone   // the first: see Reload
	Source   *svid.Source // of spiffe://ZONE/control
	CA       CA
	ParseCSR func(der []byte) (crypto.PublicKey, error) // an error is the sender's
	Tokens   Tokens
	Minter   Minter
	Access   AccessTokens
	Keys     token.Signers
	Journal  Journal
	Counters kv.Counters                    // bounds attempts to join
	Nonces   func(service string) kv.Values // makes the memory of what the replicas of a service have accepted
	Clock    func() time.Time
	Log      *slog.Logger

	Patience time.Duration // of a handshake; this one may be zero: see svid.Conns
}

// Control is the listener of one zone.
type Control struct {
	Config
	conns   *svid.Conns
	current atomic.Pointer[mapped]
	reload  sync.Mutex
	heard   heard
	end     chan struct{} // closed by Release
	release sync.Once
}

// mapped is what a map says to control.
type mapped struct {
	zone *zone.Zone
	used map[string]kv.Values // by service: one that fills its own denies itself alone
	over chan struct{}        // closed when another map is in force
}

// New returns the control of a zone. It opens nothing.
func New(cfg Config) *Control {
	c := &Control{Config: cfg, conns: svid.NewConns(cfg.Clock), end: make(chan struct{})}
	c.conns.Patience = cfg.Patience
	c.Reload(cfg.Zone)
	return c
}

// Reload puts another map of the same zone in force. Guards that wait for their
// part of it are answered at once, and connections of services of which it has no
// inner door are closed. What the replicas of a service have used stays used.
func (c *Control) Reload(z *zone.Zone) {
	c.reload.Lock()
	defer c.reload.Unlock()
	next := &mapped{zone: z, used: make(map[string]kv.Values), over: make(chan struct{})}
	before := c.current.Load()
	for _, svc := range z.Services {
		if !svc.InnerDoor() {
			continue
		}
		if before != nil && before.used[svc.Name] != nil {
			next.used[svc.Name] = before.used[svc.Name]
		} else {
			next.used[svc.Name] = c.Nonces(svc.Name)
		}
	}
	c.current.Store(next)
	if before != nil {
		close(before.over)
		c.conns.CloseWhere(func(p svid.Peer) bool { return p.ID != (svid.ID{}) && c.allow(p) != nil })
	}
}

// zone is the map in force.
func (c *Control) zone() *zone.Zone { return c.current.Load().zone }

// maxConnections bounds the connections of the listener. A guard that cannot ask
// for its map closes its service in the end, so nobody may take all of them.
const maxConnections = 512

// maxBody bounds every request's body, in bytes.
const maxBody = svid.MaxJoinBody

// Listener makes mutual TLS on the connections of inner and bounds their number.
// It is for an http.Server with Handler and svid.ConnContext.
func (c *Control) Listener(inner net.Listener) net.Listener {
	cfg := svid.ControlTLS(c.Source, c.allow)
	cfg.NextProtos = []string{"http/1.1"}
	return c.conns.Listener(svid.NewCrowd(inner, maxConnections, maxConnections/8), cfg)
}

// Release answers the requests that are held. It is for the server's shutdown.
func (c *Control) Release() { c.release.Do(func() { close(c.end) }) }

// Close closes every connection.
func (c *Control) Close() error {
	c.Release()
	return c.conns.Close()
}

// Handler answers requests whose connection Serve's listener has verified.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+svid.JoinPath, c.join)
	mux.HandleFunc("POST "+svid.IdentityPath, c.renew)
	mux.HandleFunc("POST /v1/token", c.token)
	mux.HandleFunc("POST /v1/once", c.once)
	mux.HandleFunc("POST /oauth/token", c.exchange)
	mux.HandleFunc("GET /v1/services/{name}", c.slice)
	mux.HandleFunc("GET /.well-known/jwks.json", c.jwks)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { c.refuse(w, r, problem.New(problem.RouteUnknown, nil)) })
	return svid.Retire(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		req := &obs.Request{CorrelationID: obs.CorrelationID(r.Header.Get(obs.CorrelationHeader)), Trace: obs.NewTrace(), Listener: "control"}
		w.Header().Set(obs.CorrelationHeader, req.CorrelationID)
		r = r.WithContext(obs.WithRequest(r.Context(), req))
		if _, ok := svid.PeerFrom(r.Context()); !ok {
			w.Header().Set("Connection", "close") // answered once: it has nothing more to ask for
		}
		mux.ServeHTTP(w, r)
	}))
}

// allow is the judgement of a handshake: a service of the map, or the gateway.
func (c *Control) allow(p svid.Peer) error {
	_, err := c.nameOf(p)
	return err
}

// nameOf returns the name of a workload of this zone. A service that has no inner
// door any more has no identity either: what it was given is good to its end, and
// there is no other.
func (c *Control) nameOf(p svid.Peer) (string, error) {
	z := c.zone()
	if id, err := svid.ServiceID(z.Name, svid.GatewayName); err == nil && p.ID == id {
		return svid.GatewayName, nil
	}
	for _, svc := range z.Services {
		if id, err := svid.ServiceID(z.Name, svc.Name); err == nil && p.ID == id && svc.InnerDoor() {
			return svc.Name, nil
		}
	}
	return "", problem.New(problem.InsidePeer, fmt.Errorf("the map has no inner door of %s", p.ID))
}

// errNobody: the connection has no client certificate.
var errNobody = errors.New("a client certificate of the zone is needed here")

// peer returns the name of the workload whose request this is.
func (c *Control) peer(r *http.Request) (string, error) {
	p, ok := svid.PeerFrom(r.Context())
	if !ok {
		return "", problem.New(problem.InsidePeer, errNobody)
	}
	return c.nameOf(p)
}

// refuse answers with the problem document of err; its cause goes to the log.
func (c *Control) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if cause := errors.Unwrap(err); cause != nil {
		c.Log.WarnContext(r.Context(), "control: request refused", "operation", r.Pattern, "client", r.RemoteAddr, "reason", problem.ReasonOf(err).Code(), "cause", cause)
	}
	problem.WriteError(w, err, obs.RequestFrom(r.Context()).CorrelationID)
}
