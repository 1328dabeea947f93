package zone

import "time"

// mapFile is the map as it is written.
type mapFile struct {
	version  int
	includes []string
	doors    doors
	Zone
}

// mapType is the grammar: the root of the table of keys.
func mapType() typ[mapFile] {
	return object("map", "zone, services and more",
		versionKey(func(m *mapFile) *int { return &m.version }),
		key("zone", domain(), func(m *mapFile) *string { return &m.Name },
			"the trust domain: issuer https://ZONE, identities spiffe://ZONE/SERVICE").must(),
		key("include", oneOrList(glob()), func(m *mapFile) *[]string { return &m.includes },
			"files with more `services`; a name given twice is an error, and they do not include"),
		key("listeners", doorsType(), func(m *mapFile) *doors { return &m.doors }, "the doors of the zone").says("public on :8443, certificate internal"),
		key("identity", identityType(), func(m *mapFile) *Identity { return &m.Identity }, "the account service"),
		servicesKey(func(m *mapFile) *[]*Service { return &m.Services }),
		key("traffic", trafficType(), func(m *mapFile) *Traffic { return &m.Traffic }, "how clients are watched").
			later(Listed, "windows and their actions are not there yet; limits and rates hold"),
		key("policies", oneOrList(glob()), func(m *mapFile) *[]string { return &m.Policies }, "files of Cedar policies, which further restrict access").
			later(StopsServe, "policies are not there yet, and without them more would be allowed than is meant"),
		key("store", storeType(), func(m *mapFile) *Store { return &m.Store }, "where state is kept").says("embedded"),
		key("export", list(exportType()), func(m *mapFile) *[]Export { return &m.Export }, "where records go besides the journal"),
		key("journal", journalType(), func(m *mapFile) *Journal { return &m.Journal }, "how much of the record of requests is kept"),
		key("revocation_grace", duration(), func(m *mapFile) *time.Duration { return &m.RevocationGrace },
			"a gateway that hears nothing of revocations for so long asks for each request").is("5s"),
		key("staleness", duration(), func(m *mapFile) *time.Duration { return &m.Staleness },
			"a guard whose map is older refuses").is("5min"),
	)
}

// includedType is the grammar of a file that the map includes.
func includedType() typ[mapFile] {
	return object("included file", "services and nothing else",
		versionKey(func(m *mapFile) *int { return &m.version }),
		joined[mapFile]{servicesKey(func(m *mapFile) *[]*Service { return &m.Services }), "services"},
	)
}

// joined is a row whose value joins what stands elsewhere in the map: its path
// is there, so that the same name in two files is a duplicate.
type joined[T any] struct {
	row[T]
	path string
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (j joined[T]) read(r *reader, name string, w written, into *T) {
	w.path = j.path
	j.row.read(r, name, w, into)
}

func versionKey(at func(*mapFile) *int) row[mapFile] {
	return key("version", integer(1, 1), at, "the version of this grammar").is("1")
}

func servicesKey(at func(*mapFile) *[]*Service) row[mapFile] {
	return key("services", servicesType(), at, "the services of the zone, by name")
}

func trafficType() typ[Traffic] {
	windows := object("windows", "rates by name",
		&each[map[string]Rate, string, Rate]{name(), rate(), "requests of one client in the window", func(all *map[string]Rate, name string, _ Pos, r Rate) {
			put(all, name, r)
		}})
	return object("traffic", "windows and action",
		key("windows", windows, func(t *Traffic) *map[string]Rate { return &t.Windows }, "bounds over which a client stands out"),
		key("action", oneOf("action", plainWords("observe", "throttle", "challenge", "block")), func(t *Traffic) *string { return &t.Action }, "what happens to it").is("observe"),
	)
}

func storeType() typ[Store] {
	return object("store", "embedded, or postgres and valkey",
		key("postgres", optional(secret()), func(s *Store) **Secret { return &s.Postgres }, "url of a PostgreSQL database for accounts, sessions, keys"),
		key("valkey", optional(secret()), func(s *Store) **Secret { return &s.Valkey }, "url of a Valkey or Redis for counters, nonces, broadcast"),
	)
}

func journalType() typ[Journal] {
	return object("journal", "how long and how much",
		key("retain", duration(), func(j *Journal) *time.Duration { return &j.Retain }, "records are kept for so long").is("30d"),
		key("size", size(), func(j *Journal) *int64 { return &j.Size }, "and up to so much").is("10GiB"),
	)
}
