package svid

import (
	"context"
	"fmt"
	"time"
)

// renew gets the next identity with the one in use. It tries until that one
// ends: then only a new token helps.
func (j *joining) renew(ctx context.Context, own *Identity) (*Identity, error) {
	for failures := 1; ; failures++ {
		next, err := j.renewOnce(ctx, own)
		if err == nil {
			return next, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		now := j.Clock()
		if own.alive(now) != nil {
			return nil, j.ended(own, err)
		}
		if failures == 1 {
			j.Log.WarnContext(ctx, "identity not renewed, the one in use stays", "id", own.ID.String(), "expires", own.NotAfter, "control", j.Control, "error", err)
		} else {
			j.Log.DebugContext(ctx, "identity not renewed", "id", own.ID.String(), "expires", own.NotAfter, "failures", failures, "error", err)
		}
		// A last attempt is worth making shortly before the end.
		if err := sleep(ctx, min(pause(failures), max(own.NotAfter.Sub(now)/2, retryFirst))); err != nil {
			return nil, err
		}
	}
}

func (j *joining) renewOnce(ctx context.Context, own *Identity) (*Identity, error) {
	control, err := ServiceID(own.ID.TrustDomain().Name(), ControlName)
	if err != nil {
		return nil, err
	}
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	cfg := ClientTLS(j.source, control)
	cfg.NextProtos = []string{"http/1.1"}
	issued, err := j.exchange(ctx, cfg, IdentityPath, IdentityRequest{CSR: csr})
	if err != nil {
		return nil, err
	}
	next, err := issued.identity(key)
	if err != nil {
		return nil, err
	}
	if next.ID != own.ID {
		return nil, fmt.Errorf("control gave the identity of %s to %s", next.ID, own.ID)
	}
	if err := next.alive(j.Clock()); err != nil {
		return nil, err
	}
	j.store(ctx, next)
	return next, nil
}

// store keeps an identity for the next start. When it cannot, this start goes on.
func (j *joining) store(ctx context.Context, own *Identity) {
	if j.keep == nil {
		return
	}
	if err := j.keep.save(own, tokenName(j.Token)); err != nil {
		j.Log.ErrorContext(ctx, "identity not kept: after a restart a new join token is needed", "dir", j.Dir, "expires", own.NotAfter.Format(time.RFC3339), "error", err)
	}
}
