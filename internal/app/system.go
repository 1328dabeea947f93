package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/bearer"
	"sallyport.dev/internal/export"
	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/join"
	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// system is every part of one process, known only to this package.
type system struct {
	current atomic.Pointer[zone.Zone] // the map in force: see zone
	log     *slog.Logger
	clock   func() time.Time
	version string
	started time.Time

	folder  *folder
	db      *store.DB
	root    *keys.Root
	ring    *keys.Ring
	ca      *pki.CA
	journal *journal.Journal
	logs    *logs.Log
	roller  *logs.Roller
	engines
	sessions *session.Sessions
	identity *identity.Identity // of the first map: all share one state
	accounts accounts
	openID   *oauth.Provider
	apiKeys  *apikey.Keys
	creds    *credentials
	seen     seen // what the token service has looked up

	introspected *recall.Memory[oauth.Resolved] // what introspection has
	minter       *token.Minter
	joins        *join.Tokens
	control      *innerSide // nil: the zone has no control listener
	metrics      *obs.Metrics
	gateway      *gateway.Gateway
	doors        map[string]net.Listener // by name of the outside listener, as they were opened
	draining     atomic.Bool             // told to stop, or a part has failed

	certificates map[string]*certificate // by name of the outside listener
	stopIssuers  func()
	options      Options
	mapFiles     string // the fingerprint of the first map's files
	reloads      reloads
	observed     observed // what status tells, see watch
	background   background
	closers      []io.Closer // closed in the reverse order
}

// zone is the map in force.
func (s *system) zone() *zone.Zone { return s.current.Load() }

// build makes every part of the zone, in the order in which they stand on each
// other. On an error all that was made is closed again.
func build(ctx context.Context, z *zone.Zone, o Options) (_ *system, err error) {
	s := &system{log: o.Log, clock: time.Now, version: o.Version, started: time.Now(), metrics: obs.NewMetrics()}
	s.options, s.mapFiles = o, fingerprint(z)
	s.current.Store(z)
	s.reloads.begin(s)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, step := range []func(context.Context, Options) error{
		s.openState, s.openKeys, s.openCounters, s.openJournal, s.openAccounts, s.openGateway, s.openControl, s.openAdministration,
	} {
		if err := step(ctx, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// owns makes close end c.
func (s *system) owns(c io.Closer) { s.closers = append(s.closers, c) }

// close ends what build made, the last first.
func (s *system) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	return errors.Join(errs...)
}

// databaseName is the file of the embedded store in the data folder.
const databaseName = "zone.db"

// openState opens the data folder, the root key and the store. A root key is
// made only while nothing is sealed in the store: a new key over an old store
// would leave what it holds unreadable for ever.
func (s *system) openState(ctx context.Context, o Options) (err error) {
	if s.folder, err = openFolder(o.Data); err != nil {
		return err
	}
	s.owns(s.folder)
	rootKey := o.RootKey
	if rootKey == "" {
		rootKey = s.folder.dir + ".root"
	}
	if err := keys.CheckApart(rootKey, s.folder.dir); err != nil {
		return err
	}
	if err := s.openStore(ctx); err != nil {
		return err
	}
	sealed, err := keys.Sealed(ctx, s.db)
	if err != nil {
		return err
	}
	if s.root, err = keys.OpenRoot(rootKey, !sealed); err != nil {
		return err
	}
	return s.root.Check(ctx, s.db)
}

// openKeys opens the ring of the inside tokens and the zone's own CA.
func (s *system) openKeys(ctx context.Context, o Options) (err error) {
	if s.ring, err = keys.NewRing(ctx, s.db, s.root, keys.RingConfig{Name: "txn-token", Clock: s.clock, Log: s.log}); err != nil {
		return err
	}
	s.background.add("inside keys", s.ring.Run)
	if s.ca, err = pki.OpenCA(ctx, s.db, s.root, s.zone().Name, pki.Options{Clock: s.clock, Log: s.log, SVIDLife: o.SVIDLife}); err != nil {
		return err
	}
	return writeFile(s.folder.path("ca.pem"), s.ca.RootPEM(), 0o644)
}

// writeFile replaces a file as a whole, so that no reader sees half of it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// openJournal opens the record of requests and its roll-ups.
func (s *system) openJournal(_ context.Context, _ Options) (err error) {
	dir := s.folder.path("journal")
	s.journal, err = journal.Open(dir, journal.Options{
		Zone: s.zone().Name, Stages: gateway.Stages(), Retain: s.zone().Journal.Retain, Size: s.zone().Journal.Size, Clock: s.clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.owns(s.journal)
	s.logs = logs.New(dir)
	s.roller = logs.NewRoller(logs.RollerConfig{DB: s.db, Log: s.logs, Source: s.journal, Retain: s.zone().Journal.Retain, Clock: s.clock, Logger: s.log})
	s.background.add("roll-ups", s.roller.Run)
	if len(s.zone().Export) == 0 {
		return nil
	}
	exports, err := export.New(export.Config{
		Exports: s.zone().Export, Source: s.journal, Reader: journal.NewReader(dir), Dir: s.folder.path("export"), JSON: logs.AppendJSON,
		Gatherer: s.metrics.Registry, Registerer: s.metrics.Registry, Version: s.version, Clock: s.clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.owns(exports)
	s.background.add("exports", exports.Run)
	return nil
}

// newIssuers makes what knows the outside issuers of a map.
func (s *system) newIssuers(z *zone.Zone) (*bearer.Issuers, error) {
	return bearer.New(bearer.Config{Providers: z.Identity.Providers, Before: s.creds.issuers.Load(), Clock: s.clock, Log: s.log})
}

// useIssuers puts them in force.
func (s *system) useIssuers(next *bearer.Issuers) {
	if s.stopIssuers != nil {
		s.stopIssuers()
	}
	s.creds.issuers.Store(next)
	s.stopIssuers = s.background.add("outside issuers", next.Run)
}

// pruneRevocations drops revocations that are older than any cache, once an hour.
func (s *system) pruneRevocations(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.pruneOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("old revocations were not removed; tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pruneOnce drops all that are too old, a few in each transaction: logins wait for it.
func (s *system) pruneOnce(ctx context.Context) error {
	const keep, batch = 7 * 24 * time.Hour, 500
	for {
		n, err := s.db.PruneRevocations(ctx, s.clock().Add(-keep), batch)
		if err != nil || n < batch {
			return err
		}
	}
}

// openAdministration opens the admin listener and, last of all, the admin
// socket: who reaches it reaches a whole zone.
func (s *system) openAdministration(ctx context.Context, _ Options) error {
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.zone().Admin)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	l := bounded(tcp, maxConnections)
	s.owns(onceClosed{l})
	srv := newHTTPServer(adminHandler(s.zone().Admin, s.metrics, s.waiting), s.log)
	s.background.add("admin listener", func(ctx context.Context) error { return serveUntil(ctx, srv, l) })

	a := newAdminSocket(s.journal, s.log)
	a.handle("GET /v1/status", s.status)
	(&administration{identity: s.accounts.current.Load, sessions: s.sessions, keys: s.apiKeys, clock: s.clock}).routes(a)
	clientAdministration{s.openID}.routes(a)
	(&joining{tokens: s.joins, zone: s.zone, root: s.ca.Roots()[0]}).routes(a)
	a.search(&records{log: s.logs, journal: s.journal, clock: s.clock})
	socket, err := listenAdmin(ctx, s.folder.path(adminListener))
	if err != nil {
		return err
	}
	s.owns(onceClosed{socket})
	s.background.add("admin socket", func(ctx context.Context) error { return a.serve(ctx, socket) })
	return nil
}
