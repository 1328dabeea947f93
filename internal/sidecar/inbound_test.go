package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
)

// recording is a service that hands out the headers of the requests it got.
func recording(t *testing.T) (upstream string, got <-chan *http.Request) {
	t.Helper()
	seen := make(chan *http.Request, 16)
	return serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r
		_, _ = io.WriteString(w, "hello")
	}), seen
}

func TestFactsReachTheService(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	for _, c := range []struct {
		name, path, token string
		want              map[string]string
	}{
		{"user", "/mine", b.guard.Token("usr_1", guardtest.Roles("admin", "support")),
			map[string]string{headerUser: "usr_1", headerRoles: "admin,support", headerScopes: "", headerClient: ""}},
		{"key", "/scoped", b.guard.Token("key_7", guardtest.Key(), guardtest.Scopes("orders.read", "orders.write")),
			map[string]string{headerUser: "key_7", headerScopes: "orders.read,orders.write", headerClient: "7", headerRoles: ""}},
		{"anonymous is no user of that name", "/open", b.guard.Token("anonymous"),
			map[string]string{headerUser: "", headerRoles: "", headerScopes: "", headerClient: ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const id = "5a3a4f6e-2c4b-4d7e-9f00-0123456789ab"
			res := b.ask("GET", c.path, c.token, http.Header{"X-Correlation-Id": {id}})
			if body := read(t, res); res.StatusCode != 200 || body != "hello" {
				t.Fatalf("got %d %q, want 200 hello", res.StatusCode, body)
			}
			r := <-got
			c.want[headerCorrelation] = id
			c.want[headerCaller] = ""
			for name, want := range c.want {
				if v := r.Header[name]; strings.Join(v, "|") != want {
					t.Errorf("%s = %q, want %q", name, v, want)
				}
			}
			if v := r.Header[headerHandle]; len(v) != 1 || len(v[0]) != handleText {
				t.Errorf("%s = %q, want one of %d characters", headerHandle, v, handleText)
			}
			if v := r.Header[headerTrace]; len(v) != 1 || len(v[0]) != 55 {
				t.Errorf("%s = %q, want one of 55 characters", headerTrace, v)
			}
		})
	}
}

func TestRefusedRequestsDoNotReachTheService(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	for _, c := range []struct {
		name, method, path, token string
		want                      problem.Reason
	}{
		{"no token", "GET", "/mine", "", problem.InsideTokenMissing},
		{"no route", "GET", "/elsewhere", b.guard.Token("usr_1"), problem.InsideRoute},
		{"wrong kind", "GET", "/mine", b.guard.Token("anonymous"), problem.AuthMissing},
	} {
		t.Run(c.name, func(t *testing.T) { wantReason(t, b.ask(c.method, c.path, c.token, nil), c.want) })
	}
	if len(got) != 0 {
		t.Errorf("the service got %d requests, want none", len(got))
	}
	if read(t, b.ask("GET", "/mine", b.guard.Token("usr_1"), nil)) != "hello" || len(got) != 1 {
		t.Error("positive control: the allowed request did not arrive")
	}
}

// forgeries are spellings of names that a sender may not say.
var forgeries = []string{
	"X-User-Id", "x-user-id", "X_User_Id", "x_user-id", "X.User.Id", "X-USER-ROLES", "X-User-Anything", "X-User_Scopes",
	"X-Client-Id", "X_Client_Id", "Sallyport-Request", "sallyport_request", "Sallyport-Reason", "Sallyport-Client",
	"Sallyport-Certificate", "Sallyport.Certificate", "Txn_Token", "Signature", "Signature-Input", "signature_input", "Content-Digest",
	"Authorization", "X-Api-Key", "Forwarded", "X-Forwarded-For", "X_Forwarded_For", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url",
	"X-Http-Method-Override", "X-Method-Override", "Proxy", "Proxy-Authorization", "X-Correlation_Id", "X-Käse",
}

// TestForgedNamesDoNotReachTheService: for those that cannot come this far, see
// TestNames.
func TestForgedNamesDoNotReachTheService(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	token := b.guard.Token("usr_1")
	for _, name := range forgeries {
		switch name {
		case "X-Käse": // net/http does not send it
			continue
		case "Sallyport-Client", "Content-Digest": // the guard refuses forged ones
			continue
		}
		t.Run(name, func(t *testing.T) {
			res := b.ask("GET", "/mine", token, http.Header{name: {"forged", "forged"}, "X-Ordinary": {"passes"}})
			if read(t, res) != "hello" {
				t.Fatalf("got %d, want 200: the rest of the request is in order", res.StatusCode)
			}
			r := <-got
			for n, v := range r.Header {
				if slices.Contains(v, "forged") {
					t.Errorf("the service got %s: %q", n, v)
				}
			}
			if r.Header.Get(headerUser) != "usr_1" || r.Header.Get("X-Ordinary") != "passes" {
				t.Errorf("positive control: the service got %v", r.Header)
			}
		})
	}
}

// TestConnectionNominatesNothingAway is the trap by which a sender makes a proxy
// delete the headers that the proxy itself set (CVE-2021-32813 and its kin).
func TestConnectionNominatesNothingAway(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	res := b.ask("GET", "/mine", b.guard.Token("usr_1", guardtest.Roles("support")), http.Header{
		"Connection": {"X-User-Id, x-user-roles", "Sallyport-Request, X-Correlation-Id, Traceparent, X-Named"},
		"X-Named":    {"gone"},
	})
	if read(t, res) != "hello" {
		t.Fatalf("got %d, want 200", res.StatusCode)
	}
	r := <-got
	for _, name := range []string{headerUser, headerRoles, headerHandle, headerCorrelation, headerTrace} {
		if len(r.Header[name]) != 1 || r.Header[name][0] == "" {
			t.Errorf("%s = %q, want one value", name, r.Header[name])
		}
	}
	if r.Header.Get("X-Named") != "" {
		t.Error("positive control: a nominated header went on")
	}
}

func TestTrailersEndAtTheDoor(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	raw := "POST /open HTTP/1.1\r\nHost: a\r\nTxn-Token: " + b.guard.Token("anonymous") +
		"\r\nTrailer: X-User-Id\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-User-Id: forged\r\n\r\n"
	if answer := b.raw(raw); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Fatalf("got %q, want 200", answer)
	}
	if r := <-got; len(r.Trailer) != 0 || len(r.Header[headerUser]) != 0 {
		t.Errorf("the service got trailer %v and header %v", r.Trailer, r.Header)
	}
}

// raw sends bytes to the inner door and returns all that comes back.
func (b *bed) raw(request string) string {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.inner, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		b.t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(answer)
}

func TestUpgradesAndTunnelsAreRefused(t *testing.T) {
	upstream, got := recording(t)
	b := newBed(t, upstream)
	token := b.guard.Token("anonymous")
	for _, c := range []struct {
		name, line, header string
		want               problem.Reason
	}{
		{"websocket", "GET /open", "Connection: Upgrade\r\nUpgrade: websocket\r\n", problem.RequestUpgrade},
		{"on a stream route", "GET /live", "Connection: upgrade\r\nUpgrade: websocket\r\n", problem.RequestUpgrade},
		{"h2c", "GET /open", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", problem.RequestUpgrade},
		{"without Connection", "GET /open", "Upgrade: x\r\n", problem.RequestUpgrade},
		{"without Upgrade", "GET /open", "Connection: a ,\tUPGRADE\r\n", problem.RequestUpgrade},
		{"absolute form", "GET http://other/open", "", problem.RequestTarget},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, after, _ := strings.Cut(c.line, " ")
			answer := b.raw(line + " " + after + " HTTP/1.1\r\nHost: a\r\nTxn-Token: " + token + "\r\n" + c.header +
				map[bool]string{true: "", false: "Connection: close\r\n"}[strings.Contains(c.header, "Connection")] + "\r\n" +
				"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if !strings.Contains(answer, "Sallyport-Reason: "+c.want.Code()+"\r\n") {
				t.Errorf("got %q, want %s", answer, c.want.Code())
			}
		})
	}
	if len(got) != 0 {
		t.Errorf("the service got %d requests, want none", len(got))
	}
}

func TestBodyAndTargetPassUnchanged(t *testing.T) {
	seen := make(chan string, 1)
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- fmt.Sprintf("%s %s %s %d", r.Method, r.RequestURI, r.Host, len(body))
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
	}))
	content := bytes.Repeat([]byte("0123456789"), 30_000)
	res, err := b.tryAsk("POST", "/open?b=2&a=%20x&a=1", b.guard.Token("anonymous"), http.Header{"Accept-Encoding": {"gzip"}}, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, res); got != string(content) {
		t.Errorf("the answer has %d bytes, want the %d of the request", len(got), len(content))
	}
	if got, want := <-seen, "POST /open?b=2&a=%20x&a=1 "+strings.TrimPrefix(b.inner, "http://")+" 300000"; got != want {
		t.Errorf("the service got %q, want %q", got, want)
	}
	read(t, b.ask("GET", "/open/a%20b/%C3%A9", b.guard.Token("anonymous"), nil))
	if got := <-seen; !strings.HasPrefix(got, "GET /open/a%20b/%C3%A9 ") {
		t.Errorf("the service got %q", got)
	}
}

func TestOwnerIsJudgedOnTheServicesAnswer(t *testing.T) {
	big := `{"customer":"usr_1","x":"` + strings.Repeat("x", 1<<20) + `"}`
	wrote := make(chan string, 4)
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == "PUT":
			wrote <- r.Header.Get(headerUser)
			_, _ = io.WriteString(w, "done")
		case r.URL.Path == "/orders/big":
			_, _ = io.WriteString(w, big)
		default:
			_, _ = io.WriteString(w, `{"customer":"usr_1"}`)
		}
	}))
	for _, c := range []struct {
		name, method, path, user string
		want                     problem.Reason // OK: served
	}{
		{"read by owner", "GET", "/orders/7", "usr_1", problem.OK},
		{"read by other", "GET", "/orders/7", "usr_2", problem.OwnerDenied},
		{"write by owner", "PUT", "/orders/7", "usr_1", problem.OK},
		{"write by other", "PUT", "/orders/7", "usr_2", problem.OwnerDenied},
		{"too large to be held back", "GET", "/orders/big", "usr_1", problem.OwnerDenied},
		{"too large to be read before the write", "PUT", "/orders/big", "usr_1", problem.OwnerDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := b.ask(c.method, c.path, b.guard.Token(c.user), nil)
			if c.want != problem.OK {
				wantReason(t, res, c.want)
			} else if body := read(t, res); res.StatusCode != 200 {
				t.Errorf("got %d %s, want 200", res.StatusCode, body)
			}
		})
	}
	if len(wrote) != 1 || <-wrote != "usr_1" {
		t.Error("want one write, by usr_1")
	}
}

func TestRequestsAreBounded(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	b := newBed(t, serviceOn(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mine" {
			entered <- struct{}{}
			<-release
		}
	}), func(c *Config, _ *door) { c.Requests = 1 })
	first := make(chan int)
	go func() {
		res, err := b.tryAsk("GET", "/mine", b.guard.Token("usr_1"), nil, nil)
		if err != nil {
			first <- 0
			return
		}
		_ = res.Body.Close()
		first <- res.StatusCode
	}()
	<-entered
	res := b.ask("GET", "/open", b.guard.Token("anonymous"), nil)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantReason(t, res, problem.UpstreamBusy)
	close(release)
	if status := <-first; status != 200 {
		t.Errorf("the first request got %d, want 200", status)
	}
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
	if res := b.ask("GET", "/open", b.guard.Token("anonymous"), nil); res.StatusCode != 200 {
		t.Errorf("after that: got %d, want 200", res.StatusCode)
	}
}
