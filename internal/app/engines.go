package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// engines are what keeps the state of a zone: embedded in this process, or
// servers that several processes share.
type engines struct {
	follower *store.Follower                // hears of revocations that other processes made
	limits   kv.Counters                    // what the map limits, and what bounds guesses
	values   func(part string) kv.Values    // what a part knows, or has accepted once, for a while; one part cannot fill another's
	nonces   func(service string) kv.Values // what the replicas of one service have accepted
	hints    chan struct{}                  // one revocation or more was made here
}

// openStore opens the database.
func (s *system) openStore(ctx context.Context) (err error) {
	if at := s.zone().Store.Postgres; at != nil {
		url, err := readSecret(at)
		if err != nil {
			return fmt.Errorf("store.postgres: %w", err)
		}
		if s.db, err = store.OpenPostgres(ctx, url, store.PostgresOptions{}); err != nil {
			return fmt.Errorf("store.postgres: %w", err)
		}
	} else if s.db, err = store.OpenSQLite(ctx, s.folder.path(databaseName)); err != nil {
		return err
	}
	s.owns(s.db)
	s.hints = make(chan struct{}, 1)
	// Before anything is remembered that a revocation may end.
	s.follower, err = s.db.Follow(ctx, store.FollowConfig{Clock: s.clock, Log: s.log, Committed: func(int64) {
		select {
		case s.hints <- struct{}{}:
		default: // the next hint tells of both
		}
	}})
	if err != nil {
		return err
	}
	s.background.add("revocations of other processes", s.follower.Run)
	return nil
}

// fresh says whether what is remembered of credentials may be believed.
func (s *system) fresh(now time.Time) bool {
	return s.follower.Fresh(now, s.zone().RevocationGrace)
}

// openCounters opens what is short-lived.
func (s *system) openCounters(ctx context.Context, _ Options) error {
	local := kv.NewMemory(s.clock, maxKeys)
	at := s.zone().Store.Valkey
	if at == nil {
		if s.zone().Store.Postgres != nil {
			s.log.Warn("store.postgres without store.valkey: each process counts limits, and what may be used once, for itself; add store.valkey before a second process serves this zone")
		}
		s.limits = local
		s.values = func(string) kv.Values { return kv.NewMemory(s.clock, maxValues) }
		s.nonces = func(string) kv.Values { return kv.NewMemory(s.clock, maxNonces) }
		return nil
	}
	url, err := readSecret(at)
	if err != nil {
		return fmt.Errorf("store.valkey: %w", err)
	}
	shared, err := kv.OpenValkey(ctx, url, kv.ValkeyOptions{Zone: s.zone().Name, Log: s.log})
	if err != nil {
		return fmt.Errorf("store.valkey: %w", err)
	}
	s.owns(shared)
	limits := kv.NewFallback(shared, local)
	s.limits = limits
	s.values = func(part string) kv.Values { return shared.Space(part) }
	s.nonces = func(service string) kv.Values { return shared.Space("once:" + service) }
	s.metrics.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_limits_local",
		Help: "1 while Valkey is away and this process counts limits by its own share.",
	}, func() float64 {
		if limits.Local() {
			return 1
		}
		return 0
	}))
	s.background.add("hints of revocations", func(ctx context.Context) error { return s.exchangeHints(ctx, shared) })
	return nil
}

// revocationsChannel is where processes tell each other that one of them has
// committed a revocation. It is a hint: each asks the store anyway.
const revocationsChannel = "revocations"

// exchangeHints sends and takes hints until ctx ends. What cannot be sent or
// heard is made up for by the follower's own looks.
func (s *system) exchangeHints(ctx context.Context, shared kv.Broadcast) error {
	again := time.NewTicker(hintAgain)
	defer again.Stop()
	for {
		heard, err := shared.Subscribe(ctx, revocationsChannel)
		if err == nil {
			s.passHints(ctx, shared, heard.C)
			heard.Close()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C: // the server is away
		}
	}
}

// hintAgain is between two attempts to listen.
const hintAgain = time.Second

// passHints passes hints on until there is nobody to pass them to.
func (s *system) passHints(ctx context.Context, shared kv.Broadcast, heard <-chan []byte) {
	for {
		select {
		case <-s.hints:
			if err := shared.Publish(ctx, revocationsChannel, nil); err != nil {
				s.log.DebugContext(ctx, "hint of a revocation not sent", "error", err)
			}
		case _, open := <-heard:
			if !open { // ctx has ended, or the server is closed
				return
			}
			s.follower.Nudge()
		}
	}
}

// maxSecret bounds a secret: a url, a password.
const maxSecret = 64 << 10

// readSecret returns the value that a secret of the map stands for, without the
// white space around it. No error shows it.
func readSecret(at *zone.Secret) (string, error) {
	if at.Env != "" {
		if value := strings.TrimSpace(os.Getenv(at.Env)); value != "" {
			return value, nil
		}
		return "", fmt.Errorf("the environment variable %s is empty", at.Env)
	}
	f, err := os.OpenFile(at.File, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe that nobody writes into is refused, not waited for
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", at.File)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s is open to others (mode %04o): chmod 600 it", at.File, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(data))
	switch {
	case len(data) > maxSecret:
		return "", fmt.Errorf("%s is larger than %d bytes", at.File, maxSecret)
	case value == "":
		return "", errors.New(at.File + " is empty")
	}
	return value, nil
}
