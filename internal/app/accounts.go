package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// secretSize is that of the secrets which name and sign what is short-lived.
const secretSize = 32

// accounts is what the account service stands on, and what of it the map changes.
type accounts struct {
	passwords *password.Passwords
	factors   *factor.Factors
	flows     *flow.Flows
	guesses   *guess.Guesses
	outbox    *mail.Outbox                      // nil: the zone has no mail
	broker    *broker.Broker                    // of the map in force
	current   atomic.Pointer[identity.Identity] // likewise
}

// openAccounts opens sessions, API keys and the account service.
func (s *system) openAccounts(ctx context.Context, _ Options) (err error) {
	s.sessions = session.New(s.db, s.zone().Identity.Sessions, s.clock)
	s.apiKeys, err = apikey.New(apikey.Config{
		DB: s.db, Root: s.root, Clock: s.clock, Log: s.log,
		Offered: func() []string { return apikey.UserScopes(s.zone()) },
	})
	if err != nil {
		return err
	}
	if err := s.openFactors(ctx); err != nil {
		return err
	}
	if err := s.openMail(); err != nil {
		return err
	}
	if s.accounts.broker, err = s.newBroker(ctx, s.zone()); err != nil {
		return err
	}
	if err := s.openOpenID(ctx); err != nil {
		return err
	}
	s.identity, err = identity.New(s.identityConfig(s.zone()))
	if err != nil {
		return err
	}
	s.accounts.current.Store(s.identity)
	s.creds = &credentials{sessions: s.sessions, identity: s.accounts.current.Load, keys: s.apiKeys, openID: s.openID, clock: s.clock}
	issuers, err := s.newIssuers(s.zone())
	if err != nil {
		return err
	}
	s.useIssuers(issuers)
	s.runAccounts()
	return nil
}

// openFactors opens what users prove who they are with.
func (s *system) openFactors(ctx context.Context) error {
	breached, err := password.OpenBreached(s.folder.path(password.BreachedFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		breached = nil // the list that ships
	case err != nil:
		return err
	}
	if s.accounts.passwords, err = password.New(password.Config{Breached: breached}); err != nil {
		return err
	}
	s.accounts.flows = flow.New(s.db, s.root, s.clock)
	secret, err := s.root.Secret(ctx, s.db, "guesses", secretSize)
	if err != nil {
		return err
	}
	s.accounts.guesses = guess.New(s.limits, s.values("guesses"), secret, s.clock)
	rpID, origins := site(s.zone())
	s.accounts.factors, err = factor.New(ctx, factor.Config{
		DB: s.db, Root: s.root, Zone: s.zone().Name, RPID: rpID, Origins: origins, LeaveRPID: s.options.LeaveRPID, Clock: s.clock, Log: s.log,
	})
	return err
}

// site is where passkeys belong: the host of identity.url, and the origins below it
// at which browsers meet the account service; where that is an address, what the
// listener's hosts give.
func site(z *zone.Zone) (rpID string, origins []string) {
	if rpID, _ = factor.Site(z.Name, []string{z.Identity.URL}); rpID == "" {
		return factor.Site(z.Name, bases(z))
	}
	for _, base := range bases(z) {
		if of, origin := factor.Site(rpID, []string{base}); of == rpID {
			origins = append(origins, origin...)
		}
	}
	return rpID, origins
}

// bases are the origins at which browsers meet the account service: the one that
// the map names first, then the hosts of its listener.
func bases(z *zone.Zone) []string {
	list := []string{z.Identity.URL}
	l := z.Listener(z.Identity.Listener)
	if l == nil {
		return list
	}
	_, port, err := net.SplitHostPort(l.Address)
	if err != nil || port == "443" {
		port = ""
	}
	for _, host := range l.Hosts {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		base := "https://" + host
		if port != "" {
			base += ":" + port
		}
		if base != z.Identity.URL {
			list = append(list, base)
		}
	}
	return list
}

// openMail opens the outbox of a zone with mail. A letter is written when it is
// sent, by the account service of the map in force then.
func (s *system) openMail() error {
	at := s.zone().Identity.Mail
	if at == nil {
		return nil
	}
	url, err := readSecret(&at.SMTP)
	if err != nil {
		return fmt.Errorf("identity.mail.smtp: %w", err)
	}
	s.accounts.outbox, err = mail.New(mail.Config{
		DB: s.db, Root: s.root, Zone: s.zone(), URL: obs.Secret(url), Base: s.zone().Identity.URL,
		Render: func(ctx context.Context, tx *store.Tx, job mail.Job) (*mail.Letter, error) {
			return s.accounts.current.Load().Letter(ctx, tx, job)
		},
		Clock: s.clock, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return fmt.Errorf("identity.mail: %w", err)
	}
	s.background.add("outbox", s.accounts.outbox.Run)
	return nil
}

// accountsOf makes what another map changes of the accounts.
func (s *system) accountsOf(ctx context.Context, z *zone.Zone) (*factor.Factors, *broker.Broker, error) {
	rpID, origins := site(z)
	factors, err := s.accounts.factors.At(ctx, rpID, origins)
	if err != nil {
		return nil, nil, err
	}
	others, err := s.newBroker(ctx, z)
	return factors, others, err
}

// newBroker makes what knows the other providers of a map.
func (s *system) newBroker(ctx context.Context, z *zone.Zone) (*broker.Broker, error) {
	return broker.New(ctx, broker.Config{
		Providers: z.Identity.Providers, Base: z.Identity.URL, DB: s.db, Root: s.root, Secret: readSecret,
		Clock: s.clock, Log: s.log, Before: s.accounts.broker,
	})
}

// identityConfig is what the account service of a map is made of.
func (s *system) identityConfig(z *zone.Zone) identity.Config {
	c := identity.Config{
		DB: s.db, Root: s.root, Zone: z, Sessions: accountSessions{s.sessions},
		Passwords: s.accounts.passwords, Factors: s.accounts.factors, Flows: s.accounts.flows, Guesses: s.accounts.guesses,
		Broker: s.accounts.broker, Keys: userKeys{s.apiKeys}, Grants: userGrants{s.openID}, Ended: s.endUser,
		Base: z.Identity.URL, Clock: s.clock, Log: s.log,
	}
	if s.accounts.outbox != nil { // an interface that holds a nil pointer is not nil
		c.Mail = s.accounts.outbox
	}
	return c
}

// runAccounts keeps the account service in order.
func (s *system) runAccounts() {
	s.background.add("sessions", func(ctx context.Context) error { return s.sessions.Run(ctx, s.log) })
	s.background.add("revocations", s.pruneRevocations)
	s.background.add("flows", s.pruneFlows)
	s.background.add("accounts that are due", func(ctx context.Context) error { return s.accounts.current.Load().Run(ctx) })
	if s.accounts.outbox != nil {
		s.background.add("reminders of keys", func(ctx context.Context) error { return s.apiKeys.Run(ctx, s.remind) })
	}
}

// remind writes to whoever has an API key that is about to end: its owner, or the
// contact of a service account.
func (s *system) remind(ctx context.Context, tx *store.Tx, k apikey.Key, _ time.Duration) error {
	return s.accounts.current.Load().TellKeyExpires(ctx, tx, k.Owner, k.Contact, k.Name, k.Expires)
}

// pruneFlowsOnce removes all that have expired, a few in each transaction.
func (s *system) pruneFlowsOnce(ctx context.Context) error {
	for {
		if n, err := s.accounts.flows.Prune(ctx); err != nil || n < flow.Pruned {
			return err
		}
	}
}

// pruneFlows removes flows that have expired, each minute.
func (s *system) pruneFlows(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		err := s.pruneFlowsOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("flows that expired were not removed; tried again in a minute", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
