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
}

// recorder is what the admin socket needs of the journal.
type recorder interface {
	Admit(admin bool) error
	AppendSync(*journal.Record) error
}

// maxAdminBody bounds a request, in bytes.
const maxAdminBody = 1 << 20

// peerKey finds the uid of the peer in a connection's context.
type peerKey struct{}

// operation is one call of the admin API: it returns what is written as JSON
// (nil: 204), or an error with a reason.
type operation func(ctx context.Context, r *http.Request) (any, error)

// adminListener is the name of the socket in records.
const adminListener = "admin.sock"

// handle adds one operation.
func (a *adminSocket) handle(pattern string, op operation) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		req := &obs.Request{CorrelationID: obs.CorrelationID(r.Header.Get(obs.CorrelationHeader)), Trace: obs.NewTrace(), Listener: adminListener}
		ctx := obs.WithRequest(r.Context(), req)
		r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)

		var out any
		err := a.journal.Admit(true)
		if err == nil {
			out, err = op(ctx, r)
		}
		status, body := http.StatusNoContent, []byte(nil)
		if err == nil && out != nil {
			status = http.StatusOK
			body, err = json.Marshal(out)
		}
		if err := a.record(ctx, r, use{route: pattern, start: start, err: err, status: status, bytes: len(body)}); err != nil {
			problem.WriteError(w, err, req.CorrelationID)
			return
		}
		w.Header().Set(obs.CorrelationHeader, req.CorrelationID)
		if body != nil {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = io.Copy(w, bytes.NewReader(body)) // the caller may be gone
	})
}

// use is one use of the socket, as it is recorded.
type use struct {
	route  string
	start  time.Time
	err    error // why it was refused; nil when it was not
	status int   // of a success
	bytes  int   // of the answer
}

// record keeps the one record of a use, on disk before the answer. It returns
// what the caller is refused with: the use's own error, or that there is no record.
func (a *adminSocket) record(ctx context.Context, r *http.Request, u use) error {
	reason := problem.ReasonOf(u.err)
	if u.err != nil {
		u.status = reason.Status()
		a.log.WarnContext(ctx, "admin operation refused", "operation", u.route, "reason", reason.Code(), "error", u.err)
	}
	req := obs.RequestFrom(ctx)
	err := a.journal.AppendSync(&journal.Record{
		Kind: journal.KindAdmin, Time: u.start, CorrelationID: req.CorrelationID, TraceID: req.Trace.String(),
		Listener: adminListener, Service: "admin", Route: u.route, Method: r.Method,
		Principal: "uid:" + strconv.FormatUint(uint64(peerUID(r.Context())), 10),
		Reason:    reason.Code(), Status: u.status, BytesOut: int64(u.bytes), Duration: time.Since(u.start),
	})
	if u.err != nil {
		return u.err
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

// serve answers on the socket until ctx ends. Peers other than root and the
// process's own uid are closed at once (the file mode keeps them out already).
func (a *adminSocket) serve(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // the folder is locked: a left-over is nobody's
		return fmt.Errorf("admin socket: %w", err)
	}
	old := unix.Umask(0o177) // the socket is 0600 from its first moment
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	srv := newHTTPServer(a.mux, a.log)
	srv.WriteTimeout = 0 // `logs --follow` streams
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		uid, err := connUID(c)
		if err != nil || (uid != 0 && uid != uint32(os.Getuid())) { // #nosec G115 -- uids fit
			a.log.Warn("admin socket: peer refused", "uid", uid, "error", err)
			_ = c.Close()
		}
		return context.WithValue(ctx, peerKey{}, uid)
	}
	return serveUntil(ctx, srv, l)
}

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
