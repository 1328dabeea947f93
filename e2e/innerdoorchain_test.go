package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// chainMap has four services, each of which calls the next.
const chainMap = head + `
services:
  one:
    upstream: unix:@run@/one.sock
    sidecar: "@onedoor@"
    routes: {POST /one: user}
    calls: {two: [POST /two]}
  two:
    upstream: unix:@run@/two.sock
    sidecar: "@twodoor@"
    proof: signature
    routes: {POST /two: user}
    calls: {three: [POST /three]}
  three:
    upstream: unix:@run@/three.sock
    sidecar: "@threedoor@"
    proof: channel
    routes: {POST /three: user}
    calls: {four: [POST /four]}
  four:
    upstream: unix:@run@/four.sock
    sidecar: "@fourdoor@"
    routes: {POST /four: {allow: user, roles: [buyer]}}
`

// TestInnerDoorChain: user, correlation id and trace are the same four services
// deep, and so is what the user may (SV-06).
func TestInnerDoorChain(t *testing.T) {
	t.Parallel()
	exactly(t, chained) // a signature is taken by Valkey's leave
}

func chained(t *attempt) {
	z := newZone(t, chainMap, nil)
	names := []string{"one", "two", "three", "four"}
	programs := map[string]*program{}
	for i, name := range names {
		socket := filepath.Join(z.runDir, name+"-door", "out.sock")
		calls := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
		programs[name] = startProgram(t, filepath.Join(z.runDir, name+".sock"), func(w http.ResponseWriter, r *http.Request) {
			if i == len(names)-1 {
				_, _ = io.Copy(w, r.Body)
				return
			}
			next := names[i+1]
			req, err := http.NewRequestWithContext(r.Context(), "POST", "http://"+next+"/"+next, r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Sallyport-Request", r.Header.Get("Sallyport-Request"))
			req.Header.Set("X-User-Id", "mallory") // each hop tries
			req.Header.Set("X-Correlation-Id", newID())
			res, err := calls.Do(req)
			if err != nil {
				t.Errorf("%s calls %s: %v", name, next, err)
				return
			}
			defer res.Body.Close()
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
		})
	}
	z.start()
	for _, name := range names {
		z.sidecar(name)
	}
	alice, bob := z.addUser("alice@shop.example", "buyer"), z.addUser("bob@shop.example")
	session := z.login(alice)
	until(t, "the gateway finds one", func() bool { return z.do(call{method: "POST", path: "/one", bearer: session}).Status != 502 })
	got := z.do(call{method: "POST", path: "/one", bearer: session, body: "the deep"})
	if got.Status != 200 || got.Body != "the deep" {
		t.Fatalf("alice: %d %s", got.Status, got.Body)
	}
	trace := ""
	for i, name := range names {
		in := programs[name].of(got.ID)
		if len(in) != 1 {
			t.Fatalf("%s was asked %d times under the correlation id", name, len(in))
		}
		h, caller := in[0].Header, ""
		if i > 0 {
			caller = names[i-1]
		}
		parts := strings.Split(h.Get("Traceparent"), "-")
		if len(parts) != 4 || trace != "" && parts[1] != trace {
			t.Errorf("%s has the trace %q, want that of the request, %s", name, h.Get("Traceparent"), trace)
		} else {
			trace = parts[1]
		}
		if h.Get("X-User-Id") != alice.ID || h.Get("X-User-Roles") != "buyer" || h.Get("X-Caller") != caller || in[0].Body != "the deep" {
			t.Errorf("%s got %+v", name, in[0])
		}
	}
	if rs := z.of(got.ID); len(rs) != 1 || rs[0].Principal != alice.ID || rs[0].Reason != "ok" || rs[0].TraceID != trace {
		t.Errorf("the records are %+v, want one of alice and trace %s", rs, trace)
	}
	got = z.do(call{method: "POST", path: "/one", bearer: z.login(bob), body: "the deep"})
	var doc struct{ Type string }
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 403 || doc.Type != "urn:sallyport:reason:access.role" {
		t.Errorf("bob, who lacks the role of the fourth: %d %s", got.Status, got.Body)
	}
	if in := programs["four"].of(got.ID); len(in) != 0 {
		t.Errorf("four was asked %d times for bob", len(in))
	}
	if in := programs["three"].of(got.ID); len(in) != 1 {
		t.Errorf("positive control: three was asked %d times for bob, want once", len(in))
	}
}
