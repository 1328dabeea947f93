package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// adminSocket is the local admin API: a unix socket of mode 0600 in the data
// folder. Root and the uid that runs the zone are administrators; every use
// leaves a record with the peer's uid that is on disk before the answer.
type adminSocket struct {
	journal recorder
	log     *slog.Logger
	mux     *http.ServeMux

	// streams ends when the socket drains: a follower would go on for ever.
	streams    context.Context //nolint:containedctx // it is the socket's own life
	endStreams context.CancelFunc
}

// recorder is what the admin socket needs of the journal.
type recorder interface {
	Admit(admin bool) error
	AppendSync(*journal.Record) error
}

func newAdminSocket(j recorder, log *slog.Logger) *adminSocket {
	a := &adminSocket{journal: j, log: log, mux: http.NewServeMux()}
	a.streams, a.endStreams = context.WithCancel(context.Background())
	a.handle("/", func(context.Context, *http.Request) (any, error) {
		return nil, problem.WithDetail(problem.RouteUnknown, "the zone that runs knows no such operation; is it of another version?")
	})
	return a
}

// maxAdminBody bounds a request, in bytes.
const maxAdminBody = 1 << 20

// peerKey finds the uid of the peer in a connection's context.
type peerKey struct{}

// operation is one call of the admin API: it returns what is written as JSON
// (nil: 204), or an error with a reason.
type operation func(ctx context.Context, r *http.Request) (any, error)

// adminListener is the name of the socket in the data folder, and in records.
const adminListener = "admin.sock"

// handle adds one operation.
func (a *adminSocket) handle(pattern string, op operation) { a.handleSized(pattern, maxAdminBody, op) }

// handleSized adds one operation whose body has a bound of its own.
func (a *adminSocket) handleSized(pattern string, most int64, op operation) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		sent := r.Body
		u, ctx := a.begin(w, r, pattern)
		r.Body = http.MaxBytesReader(w, sent, most)
		var out any
		err := a.journal.Admit(true)
		if err == nil {
			out, err = contained(ctx, r, op)
		}
		var body []byte
		u.status = http.StatusNoContent
		if err == nil && out != nil {
			u.status = http.StatusOK
			body, err = json.Marshal(out)
		}
		u.bytes = len(body)
		if err := a.record(ctx, r, u, err); err != nil {
			problem.WriteError(w, err, obs.RequestFrom(ctx).CorrelationID)
			return
		}
		if body != nil {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(u.status)
		_, _ = io.Copy(w, bytes.NewReader(body)) // the caller may be gone
	})
}

// contained runs an operation. A panic is a refusal like any other: it is
// recorded, and what it had not committed is not done.
func contained(ctx context.Context, r *http.Request, op operation) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return op(ctx, r)
}

// use is one use of the socket, as it is recorded.
type use struct {
	route  string
	start  time.Time
	status int // of a success
	bytes  int // of the answer
}

// begin names a request and bounds its body.
func (a *adminSocket) begin(w http.ResponseWriter, r *http.Request, route string) (use, context.Context) {
	req := &obs.Request{CorrelationID: obs.CorrelationID(r.Header.Get(obs.CorrelationHeader)), Trace: obs.NewTrace(), Listener: adminListener}
	w.Header().Set(obs.CorrelationHeader, req.CorrelationID)
	r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
	return use{route: route, start: time.Now()}, obs.WithRequest(r.Context(), req)
}

// record keeps the one record of a use, on disk before the answer. It returns
// what the caller is refused with: why it was refused anyhow, or that there is
// no record.
func (a *adminSocket) record(ctx context.Context, r *http.Request, u use, refused error) error {
	reason := problem.ReasonOf(refused)
	if refused != nil {
		u.status, u.bytes = reason.Status(), 0
		a.log.WarnContext(ctx, "admin operation refused", "operation", u.route, "reason", reason.Code(), "error", refused)
	}
	req := obs.RequestFrom(ctx)
	err := a.journal.AppendSync(&journal.Record{
		Kind: journal.KindAdmin, Time: u.start, CorrelationID: req.CorrelationID, TraceID: req.Trace.String(),
		Listener: adminListener, Service: "admin", Route: u.route, Method: r.Method,
		Principal: "uid:" + strconv.FormatUint(uint64(peerUID(r.Context())), 10),
		Reason:    reason.Code(), Status: u.status, BytesOut: int64(u.bytes), Duration: time.Since(u.start),
	})
	if refused != nil {
		return refused
	}
	return err
}

// peerUID returns the uid of the connection's peer; ConnContext put it there.
func peerUID(ctx context.Context) uint32 {
	uid, ok := ctx.Value(peerKey{}).(uint32)
	if !ok {
		return nobody
	}
	return uid
}

// maxSocketPath is the longest path of a unix socket: sun_path less its NUL.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// socketFits refuses a path that no socket can have.
func socketFits(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("admin socket: the path %s has %d bytes, a unix socket takes at most %d: choose a data folder with a shorter path", path, len(path), maxSocketPath)
	}
	return nil
}

// listenAdmin makes the socket. The folder is this user's alone and locked, so
// that nobody can connect before the mode is set, and a left-over is nobody's.
func listenAdmin(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return bounded(l, maxConnections), nil
}

// serve answers on the socket until ctx ends. Peers other than root and the
// process's own uid are closed at once (the modes keep them out already).
func (a *adminSocket) serve(ctx context.Context, l net.Listener) error {
	srv := newHTTPServer(a.mux, a.log)
	srv.WriteTimeout = 0 // `logs --follow` streams
	srv.RegisterOnShutdown(a.endStreams)
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		raw := c
		if placed, ok := c.(*placedConn); ok {
			raw = placed.Conn
		}
		uid, err := connUID(raw)
		if err != nil || !administers(uid, uint32(os.Geteuid())) { // #nosec G115 -- uids fit
			a.log.Warn("admin socket: peer refused", "uid", uid, "error", err)
			_ = c.Close()
		}
		return context.WithValue(ctx, peerKey{}, uid)
	}
	return serveUntil(ctx, srv, l)
}

// administers says whether a peer is an administrator of a zone that runs as own.
func administers(peer, own uint32) bool { return peer == 0 || peer == own }

// decodeBody reads one JSON value strictly: unknown fields and trailing data are errors.
func decodeBody(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return problem.WithDetail(problem.AdminInvalid, "the body is not what this operation takes: "+err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return problem.WithDetail(problem.AdminInvalid, "data after the body")
	}
	return nil
}
