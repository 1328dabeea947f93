package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// calls is the server of the outbound listener.
type calls struct {
	srv    *http.Server
	out    *outbound
	served chan error // what Serve returned
}

// takeCalls opens the outbound listener and serves it in a goroutine of its own,
// which ends with drain. When it fails, or the service says quit, it ends the run.
func (s *Sidecar) takeCalls(ctx context.Context, end context.CancelCauseFunc) (*calls, error) {
	l, err := listenOutbound(ctx, s.network, s.address, s.cfg.Calls)
	if err != nil {
		return nil, fmt.Errorf("sidecar: listen for the calls of %s: %w", s.svc.Name, err)
	}
	var itself http.Handler
	if s.network == "unix" {
		itself = own(s.Ready, func() { end(errQuit) })
	}
	c := &calls{out: newOutbound(s.cfg, s.handles, itself), served: make(chan error, 1)}
	c.srv = &http.Server{
		Handler:           c.out,
		ReadHeaderTimeout: s.cfg.CallHead,
		ReadTimeout:       s.cfg.AnswerTime, // guard.Client bounds a call more tightly
		WriteTimeout:      s.cfg.AnswerTime,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    headMost,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 100, SendPingTimeout: time.Minute, WriteByteTimeout: s.cfg.PieceTime},
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // net/http would answer OPTIONS * in our place
	}
	c.srv.RegisterOnShutdown(c.out.end)
	c.srv.Protocols.SetHTTP1(true)
	c.srv.Protocols.SetUnencryptedHTTP2(true) // of gRPC, with prior knowledge
	go func() {
		err := c.srv.Serve(l)
		c.served <- err
		end(err)
	}()
	return c, nil
}

// drain takes no more calls and waits for those under way, at most for patience.
func (c *calls) drain(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	late := c.srv.Shutdown(ctx)
	if late != nil {
		_ = c.srv.Close() // cuts them off
	}
	c.out.await(ctx) // net/http knows nothing of tunnels
	if err := <-c.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sidecar: take calls: %w", err)
	}
	if late != nil {
		return fmt.Errorf("sidecar: calls were cut off after %s", patience)
	}
	return nil
}
