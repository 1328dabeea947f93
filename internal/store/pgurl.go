package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgConfig reads the url of a database. Errors say what is wrong with it and
// never a part of it but the host: a password with a character that was not
// escaped may stand anywhere in it.
func pgConfig(url string) (*pgx.ConnConfig, error) {
	url = strings.TrimSpace(url)
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") || strings.Count(url, "@") > 1 {
		return nil, errors.New("store: the url of the database cannot be read: want postgres://user:password@host:port/database?sslmode=verify-full, with user and password escaped (@ as %40, / as %2F)")
	}
	var options pgx.ParseConfigOptions
	options.ConnStringAllowedKeys = []string{
		"host", "port", "user", "password", "dbname", "connect_timeout", "application_name", "search_path",
		"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslsni", "sslnegotiation", "channel_binding",
	}
	config, err := pgx.ParseConfigWithOptions(url, options)
	if err != nil {
		return nil, errors.New("store: the url of the database cannot be read: one of its parts is unknown or invalid, or a file that it names (sslrootcert, sslcert, sslkey) cannot be read")
	}
	if config.Database == "" || config.User == "" {
		return nil, errors.New("store: the url of the database names no user or no database")
	}
	if err := pgPrivate(config); err != nil {
		return nil, err
	}
	return config, nil
}

// pgPrivate refuses a url by which somebody on the way could read or be the
// database. pgx tries several ways to one host for some values of sslmode: each
// of them has to be private.
func pgPrivate(config *pgx.ConnConfig) error {
	verified, local := true, true
	var far string
	check := func(host string, full bool) {
		verified = verified && full
		if !pgLocal(host) {
			local = false
			if !full {
				far = host
			}
		}
	}
	check(config.Host, config.TLSConfig != nil && !config.TLSConfig.InsecureSkipVerify)
	for _, f := range config.Fallbacks {
		check(f.Host, f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify)
	}
	switch {
	case verified:
	case far != "":
		return fmt.Errorf("store: the way to the database on %s is not private: who stands on it could read and change every account; add sslmode=verify-full to the url, and sslrootcert=FILE where the server's CA is not known to this host", far)
	case !local:
		return errors.New("store: of several hosts of a database either all are local or all are asked for their certificate (sslmode=verify-full)")
	}
	dialer := &net.Dialer{
		Timeout: pgConnectLimit,
		// A connection whose other end is gone is noticed in half a minute.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !verified && network != "unix" { // localhost is what the resolver says it is
			if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().Unmap().IsLoopback() {
				return nil, errors.New("the name localhost does not lead to this host")
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
	return nil
}

// pgLocal says whether a host cannot be but this one.
func pgLocal(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true // the folder of a unix socket; for localhost see the dialer
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// pgPlace names a database in errors.
func pgPlace(config *pgx.ConnConfig) string {
	return fmt.Sprintf("database %s on %s", config.Database, config.Host)
}
