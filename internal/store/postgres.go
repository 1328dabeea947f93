package store

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What a server is given time for. Its own bounds come first, so that it can
// say what happened.
const (
	pgConnectLimit   = 5 * time.Second
	pgStatementLimit = 10 * time.Second // to run a statement
	pgLockLimit      = 5 * time.Second  // to wait for the writer's turn, or any lock
	pgIdleLimit      = 10 * time.Second // to go on with a transaction: a frozen process must not keep the turn
	pgAnswerSlack    = 2 * time.Second  // on top, before the server counts as lost
	pgEndLimit       = 5 * time.Second  // to commit or roll back
)

// pgWriterLock is the advisory lock of write transactions and migrations; the
// first 63 bits of SHA-256("sallyport.dev/internal/store").
const pgWriterLock = "4318541637238311978"

// pgOldest is the oldest server that is taken: those before get no mends any more.
const pgOldest = 140000

// PostgresOptions bound what a database server is asked for. Zero values are defaults.
type PostgresOptions struct {
	// Readers is how many connections views may use at once: twice the
	// processors, at least 4 and at most 16. Two more are used beside them, one
	// to write and one to follow revocations.
	Readers int
	// LockWait is how long a write transaction waits for the writers of other
	// processes; 5 s.
	LockWait time.Duration
	// Patience is the least of the bounds of connecting, of a statement, and of a
	// transaction with which nobody goes on: 5 s, 10 s and 10 s when it is less.
	Patience time.Duration
}

// OpenPostgres opens a database of a PostgreSQL server, and migrates it. url is
// of the form postgres://user:password@host:port/database?parameters, with the
// parameters of libpq. A host that is neither a unix socket nor a loopback
// address must be asked for its certificate: sslmode=verify-full. The url is a
// secret: no error shows it.
func OpenPostgres(ctx context.Context, url string, o PostgresOptions) (*DB, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("store: read migrations: %w", err)
	}
	return openPostgres(ctx, url, o, files)
}

func openPostgres(ctx context.Context, url string, o PostgresOptions, files fs.FS) (_ *DB, err error) {
	config, err := pgConfig(url)
	if err != nil {
		return nil, err
	}
	if o.Readers <= 0 {
		o.Readers = min(16, max(4, 2*runtime.GOMAXPROCS(0)))
	}
	if o.LockWait <= 0 {
		o.LockWait = pgLockLimit
	}
	pgSettings(config, o)
	reading := config.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	e := &pgEngine{
		writer:    newPGPool(config, 1, o), // queueing for the turn here is fair and ends with the context
		readers:   newPGPool(reading, o.Readers, o),
		follower:  newPGPool(reading, 1, o),
		statement: max(pgStatementLimit, o.Patience),
	}
	db := &DB{engine: e, dialect: dialect{
		numbered: true,
		kind:     pgKind,
		types:    pgType,
		hasTable: "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(?)",
	}}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	place := pgPlace(config)
	if err := db.View(ctx, pgSettled); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", place, err)
	}
	if err := db.migrate(ctx, files); err != nil {
		return nil, fmt.Errorf("%w (%s)", err, place)
	}
	return db, nil
}

// pgSettings are those of every connection. They stand above what the url, the
// role or the server says.
func pgSettings(config *pgx.ConnConfig, o PostgresOptions) {
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement            // prepared once a connection; parameters never in the text
	config.StatementCacheCapacity = 256                                      // more than there are statements
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary // of several hosts, the one that is no standby
	config.OnNotice = nil
	p := config.RuntimeParams
	if p["application_name"] == "" {
		p["application_name"] = "sallyport"
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
	p["statement_timeout"] = ms(max(pgStatementLimit, o.Patience))
	p["lock_timeout"] = ms(o.LockWait)
	p["idle_in_transaction_session_timeout"] = ms(max(pgIdleLimit, o.Patience))
	p["client_encoding"] = "UTF8"
	p["standard_conforming_strings"] = "on"
	p["timezone"] = "UTC"
	p["jit"] = "off" // compiling a plan takes longer than any statement here
}

// pgSettled checks what the server may be without saying so.
func pgSettled(ctx context.Context, tx *Tx) error {
	var version int64
	var encoding, synchronous, fsync string
	err := tx.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('server_encoding'),
		current_setting('synchronous_commit'), current_setting('fsync')`).Scan((*pgNumber)(&version), &encoding, &synchronous, &fsync)
	switch {
	case err != nil:
		return err
	case version < pgOldest:
		return fmt.Errorf("the server has version %d, want %d or newer", version/10000, pgOldest/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has encoding %s; make one with ENCODING 'UTF8'", encoding)
	case synchronous == "off" || fsync == "off":
		return fmt.Errorf("the server may lose what it has acknowledged: synchronous_commit is %s, fsync is %s; set both on", synchronous, fsync)
	}
	return nil
}

// pgNumber reads a number from a setting, which is a text.
type pgNumber int64

func (n *pgNumber) Scan(src any) (err error) {
	*(*int64)(n), err = strconv.ParseInt(fmt.Sprint(src), 10, 64)
	return err
}

// pgEngine keeps the connections to one database.
type pgEngine struct {
	writer, readers, follower *pgPool
	statement                 time.Duration // bound of one
}

func (e *pgEngine) close() error {
	e.follower.close()
	e.readers.close()
	e.writer.close()
	return nil
}

func (e *pgEngine) begin(ctx context.Context, m mode) (session, error) {
	pool := map[mode]*pgPool{forView: e.readers, forLook: e.readers, forFollower: e.follower, forWrite: e.writer, forMigration: e.writer}[m]
	conn, kept, err := pool.get(ctx)
	if err != nil {
		return nil, err
	}
	s := &pgSession{conn: conn, kept: kept, view: m.reads(), lazy: m.reads(), once: m == forLook, limit: e.statement + pgAnswerSlack}
	switch m {
	case forWrite:
		err = s.start(ctx, beginWrite)
	case forMigration:
		s.limit = 0
		err = s.start(ctx, beginMigration)
	}
	if err != nil {
		s.rollback()
		return nil, err
	}
	return s, nil
}

// pgType is PostgreSQL's name of a word of a migration. Texts compare by their
// bytes, as they do in SQLite, whatever the server's locale is and becomes.
func pgType(word string) string {
	switch strings.ToUpper(word) {
	case "INTEGER":
		return "BIGINT"
	case "BLOB":
		return "BYTEA"
	case "TEXT":
		return `TEXT COLLATE "C"`
	case "STRICT":
		return ""
	}
	return word
}
