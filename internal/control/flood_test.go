package control

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// TestFloodsLeaveRoomInTheJournal: what anybody may send without limit must not
// be recorded without limit. Each attempt counts, also one that nobody can read.
func TestFloodsLeaveRoomInTheJournal(t *testing.T) {
	for _, c := range []struct {
		who, path string
		body      any
		most      int
		first     problem.Reason
		then      problem.Reason
	}{
		{"", svid.JoinPath, "nonsense", joinRate.Count, problem.RequestMalformed, problem.LimitAddress},
		{"", svid.IdentityPath, "nonsense", joinRate.Count, problem.InsidePeer, problem.LimitAddress},
		{"orders", svid.IdentityPath, "nonsense", renewRate.Count, problem.RequestMalformed, problem.LimitRate},
	} {
		b := open(t)
		peer := b.as(c.who)
		var first, last answer
		for i := range c.most + 5 {
			last = b.do(peer, "POST", c.path, c.body)
			if i == 0 {
				first = last
			}
		}
		what := fmt.Sprintf("%q at %s", c.who, c.path)
		b.refused(what+", first", first, c.first)
		b.refused(what+", last", last, c.then)
		if last.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
		b.journal.mu.Lock()
		n, tells := len(b.journal.kept), b.journal.kept[len(b.journal.kept)-1].Reason
		b.journal.mu.Unlock()
		if n < c.most || n > c.most+5 || tells != c.then.Code() {
			t.Errorf("%s: %d records, the last %s; want %d and one that tells of the bound", what, n, tells, c.most)
		}
		if c.who != "" { // the others are not bounded by it
			b.refused("catalog beside it", b.do(b.as("catalog"), "POST", c.path, c.body), c.first)
		}
	}
}

// TestBoundOf: an IPv6 client may choose freely within its /64.
func TestBoundOf(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::2", true}, {"2001:db8::1", "2001:db8:0:1::1", false}, {"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		if got := svid.HostOf(netip.MustParseAddr(c.a)) == svid.HostOf(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s: one client = %v, want %v", c.a, c.b, got, c.same)
		}
	}
}

// TestStrangersDoNotStay: who has shown no certificate is answered once.
func TestStrangersDoNotStay(t *testing.T) {
	b := open(t)
	for who, want := range map[string]bool{"": true, "orders": false} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+b.address+"/nowhere", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.as(who).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.Close != want {
			t.Errorf("%q: connection closed = %v, want %v", who, res.Close, want)
		}
	}
}

// TestFloodOfStrangers: connections on which nobody says who he is keep no
// workload out, also none of the same host.
func TestFloodOfStrangers(t *testing.T) {
	b := open(t)
	for range maxConnections + 50 {
		c, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	for _, who := range []string{"orders", "catalog"} {
		if got := b.do(b.as(who), "GET", "/v1/services/"+who, nil); got.status != 200 {
			t.Errorf("%s: %d %s, want its slice", who, got.status, got.body)
		}
	}
}
