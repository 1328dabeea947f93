package svid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
)

// Join gets the identity from the zone's control part: the first one for a join
// token, each further one for the one before it.
type Join struct {
	// Control is the base URL of the zone's control listener; only https.
	Control string

	// Token is redeemed unless Dir holds the identity that it was redeemed for.
	// The zero token is right where Dir holds one.
	Token JoinToken

	// Want is who the workload shall be; another identity is refused before it is
	// used. The zero ID: whoever the token is for.
	Want ID

	// Dir keeps the identity and its key for the next start, in a file of mode
	// 0600. It is made when it is not there. Empty: nothing is kept.
	Dir string

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: slog.Default()

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network; tests have one of their own
}

// Run fills s and keeps it fresh until ctx ends, then it returns nil. An error
// is returned for what waiting does not mend, and says what does: a token that is
// refused (join.refused), an identity that ended before it could be renewed
// (inside.unavailable), a folder that is not private. s keeps what it has then.
func (j Join) Run(ctx context.Context, s *Source) error {
	r, err := j.resolve(s)
	if err != nil {
		return fmt.Errorf("svid: join: %w", err)
	}
	if err := r.run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("svid: join: %w", err)
	}
	return nil
}

// joining is a Join under way.
type joining struct {
	Join
	source *Source
	keep   *keeper // nil: nothing is kept
}

func (j Join) resolve(s *Source) (*joining, error) {
	j.Control = strings.TrimSuffix(j.Control, "/")
	if j.Clock == nil {
		j.Clock = time.Now
	}
	if j.Log == nil {
		j.Log = slog.Default()
	}
	if j.dial == nil {
		j.dial = (&net.Dialer{Timeout: handshakeTimeout}).DialContext
	}
	if u, err := url.Parse(j.Control); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("control %q is not an https URL", j.Control)
	}
	r := &joining{Join: j, source: s}
	if j.Dir != "" {
		keep, err := openKeeper(j.Dir)
		if err != nil {
			return nil, err
		}
		r.keep = keep
	}
	return r, nil
}

func (j *joining) run(ctx context.Context) error {
	own, err := j.kept()
	if err != nil {
		return err
	}
	now := j.Clock()
	due := now
	if own == nil {
		if own, err = j.redeem(ctx); err != nil {
			return err
		}
		now = j.Clock()
		due = halfway(now, own)
	} else if half := own.NotBefore.Add(own.NotAfter.Sub(own.NotBefore) / 2); half.After(now) {
		due = half
	}
	for {
		j.source.Set(own)
		j.Log.InfoContext(ctx, "identity in use", "id", own.ID.String(), "serial", own.Certificate.Leaf.SerialNumber.Text(16), "expires", own.NotAfter)
		if err := sleepUntil(ctx, j.Clock, due); err != nil {
			return err
		}
		if own, err = j.renew(ctx, own); err != nil {
			return err
		}
		due = halfway(j.Clock(), own)
	}
}

// halfway returns when to renew an identity that was just issued: around half of
// what is left of it, never at once.
func halfway(now time.Time, i *Identity) time.Time {
	return now.Add(max(spread(i.NotAfter.Sub(now)/2), retryFirst))
}

// kept returns the identity of an earlier start; nil when the token is to be redeemed.
func (j *joining) kept() (*Identity, error) {
	var own *Identity
	var token string
	if j.keep != nil {
		var err error
		if own, token, err = j.keep.load(); err != nil {
			return nil, err
		}
	}
	again := j.Token.IsZero() || token == tokenName(j.Token)
	switch {
	case own == nil && j.Token.IsZero():
		return nil, errors.New("no identity is kept and there is no join token: run `sallyport join NAME` and give its token")
	case own == nil || !again:
		return nil, nil
	case !j.Want.IsZero() && own.ID != j.Want:
		return nil, fmt.Errorf("%s keeps the identity of %s, want %s: give each service a folder of its own", j.Dir, own.ID, j.Want)
	case j.Clock().After(own.NotAfter):
		return nil, j.ended(own, nil)
	}
	return own, own.alive(j.Clock())
}

// ended is the error of an identity that can no longer renew itself.
func (j *joining) ended(own *Identity, last error) error {
	return &problem.Error{
		Reason: problem.InsideUnavailable,
		Detail: fmt.Sprintf("the identity of %s ended at %s: run `sallyport join %s` and start again with the new token",
			own.ID, own.NotAfter.Format(time.RFC3339), strings.TrimPrefix(own.ID.Path(), "/")),
		Cause: last,
	}
}
