package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"sallyport.dev/internal/svid"
)

const maxJoinFile = 4 << 10 // bytes

// supplier fills a source with identities until ctx ends. Its error is for what
// waiting does not mend.
type supplier interface {
	Run(ctx context.Context, s *svid.Source) error
}

// supplier chooses where the identity comes from.
func (c Config) supplier() (supplier, error) {
	given := 0
	for _, set := range []bool{c.Join != "", c.JoinFile != "", c.Socket != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("guard: Config.Join, JoinFile and Socket are three ways to one identity: set one")
	case given == 0:
		if c.Socket = os.Getenv(EnvSocket); c.Socket == "" {
			c.JoinFile = os.Getenv(EnvJoinFile)
		}
		if c.Socket == "" && c.JoinFile == "" && svid.Keeps(c.Data) { // it has joined before
			return c.join("")
		}
	}
	switch {
	case c.Join != "":
		return c.join(string(c.Join))
	case c.JoinFile != "":
		text, err := readJoinFile(c.JoinFile)
		if err != nil {
			return nil, fmt.Errorf("guard: join token: %w", err)
		}
		return c.join(text)
	}
	return svid.WorkloadAPI{Socket: firstOf(c.Socket, svid.DefaultSocket()), Service: c.Service, Log: c.Log}, nil
}

// join returns the supplier for a join token; an empty one is for a folder that
// keeps what an earlier one gave.
func (c Config) join(text string) (supplier, error) {
	j := svid.Join{Control: c.Control, Dir: c.Data, Clock: c.Clock, Log: c.Log}
	if text != "" {
		var err error
		if j.Token, err = svid.ParseJoinToken(text); err != nil {
			return nil, fmt.Errorf("guard: join token: %w", err)
		}
	}
	return j, nil
}

// readJoinFile returns the token in a file, empty when there is no file (any
// more): a spent token need not lie about.
func readJoinFile(path string) (string, error) {
	text, err := readFile(path, maxJoinFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// obtain keeps the guard's identity fresh until ctx ends.
func (g *Guard) obtain(ctx context.Context, from supplier) {
	raw := svid.NewSource(g.cfg.Clock)
	go g.adopt(ctx, raw)
	if err := from.Run(ctx, raw); err != nil && ctx.Err() == nil {
		g.fail(ctx, err)
	}
}

// adopt takes over what the supplier has as long as it is this service's: a
// token for another one, or of another zone than before, is a mistake that no
// request should have to find.
func (g *Guard) adopt(ctx context.Context, raw *svid.Source) {
	var zone string
	for {
		changed := raw.Changed()
		own, err := raw.Current()
		switch {
		case err != nil: // withdrawn, or not there yet
			g.source.Set(nil)
		case own.ID.Path() != "/"+g.cfg.Service:
			g.source.Set(nil)
			g.fail(ctx, fmt.Errorf("the identity is %s, not that of a service %s: give each service a join token or selectors of its own", own.ID, g.cfg.Service))
		case zone != "" && zone != own.ID.TrustDomain().Name():
			g.source.Set(nil)
			g.fail(ctx, fmt.Errorf("the identity is %s, of another zone than %s: start the service again", own.ID, zone))
		default:
			zone = own.ID.TrustDomain().Name()
			g.source.Set(own)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// fail notes what waiting does not mend and tells the operator.
func (g *Guard) fail(ctx context.Context, err error) {
	g.failOnce.Do(func() {
		g.failure = err
		close(g.failed)
	})
	g.cfg.Log.ErrorContext(ctx, "guard: no identity", "service", g.cfg.Service, "error", err)
}
