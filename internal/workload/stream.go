package workload

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// lookAgain is how long a stream rests at most. It bounds how long changes
	// that nobody tells of (roots, the process itself, a clock that jumped after
	// the machine slept) stay unseen.
	lookAgain = 30 * time.Second

	// leastRest keeps a certificate that is about to end from becoming a loop.
	leastRest = 50 * time.Millisecond
)

// next returns the whole state that a process with these identities has to
// know, and when it must be made anew. The same pointer means that nothing
// changed.
type next[M any] func(ctx context.Context, f facts, names []string) (*M, time.Time, error)

// follow serves one stream: judge the process, send the state if it is another
// than before, rest until something changes.
func follow[M any](s *Server, stream grpc.ServerStreamingServer[M], state next[M]) error {
	ctx := stream.Context()
	c, err := callerOf(ctx)
	if err != nil {
		return err
	}
	if !s.streams.enter(c.process.pid) {
		return status.Error(codes.Unavailable, "too many streams of this process")
	}
	defer s.streams.leave(c.process.pid)

	var sent *M
	for {
		select {
		case <-s.stopping:
			return errStopping
		default:
		}
		rules, changed := s.current()
		f, names, err := s.judge(c, rules)
		if err != nil {
			return err
		}
		m, until, err := state(ctx, f, names)
		if err != nil {
			return err
		}
		if superseded(changed) {
			continue // who had the right a moment ago may not have it now
		}
		if m != sent {
			if err := stream.Send(m); err != nil {
				return err
			}
			sent = m
		}
		if err := s.rest(ctx, until, changed); err != nil {
			return err
		}
	}
}

var (
	errStopping = status.Error(codes.Unavailable, "the workload api is stopping")
	errDenied   = status.Error(codes.PermissionDenied, "no identity for this process; the server's log says what was attested and what differs")
	errAgain    = status.Error(codes.Unavailable, "the process is no longer what it was when it connected; connect again")
)

// judge attests the process and returns the services that it fits. Only what
// was read of a process that is alive afterwards was read of that process.
func (s *Server) judge(c *caller, rules []rule) (facts, []string, error) {
	f, err := c.process.attest()
	f.looks = s.looks
	var names []string
	var near nearest
	if err == nil {
		names, near = match(rules, f)
	}
	if gone := c.process.alive(); gone != nil {
		names, err = nil, gone // whatever was read may be another's
	}
	switch {
	case errors.Is(err, errGone), errors.Is(err, errChanged):
		s.denials.warn(s.log, "process lost its connection", "why", err, "attested", f)
		_ = c.Close() // it can only begin again
		return f, nil, errAgain
	case err != nil:
		s.denials.warn(s.log, "process cannot be attested", "pid", c.process.pid, "uid", c.process.uid, "error", err)
		return f, nil, errDenied
	case len(names) == 0:
		s.denials.warn(s.log, "no identity for a process", "attested", f, "nearest", near.service, "differs", near.difference)
		return f, nil, errDenied
	}
	return f, names, nil
}

func superseded(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	default:
		return false
	}
}

// rest waits until it is time to look again. A process that ends closes its
// connection, which ends ctx.
func (s *Server) rest(ctx context.Context, until time.Time, changed <-chan struct{}) error {
	// The wall clock counts, not the monotonic one, which stands still while the
	// machine sleeps.
	t := time.NewTimer(min(max(until.Round(0).Sub(s.clock().Round(0)), leastRest), lookAgain))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-s.stopping:
		return errStopping
	case <-changed:
	case <-t.C:
	}
	return nil
}
