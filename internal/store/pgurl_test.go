package store

import (
	"context"
	"strings"
	"testing"
)

const pgSecret = "hunter2/%&?#@:"

func TestPostgresURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		want string // part of the error; empty: it is taken
	}{
		{"postgres://u:hunter2@127.0.0.1/db", ""},
		{"postgresql://u:hunter2@[::1]:5433/db", ""},
		{" postgres://u:hunter2@localhost/db\n", ""},
		{"postgres://u:hunter2@/db?host=/run/postgresql", ""},
		{"postgres://u:hunter2@db.example/db?sslmode=verify-full", ""},
		{"postgres://u:hunter2@db.example,db2.example/db?sslmode=verify-full", ""},
		{"postgres://u:hunter2@127.0.0.1,[::1]/db?sslmode=disable", ""},

		{"postgres://u:hunter2@db.example/db", "sslmode=verify-full"},
		{"postgres://u:hunter2@db.example/db?sslmode=disable", "sslmode=verify-full"},
		{"postgres://u:hunter2@db.example/db?sslmode=allow", "sslmode=verify-full"},
		{"postgres://u:hunter2@db.example/db?sslmode=prefer", "sslmode=verify-full"},
		{"postgres://u:hunter2@db.example/db?sslmode=require", "sslmode=verify-full"},
		{"postgres://u:hunter2@db.example/db?sslmode=verify-ca", "sslmode=verify-full"},
		{"postgres://u:hunter2@192.0.2.7/db", "192.0.2.7"},
		{"postgres://u:hunter2@127.0.0.1.example/db", "127.0.0.1.example"},
		{"postgres://u:hunter2@@abstract/db", "cannot be read"},
		{"postgres://u:hunter2@localhost,db.example/db", "db.example"},
		{"postgres://u:hunter2@/db?host=/run/postgresql,db.example", "db.example"},
		{"postgres://u:hunter2@/db?host=/run/postgresql,db.example&sslmode=verify-full", "either all are local"},
		{"postgres://u:hunter2@localhost/db?host=db.example", "db.example"},

		{"", "cannot be read"},
		{"host=localhost user=u password=hunter2 dbname=db", "cannot be read"},
		{"postgres://u:hunter2@hunter2@db.example/db", "cannot be read"},
		{"mysql://u:hunter2@localhost/db", "cannot be read"},
		{"postgres://u:hunter2/x@localhost/db", "cannot be read"},
		{"postgres://u:hunter2%zz@localhost/db", "cannot be read"},
		{"postgres://u:hunter2@localhost:hunter2/db", "cannot be read"},
		{"postgres://u@localhost/db?password=hunter2&sslmode=hunter2", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?sslrootcert=/absent/hunter2", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?default_query_exec_mode=simple_protocol", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?statement_timeout=0", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?options=-csynchronous_commit%3Doff", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?servicefile=/absent/hunter2", "cannot be read"},
		{"postgres://u:hunter2@localhost/db?target_session_attrs=standby", "cannot be read"},
	} {
		_, err := pgConfig(c.url)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("url %q: %v, want %q", c.url, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("url %q: its error shows the password: %v", c.url, err)
		}
	}
}

// localhost is believed only where it leads: its name is the resolver's to give.
func TestLocalhostIsDialledLocally(t *testing.T) {
	config, err := pgConfig("postgres://u@localhost/db")
	if err != nil {
		t.Fatal(err)
	}
	for address, local := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "192.0.2.7:5432": false, "db.example:5432": false} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is dialled
		_, err := config.DialFunc(ctx, "tcp", address)
		if refused := strings.Contains(err.Error(), "does not lead to this host"); refused == local {
			t.Errorf("localhost at %s: %v, want local %v", address, err, local)
		}
	}
}

func FuzzPostgresURL(f *testing.F) {
	for _, seed := range []string{
		"postgres://u:" + pgSecret + "@localhost/db", "postgres://u@/db?host=/tmp,db.example&password=" + pgSecret,
		"postgres://u@h/db?sslmode=verify-full", "postgres://[::1/db", "postgres://h?host=a&host=b&sslmode=prefer",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		config, err := pgConfig(url)
		if err != nil {
			return
		}
		private := func(host string, verified bool) {
			if !verified && !pgLocal(host) {
				t.Errorf("url %q: %q is reached without a certificate", url, host)
			}
		}
		private(config.Host, config.TLSConfig != nil && !config.TLSConfig.InsecureSkipVerify)
		for _, f := range config.Fallbacks {
			private(f.Host, f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify)
		}
	})
}
