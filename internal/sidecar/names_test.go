package sidecar

import (
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/guard"
)

func TestNames(t *testing.T) {
	for _, name := range forgeries {
		if reachesService(name) {
			t.Errorf("%s reaches the service", name)
		}
	}
	for _, name := range []string{"Accept", "Content-Type", "Cookie", "X-Users", "X-User", "Range", "Idempotency-Key", "Tracestate", "Client-Id"} {
		if !reachesService(name) || !leavesService(name) || !answers(name) {
			t.Errorf("positive control: %s does not pass", name)
		}
	}
	for _, name := range []string{"Txn-Token", "TXN_TOKEN", "txn.token", "X-Caller", "x_caller", "X-Correlation-Id", "X-User-", "Sallyport-"} {
		if reachesService(name) || leavesService(name) || answers(name) {
			t.Errorf("%s passes", name)
		}
	}
}

// len is how many requests are open.
func (t *handles) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// FuzzNames: whatever a reader of CGI habits makes of a name that passes, it is
// none of the inside.
func FuzzNames(f *testing.F) {
	for _, name := range forgeries {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		cgi := strings.Map(func(r rune) rune {
			if r == '_' || r == '.' {
				return '-'
			}
			return r
		}, strings.ToLower(name))
		inside := strings.HasPrefix(cgi, "x-user-") || strings.HasPrefix(cgi, "sallyport-") ||
			slices.Contains([]string{"txn-token", "x-client-id", "x-caller", "x-correlation-id"}, cgi)
		if inside && (reachesService(name) || leavesService(name) || answers(name)) {
			t.Errorf("%q passes", name)
		}
		if same := textproto.CanonicalMIMEHeaderKey(name); reachesService(name) && !reachesService(same) {
			t.Errorf("%q passes and %q does not", name, same)
		}
	})
}

func FuzzHandle(f *testing.F) {
	f.Add(say(handle{}))
	f.Add("AAAAAAAAAAAAAAAAAAAAA\n")
	f.Add("AAAAAAAAAAAAAAAAAAAAAB")
	f.Fuzz(func(t *testing.T, text string) {
		if h, ok := parseHandle(text); ok && say(h) != text {
			t.Errorf("%q and %q are the same handle", text, h)
		}
	})
}

func TestFactsInPlain(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      guard.Principal
		caller string
		want   string // the headers; empty: refused
	}{
		{"user", guard.Principal{Kind: guard.User, Subject: "usr_1", Roles: []string{"a", "b"}}, "", "X-User-Id=usr_1 X-User-Roles=a,b"},
		{"client", guard.Principal{Kind: guard.Client, Subject: "shop", Client: "shop", Scopes: []string{"r", "w"}}, "", "X-Client-Id=shop X-User-Id=shop X-User-Scopes=r,w"},
		{"called by a service", guard.Principal{Kind: guard.User, Subject: "usr_1"}, "catalog", "X-Caller=catalog X-User-Id=usr_1"},
		{"a service for itself", guard.Principal{Kind: guard.Service, Subject: "spiffe://shop.example/catalog"}, "catalog", "X-Caller=catalog X-User-Id=spiffe://shop.example/catalog"},
		{"anonymous", guard.Principal{Subject: "anonymous", Roles: []string{"admin"}}, "catalog", "X-Caller=catalog"},
		{"role that reads as two", guard.Principal{Kind: guard.User, Subject: "u", Roles: []string{"a,admin"}}, "", ""},
		{"empty scope", guard.Principal{Kind: guard.User, Subject: "u", Scopes: []string{""}}, "", ""},
		{"role that ends in a blank", guard.Principal{Kind: guard.User, Subject: "u", Roles: []string{"admin "}}, "", ""},
		{"subject that ends a line", guard.Principal{Kind: guard.User, Subject: "u\r\nX-User-Roles: admin"}, "", ""},
		{"subject outside of ASCII", guard.Principal{Kind: guard.User, Subject: "ü"}, "", ""},
		{"caller with a blank", guard.Principal{}, " catalog", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := plainly(&c.p, c.caller)
			if err != nil {
				if c.want != "" {
					t.Errorf("got %v, want %s", err, c.want)
				}
				return
			}
			var got []string
			for _, field := range f.fields() {
				if field.value != "" {
					got = append(got, field.name+"="+field.value)
				}
			}
			slices.Sort(got)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// say is the header value of a handle.
func say(h handle) string { return string(h.appendTo(nil)) }
