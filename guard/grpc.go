package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"sallyport.dev/internal/problem"
)

// GRPC makes the service's declared calls for a client of gRPC: it is the client's
// dialer and, so that each call is judged by the request that it belongs to, its
// per-call credentials (credentials.PerRPCCredentials of google.golang.org/grpc).
//
//	conn, err := grpc.NewClient("passthrough:///accounts",
//		grpc.WithTransportCredentials(insecure.NewCredentials()), // the guard's own wire has mutual TLS
//		grpc.WithContextDialer(g.GRPC().Dial), grpc.WithPerRPCCredentials(g.GRPC()))
//	...
//	err = conn.Invoke(r.Context(), "/shop.Accounts/Get", in, out)
//
// The authority, here accounts, is the service that is called. What is said of
// Client holds: undeclared calls end with PERMISSION_DENIED and leave nothing on any
// wire. Connections of Dial stay in the process.
type GRPC struct {
	g     *Guard
	once  sync.Once
	conns chan net.Conn

	mu   sync.Mutex
	open map[string]context.Context // guarded by mu; of calls that are on their way to ServeHTTP
}

// callHeader carries the name of a call's context within the process.
const callHeader = "sallyport-call"

// GRPC returns the one of this guard, for use by any number of goroutines.
func (g *Guard) GRPC() *GRPC { return &g.grpc }

// Dial is for grpc.WithContextDialer. The address is not used.
func (c *GRPC) Dial(ctx context.Context, _ string) (net.Conn, error) {
	c.once.Do(c.serve)
	ours, theirs := net.Pipe()
	select {
	case c.conns <- ours:
		return theirs, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.g.ended:
		return nil, net.ErrClosed
	}
}

// GetRequestMetadata is for grpc.WithPerRPCCredentials.
func (c *GRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	name := rand.Text()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[string]context.Context)
	}
	c.open[name] = ctx
	context.AfterFunc(ctx, func() { c.take(name) }) // that of a call always ends
	return map[string]string{callHeader: name}, nil
}

// RequireTransportSecurity is for grpc.WithPerRPCCredentials: what it adds never
// leaves the process.
func (*GRPC) RequireTransportSecurity() bool { return false }

func (c *GRPC) take(name string) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.open[name]
	delete(c.open, name)
	return ctx
}

// serve takes the connections of Dial until the guard's own context ends.
func (c *GRPC) serve() {
	srv := &http.Server{
		Handler: http.HandlerFunc(c.forward), Protocols: new(http.Protocols), ReadHeaderTimeout: max(headerTime, c.g.patience), MaxHeaderBytes: maxHeader,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 1024},
		ErrorLog: log.New(io.Discard, "", 0), // it is between two parts of one process
	}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve((*piped)(c)) }()
	go func() { <-c.g.ended; _ = srv.Close() }()
}

// piped is the listener of serve.
type piped GRPC

func (l *piped) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.g.ended:
		return nil, net.ErrClosed
	}
}

func (*piped) Close() error   { return nil }
func (*piped) Addr() net.Addr { return &net.UnixAddr{Name: "guard", Net: "pipe"} }

// forward makes a call and gives the answer while it comes.
func (c *GRPC) forward(w http.ResponseWriter, r *http.Request) {
	values := c.take(r.Header.Get(callHeader))
	if values == nil {
		failCall(w, problem.New(problem.InsideHandle, nil))
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(values))
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)()
	out := r.WithContext(ctx)
	u := *r.URL
	u.Scheme, u.Host = "http", r.Host
	out.URL, out.RequestURI, out.Trailer = &u, "", nil
	out.Header = r.Header.Clone()
	out.Header.Del(callHeader)
	res, err := c.g.client.Transport.RoundTrip(out)
	if err != nil {
		failCall(w, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	for name, values := range res.Header {
		if !inside(name) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	to := http.NewResponseController(w)
	if res.ContentLength != 0 { // else it ends with its head, which has the status
		_ = to.Flush() // what cannot be sent fails the next Write
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = to.Flush()
		}
		switch {
		case err == io.EOF:
			for name, values := range res.Trailer {
				if !inside(name) {
					w.Header()[http.TrailerPrefix+name] = values
				}
			}
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}

// failCall ends a call that has no answer, with what gRPC has for it.
func failCall(w http.ResponseWriter, err error) {
	status := 14 // UNAVAILABLE
	if declined(err) {
		status = 7 // PERMISSION_DENIED
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/grpc"}
	h["Grpc-Status"] = []string{strconv.Itoa(status)}
	h["Grpc-Message"] = []string{escapeMessage(err.Error())}
	w.WriteHeader(http.StatusOK)
}

// declined says whether a call is one that the map or the context does not allow,
// and that will not pass when it is made again.
func declined(err error) bool {
	for _, why := range []error{ErrNoRequest, ErrUndeclared, ErrNotEnforced} {
		if errors.Is(err, why) {
			return true
		}
	}
	return problem.ReasonOf(err) == problem.InsideHandle
}

// escapeMessage writes a status message as a header has it (gRPC over HTTP2,
// "Responses").
func escapeMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			_, _ = fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
