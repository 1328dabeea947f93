package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxErrorText is how much of a server's text an error shows.
const maxErrorText = 160

// Refusals of one command by our scripts that do not make the server away.
const (
	notCounter = "NOTCOUNTER" // the key holds something else, which somebody else has put there
	forgot     = "FORGOT"     // for a while
)

// failed gives an error of the server its kind and opens the circuit when the
// next request would meet it too. parent is the caller's context: when it is
// over, the caller gave up and nothing is known about the server.
func (v *Valkey) failed(parent context.Context, during uint64, op string, err error) error {
	if parent.Err() != nil {
		return fmt.Errorf("kv: %s: %w", op, parent.Err())
	}
	if end, ok := parent.Deadline(); ok && !time.Now().Before(end) { // the connection noticed first
		return fmt.Errorf("kv: %s: %w", op, context.DeadlineExceeded)
	}
	if v.ctx.Err() != nil {
		return fmt.Errorf("kv: %s: %w: closed", op, ErrUnavailable)
	}
	kind, trips := ErrUnavailable, true
	var reply redis.Error
	switch {
	case errors.Is(err, redis.ErrPoolTimeout): // too much at once
		trips = false
	case errors.As(err, &reply):
		code, _, _ := strings.Cut(reply.Error(), " ")
		switch code {
		case "OOM":
			kind = ErrFull
		case "WRONGTYPE", notCounter, forgot:
			trips = false
		}
	}
	out := fmt.Errorf("kv: %s: %w: %s", op, kind, v.redact(err))
	if trips {
		v.circuit.trip(during, out)
	}
	return out
}

// redact returns the text of an error without what is secret. Servers repeat
// the arguments of commands that they do not know, and AUTH may be one.
func (v *Valkey) redact(err error) string {
	text, _, cut := strings.Cut(err.Error(), ", with args beginning with")
	if cut {
		text += " (arguments left out)"
	}
	for _, secret := range []string{v.address.password} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[password]")
		}
	}
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text), "?")
}
