package app

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
)

// TestAdminHost: a page in a browser reaches the admin listener by no name that
// DNS can make point here.
func TestAdminHost(t *testing.T) {
	for _, c := range []struct {
		address, host string
		want          int
	}{
		{"127.0.0.1:8440", "127.0.0.1:8440", 200},
		{"127.0.0.1:8440", "127.0.0.1", 200},
		{"127.0.0.1:8440", "localhost:8440", 200},
		{"127.0.0.1:8440", "LOCALHOST", 200},
		{"127.0.0.1:8440", "[::1]:8440", 200},
		{"127.0.0.1:8440", "[::1]", 200},
		{"[::1]:8440", "[::1]:8440", 200},
		{"[::1]:8440", "[0:0:0:0:0:0:0:1]:8440", 200},
		{"0.0.0.0:8440", "10.0.0.5:8440", 200}, // an address is no name: nobody made it point here
		{":8440", "10.0.0.5:8440", 200},
		{"admin.shop.example:8440", "admin.shop.example:8440", 200},
		{"admin.shop.example:8440", "Admin.Shop.Example", 200},

		{"10.0.0.5:8440", "10.0.0.5:8440", 200},
		{"10.0.0.5:8440", "127.0.0.1:8440", 200},

		{"127.0.0.1:8440", "0.0.0.0:8440", 421}, // some systems take it for loopback
		{"127.0.0.1:8440", "[::]:8440", 421},
		{":8440", "0.0.0.0:8440", 421},
		{"127.0.0.1:8440", "10.0.0.5:8440", 421},
		{"127.0.0.1:8440", "127.1", 421},
		{"127.0.0.1:8440", "2130706433", 421},
		{"127.0.0.1:8440", "", 421},
		{"127.0.0.1:8440", "evil.example:8440", 421},
		{"127.0.0.1:8440", "evil.example", 421},
		{"127.0.0.1:8440", "localhost.evil.example:8440", 421},
		{"127.0.0.1:8440", "127.0.0.1.evil.example:8440", 421},
		{"127.0.0.1:8440", "[::1].evil.example:8440", 421},
		{"127.0.0.1:8440", "[::1]evil.example", 421},
		{"127.0.0.1:8440", "[::1", 421},
		{"127.0.0.1:8440", "admin.shop.example:8440", 421},
		{"admin.shop.example:8440", "x.admin.shop.example:8440", 421},
		{":8440", "evil.example:8440", 421},
		{":8440", "", 421},
	} {
		h := adminHandler(c.address, obs.NewMetrics(), func(context.Context) []string { return nil })
		for _, path := range []string{"/", "/ready", "/metrics"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = c.host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("listening on %q, Host %q, %s: %d, want %d", c.address, c.host, path, w.Code, c.want)
			}
		}
	}
}

func TestAdminPages(t *testing.T) {
	var waiting []string
	h := adminHandler("127.0.0.1:8440", obs.NewMetrics(), func(context.Context) []string { return waiting })
	for _, c := range []struct {
		method, path string
		waiting      []string
		status       int
		body         string
	}{
		{"GET", "/ready", nil, 200, "ready\n"},
		{"GET", "/ready", []string{"store", "journal: journal.full"}, 503, "not ready: store, journal: journal.full\n"},
		{"GET", "/metrics", nil, 200, "go_goroutines"},
		{"POST", "/metrics", nil, 404, "route.unknown"},
		{"GET", "/debug/pprof/", nil, 404, "route.unknown"},
		{"GET", "/v1/users", nil, 404, "route.unknown"}, // of the socket only
	} {
		waiting = c.waiting
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Host = "localhost:8440"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s: %d %.200q, want %d with %q", c.method, c.path, w.Code, w.Body.String(), c.status, c.body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: headers %v", c.method, c.path, w.Header())
		}
	}
}
