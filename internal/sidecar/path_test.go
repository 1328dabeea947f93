package sidecar

import (
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// TestPathsOfTwoReadings: a path that the matcher and the service could read
// differently stays outside.
func TestPathsOfTwoReadings(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	anonymous := b.guard.Token("anonymous")
	for _, c := range []struct {
		path string
		pass bool
	}{
		{"/open/a/b", true},
		{"/open/a..b/c...", true},
		{"/open/a%20b", true},
		{"/open/100%25", true},
		{"/open/100%25zz", true},
		{"/open/Zo%C3%AB", true},
		{"/open/a;v=1/b", false},
		{"/open/export;", false},
		{"/open/export%3Bx", false},
		{"/open/%2565xport", false},
		{"/open/a/...", false},
		{"/open/..%20/admin", false},
		{"/open/%C0%AE%C0%AE/admin", false},
		{"/open/..;/admin", false},
		{"/open/..;a=1/admin", false},
		{"/open/.;/admin", false},
		{"/open/..%3Ba/admin", false},
		{"/open/%2E%2E%3B/admin", false},
		{"/open/;/admin", false},
		{"/open/..%5Cadmin", false},
		{"/open/a%00b", false},
		{"/open/a%0D%0Ab", false},
		{"/open/a%7Fb", false},
	} {
		res := b.ask("GET", c.path, anonymous, nil)
		if !c.pass {
			wantReason(t, res, problem.RequestTarget)
			if len(got) != 0 {
				t.Errorf("%s reached the service", c.path)
				<-got
			}
			continue
		}
		if read(t, res) != "hello" {
			t.Errorf("%s = %d, want 200", c.path, res.StatusCode)
			continue
		}
		if r := <-got; r.RequestURI != c.path {
			t.Errorf("%s reached the service as %s", c.path, r.RequestURI)
		}
	}
}

// TestEncodedSlashesClimbNowhere: where encoded slashes are declared, what they
// separate is judged as segments too.
func TestEncodedSlashesClimbNowhere(t *testing.T) {
	for path, want := range map[string]bool{
		"/raw/a/b": true, "/raw/https://x": true, "/raw/../admin": false, "/raw/a/../../admin": false, "/raw/a/.": false, "/raw/a/": true,
	} {
		if got := oneReading(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

// TestQueriesAsTheyCame: the proof covers the query, so the service gets these
// very bytes, also where net/http would drop what it cannot parse.
func TestQueriesAsTheyCame(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	for _, query := range []string{"a=1&b=2", "b=2&a=1", "a=1;b=2", "q=100%&a=1", "q=%zz", "&&", "a=%2b+"} {
		if res := b.ask("GET", "/open?"+query, b.guard.Token("anonymous"), nil); read(t, res) != "hello" {
			t.Errorf("?%s = %d, want 200", query, res.StatusCode)
			continue
		}
		if r := <-got; r.URL.RawQuery != query {
			t.Errorf("?%s reached the service as ?%s", query, r.URL.RawQuery)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestQueriesOfCalls is TestQueriesAsTheyCame for the way out.
func TestQueriesOfCalls(t *testing.T) {
	seen := make(chan string, 1)
	b := newBed(t, serviceOn(t, http.NotFound), func(_ *Config, d *door) {
		d.client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			seen <- r.URL.RequestURI()
			return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}
	})
	for _, query := range []string{"a=1&b=2", "a=1;b=2", "q=100%&a=1"} {
		res := b.call("GET", "http://ledger/entries?"+query, nil, strings.NewReader(""))
		_ = res.Body.Close()
		if got := <-seen; got != "/entries?"+query {
			t.Errorf("?%s goes out as %s", query, got)
		}
	}
}
