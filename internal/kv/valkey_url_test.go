package kv

import (
	"crypto/tls"
	"net/url"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		want address
	}{
		{"redis://127.0.0.1", address{network: "tcp", addr: "127.0.0.1:6379", host: "127.0.0.1"}},
		{"valkey://localhost:7000/3", address{network: "tcp", addr: "localhost:7000", host: "localhost", db: 3}},
		{"redis://:secret@[::1]:7000", address{network: "tcp", addr: "[::1]:7000", host: "::1", password: "secret"}},
		{"rediss://user:p%40ss@kv.example:7000/", address{network: "tcp", addr: "kv.example:7000", host: "kv.example", tls: true, user: "user", password: "p@ss"}},
		{"valkeys://10.0.0.5", address{network: "tcp", addr: "10.0.0.5:6379", host: "10.0.0.5", tls: true}},
		{"unix:///run/valkey.sock", address{network: "unix", addr: "/run/valkey.sock"}},
		{"unix://:secret@/run/valkey.sock?db=2", address{network: "unix", addr: "/run/valkey.sock", password: "secret", db: 2}},
	} {
		if got, err := parseURL(c.url); err != nil || got != c.want {
			t.Errorf("%s = %+v, %v, want %+v", c.url, got, err, c.want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"nothing", "", "scheme"},
		{"no url", "://:hunter2", "no url"},
		{"bad escape", "redis://:hunter2%zz@127.0.0.1", "no url"},
		{"bad port", "redis://:hunter2@127.0.0.1:port", "no url"},
		{"another scheme", "http://:hunter2@127.0.0.1", "unknown scheme"},
		{"in clear over a network", "redis://:hunter2@10.0.0.5", "write rediss://"},
		{"in clear to a name", "valkey://:hunter2@kv.example", "write rediss://"},
		{"in clear to all addresses", "redis://:hunter2@0.0.0.0", "write rediss://"},
		{"a name like loopback", "redis://:hunter2@localhost.example", "write rediss://"},
		{"a slash in the password", "rediss://:hunter2/x@kv.example", "no url"},
		{"a question mark in the password", "rediss://user:hunter2?x@kv.example", "no url"},
		{"a hash in the password", "rediss://127.0.0.1:1#hunter2@kv.example", "%-encode"},
		{"no host", "rediss://:hunter2@", "no host"},
		{"no host, and no at", "rediss://user:hunter2:6379/0", "no host and port"},
		{"no host, and no at, in clear", "redis://user:hunter2:6379/0", "no host and port"},
		{"the password alone", "redis://hunter2", "write rediss://"},
		{"port 0", "rediss://:hunter2@kv.example:0", "no host and port"},
		{"port too high", "rediss://:hunter2@kv.example:65536", "no host and port"},
		{"parameters", "rediss://:hunter2@kv.example?skip_verify=true", "parameters"},
		{"database", "rediss://:hunter2@kv.example/x", "database"},
		{"negative database", "rediss://:hunter2@kv.example/-1", "database"},
		{"two databases", "unix://:hunter2@/s?db=1&db=2", "one parameter"},
		{"parameter of a socket", "unix://:hunter2@/s?protocol=3", "one parameter"},
		{"socket on a host", "unix://:hunter2@host/s", "no socket"},
		{"no socket", "unix://:hunter2@", "no socket"},
		{"user alone", "rediss://hunter2@kv.example", "no password"},
		{"too long", "rediss://:hunter2@" + strings.Repeat("a", maxURL), "too long"},
	} {
		_, err := parseURL(c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the password in it: %v", c.name, err)
		}
	}
}

// A secret of the url is in no error, and nothing is sent in clear over a network.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"rediss://user:secret@kv.example:6379/1", "redis://:secret@127.0.0.1", "unix://:secret@/s?db=1",
		"valkey://[::1]:1/2", "redis://secret@10.0.0.5", "redis://:a#secret@h", "unix:///", "redis://h?a=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseURL(text)
		if err != nil {
			u, bad := url.Parse(text)
			if bad != nil {
				return
			}
			if p, _ := u.User.Password(); len(p) > 12 && !strings.Contains(u.Host, p) && strings.Contains(err.Error(), p) {
				t.Errorf("%q: the error has the password in it: %v", text, err)
			}
			return
		}
		if a.addr == "" || a.network != "tcp" && a.network != "unix" || a.db < 0 {
			t.Errorf("%q = %+v", text, a)
		}
		if a.network == "tcp" && !a.tls && !loopback(a.host) {
			t.Errorf("%q goes in clear to %s", text, a.host)
		}
	})
}

func TestTLSConfig(t *testing.T) {
	a := address{network: "tcp", host: "kv.example", tls: true}
	c, err := a.tlsConfig(nil)
	if err != nil || c.ServerName != "kv.example" || c.MinVersion < tls.VersionTLS12 {
		t.Errorf("config %+v, %v", c, err)
	}
	if _, err := a.tlsConfig(&tls.Config{InsecureSkipVerify: true}); err == nil { // #nosec G402 -- it is to be refused
		t.Error("a server that is not verified is taken")
	}
	plain := address{network: "unix", addr: "/s"}
	if c, err := plain.tlsConfig(&tls.Config{MinVersion: tls.VersionTLS13}); c != nil || err != nil {
		t.Errorf("socket: %v, %v, want none", c, err)
	}
}
