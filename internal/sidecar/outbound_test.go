package sidecar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/fieldname"
	"sallyport.dev/internal/problem"
)

// callees is a wire in the place of guard.Client's: it tells what the sidecar
// asked of it and answers as it is told.
type callees struct {
	calls  atomic.Int32
	seen   chan *http.Request
	answer func(*http.Request) (*http.Response, error)
}

func newCallees() *callees {
	return &callees{seen: make(chan *http.Request, 64), answer: func(r *http.Request) (*http.Response, error) {
		return response(r, 200, nil, strings.NewReader("from "+r.URL.Host)), nil
	}}
}

func (c *callees) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	select {
	case c.seen <- withBody(r, body):
	default:
	}
	return c.answer(r)
}

func withBody(r *http.Request, body []byte) *http.Request {
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(strings.NewReader(string(body)))
	return out
}

func response(r *http.Request, status int, h http.Header, body io.Reader) *http.Response {
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(body), ContentLength: -1, Request: r}
}

func (c *callees) option(_ *Config, d *door) { d.client = &http.Client{Transport: c} }

// holding is a service that hands out the handle of each request and holds the
// request until it is released.
type holding struct {
	handles chan string
	release chan struct{}
}

func newHolding() *holding {
	return &holding{handles: make(chan string, 64), release: make(chan struct{})}
}

func (s *holding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handles <- r.Header.Get(headerHandle)
	<-s.release
	_, _ = io.WriteString(w, "done")
}

// open sends a request that stays open, and returns its handle and what waits
// for its end.
func (b *bed) open(s *holding, path, token string) (handle string, done <-chan string) {
	b.t.Helper()
	end := make(chan string, 1)
	go func() {
		res, err := b.tryAsk("GET", path, token, nil, nil)
		if err != nil {
			end <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		end <- fmt.Sprint(string(body), err)
	}()
	return <-s.handles, end
}

func TestCallIsMadeAsTheRequestInHand(t *testing.T) {
	service, to := newHolding(), newCallees()
	b := newBed(t, serviceOn(t, service.ServeHTTP), to.option)
	defer close(service.release)
	h1, _ := b.open(service, "/mine", b.guard.Token("usr_1", guardtest.Roles("support")))
	h2, _ := b.open(service, "/mine", b.guard.Token("usr_2"))
	for _, c := range []struct{ handle, want string }{{h1, "usr_1"}, {h2, "usr_2"}, {h1, "usr_1"}} {
		res := b.call("POST", "http://accounts/accounts?x=%20y", http.Header{headerHandle: {c.handle}, "X-Ordinary": {"passes"}}, strings.NewReader("body"))
		if got := read(t, res); res.StatusCode != 200 || got != "from accounts" {
			t.Fatalf("got %d %q, want the callee's answer", res.StatusCode, got)
		}
		r := <-to.seen
		if got := guard.PrincipalFrom(r.Context()).Subject; got != c.want {
			t.Errorf("called as %q, want %q", got, c.want)
		}
		if guard.CorrelationID(r.Context()) == "" {
			t.Error("the call has no correlation id")
		}
		body, _ := io.ReadAll(r.Body)
		if got := r.Method + " " + r.URL.String() + " " + string(body); got != "POST http://accounts/accounts?x=%20y body" {
			t.Errorf("called %q", got)
		}
		if r.Header.Get("X-Ordinary") != "passes" || r.Header.Get(headerHandle) != "" {
			t.Errorf("called with %v, want X-Ordinary and no handle", r.Header)
		}
	}
}

func TestHandlesThatDoNotHold(t *testing.T) {
	service, past, elsewhere, to := newHolding(), newHolding(), newHolding(), newCallees()
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open" {
			past.ServeHTTP(w, r)
			return
		}
		service.ServeHTTP(w, r)
	}), to.option)
	other := newBed(t, serviceOn(t, elsewhere.ServeHTTP)) // has a table of its own, as another process has
	defer close(service.release)
	defer close(elsewhere.release)
	open, _ := b.open(service, "/mine", b.guard.Token("usr_1"))
	foreign, _ := other.open(elsewhere, "/mine", other.guard.Token("usr_1"))
	ended, done := b.open(past, "/open", b.guard.Token("anonymous"))
	past.release <- struct{}{}
	<-done
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 1 })

	last := open[:handleText-1] + string(open[handleText-1]+1) // the spare bits of the last character: A, Q, g or w
	for _, c := range []struct {
		name   string
		values []string
	}{
		{"ended", []string{ended}},
		{"of another process", []string{foreign}},
		{"guessed", []string{say(handle{1, 2, 3})}},
		{"empty", []string{""}},
		{"too short", []string{open[:handleText-1]}},
		{"too long", []string{open + "A"}},
		{"padded", []string{open + "=="}},
		{"another spelling of the same bits", []string{last}},
		{"twice", []string{open, open}},
		{"in a list", []string{open + ", " + open}},
		{"good and bad", []string{open, ended}},
		{"a correlation id", []string{"5a3a4f6e-2c4b-4d7e-9f00-0123456789ab"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantReason(t, b.call("GET", "http://accounts/accounts/1", http.Header{headerHandle: c.values}, nil), problem.InsideHandle)
		})
	}
	if n := to.calls.Load(); n != 0 {
		t.Errorf("%d calls were made, want none", n)
	}
	if got := read(t, b.call("GET", "http://accounts/accounts/1", http.Header{headerHandle: {open}}, nil)); got != "from accounts" {
		t.Errorf("positive control: got %q", got)
	}
}

// TestWhatTheGuardRefuses has the guard's own client decide.
func TestWhatTheGuardRefuses(t *testing.T) {
	service := newHolding()
	b := newBed(t, serviceOn(t, service.ServeHTTP))
	defer close(service.release)
	open, _ := b.open(service, "/mine", b.guard.Token("usr_1"))
	for _, c := range []struct {
		name, method, url, handle string
		want                      problem.Reason
	}{
		{"no handle", "GET", "http://accounts/accounts/1", "", problem.InsideCall},
		{"other operation", "GET", "http://accounts/secrets", open, problem.InsideCall},
		{"other method", "DELETE", "http://accounts/accounts/1", open, problem.InsideCall},
		{"other service", "GET", "http://payments/accounts/1", open, problem.InsideCall},
		{"a part of the zone", "GET", "http://control/v1/services/orders", open, problem.InsideCall},
		{"path that is none", "GET", "http://accounts//other/accounts/1", open, problem.InsideCall},
		{"dots", "GET", "http://accounts/accounts/..%2fsecrets", open, problem.InsideCall},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if c.handle != "" {
				h[headerHandle] = []string{c.handle}
			}
			res := b.call(c.method, c.url, h, nil)
			body := read(t, res)
			if res.StatusCode != 403 || res.Header.Get(problem.ReasonHeader) != c.want.Code() {
				t.Errorf("got %d %s, want %s", res.StatusCode, body, c.want.Code())
			}
			if c.handle == "" && !strings.Contains(body, headerHandle) {
				t.Errorf("got %s, want a hint at the handle", body)
			}
		})
	}
	// Positive control: the declared call is tried; nobody listens there.
	res := b.call("GET", "http://accounts/accounts/1", http.Header{headerHandle: {open}}, nil)
	if body := read(t, res); res.StatusCode < 500 {
		t.Errorf("declared: got %d %s, want a failure of the callee", res.StatusCode, body)
	}
}

func TestCallsWithoutAHandleHaveNoRequest(t *testing.T) {
	to := newCallees()
	b := newBed(t, serviceOn(t, http.NotFound), to.option)
	read(t, b.call("POST", "http://ledger/entries", nil, nil))
	r := <-to.seen
	if p := guard.PrincipalFrom(r.Context()); !p.Anonymous() || guard.CorrelationID(r.Context()) != "" {
		t.Errorf("called as %+v, want nobody: the guard decides what passes then", p)
	}
}

func TestServiceSaysNothingOfTheInsideOutwards(t *testing.T) {
	service, to := newHolding(), newCallees()
	to.answer = func(r *http.Request) (*http.Response, error) {
		res := response(r, 404, http.Header{
			"Sallyport-Reason": {"owner.denied"}, "X-User-Id": {"forged"}, "X_user_roles": {"forged"}, "Txn-Token": {"forged"},
			"X-Ordinary": {"passes"}, "Connection": {"X-Named"}, "X-Named": {"gone"}, "Content-Type": {"text/plain"},
		}, strings.NewReader("nothing"))
		res.Trailer = http.Header{"X-User-Id": {"forged"}}
		return res, nil
	}
	b := newBed(t, serviceOn(t, service.ServeHTTP), to.option)
	defer close(service.release)
	open, _ := b.open(service, "/mine", b.guard.Token("usr_1"))
	h := http.Header{headerHandle: {open}, "X-Ordinary": {"passes"}, "Connection": {"X-Named"}, "X-Named": {"gone"}}
	for _, name := range forgeries {
		var buf [fieldname.Limit]byte
		if n, _ := fieldname.Fold(&buf, name); name != "X-Käse" && name != headerHandle && (fieldname.Inside(n) || proofName(n)) {
			h[name] = []string{"forged"}
		}
	}
	h["X-Caller"], h["Txn-Token"], h["X-Correlation-Id"] = []string{"forged"}, []string{"forged"}, []string{"forged"}
	res := b.call("GET", "http://accounts/accounts/1", h, nil)
	if body := read(t, res); res.StatusCode != 404 || body != "nothing" {
		t.Errorf("got %d %q, want the callee's answer", res.StatusCode, body)
	}
	r := <-to.seen
	for where, fields := range map[string]http.Header{"callee": r.Header, "service": res.Header, "service's trailer": res.Trailer} {
		for name, v := range fields {
			if slices.Contains(v, "forged") || slices.Contains(v, "gone") || name == problem.ReasonHeader {
				t.Errorf("the %s got %s: %q", where, name, v)
			}
		}
	}
	if r.Header.Get("X-Ordinary") != "passes" || res.Header.Get("X-Ordinary") != "passes" {
		t.Errorf("positive control: %v, %v", r.Header, res.Header)
	}
}

func TestRequestsThatAreNoCalls(t *testing.T) {
	to := newCallees()
	b := newBed(t, serviceOn(t, http.NotFound), to.option)
	for _, c := range []struct{ name, request, want string }{
		{"absolute form", "GET http://accounts/accounts/1 HTTP/1.1\r\nHost: accounts\r\n\r\n", "request.target"},
		{"absolute form of the outside", "GET http://example.com/ HTTP/1.1\r\nHost: accounts\r\n\r\n", "request.target"},
		{"tunnel", "CONNECT accounts:443 HTTP/1.1\r\nHost: accounts\r\n\r\n", "request.upgrade"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: accounts\r\n\r\n", "request.target"},
		{"upgrade", "GET /a HTTP/1.1\r\nHost: accounts\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "request.upgrade"},
		{"port", "GET /a HTTP/1.1\r\nHost: accounts:80\r\n\r\n", "request.host"},
		{"address", "GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "request.host"},
		{"host name", "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n", "request.host"},
		{"upper case", "GET /a HTTP/1.1\r\nHost: Accounts\r\n\r\n", "request.host"},
		{"empty host", "GET /a HTTP/1.1\r\nHost:\r\n\r\n", "request.host"},
		{"two hosts", "GET /a HTTP/1.1\r\nHost: accounts\r\nHost: ledger\r\n\r\n", "400 Bad Request"},
		{"user in host", "GET /a HTTP/1.1\r\nHost: x@accounts\r\n\r\n", "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("unix", b.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, c.request)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got := res.Header.Get(problem.ReasonHeader) + "|" + res.Status; res.StatusCode != 400 || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if n := to.calls.Load(); n != 0 {
		t.Errorf("%d calls were made, want none", n)
	}
}

func TestFailuresOfCalls(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want problem.Reason
	}{
		{"undeclared", &guard.CallError{Err: guard.ErrUndeclared}, problem.InsideCall},
		{"no request", &guard.CallError{Err: guard.ErrNoRequest}, problem.InsideCall},
		{"some refusal of tomorrow", &guard.CallError{Err: errors.New("new")}, problem.InsideCall},
		{"no token yet", &guard.CallError{Err: fmt.Errorf("%w: control is away", guard.ErrNotReady)}, problem.InsideUnavailable},
		{"not enforced", &guard.CallError{Err: guard.ErrNotEnforced}, problem.ZoneNotEnforced},
		{"stale", &guard.CallError{Err: fmt.Errorf("not ready: %w", problem.New(problem.InsideStale, nil))}, problem.InsideStale},
		{"no token", problem.New(problem.TokenUnavailable, nil), problem.TokenUnavailable},
		{"wrong peer", fmt.Errorf("handshake: %w", problem.New(problem.InsidePeer, nil)), problem.InsidePeer},
		{"dial", &net.OpError{Op: "dial", Err: errors.New("refused")}, problem.UpstreamUnreachable},
		{"time", context.DeadlineExceeded, problem.UpstreamTimeout},
		{"broken", io.ErrUnexpectedEOF, problem.UpstreamProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := newCallees()
			to.answer = func(*http.Request) (*http.Response, error) { return nil, c.err }
			b := newBed(t, serviceOn(t, http.NotFound), to.option)
			wantReason(t, b.call("POST", "http://ledger/entries", nil, nil), c.want)
		})
	}
	to := newCallees()
	to.answer = func(r *http.Request) (*http.Response, error) {
		return response(r, 101, nil, strings.NewReader("")), nil
	}
	b := newBed(t, serviceOn(t, http.NotFound), to.option)
	wantReason(t, b.call("POST", "http://ledger/entries", nil, nil), problem.UpstreamProtocol)
}

func TestCallBodiesAreBounded(t *testing.T) {
	to := newCallees()
	b := newBed(t, serviceOn(t, http.NotFound), to.option, func(c *Config, _ *door) { c.CallBody = 4 })
	if got := read(t, b.call("POST", "http://ledger/entries", nil, strings.NewReader("1234"))); got != "from ledger" {
		t.Errorf("positive control: got %q", got)
	}
	wantReason(t, b.call("POST", "http://ledger/entries", nil, strings.NewReader("12345")), problem.RequestBodyTooLarge)
}

// TestCallBodyThatCannotBeRead is the caller's fault, not the callee's.
func TestCallBodyThatCannotBeRead(t *testing.T) {
	to := newCallees()
	b := newBed(t, serviceOn(t, http.NotFound), to.option)
	conn, err := net.Dial("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /entries HTTP/1.1\r\nHost: ledger\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, res, problem.ClientClosed)
}

// TestCallLivesAsLongAsItsCaller: it outlives the request that it belongs to, and
// ends when the service hangs up.
func TestCallLivesAsLongAsItsCaller(t *testing.T) {
	service, to := newHolding(), newCallees()
	called, cancelled, answer := make(chan struct{}), make(chan struct{}), make(chan struct{})
	to.answer = func(r *http.Request) (*http.Response, error) {
		called <- struct{}{}
		select {
		case <-answer:
			return response(r, 200, nil, strings.NewReader("late")), nil
		case <-r.Context().Done():
			close(cancelled)
			return nil, r.Context().Err()
		}
	}
	b := newBed(t, serviceOn(t, service.ServeHTTP), to.option)
	open, done := b.open(service, "/mine", b.guard.Token("usr_1"))
	got := make(chan string)
	begin := func(ctx context.Context) {
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://accounts/accounts/1", nil)
		req.Header.Set(headerHandle, open)
		res, err := b.outbound().Do(req)
		if err != nil {
			got <- "hung up"
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		got <- string(body)
	}
	hangUp, cancel := context.WithCancel(t.Context())
	go begin(hangUp)
	<-called
	cancel()
	<-cancelled
	<-got

	go begin(t.Context())
	<-called
	close(service.release)
	<-done
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
	close(answer)
	if body := <-got; body != "late" {
		t.Errorf("got %q, want the callee's answer", body)
	}
}

func TestCallsStream(t *testing.T) {
	to := newCallees()
	far, near := io.Pipe()
	to.answer = func(r *http.Request) (*http.Response, error) { return response(r, 200, nil, far), nil }
	b := newBed(t, serviceOn(t, http.NotFound), to.option)
	res := b.call("POST", "http://ledger/entries", nil, nil)
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReader(res.Body)
	for _, line := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(near, line)
		if got, err := lines.ReadString('\n'); got != line || err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, line)
		}
	}
	_ = near.CloseWithError(errors.New("the callee broke off"))
	if rest, err := io.ReadAll(lines); err == nil {
		t.Errorf("got %q as if the answer were whole", rest)
	}
}
