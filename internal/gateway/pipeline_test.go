package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestStages(t *testing.T) {
	want := []string{"accept", "normalize", "identify", "route", "authenticate", "limit", "authorize", "exchange", "prove", "forward", "record"}
	if got := Stages(); !slices.Equal(got, want) {
		t.Errorf("Stages() = %v, want %v", got, want)
	}
	if n := len(pipeline()); n > maxStages {
		t.Errorf("%d stages do not fit into %d places", n, maxStages)
	}
}

// TestThrough walks a request of a user through the whole door, over both
// protocols, and reads what it left behind.
func TestThrough(t *testing.T) {
	d := openDoor(t, []*zone.Route{{Method: "POST", Path: "/orders/{id}", Allow: zone.AllowUser}})
	const id = "3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e"
	for _, http2 := range []bool{false, true} {
		got := d.do(d.client(http2), "POST", "/orders/7?x=y", "abcdef", "Authorization: Bearer "+aliceToken, "X-Correlation-Id: "+id)
		if got.status != 200 || got.body != "served\n" || got.header.Get("X-Correlation-Id") != id {
			t.Errorf("http2 %v: got %d %q %v", http2, got.status, got.body, got.header)
		}
		all := d.service.all()
		last := all[len(all)-1]
		if last.target != "/orders/7?x=y" || last.body != "abcdef" || !strings.HasPrefix(last.header.Get("Txn-Token"), "inside.alice.public.") ||
			last.header.Get("X-Correlation-Id") != id || last.header["Authorization"] != nil {
			t.Errorf("http2 %v: the service received %+v", http2, last)
		}
		rec := d.last()
		want := journal.Record{
			Kind: journal.KindRequest, Time: rec.Time, CorrelationID: id, TraceID: rec.TraceID, Listener: "public", Service: "shop",
			Route: "POST /orders/{id}", Method: "POST", Client: addr("127.0.0.1"), Principal: "alice", Reason: "ok", Status: 200,
			BytesIn: 6, BytesOut: 7,
		}
		if rec.Kind != want.Kind || rec.CorrelationID != want.CorrelationID || rec.Listener != want.Listener || rec.Service != want.Service ||
			rec.Route != want.Route || rec.Method != want.Method || rec.Client != want.Client || rec.Principal != want.Principal ||
			rec.Reason != want.Reason || rec.Status != want.Status || rec.BytesIn != want.BytesIn || rec.BytesOut != want.BytesOut {
			t.Errorf("http2 %v: record\n%+v, want\n%+v", http2, rec, want)
		}
		if len(rec.TraceID) != 32 || !strings.Contains(last.header.Get("Traceparent"), rec.TraceID) {
			t.Errorf("trace %q in the record, %q at the service", rec.TraceID, last.header.Get("Traceparent"))
		}
		if len(rec.Stages) != len(Stages()) || rec.Duration <= 0 || time.Since(rec.Time) > time.Hour {
			t.Errorf("times of the record: %v, %v, %v", rec.Stages, rec.Duration, rec.Time)
		}
	}
	if !d.metric("sallyport_requests_total reason=ok route=POST /orders/{id} service=shop 2") {
		t.Error("the requests are not in the metric")
	}
	for n := range 9 {
		if d.metric(fmt.Sprintf("sallyport_requests_total reason=request.malformed route= service= %d", n+1)) {
			t.Error("ordinary requests are counted as malformed")
		}
	}
}

// TestOneRecordEach sends one request for each way out of the pipeline and
// counts what was kept.
func TestOneRecordEach(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/open", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/users", Allow: zone.AllowUser, Roles: []string{"admin"}},
		{Method: "GET", Path: "/later", Allow: zone.AllowAnonymous, NotEnforced: []string{"mfa"}},
		{Method: "GET", Path: "/scarce", Allow: zone.AllowAnonymous, Limit: zone.Rate{Count: 1, Window: time.Minute}},
	}, func(c *Config) {
		c.Locals = []Local{
			{Listener: "public", Service: "identity", Method: "GET", Path: "/auth/panics", Allow: zone.AllowAnonymous,
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("planted") })},
			{Listener: "public", Service: "identity", Method: "POST", Path: "/auth/login", Allow: zone.AllowAnonymous, Durable: true,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					problem.Write(w, problem.AuthLogin, "", obs.RequestFrom(r.Context()).CorrelationID)
				})},
		}
	})
	c := d.client(false)
	for _, s := range []struct {
		method, target string
		fields         []string
		want           problem.Reason
		service, route string // of the record
		principal      string
	}{
		{"GET", "/open", nil, problem.OK, "shop", "GET /open", "anonymous"},
		{"HEAD", "/open", nil, problem.OK, "shop", "GET /open", "anonymous"},
		{"GET", "/open/..%2f", nil, problem.RequestPath, "", "", "anonymous"},
		{"GET", "/open", []string{"X_Y: z"}, problem.RequestHeader, "", "", "anonymous"},
		{"GET", "/open?;", nil, problem.RequestQuery, "", "", "anonymous"},
		{"GET", "/nowhere", nil, problem.RouteUnknown, "", "", "anonymous"},
		{"PUT", "/open", nil, problem.RouteMethod, "", "", "anonymous"},
		{"GET", "/later", nil, problem.ZoneNotEnforced, "shop", "GET /later", "anonymous"},
		{"GET", "/users", nil, problem.AuthMissing, "shop", "GET /users", "anonymous"},
		{"GET", "/users", []string{"Authorization: Bearer sps_nobody"}, problem.AuthInvalid, "shop", "GET /users", "anonymous"},
		{"GET", "/users", []string{"Authorization: Bearer " + aliceToken}, problem.AccessRole, "shop", "GET /users", "alice"},
		{"GET", "/users", []string{"Authorization: Bearer " + rootToken}, problem.OK, "shop", "GET /users", "root"},
		{"GET", "/scarce", nil, problem.OK, "shop", "GET /scarce", "anonymous"},
		{"GET", "/scarce", nil, problem.LimitRate, "shop", "GET /scarce", "anonymous"},
		{"GET", "/auth/panics", nil, problem.InternalError, "identity", "GET /auth/panics", "anonymous"},
		{"POST", "/auth/login", nil, problem.AuthLogin, "identity", "POST /auth/login", "anonymous"},
	} {
		what := s.method + " " + s.target
		before := len(d.journal.all())
		got := d.do(c, s.method, s.target, "", s.fields...)
		if s.want == problem.OK {
			if got.status != 200 {
				t.Errorf("%s: got %d %s", what, got.status, got.body)
			}
		} else {
			d.refused(what, got, s.want)
		}
		all := d.journal.all()
		if len(all) != before+1 {
			t.Errorf("%s: %d records were kept, want 1", what, len(all)-before)
			continue
		}
		rec := all[before]
		if rec.Reason != s.want.Code() || rec.Service != s.service || rec.Route != s.route || rec.Principal != s.principal || rec.Method != s.method {
			t.Errorf("%s: record %+v, want %s %q %q %s", what, rec, s.want.Code(), s.service, s.route, s.principal)
		}
		if got.header.Get("X-Correlation-Id") != rec.CorrelationID {
			t.Errorf("%s: the answer has correlation id %q, the record %q", what, got.header.Get("X-Correlation-Id"), rec.CorrelationID)
		}
		if got.header.Get(problem.ReasonHeader) != "" {
			t.Errorf("%s: %s left the door", what, problem.ReasonHeader)
		}
	}
	if d.journal.synced != 1 {
		t.Errorf("%d records were synced, want the login's", d.journal.synced)
	}
	if log := d.log.String(); !strings.Contains(log, "planted") {
		t.Errorf("the panic is not in the log: %s", log)
	}
}

// TestPanicShowsNothing: the client of a handler that panicked learns the
// correlation id and no more.
func TestPanicShowsNothing(t *testing.T) {
	d := openDoor(t, nil, func(c *Config) {
		c.Locals = []Local{{Listener: "public", Service: "identity", Method: "GET", Path: "/panics", Allow: zone.AllowAnonymous,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("half an answer"))
				panic("planted")
			})}}
	})
	got := d.do(d.client(false), "GET", "/panics", "")
	d.refused("panic", got, problem.InternalError)
	if strings.Contains(got.body, "planted") || strings.Contains(got.body, "half") || strings.Contains(got.body, ".go") {
		t.Errorf("the answer tells %s", got.body)
	}
}

// TestJournal: the door stops before the record does.
func TestJournal(t *testing.T) {
	routes := func() []*zone.Route { return []*zone.Route{anything("GET")} }
	t.Run("full", func(t *testing.T) {
		d := openDoor(t, routes())
		d.journal.admit = problem.New(problem.JournalFull, nil)
		got := d.do(d.client(false), "GET", "/a", "")
		if got.status != 503 || !strings.Contains(got.body, "journal.full") {
			t.Errorf("got %d %s", got.status, got.body)
		}
		if n := len(d.journal.all()); n != 0 {
			t.Errorf("%d records went into a full journal", n)
		}
		if !d.metric("sallyport_requests_total reason=journal.full route= service= 1") {
			t.Error("the refusal is not in the metric")
		}
		if n := len(d.service.all()); n != 0 {
			t.Errorf("the service received %d requests", n)
		}
		d.journal.mu.Lock()
		d.journal.admit = nil
		d.journal.mu.Unlock()
		if got := d.do(d.client(false), "GET", "/a", ""); got.status != 200 {
			t.Errorf("after room was made: got %d", got.status)
		}
	})
	t.Run("full, and something hidden behind chunks", func(t *testing.T) {
		d := openDoor(t, routes())
		d.journal.admit = problem.New(problem.JournalFull, nil)
		const chunks = "GET /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		if got := d.raw(chunks + "GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"); got.status != 503 || !got.closed {
			t.Errorf("got %d, closed %v; want 503 and the end of the connection", got.status, got.closed)
		}
		if got := d.raw("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"); got.status != 503 || got.closed {
			t.Errorf("control: got %d, closed %v; want 503 on a connection that stays", got.status, got.closed)
		}
	})
	t.Run("failing", func(t *testing.T) {
		d := openDoor(t, routes())
		d.journal.err = errors.New("disk gone")
		for _, target := range []string{"/a", "/..%2f"} { // a service's answer, and a refusal
			got := d.do(d.client(false), "GET", target, "")
			if got.status != 503 || !strings.Contains(got.body, "journal.unavailable") || strings.Contains(got.body, "disk") {
				t.Errorf("%s: got %d %s", target, got.status, got.body)
			}
		}
	})
}

// TestAnswerCutShort: an answer that breaks off inside must not look whole
// outside, and says so in its record.
func TestAnswerCutShort(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	d.service.handle = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "200000")
		_, _ = w.Write(make([]byte, 100000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, http2 := range []bool{false, true} {
		resp, err := d.client(http2).Get("https://shop.example/a")
		if err != nil {
			t.Fatal(err)
		}
		n, err := resp.Body.Read(make([]byte, 1))
		for err == nil {
			var m int
			m, err = resp.Body.Read(make([]byte, 32<<10))
			n += m
		}
		_ = resp.Body.Close()
		if err.Error() == "EOF" || n >= 200000 {
			t.Errorf("http2 %v: %d bytes and %v look like a whole answer", http2, n, err)
		}
		eventually(t, "the record says so", func() bool {
			all := d.journal.all()
			return len(all) > 0 && all[len(all)-1].Reason == problem.UpstreamProtocol.Code()
		})
	}
}

// TestTripsAreEmptied: what is left of one request must not reach the next one.
func TestTripsAreEmptied(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/u/{name}", Allow: zone.AllowUser, Limit: zone.Rate{Count: 100, Window: time.Minute}},
		anything("GET"),
	})
	c := d.client(false)
	for range 20 {
		if got := d.do(c, "GET", "/u/x?a=b", "", "Authorization: Bearer "+aliceToken, "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); got.status != 200 || got.header.Get("RateLimit") == "" {
			t.Fatalf("got %d %v", got.status, got.header)
		}
		got := d.do(c, "GET", "/plain", "")
		rec := d.last()
		if got.header.Get("RateLimit") != "" || rec.Principal != policy.AnonymousSubject || len(rec.Tags) != 0 || rec.Route != "GET /{rest...}" {
			t.Fatalf("the request before shows in %v and %+v", got.header, rec)
		}
		all := d.service.all()
		if s := all[len(all)-1]; s.target != "/plain" || strings.Contains(s.header.Get("Txn-Token"), "alice") {
			t.Fatalf("the request before shows in %+v", s)
		}
	}
}
