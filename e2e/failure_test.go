package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const failureMap = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /case/{name}: anonymous
      POST /case/{name}: anonymous
  dead:
    upstream: http://@dead@
    routes:
      GET /dead: anonymous
      POST /dead: anonymous
  many:
    upstream: [http://@one@, http://@two@, http://@three@]
    routes:
      GET /many: anonymous
      POST /many: anonymous
`

// long is a body beyond every buffer on the way.
var long = strings.Repeat("0123456789abcdef", 16<<10)

// misbehave answers as the path asks for, and closes.
func misbehave(c net.Conn, r received) {
	say := func(s string) { _, _ = io.WriteString(c, s) }
	defer c.Close()
	switch strings.TrimPrefix(r.Target, "/case/") {
	case "good":
		say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole")
	case "good-long":
		say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(long), long))
	case "good-chunks":
		say(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long))
	case "good-until-close":
		say("HTTP/1.0 200 OK\r\n\r\n" + long)
	case "nothing":
	case "half-a-head":
		say("HTTP/1.1 200 OK\r\nContent-Len")
	case "no-http":
		say("SSH-2.0-OpenSSH_9.9\r\n\r\n")
	case "short":
		say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	case "short-long":
		say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long)+1, long))
	case "chunks-cut":
		say(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(long), long))
	case "chunks-cut-short":
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n")
	case "chunks-bad":
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwholeX\r\n0\r\n\r\n")
	case "length-and-coding":
		say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n")
	case "two-lengths":
		say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nwhole")
	case "negative-length":
		say("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nwhole")
	case "header-injection":
		say("HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: x=y\r\nContent-Length: 5\r\n\r\nwhole")
	case "space-in-name":
		say("HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nwhole")
	case "status-1000":
		say("HTTP/1.1 1000 OK\r\nContent-Length: 5\r\n\r\nwhole")
	case "switching":
		say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nwhole")
	case "huge-head":
		say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 4<<20) + "\r\nContent-Length: 5\r\n\r\nwhole")
	case "two-answers":
		say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwholeHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
	}
}

// TestUpstreamMisbehaves: a service that dies, lies or babbles is 502 or a
// broken answer; never a whole wrong one, and never the next client's.
func TestUpstreamMisbehaves(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, misbehave)
	z := startZone(t, failureMap, map[string]string{"plain": up.address})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := z.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = protocol == "HTTP/2.0" })
		for _, s := range []struct{ name, want string }{ // want: the whole body; "502"; "broken": 502 or an answer that breaks off
			{"good", "whole"}, {"good-long", long}, {"good-chunks", long}, {"good-until-close", long}, {"two-answers", "whole"}, {"good", "whole"},
			{"nothing", "502"}, {"half-a-head", "502"}, {"no-http", "502"}, {"length-and-coding", "502"}, {"two-lengths", "502"}, {"negative-length", "502"}, {"header-injection", "502"}, {"space-in-name", "502"},
			{"status-1000", "502"}, {"switching", "502"}, {"huge-head", "502"}, {"short", "broken"}, {"short-long", "broken"}, {"chunks-cut", "broken"}, {"chunks-cut-short", "broken"}, {"chunks-bad", "broken"},
		} {
			for _, method := range []string{"GET", "POST"} {
				name := fmt.Sprintf("%s %s %s", protocol, method, s.name)
				body := ""
				if method == "POST" {
					body = "body"
				}
				got := z.ask(call{method: method, path: "/case/" + s.name, body: body, client: client})
				rs := z.of(got.ID)
				reason := "upstream.protocol"
				switch {
				case s.want == "502" || s.want == "broken" && got.Err == nil:
					if got.Err != nil || got.Status != 502 || got.reason() != reason {
						t.Errorf("%s: %d %.60q %v, want 502 %s", name, got.Status, got.Body, got.Err, reason)
					}
				case s.want == "broken": // the client knows that it is not whole
				default:
					reason = "ok"
					if got.Err != nil || got.Status != 200 || got.Body != s.want {
						t.Errorf("%s: %d, %d bytes, %v; want 200 and %d bytes", name, got.Status, len(got.Body), got.Err, len(s.want))
					}
				}
				if len(rs) != 1 || rs[0].Reason != reason {
					t.Errorf("%s: records %+v, want one of %s", name, rs, reason)
				}
				if again := z.do(call{path: "/case/good", client: client}); again.Status != 200 || again.Body != "whole" {
					t.Errorf("%s, and then the good one: %d %q", name, again.Status, again.Body)
				}
				if asked := len(up.of(got.ID)); asked != 1 && (method == "POST" || asked > 2) {
					t.Errorf("%s: the service was asked %d times", name, asked)
				}
			}
		}
	}
}
