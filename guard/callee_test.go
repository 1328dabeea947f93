package guard

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/zone"
)

// TestCallsFollowTheMap: once the map names another instance, the one before
// gets no call any more, also not over a connection that was busy meanwhile.
func TestCallsFollowTheMap(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("slow") {
			close(arrived)
			<-release
		}
		_, _ = io.WriteString(w, "before")
	}))
	defer before.Close()
	after := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "after") }))
	defer after.Close()
	calling := func(srv *httptest.Server) []byte {
		b, err := json.Marshal(zone.Slice{
			Version: zone.SliceVersion, Zone: "shop.example", Issuer: "https://shop.example", Service: "orders", Routes: []zone.SliceRoute{},
			Calls: []zone.SliceCall{{
				Service: "accounts", Method: "GET", Path: "/a",
				Upstreams: []zone.SliceUpstream{{Scheme: "http", Network: "tcp", Address: srv.Listener.Addr().String()}},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c := &fakeControl{slice: calling(before), keys: jwks(t, newTestKey(t, "k1"))}
	g := newTestGuard(t, t.Context(), c)
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	call := func(url string) string {
		ctx := withInbound(t.Context(), &inbound{token: "t"})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Error(err)
			return ""
		}
		res, err := g.Client().Do(r)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	if got := call("http://accounts/a"); got != "before" {
		t.Fatalf("the first call ends at %q, want before", got)
	}
	slow := make(chan string)
	go func() { slow <- call("http://accounts/a?slow") }()
	<-arrived
	c.set(func(c *fakeControl) { c.slice = calling(after) })
	if _, err := g.refresh(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := call("http://accounts/a"); got != "after" {
		t.Errorf("after the change a call ends at %q, want after", got)
	}
	close(release)
	if got := <-slow; got != "before" {
		t.Errorf("the call under way ends at %q, want before", got)
	}
	for range 3 {
		if got := call("http://accounts/a"); got != "after" {
			t.Errorf("with a connection left from before a call ends at %q, want after", got)
		}
	}
}

// TestDialsStayHere: whatever a name resolves to, a connection that leaves this
// host is not made.
func TestDialsStayHere(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "127.0.0.1:80", true}, {"tcp4", "127.8.9.1:80", true}, {"tcp6", "[::1]:80", true}, {"tcp6", "[::ffff:127.0.0.1]:80", true},
		{"unix", "/run/a.sock", true},
		{"tcp4", "10.0.0.1:80", false}, {"tcp4", "169.254.169.254:80", false}, {"tcp6", "[fe80::1%eth0]:80", false}, {"tcp6", "[::ffff:10.0.0.1]:80", false},
		{"tcp4", "0.0.0.0:80", false}, {"tcp4", "127.0.0.1", false}, {"tcp4", "localhost:80", false}, {"udp4", "127.0.0.1:80", false}, {"", "", false},
	} {
		if err := hereOnly(tt.network, tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v, want ok %v", tt.network, tt.address, err, tt.ok)
		}
	}
}

// TestBadCalls: a slice whose calls cannot be told apart is refused whole.
func TestBadCalls(t *testing.T) {
	for _, tt := range []struct {
		calls []zone.SliceCall
		want  string // in the error; empty: none
	}{
		{[]zone.SliceCall{{Service: "a", Method: "GET", Path: "/{x}/b"}, {Service: "b", Method: "GET", Path: "/a/{y}"}}, ""},
		{[]zone.SliceCall{{Service: "a", Method: "GET", Path: "/{x}/b"}, {Service: "a", Method: "GET", Path: "/a/{y}"}}, "calls of a"},
		{[]zone.SliceCall{{Service: "a", Method: "GET", Path: "a"}}, "calls of a"},
		{[]zone.SliceCall{{Service: "a", Method: "GET", Path: "/a", InnerDoor: true}, {Service: "a", Method: "GET", Path: "/b", InnerDoor: true}}, ""},
		{[]zone.SliceCall{{Service: "a", Method: "GET", Path: "/a", InnerDoor: true}, {Service: "a", Method: "GET", Path: "/b"}}, "with an inner door and without"},
		{[]zone.SliceCall{{Service: "A b", Method: "GET", Path: "/a", InnerDoor: true}}, "no SPIFFE ID"},
	} {
		_, err := compileCalls(&Guard{}, &zone.Slice{Zone: "shop.example", Calls: tt.calls})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.calls, err, tt.want)
		}
	}
}
