package doctor

import (
	"context"
	"fmt"
	"strings"
)

// Valkey is what a server shows. Empty or negative: it does not say.
type Valkey struct {
	Name    string // valkey or redis
	Version string
	Policy  string // maxmemory_policy
	Most    int64  // maxmemory in bytes; 0: no limit; -1: it does not say
	Used    int64
	Role    string // master, slave
	Cluster bool
	Kept    bool // appendonly: what it holds outlives its process
	Open    bool // it asks for no password
}

func (e *examination) valkey(ctx context.Context, at string) {
	const name = "valkey"
	if e.Engines.Valkey == nil {
		e.unknown(name, "", "nothing can ask it here")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	v, err := e.Engines.Valkey(ctx, at)
	if err != nil {
		e.fail(name, "see that it runs, takes connections from here, and that the password is right", "%s", without(err, at))
		return
	}
	var major, minor int
	_, scanned := fmt.Sscanf(v.Version, "%d.%d", &major, &minor)
	switch {
	case v.Role == "slave":
		e.fail(name, "name the primary in the URL", "%s %s is a replica: it takes no writes", v.Name, v.Version)
	case v.Cluster:
		e.fail(name, "name one server that stands alone", "%s %s is part of a cluster, which is not supported", v.Name, v.Version)
	case scanned != nil:
		e.unknown(name, "let the user run INFO", "it answers, and does not say its version")
	case major < 6 || major == 6 && minor < 2:
		e.fail(name, "use Valkey, or Redis 6.2 or later", "%s %s is too old", v.Name, v.Version)
	default:
		e.ok(name, "%s %s answers", v.Name, v.Version)
	}
	e.valkeyMemory(v)
	switch name := "valkey durability"; {
	case v.Version == "":
		e.unknown(name, "let the user run INFO", "it does not say whether it keeps a log")
	case !v.Kept:
		e.warn(name, "CONFIG SET appendonly yes, and in its configuration file", "appendonly is off: a restart of it forgets limits and used nonces")
	default:
		e.ok(name, "appendonly is on")
	}
	secure := strings.HasPrefix(at, "rediss:") || strings.HasPrefix(at, "valkeys:")
	switch name := "valkey access"; {
	case !secure && !localURL(at):
		e.fail(name, "rediss:// in the URL, and TLS on the server", "the password and all that is kept go over the network in clear")
	case v.Open && !localURL(at):
		e.fail(name, "a user with a password (ACL SETUSER) in the URL", "it asks for no password, and is reached over the network")
	case v.Open:
		e.warn(name, "a user with a password (ACL SETUSER), or a unix socket of the zone's user", "it asks for no password: every process of this host can reset limits and forget nonces")
	default:
		e.ok(name, "with a password, and over TLS or on this host")
	}
}

func (e *examination) valkeyMemory(v Valkey) {
	const name = "valkey memory"
	const mend = "CONFIG SET maxmemory-policy noeviction, and in its configuration file"
	switch {
	case v.Policy == "" || v.Most < 0:
		e.unknown(name, "let the user run INFO", "it does not say what it drops when it is full")
	case v.Policy != "noeviction":
		e.fail(name, mend, "maxmemory-policy is %s: a full one forgets counters of limits and used nonces, so that requests can be replayed; the zone refuses it", v.Policy)
	case v.Most > 0 && v.Used > v.Most/10*8:
		e.warn(name, "a higher maxmemory", "%d of %d MiB are used: when it is full, it takes no writes", v.Used/mib, v.Most/mib)
	case v.Most == 0:
		e.warn(name, "CONFIG SET maxmemory SIZE, and in its configuration file", "%d MiB used, without a limit: counters of a flood can take all memory of its host", v.Used/mib)
	default:
		e.ok(name, "%d of %d MiB used, drops nothing", v.Used/mib, v.Most/mib)
	}
}
