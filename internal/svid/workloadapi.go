package svid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	firstMessage = 30 * time.Second // that a stream may take to say anything
	emptyMessage = time.Minute      // after which a stream that gave no identity is opened anew
	calmStream   = 10 * time.Second // a stream that lived so long was no failure
)

// WorkloadAPI gets the identity from the SPIFFE Workload API of this host: who
// we are is what the operating system says of this process.
type WorkloadAPI struct {
	// Socket is unix:///PATH, as in SPIFFE_ENDPOINT_SOCKET, or the path itself.
	Socket string

	// Service chooses among several identities that one process may have: that
	// of spiffe://ANY/SERVICE. Empty: the first.
	Service string

	Log *slog.Logger // nil: slog.Default()

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the socket; tests have one of their own
}

// Run fills s and keeps it fresh until ctx ends, then it returns nil. The stream
// is opened anew when it breaks and when it is silent for three quarters of the
// life of what it gave. An identity that the server takes back is withdrawn; one
// that it merely does not renew stays for its lifetime. An error is returned
// only for what waiting does not mend.
func (w WorkloadAPI) Run(ctx context.Context, s *Source) error {
	if w.Log == nil {
		w.Log = slog.Default()
	}
	path, err := socketPath(w.Socket)
	if err != nil {
		return fmt.Errorf("svid: Workload API: %w", err)
	}
	if w.dial == nil {
		w.dial = (&net.Dialer{Timeout: handshakeTimeout}).DialContext
	}
	client := unixClient(path, w.dial)
	defer client.CloseIdleConnections()
	failures := 0
	for {
		began := time.Now()
		err := w.follow(ctx, client, s)
		if ctx.Err() != nil {
			return nil
		}
		if e, ok := errors.AsType[*rpcError](err); ok && e.lasting() {
			return fmt.Errorf("svid: Workload API at %s: %w", path, err)
		}
		if time.Since(began) >= calmStream {
			failures = 0
		}
		failures++
		w.report(ctx, path, failures, err, s)
		if sleep(ctx, pause(failures)) != nil {
			return nil
		}
	}
}

// report logs a stream that ended: the first of a row of failures is news.
func (w WorkloadAPI) report(ctx context.Context, path string, failures int, err error, s *Source) {
	level := slog.LevelDebug
	if failures == 1 {
		level = slog.LevelWarn
	}
	_, unusable := s.Current()
	if e, ok := errors.AsType[*rpcError](err); ok && e.code == codePermissionDenied {
		s.withdraw() // "the client SHOULD cease using the redacted SVIDs" (Workload API section 5.2.1)
		w.Log.Log(ctx, level, "no identity for this process: its uid, gid or path fits no service of the map; see the log of sallyport serve",
			"socket", path, "service", w.Service, "failures", failures, "error", err)
		return
	}
	w.Log.Log(ctx, level, "the Workload API does not answer", "socket", path, "identity", unusable == nil, "failures", failures, "error", err)
}

// follow takes what one stream says until it ends, which is always an error.
func (w WorkloadAPI) follow(ctx context.Context, client *http.Client, s *Source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(firstMessage, func() { cancel(errors.New("the stream is silent")) })
	defer silence.Stop()
	st, err := openStream(ctx, client)
	if err != nil {
		return quiet(ctx, err)
	}
	defer st.close()
	for {
		message, err := st.next()
		if err != nil {
			return quiet(ctx, err)
		}
		wait, err := w.take(ctx, message, s)
		if err != nil {
			return err
		}
		silence.Reset(wait)
	}
}

// quiet returns why ctx was ended in the place of an error that only says that
// it was.
func quiet(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// take puts the identity of a message into use and returns how long the stream
// may be silent now. A message that does not hold changes nothing.
func (w WorkloadAPI) take(ctx context.Context, message []byte, s *Source) (time.Duration, error) {
	defer clear(message) // it holds private keys, which the identity has copied
	m, err := parseMessage(message)
	if err != nil {
		return 0, err
	}
	if m.revocations > 0 {
		w.Log.WarnContext(ctx, "the Workload API sent revocation lists, which are not used", "lists", m.revocations)
	}
	chosen, err := m.choose(w.Service)
	if err != nil {
		return 0, err
	}
	if chosen == nil { // each message is the whole state: what is not in it was taken back
		s.withdraw()
		w.Log.WarnContext(ctx, "the Workload API gives no identity for this service", "service", w.Service, "identities", len(m.svids))
		return emptyMessage, nil
	}
	i, err := chosen.identity()
	if err != nil {
		return 0, err
	}
	s.Set(i)
	w.Log.InfoContext(ctx, "identity in use", "id", i.ID.String(), "serial", i.Certificate.Leaf.SerialNumber.Text(16), "expires", i.NotAfter)
	return max(i.NotAfter.Sub(s.clock())*3/4, time.Second), nil
}
