package doctor

import (
	"context"
	"fmt"
	"time"
)

// Postgres is what a server and the zone's role on it show.
type Postgres struct {
	Version     int // server_version_num: 160004 is 16.4
	TLS         bool
	Standby     bool
	ReadOnly    bool
	Superuser   bool
	MayCreate   bool // in the schema that the role uses
	Fsync       string
	Sync        string // synchronous_commit
	Encoding    string
	Connections int // in use
	Most        int // max_connections
	Ahead       time.Duration
}

const (
	oldestPostgres = 140000 // the zone refuses older ones
	fewConnections = 20
	clocksApart    = 2 * time.Second
)

func (e *examination) postgres(ctx context.Context, at string) {
	const name = "postgres"
	if e.Engines.Postgres == nil {
		e.unknown(name, "", "nothing can ask it here")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	p, err := e.Engines.Postgres(ctx, at)
	if err != nil {
		e.fail(name, "see that it runs, takes connections from here, and knows this role and database", "%s", without(err, at))
		return
	}
	version := fmt.Sprintf("PostgreSQL %d.%d", p.Version/10000, p.Version%10000)
	switch {
	case p.Version < oldestPostgres:
		e.fail(name, "use PostgreSQL 15 or later", "%s is too old: the zone refuses it", version)
	case p.Standby || p.ReadOnly:
		e.fail(name, "name the primary in the URL (target_session_attrs=read-write)", "%s takes no writes: it is a standby, or read-only by default", version)
	default:
		e.ok(name, "%s answers and takes writes", version)
	}
	e.postgresRole(p, at)
	e.postgresSettings(p)
}

func (e *examination) postgresRole(p Postgres, at string) {
	switch name := "postgres role"; {
	case !p.MayCreate:
		e.fail(name, "GRANT CREATE, USAGE ON SCHEMA public TO ROLE, or make the role the owner of the database", "it may not make tables in its schema: migrations fail")
	case p.Superuser:
		e.warn(name, "ALTER ROLE ... NOSUPERUSER; owning its own database is enough", "it is a superuser: who has its password has every database of the server")
	default:
		e.ok(name, "no superuser, and may make its tables")
	}
	switch name := "postgres tls"; {
	case p.TLS:
		e.ok(name, "the connection is over TLS")
	case localURL(at):
		e.ok(name, "not used, and the server is on this host")
	default:
		e.fail(name, "sslmode=verify-full in the URL, and TLS on the server", "the password and all that is kept go over the network in clear")
	}
}

func (e *examination) postgresSettings(p Postgres) {
	switch name := "postgres durability"; {
	case p.Fsync != "on":
		e.fail(name, "fsync = on in postgresql.conf", "fsync is %s: a loss of power can damage the database", p.Fsync)
	case p.Sync == "off":
		e.fail(name, "ALTER ROLE ... SET synchronous_commit = on", "synchronous_commit is off: a loss of power forgets revocations that were answered")
	default:
		e.ok(name, "fsync is %s, synchronous_commit %s", p.Fsync, p.Sync)
	}
	switch name := "postgres encoding"; p.Encoding {
	case "UTF8":
		e.ok(name, "UTF8")
	default:
		e.fail(name, "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0", "%s: names and addresses may not fit", p.Encoding)
	}
	switch left := p.Most - p.Connections; {
	case p.Most == 0:
		e.unknown("postgres connections", "", "the server does not say")
	case left < fewConnections:
		e.warn("postgres connections", "a higher max_connections, or fewer clients", "%d of %d are in use", p.Connections, p.Most)
	default:
		e.ok("postgres connections", "%d of %d are in use", p.Connections, p.Most)
	}
	if apart := p.Ahead.Abs(); apart > clocksApart {
		e.warn("postgres clock", "let both hosts follow one source of time", "it is %s apart from this host's", apart.Round(time.Millisecond))
	} else {
		e.ok("postgres clock", "within %s of this host's", clocksApart)
	}
}
