package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
)

// The environment that fills the zero values of a Config.
const (
	EnvService  = "SALLYPORT_SERVICE"
	EnvControl  = "SALLYPORT_CONTROL"
	EnvSocket   = "SPIFFE_ENDPOINT_SOCKET"
	EnvJoinFile = "SALLYPORT_JOIN_FILE"
	EnvData     = "SALLYPORT_DATA"
)

const (
	defaultControl     = "https://127.0.0.1:8441"
	defaultCallTimeout = 30 * time.Second
)

// Config says who the service is, where its zone is and where its identity comes
// from. The zero value takes all from the environment, which is how `sallyport`
// starts services.
//
// The identity comes from the first of these that is given: Join, JoinFile or
// Socket; SPIFFE_ENDPOINT_SOCKET; SALLYPORT_JOIN_FILE; else the socket at which a
// zone of this host serves the SPIFFE Workload API.
type Config struct {
	// Service is the name of the service in the zone map. Empty: SALLYPORT_SERVICE.
	Service string

	// Control is the base URL of the zone's control listener; only https. Whatever
	// answers there has to be spiffe://ZONE/control.
	// Empty: SALLYPORT_CONTROL, else https://127.0.0.1:8441.
	Control string

	// Socket is that of a SPIFFE Workload API, unix:///PATH or the path itself.
	Socket string

	// Join is a join token, and JoinFile the path of a file with one. A token is
	// redeemed once: with Data, the identity lives on over restarts, and then the
	// file may be gone.
	Join     JoinToken
	JoinFile string

	// Data is the folder that keeps an identity which was joined, private to the
	// service's uid. Empty: SALLYPORT_DATA, else nothing is kept.
	Data string

	// Spool is the folder for bodies over 64 KiB, which are kept in files without
	// name until their digest is known. Empty: os.TempDir.
	Spool string

	// Replays is where the replicas of the service note which signed requests were
	// accepted. Nil: control, for requests that may change something; of safe
	// methods (RFC 9110 section 9.2.1) each replica remembers its own alone.
	Replays Replays

	// CallTimeout bounds a call of Guard.Client from its dial to the last byte of
	// the answer's body; of a stream, to the answer's header. 0: 30 s.
	CallTimeout time.Duration

	// StreamIdle bounds the silence of a stream that is served, in both directions
	// together, and of a WebSocket of Guard.Client; in all it lasts no longer than the
	// certificates of its connection. 0: 2 min.
	StreamIdle time.Duration

	// Log takes what operators should know: loss of control, routes that are
	// closed, refusals. Never tokens. Nil: slog.Default().
	Log *slog.Logger

	// Clock tells the time that lives and ages are judged by. Nil: time.Now.
	Clock func() time.Time
}

// JoinToken is the text of a join token. It does not print.
type JoinToken string

func (JoinToken) String() string   { return "join token" }
func (JoinToken) GoString() string { return `guard.JoinToken("...")` }

// MarshalText keeps it out of JSON.
func (JoinToken) MarshalText() ([]byte, error) { return []byte("join token"), nil }

// LogValue keeps it out of logs.
func (JoinToken) LogValue() slog.Value { return slog.StringValue("join token") }

// Replays is a memory that all replicas of a service share.
type Replays interface {
	// Once reports whether key is seen for the first time; it is remembered for a
	// life of ttl. Of any number of callers at once one is told true.
	Once(ctx context.Context, key string, ttl time.Duration) (bool, error)
}

func (c Config) resolve() (Config, error) {
	c.Service = firstOf(c.Service, os.Getenv(EnvService))
	c.Control = strings.TrimSuffix(firstOf(c.Control, os.Getenv(EnvControl), defaultControl), "/")
	c.Data = firstOf(c.Data, os.Getenv(EnvData))
	c.Spool = firstOf(c.Spool, os.TempDir())
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.StreamIdle == 0 {
		c.StreamIdle = streamIdle
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Service == "" {
		return c, errors.New("guard: no service: set Config.Service or " + EnvService)
	}
	if u, err := url.Parse(c.Control); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return c, fmt.Errorf("guard: control %q is not an https URL", c.Control)
	}
	if c.CallTimeout < 0 {
		return c, fmt.Errorf("guard: call timeout of %s is negative", c.CallTimeout)
	}
	if c.StreamIdle < 0 {
		return c, fmt.Errorf("guard: stream idle of %s is negative", c.StreamIdle)
	}
	return c, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
