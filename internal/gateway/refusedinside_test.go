package gateway

import (
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// TestInsideFaultsAreNotTheClients: what an inner door refuses because of the way
// from the gateway to it is no client's fault. The client reads 502 and nothing
// of the inside; the record has the reason. What it refuses of the caller's
// rights, and its own unavailability, pass as they are.
func TestInsideFaultsAreNotTheClients(t *testing.T) {
	for _, c := range []struct {
		said   problem.Reason
		door   bool // the service has an inner door
		status int
		record string
	}{
		{problem.ProofReplayed, true, 502, "proof.replayed"},
		{problem.ProofDigest, true, 502, "proof.digest"},
		{problem.ProofMissing, true, 502, "proof.missing"},
		{problem.InsideTokenExpired, true, 502, "inside.token_expired"},
		{problem.InsideTokenMissing, true, 502, "inside.token_missing"},
		{problem.InsidePeer, true, 502, "inside.peer"},
		{problem.InsideCall, true, 502, "inside.call"},
		{problem.InsideRoute, true, 502, "inside.route"},
		{problem.InsideStale, true, 503, "inside.stale"},
		{problem.ProofUnavailable, true, 503, "proof.unavailable"},
		{problem.AccessRole, true, 403, "access.role"},
		{problem.OwnerDenied, true, 404, "owner.denied"},
		{problem.RequestParam, true, 400, "request.param"},
		{problem.ProofReplayed, false, 400, "ok"}, // who has no inner door has nothing to say
	} {
		for _, body := range []string{"", "the token of alice", strings.Repeat("long", pieceSize)} {
			s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
				for {
					if _, ok := conn.Request(); !ok {
						return
					}
					conn.Say("HTTP/1.1 " + strconv.Itoa(c.said.Status()) + " No\r\nSallyport-Reason: " + c.said.Code() + "\r\nWWW-Authenticate: Inside\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
				}
			})
			g, kept := editedGateway(t, []*zone.Route{anything("GET")}, behind(s), inPlain)
			g.now().zone.Services[0].Embedded = c.door
			w := newTaker()
			if visit(g, w, "GET", "/a") {
				t.Errorf("%s: broken off", c.said)
			}
			all := kept.all()
			if w.status != c.status || len(all) != 1 || all[0].Reason != c.record || all[0].Status != c.status || all[0].BytesOut != int64(w.sent.Len()) {
				t.Errorf("%s, door %v, %d bytes: answered %d, recorded %+v, want %d and %s", c.said, c.door, len(body), w.status, all, c.status, c.record)
			}
			if hidden := c.status == 502; hidden != strings.Contains(w.sent.String(), `"urn:sallyport:reason:upstream.protocol"`) || hidden && w.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s, door %v: the client reads %.80q, %v", c.said, c.door, w.sent.String(), w.header)
			}
		}
	}
}

// TestRefusalInsideKeepsTheConnection: an inner door that refuses is not dialled
// anew for each request.
func TestRefusalInsideKeepsTheConnection(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
		for {
			if _, ok := conn.Request(); !ok {
				return
			}
			conn.Say("HTTP/1.1 400 No\r\nSallyport-Reason: proof.invalid\r\nContent-Length: 4\r\n\r\nbody")
		}
	})
	g, kept := editedGateway(t, []*zone.Route{anything("GET")}, behind(s), inPlain)
	g.now().zone.Services[0].Embedded = true
	for range 5 {
		visit(g, newTaker(), "GET", "/a")
	}
	if n := s.Conns.Load(); n != 1 || len(kept.all()) != 5 {
		t.Errorf("%d connections for %d requests, want 1 for 5", n, len(kept.all()))
	}
}
