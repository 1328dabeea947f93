package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// AskPostgres looks at a server in one connection and one read-only transaction.
// It makes no table and runs no migration.
func AskPostgres(ctx context.Context, url string) (p Postgres, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return p, errors.New("the URL cannot be read; write it as postgres://USER:PASSWORD@HOST/DATABASE") // pgx's text may hold a part of it
	}
	if err := private(cfg, url); err != nil {
		return p, err
	}
	cfg.RuntimeParams["application_name"] = "sallyport doctor"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return p, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read
	began := time.Now()
	var theirs time.Time
	const query = `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
		current_setting('default_transaction_read_only') = 'on',
		(SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
		current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding'),
		(SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database), current_setting('max_connections')::int,
		coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), clock_timestamp()`
	err = conn.QueryRow(ctx, query).Scan(&p.Version, &p.Standby, &p.ReadOnly, &p.Superuser, &p.MayCreate,
		&p.Fsync, &p.Sync, &p.Encoding, &p.Connections, &p.Most, &p.TLS, &theirs)
	if err != nil {
		return p, err
	}
	took := time.Since(began)
	if p.Ahead = theirs.Sub(began.Add(took / 2)); p.Ahead.Abs() <= took { // not more than the question took
		p.Ahead = 0
	}
	return p, nil
}

// errInClear keeps the doctor from showing a password to the network, or to
// whoever answers in the server's place.
var errInClear = errors.New("it was not asked: the password would go to another host without a verified certificate of it; write sslmode=verify-full (rediss:// for Valkey) in the URL")

// private refuses every way of a configuration that is neither on this host nor verified.
func private(cfg *pgx.ConnConfig, url string) error {
	ways := []*tls.Config{cfg.TLSConfig}
	for _, f := range cfg.Fallbacks {
		ways = append(ways, f.TLSConfig)
	}
	for _, way := range ways {
		if !localURL(url) && (way == nil || way.InsecureSkipVerify) {
			return errInClear
		}
	}
	return nil
}
