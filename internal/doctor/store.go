package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev/zone"
)

// Engines look at the stores, and at the mail server. None of them writes, or sends
// anything. The zero value of each makes its findings unknown.
type Engines struct {
	SQLite   func(ctx context.Context, path string, clean bool) (SQLite, error)
	Postgres func(ctx context.Context, url string) (Postgres, error)
	Valkey   func(ctx context.Context, url string) (Valkey, error)
	SMTP     func(ctx context.Context, url, zone string) (SMTP, error) // no text of the server's is in the error
}

// RealEngines ask the engines themselves; SMTP is the caller's.
func RealEngines() Engines {
	return Engines{SQLite: AskSQLite, Postgres: AskPostgres, Valkey: AskValkey}
}

const (
	engineTime = 5 * time.Second
	readTime   = 2 * time.Minute // of a whole database
)

// store checks the engines that the map names; without a map the database file
// of the data folder, if there is one.
func (e *examination) store(ctx context.Context) {
	if e.Zone == nil || e.Zone.Store.Postgres == nil {
		e.sqlite(ctx)
	}
	if e.Zone == nil {
		return
	}
	if s := e.Zone.Store.Postgres; s != nil {
		if at, ok := e.secret("postgres", s); ok {
			e.postgres(ctx, at)
		}
	}
	if s := e.Zone.Store.Valkey; s != nil {
		if at, ok := e.secret("valkey", s); ok {
			e.valkey(ctx, at)
		}
	}
}

// secret reads the URL of an engine. It is in no finding.
func (e *examination) secret(engine string, s *zone.Secret) (string, bool) {
	name := engine + " url"
	if s.File == "" {
		value := ""
		if e.Host.Getenv != nil {
			value = e.Host.Getenv(s.Env)
		}
		if value == "" {
			e.unknown(name, "run this with "+s.Env+" set as for the zone", "it is in the environment of the zone, and not in this one")
			return "", false
		}
		e.ok(name, "%s is set", s.Env)
		return strings.TrimSpace(value), true
	}
	info, err := os.Stat(s.File)
	if err != nil {
		e.fail(name, "write it there, or name another file in the map", "%v", err)
		return "", false
	}
	b, err := readBounded(s.File)
	value := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		e.fail(name, "let the user of the zone read it", "%v", err)
		return "", false
	case value == "":
		e.fail(name, "write the URL there", "%s is empty", s.File)
		return "", false
	case info.Mode().Perm()&0o077 != 0:
		e.fail(name, "chmod 600 "+s.File+", and change the password if somebody read it", "%s has mode %04o: others can read the password in it", s.File, info.Mode().Perm())
	default:
		e.ok(name, "%s, mode %04o", s.File, info.Mode().Perm())
	}
	return value, true
}

// SQLite is what a database file shows.
type SQLite struct {
	Faults []string // of quick_check; none: it is sound
	WAL    bool
	Tables int
}

func (e *examination) sqlite(ctx context.Context) {
	const name = "sqlite"
	path := filepath.Join(e.Data, databaseName)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			e.ok(name, "there is no database yet: `serve` makes %s", path)
		} else {
			e.unknown(name, "run this as the user of the zone", "%v", err)
		}
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		e.fail(name, "bring back a backup; or, if no zone was ever started here, remove it", "%s is empty: `serve` would begin a new zone in it, with other keys and no accounts", path)
		return
	}
	for _, file := range []string{path, path + "-wal", path + "-shm"} { // SQLite opens all that are there, and waits for a FIFO
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			e.fail(name, "bring it back from its backup", "%s is no regular file", file)
			return
		}
	}
	if e.Running != nil && !e.Deep {
		for _, w := range e.Running.Waiting {
			if strings.HasPrefix(w, "store") {
				e.fail(name, "see the zone's log", "the running zone says that it does not answer")
				return
			}
		}
		e.ok(name, "the running zone says that it answers; --deep reads all of it")
		return
	}
	if e.RunningErr != nil && !e.Deep {
		e.unknown(name, "sallyport doctor --deep, which costs a zone that works some of its disk", "it was not read: a zone may have it open")
		return
	}
	if e.Engines.SQLite == nil {
		e.unknown(name, "", "nothing can read it here")
		return
	}
	_, err := os.Stat(path + "-wal")
	clean := errors.Is(err, fs.ErrNotExist) && e.Running == nil // nobody has it open, and nothing waits beside it
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	s, err := e.Engines.SQLite(ctx, path, clean)
	const mend = "keep a copy of the data folder, then bring back a backup; `sqlite3 zone.db .recover` may save the rest"
	switch {
	case ctx.Err() != nil:
		e.unknown(name, "", "%s was not read to its end in %s", path, readTime)
	case err != nil:
		e.fail(name, mend, "%s: %v", path, err)
	case len(s.Faults) > 0:
		e.fail(name, mend, "%s is damaged: %s", path, strings.Join(s.Faults, "; "))
	case s.Tables == 0:
		e.warn(name, "nothing: the next `serve` makes them", "%s has no tables", path)
	case !s.WAL:
		e.warn(name, "nothing: the next `serve` sets it; if it cannot, the file system is no local one", "%s is sound, and not in the mode that `serve` uses", path)
	default:
		e.ok(name, "%s is sound: every page was read (quick_check); %d tables", path, s.Tables)
	}
}

// localURL says whether a URL of an engine leads to this host. A unix socket has
// no host, or a path as its parameter host.
func localURL(at string) bool {
	u, err := url.Parse(at)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if host == "" {
		return u.Scheme == "unix" || u.Query().Has("host")
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || err == nil && a.Unmap().IsLoopback()
}

// without is the text of an error in which no part of the URL's secret stands.
func without(err error, at string) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	text := err.Error()
	u, perr := url.Parse(at)
	if perr != nil || u.Host == "" && u.Scheme != "unix" {
		return "the URL cannot be read; write it as postgres://USER:PASSWORD@HOST/DATABASE or redis://USER:PASSWORD@HOST:PORT"
	}
	text = strings.ReplaceAll(text, at, "***")
	if password, ok := u.User.Password(); ok && password != "" {
		text = strings.ReplaceAll(text, password, "***")
		text = strings.ReplaceAll(text, url.QueryEscape(password), "***")
	}
	if password := u.Query().Get("password"); password != "" {
		text = strings.ReplaceAll(text, password, "***")
	}
	return text
}
