package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestInnerDoorMisbehaving: what a service behind a sidecar does wrong is 502 or a
// broken answer, and never the next client's.
func TestInnerDoorMisbehaving(t *testing.T) {
	t.Parallel()
	n := newInner(t, innerMap)
	n.programs["front"].server.Close()
	up := startUpstreamAt(t, n.runDir+"/front.sock", func(c net.Conn, r received) {
		if r.Target == "/open" {
			_, _ = io.WriteString(c, plainAnswer)
			return
		}
		misbehave(c, r)
	})
	n.start()
	n.sidecar("front")
	n.reach("/open")
	client, session := n.client(), n.login(n.addUser("alice@shop.example"))
	for _, s := range []struct{ name, want string }{ // as in TestUpstreamMisbehaves
		{"good", "whole"}, {"good-long", long}, {"good-chunks", long}, {"two-answers", "whole"}, {"good", "whole"},
		{"nothing", "502"}, {"half-a-head", "502"}, {"no-http", "502"}, {"two-lengths", "502"}, {"negative-length", "502"}, {"status-1000", "502"}, {"switching", "502"},
		{"huge-head", "502"}, {"short", "broken"}, {"short-long", "broken"}, {"chunks-cut", "broken"}, {"chunks-cut-short", "broken"}, {"chunks-bad", "broken"},
	} {
		got := n.try(call{path: "/case/" + s.name, bearer: session, client: client})
		rs := n.of(got.ID)
		if len(rs) != 1 {
			t.Errorf("%s: the records are %+v, want one", s.name, rs)
			continue
		}
		switch {
		case s.want == "502" || s.want == "broken" && got.Err == nil:
			if got.Err != nil || got.Status != 502 || got.reason() != "upstream.protocol" || rs[0].Status != 502 {
				t.Errorf("%s: %d %.80q %v, want 502 upstream.protocol; the record is %+v", s.name, got.Status, got.Body, got.Err, rs[0])
			}
		case s.want == "broken":
			if rs[0].Reason == "ok" {
				t.Errorf("%s: an answer that broke off is on record as %+v", s.name, rs[0])
			}
		case got.Err != nil || got.Status != 200 || got.Body != s.want || rs[0].Reason != "ok":
			t.Errorf("%s: %d, %d bytes, %v; want 200 and %d bytes; the record is %+v", s.name, got.Status, len(got.Body), got.Err, len(s.want), rs[0])
		}
		if again := n.do(call{path: "/case/good", bearer: session, client: client}); again.Status != 200 || again.Body != "whole" {
			t.Errorf("%s, and then the good one: %d %q", s.name, again.Status, again.Body)
		}
		if asked := len(up.of(got.ID)); asked < 1 || asked > 2 {
			t.Errorf("%s: the service was asked %d times", s.name, asked)
		}
	}
}

// TestInnerDoorServiceDown: a service that is away behind a sidecar that is there is
// 502, and is found again without a restart.
func TestInnerDoorServiceDown(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front")
	n.programs["front"].server.Close()
	got := n.do(call{path: "/open"})
	if got.Status != 502 || got.reason() != "upstream.unreachable" {
		t.Errorf("a service that is down: %d %s, want 502 upstream.unreachable", got.Status, got.Body)
	}
	if rs := n.of(got.ID); len(rs) != 1 || rs[0].Status != 502 || rs[0].Service != "front" || rs[0].Reason != "upstream.unreachable" {
		t.Errorf("a service that is down: the records are %+v, want one of upstream.unreachable", rs)
	}
	startProgram(t, n.runDir+"/front.sock", nil)
	n.reach("/open")
	if got := n.do(call{path: "/open"}); got.Status != 200 {
		t.Errorf("positive control: the service is back: %d %s", got.Status, got.Body)
	}
}

// TestInnerDoorServiceSlow: a service that does not answer within its bound of 30 s
// is 504. It waits that long, and is left out of short runs.
func TestInnerDoorServiceSlow(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the bound of 30 s")
	}
	t.Parallel()
	n := startInner(t, "front")
	n.programs["front"].answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	got := n.do(call{path: "/open"})
	if got.Status != 504 || got.reason() != "upstream.timeout" {
		t.Errorf("a service that hangs: %d %s, want 504 upstream.timeout", got.Status, got.Body)
	}
	if rs := n.of(got.ID); len(rs) != 1 || rs[0].Status != 504 || rs[0].Reason != "upstream.timeout" {
		t.Errorf("a service that hangs: the records are %+v, want one of upstream.timeout", rs)
	}
	n.programs["front"].answers(nil)
	if got := n.do(call{path: "/open"}); got.Status != 200 {
		t.Errorf("positive control: the service answers again: %d %s", got.Status, got.Body)
	}
}

// TestInnerDoorUploads: a body of megabytes arrives whole, and one that breaks off
// never begins to arrive: its digest is known before the service is asked.
func TestInnerDoorUploads(t *testing.T) {
	t.Parallel()
	n := newInner(t, strings.Replace(innerMap, `public: {address: "@public@", limits: {`, `public: {address: "@public@", limits: {body: 6MiB, `, 1))
	n.programs["front"].answers(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		size, _ := io.Copy(sum, r.Body)
		_, _ = fmt.Fprintf(w, "%d %s %s", size, hex.EncodeToString(sum.Sum(nil)), r.Header.Get("Content-Length"))
	})
	n.start()
	n.doors["front"] = n.sidecar("front")
	n.reach("/open")
	session := n.login(n.addUser("alice@shop.example"))
	sumOf := func(body string) string { sum := sha256.Sum256([]byte(body)); return hex.EncodeToString(sum[:]) }
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 5 << 20} {
		body := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		for _, chunked := range []bool{false, true} {
			req, id := n.request(call{method: "POST", path: "/upload", bearer: session, body: body})
			if chunked {
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), -1
			}
			res, err := n.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = false }).Do(req)
			if err != nil {
				t.Fatalf("%d bytes, chunked %t: %v", size, chunked, err)
			}
			want := fmt.Sprintf("%d %s", size, sumOf(body))
			if got := readAll(res); res.StatusCode != 200 || !strings.HasPrefix(got, want) {
				t.Errorf("%d bytes, chunked %t: %d %s, want %s", size, chunked, res.StatusCode, got, want)
			}
			_ = res.Body.Close()
			if in := n.programs["front"].of(id); len(in) != 1 {
				t.Errorf("%d bytes, chunked %t: the service was asked %d times", size, chunked, len(in))
			}
		}
	}
	if got := n.do(call{method: "POST", path: "/upload", bearer: session, body: strings.Repeat("x", 6<<20+1)}); got.Status != 413 || len(n.programs["front"].of(got.ID)) != 0 {
		t.Errorf("a byte over the listener's limit: %d %s", got.Status, got.Body)
	}

	conn, err := n.dialTLS("public")
	if err != nil {
		t.Fatal(err)
	}
	half, id := strings.Repeat("x", 1<<20), newID()
	_, err = fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", id, session, 2*len(half), half)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	until(t, "the upload that broke off is on record", func() bool { return len(n.of(id)) == 1 })
	if rs := n.of(id); rs[0].Reason == "ok" || len(n.programs["front"].of(id)) != 0 {
		t.Errorf("an upload that broke off: the record is %+v, the service was asked %d times", rs[0], len(n.programs["front"].of(id)))
	}
}

// TestInnerDoorOutboundFaults: what goes wrong at a callee is said on the outbound
// socket with its reason, and a job ends its sidecar there.
func TestInnerDoorOutboundFaults(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front")
	door := n.doors["front"]
	posting := outCall{to: "ledger", method: "POST", target: "/postings", body: "1"}
	door.call(posting).wants(t, "a callee without its sidecar", "upstream.unreachable")
	ledger := n.sidecar("ledger")
	door.call(posting).mustPass(t, "the callee is there")
	n.programs["ledger"].server.Close()
	door.call(posting).wantsStatus(t, "the callee's service is down", 502)
	startProgram(t, n.address["ledger"], func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Sallyport-Reason", "access.role") // a service cannot speak for a door
		w.Header().Set("X-User-Id", "mallory")
		w.Header().Set("X-Mine", "kept")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Header.Get("X-Caller"))
	})
	if got := door.call(posting); got.Status != 418 || got.Reason != "" || got.Body != "front" {
		t.Errorf("an answer of the callee's service: %s %q, want 418 without a reason of a door", got, got.Body)
	}
	large := outCall{to: "ledger", method: "POST", target: "/postings", body: strings.Repeat("x", 1<<20+1)}
	if got := door.call(large); got.Status != 413 && got.Err == nil {
		t.Errorf("a body over the callee's limit of 1 MiB: %s, want 413", got)
	}
	ledger.stop()
	door.call(posting).wants(t, "the callee's sidecar has ended", "upstream.unreachable")

	if got := door.call(outCall{to: "sidecar", method: "GET", target: "/quit"}); got.Status != 405 {
		t.Errorf("GET /quit: %s, want 405", got)
	}
	if got := door.call(outCall{to: "sidecar", method: "POST", target: "/quit"}); got.Status != 202 {
		t.Errorf("POST /quit: %s, want 202", got)
	}
	if code := door.waitEnd(); code != 0 {
		t.Errorf("a sidecar that was told to quit ended with %d\n%s", code, door.stderr)
	}
}

// wantsStatus reports an answer of another status.
func (a innerAnswer) wantsStatus(t testing.TB, what string, status int) {
	t.Helper()
	if a.Err != nil || a.Status != status {
		t.Errorf("%s: %s %.200s, want %d", what, a, a.Body, status)
	}
}

// TestInnerDoorOwner: the owner check of a route is done in front of a service in any
// language, and said in the zone's record.
func TestInnerDoorOwner(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	alice, bob := n.addUser("alice@shop.example"), n.addUser("bob@shop.example")
	session := n.login(alice)
	until(t, "the gateway finds ledger", func() bool { return n.do(call{path: "/entries/0", bearer: session}).Status == 200 })
	asked := len(n.programs["ledger"].all())
	mine, others := n.do(call{path: "/users/" + alice.ID + "/entries", bearer: session}), n.do(call{path: "/users/" + bob.ID + "/entries", bearer: session})
	if mine.Status != 200 || others.Status != 404 || others.reason() != "owner.denied" {
		t.Errorf("her own: %d; another's: %d %s, want 200 and 404 owner.denied", mine.Status, others.Status, others.Body)
	}
	for id, reason := range map[string]string{mine.ID: "ok", others.ID: "owner.denied"} {
		if rs := n.of(id); len(rs) != 1 || rs[0].Reason != reason || rs[0].Principal != alice.ID {
			t.Errorf("the records are %+v, want one of %s", rs, reason)
		}
	}
	if now := len(n.programs["ledger"].all()); now != asked+1 {
		t.Errorf("the service was asked %d times for the two", now-asked)
	}
	service := n.do(call{method: "POST", path: "/postings", bearer: session, body: "1"})
	if service.Status != 404 || service.reason() != "route.unknown" {
		t.Errorf("an inside route from outside: %d %s, want 404 route.unknown", service.Status, service.Body)
	}
}

// TestInnerDoorStream: server-sent events come through the sidecar one by one.
func TestInnerDoorStream(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front")
	next := make(chan string)
	n.programs["front"].answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for e := range next {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", e)
			_ = http.NewResponseController(w).Flush()
		}
	})
	alice := n.addUser("alice@shop.example")
	if got := n.do(call{path: "/events"}); got.Status != 401 {
		t.Errorf("without credential: %d", got.Status)
	}
	req, id := n.request(call{path: "/events", bearer: n.login(alice)})
	go func() { next <- "0" }()
	res, err := n.client().Do(req)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v %v", res, err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for i := range 4 {
		if i > 0 {
			next <- fmt.Sprint(i) // it is sent only after the one before was read
		}
		for lines.Scan() && lines.Text() == "" {
		}
		if want := fmt.Sprint("data: ", i); lines.Text() != want {
			t.Fatalf("event %d is %q, want %q: %v", i, lines.Text(), want, lines.Err())
		}
	}
	close(next)
	if lines.Scan() && lines.Text() != "" || lines.Scan() {
		t.Errorf("after the end: %q", lines.Text())
	}
	if rs := n.of(id); len(rs) == 0 || rs[0].Principal != alice.ID || rs[0].Reason != "ok" {
		t.Errorf("the records are %+v", rs)
	}
}
