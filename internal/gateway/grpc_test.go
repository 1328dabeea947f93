package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// A unary call: message, metadata and trailers pass, what is of the inside does not.
func TestCallUnary(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s))
	ctx := as(t.Context(), aliceToken, "own", "1", "x-user-id", "root", "txn-token", "forged", "sallyport-client", "forged", "x-caller", "root", "x-forwarded-for", "1.2.3.4")
	var header, trailer metadata.MD
	var out wrapperspb.StringValue
	err := d.caller().Invoke(ctx, "/shop.Shop/Unary", wrapperspb.String("this"), &out, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || out.Value != "got this" {
		t.Fatalf("got %q, %v", out.Value, err)
	}
	got := s.last()
	for name, want := range map[string][]string{
		"own": {"1"}, "x-user-id": nil, "x-caller": nil, "authorization": nil, "x-forwarded-for": nil, ":authority": {"shop.example"},
		"txn-token": {"inside.alice.public.1"}, "sallyport-client": {`"127.0.0.1";listener=public`},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("the service got %s: %q, want %q", name, got[name], want)
		}
	}
	for name, want := range map[string][]string{"own-header": {"h"}, "txn-token": nil, "x-user-id": nil} {
		if !slices.Equal(header[name], want) {
			t.Errorf("header %s: %q, want %q", name, header[name], want)
		}
	}
	for name, want := range map[string][]string{"own-trailer": {"t"}, "txn-token": nil, "x-caller": nil, "sallyport-reason": nil} {
		if !slices.Equal(trailer[name], want) {
			t.Errorf("trailer %s: %q, want %q", name, trailer[name], want)
		}
	}
	all := d.journal.all()
	if len(all) != 2 || all[0].Kind != journal.KindOpen || all[1].Kind != journal.KindEnd || all[1].Reason != "ok" || all[1].Status != 200 ||
		all[1].Principal != "alice" || all[1].BytesIn == 0 || all[1].BytesOut == 0 || !slices.Contains(all[1].Tags, "grpc_status:0") {
		t.Errorf("records %+v", all)
	}
}

// A status is the service's, in the head as in the trailers.
func TestCallStatus(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s))
	c := d.caller()
	var trailer metadata.MD
	err := c.Invoke(t.Context(), "/shop.Shop/Fail", wrapperspb.String(""), new(wrapperspb.StringValue), grpc.Trailer(&trailer))
	if st := status.Convert(err); st.Code() != codes.NotFound || st.Message() != "no such thing: ü" || !slices.Equal(trailer["own-trailer"], []string{"t"}) {
		t.Errorf("got %v, trailer %v", err, trailer)
	}
	if r := d.endRecord(); r.Reason != "ok" || !slices.Contains(r.Tags, "grpc_status:5") {
		t.Errorf("record %+v", r)
	}
	stream := openCall(t.Context(), t, c, "Late")
	var m wrapperspb.StringValue
	if err := stream.RecvMsg(&m); err != nil || m.Value != "one" {
		t.Fatalf("got %q, %v", m.Value, err)
	}
	if err := stream.RecvMsg(&m); status.Code(err) != codes.DataLoss {
		t.Errorf("got %v", err)
	}
}

// Streams of either direction and of both, each message before the next is made.
func TestCallStreams(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s))
	c := d.caller()
	var m wrapperspb.StringValue
	down := openCall(t.Context(), t, c, "Server")
	if err := down.SendMsg(wrapperspb.String("again")); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; down.RecvMsg(&m) == nil && m.Value == "again"; n++ {
	}
	up := openCall(t.Context(), t, c, "Client")
	for range 50 {
		if err := up.SendMsg(wrapperspb.String("more")); err != nil {
			t.Fatal(err)
		}
	}
	_ = up.CloseSend()
	if err := up.RecvMsg(&m); err != nil || n != 100 || len(m.Value) != 50 {
		t.Errorf("%d messages down, %d up, %v; want 100 and 50", n, len(m.Value), err)
	}
	both := openCall(t.Context(), t, c, "Bidi")
	for i := range 20 {
		want := fmt.Sprint(i)
		if err := both.SendMsg(wrapperspb.String(want)); err != nil {
			t.Fatal(err)
		}
		if err := both.RecvMsg(&m); err != nil || m.Value != want {
			t.Fatalf("got %q, %v, want %q", m.Value, err, want)
		}
	}
	_ = both.CloseSend()
	if err := both.RecvMsg(&m); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A call that is refused never reaches the service, and says why to a client that
// knows HTTP and to one that knows gRPC alone.
func TestCallIsRefused(t *testing.T) {
	s := serveCalls(t)
	only, limited := callRoute(), callRoute()
	only.Path, only.Allow, only.Roles = "/shop.Only/{method}", zone.AllowUser, []string{"admin"}
	limited.Path, limited.Limit = "/shop.Limited/{method}", zone.Rate{Count: 1, Window: time.Hour}
	d := openDoor(t, []*zone.Route{callRoute(), only, limited}, behindCalls(s))
	d.limiter.taken[limitName("r", "shop POST /shop.Limited/{method}")] = 9
	c := d.caller()
	for _, tt := range []struct {
		name, method, token string
		want                codes.Code
	}{
		{"nobody", "/shop.Only/Unary", "", codes.Unauthenticated},
		{"a bad token", "/shop.Only/Unary", "sps_bad", codes.Unauthenticated},
		{"no role", "/shop.Only/Unary", aliceToken, codes.PermissionDenied},
		{"no route", "/shop.None/Unary", "", codes.Unimplemented},
	} {
		ctx := t.Context()
		if tt.token != "" {
			ctx = as(ctx, tt.token)
		}
		if err := c.Invoke(ctx, tt.method, wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	h2 := d.client(true)
	got := d.do(h2, "POST", "/shop.Only/Unary", "", "Content-Type: application/grpc")
	d.refused("by HTTP", got, problem.AuthMissing)
	if got.header.Get("Grpc-Status") != "16" || got.header.Get("Grpc-Message") != "auth.missing: Authentication is required" {
		t.Errorf("by gRPC: %v", got.header)
	}
	d.refused("another type", d.do(h2, "POST", "/shop.Shop/Unary", "x", "Content-Type: application/json"), problem.RequestContent)
	d.refused("gRPC-Web", d.do(h2, "POST", "/shop.Shop/Unary", "x", "Content-Type: application/grpc-web"), problem.RequestContent)
	d.refused("HTTP/1.1", d.do(d.client(false), "POST", "/shop.Shop/Unary", "x", "Content-Type: application/grpc"), problem.RequestUpgrade)
	d.refused("GET", d.do(h2, "GET", "/shop.Shop/Unary", ""), problem.RouteMethod)
	if s.count() != 0 {
		t.Errorf("the service got %d calls", s.count())
	}
	if err := c.Invoke(as(t.Context(), rootToken), "/shop.Only/Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != codes.Unknown || s.count() != 1 {
		t.Errorf("control: %v, %d calls", err, s.count()) // the server has no such service, and says so itself
	}
}

// A call ends at both ends with its right, its client and the gateway. Its idle time
// and the drain are longer than this test.
func TestCallEnds(t *testing.T) {
	revoke := func(d *door, _ context.CancelFunc) {
		d.auth.fail(problem.New(problem.AuthRevoked, nil))
		d.gateway.Forget(hashOf(rootToken))
	}
	for _, c := range []struct {
		name, method, reason string
		end                  func(*door, context.CancelFunc)
		want                 codes.Code
	}{
		{"session revoked", "Bidi", "auth.revoked", revoke, codes.Unauthenticated},
		{"session revoked before any answer", "Hang", "auth.revoked", revoke, codes.Unauthenticated},
		{"session revoked in an upload", "Client", "auth.revoked", revoke, codes.Unauthenticated},
		{"role taken", "Bidi", "access.role", func(d *door, _ context.CancelFunc) {
			d.auth.set(rootToken, policy.Principal{Kind: policy.User, Subject: "root", Level: 1})
			d.gateway.ForgetSubject("root")
		}, codes.PermissionDenied},
		{"client cancels", "Bidi", "client.closed", func(_ *door, cancel context.CancelFunc) { cancel() }, codes.Canceled},
		{"client cancels before any answer", "Hang", "client.closed", func(_ *door, cancel context.CancelFunc) { cancel() }, codes.Canceled},
		{"drain", "Bidi", "zone.draining", func(d *door, _ context.CancelFunc) { d.stop() }, codes.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveCalls(t)
			rt := callRoute()
			rt.Allow, rt.Roles = zone.AllowUser, []string{"admin"}
			d := openDoor(t, []*zone.Route{rt}, behindCalls(s))
			ctx, cancel := context.WithCancel(as(t.Context(), rootToken))
			defer cancel()
			stream := openCall(ctx, t, d.caller(), c.method)
			if err := stream.SendMsg(wrapperspb.String("still here")); err != nil {
				t.Fatal(err)
			}
			var m wrapperspb.StringValue
			if c.method == "Bidi" {
				if err := stream.RecvMsg(&m); err != nil || m.Value != "still here" {
					t.Fatalf("got %q, %v", m.Value, err)
				}
			} else {
				eventually(t, "the call is at the service", func() bool { return s.count() == 1 })
			}
			c.end(d, cancel)
			if err := stream.RecvMsg(&m); status.Code(err) != c.want {
				t.Errorf("the client got %v, want %v", err, c.want)
			}
			if err := <-s.ended; err == nil {
				t.Error("for the service the call ended well")
			}
			if r := d.endRecord(); r.Reason != c.reason {
				t.Errorf("record %+v, want %s", r, c.reason)
			}
		})
	}
}

// A call on which nothing moves ends with the idle time, and not before.
func TestCallSilence(t *testing.T) {
	for _, method := range []string{"Bidi", "Hang"} { // Hang: before any answer
		var s *callee
		inBubble(t, func(t *testing.T, d *slowDoor) {
			c := d.callerOver(&tls.Config{ServerName: "shop.example", InsecureSkipVerify: true}, func(ctx context.Context, _ string) (net.Conn, error) {
				return d.pipes.dial(ctx, "", "") // fake time is before the certificate's
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			stream := openCall(ctx, t, c, method)
			var m wrapperspb.StringValue
			idle := testLimits().Idle
			for range 3 {
				if err := stream.SendMsg(wrapperspb.String("still here")); err != nil {
					t.Fatal(err)
				}
				if method == "Bidi" {
					if err := stream.RecvMsg(&m); err != nil || m.Value != "still here" {
						t.Fatalf("got %q, %v", m.Value, err)
					}
				}
				time.Sleep(idle - time.Second)
			}
			start := time.Now()
			if err := stream.RecvMsg(&m); status.Code(err) != codes.Unavailable || time.Since(start) != time.Second {
				t.Errorf("%s: the client got %v, %v after the silence was to end it", method, err, time.Since(start)-time.Second)
			}
			if err := <-s.ended; err == nil {
				t.Errorf("%s: for the service the call ended well", method)
			}
			synctest.Wait()
			if r := d.endRecord(); r.Reason != "upstream.timeout" {
				t.Errorf("%s: record %+v", method, r)
			}
			_ = c.Close()
			s.server.Stop()
		}, func(cfg *Config) {
			inside := bufconn.Listen(64 << 10) // both sides of HTTP/2 speak first: a pipe that holds nothing stands still
			s = serveCallsOn(inside)
			cfg.Upstream.Dial = func(ctx context.Context, _ *zone.Service, _ zone.Upstream) (net.Conn, error) {
				return inside.DialContext(ctx)
			}
			rt := callRoute()
			rt.Listener, rt.Service = "public", cfg.Zone.Services[0]
			cfg.Zone.Services[0].Routes = append(cfg.Zone.Services[0].Routes, rt)
		})
	}
}

// The deadline that the client tells holds for the gateway too, a moment later.
func TestCallDeadline(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s))
	c := d.caller()
	for within := 100 * time.Millisecond; ; within *= 2 { // the first pays for the connection, too
		if within > tooLong {
			t.Fatal("no call came to the service within its deadline")
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		began := time.Now()
		err := c.Invoke(ctx, "/shop.Shop/Hang", wrapperspb.String(""), new(wrapperspb.StringValue))
		late := time.Since(began) > within+timeoutGrace/2 // who looks so late may hear of it from the gateway first
		cancel()
		if status.Code(err) != codes.DeadlineExceeded && !late {
			t.Fatalf("got %v", err)
		}
		if status.Code(err) != codes.DeadlineExceeded || s.count() == 0 {
			continue
		}
		select {
		case err := <-s.ended:
			if err == nil {
				t.Error("for the service the call ended well")
			}
		case <-time.After(tooLong):
			t.Error("for the service the call goes on")
		}
		break
	}
	for text, want := range map[string]time.Duration{"1S": time.Second, "20m": 20 * time.Millisecond, "3M": 3 * time.Minute, "99999999H": math.MaxInt64, "5u": 5000, "6n": 6} {
		if got, ok := callTimeout(http.Header{"Grpc-Timeout": {text}}); !ok || got != want {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S"} {
		if got, ok := callTimeout(http.Header{"Grpc-Timeout": {text}}); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A message is no larger than the body of any other request; a call is.
func TestCallMessageBound(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s), func(c *Config) { c.Zone.Listeners[0].Limits.Body = 64 << 10 })
	c := d.caller()
	var m wrapperspb.StringValue
	both := openCall(t.Context(), t, c, "Bidi")
	for range 20 { // 20 times 60 KiB are more than the bound
		if err := both.SendMsg(wrapperspb.String(strings.Repeat("x", 60<<10))); err != nil {
			t.Fatal(err)
		}
		if err := both.RecvMsg(&m); err != nil || len(m.Value) != 60<<10 {
			t.Fatalf("got %d bytes, %v", len(m.Value), err)
		}
	}
	_ = both.SendMsg(wrapperspb.String(strings.Repeat("x", 70<<10)))
	if err := both.RecvMsg(&m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large message: %v", err)
	}
	if r := d.endRecord(); r.Reason != "request.body_too_large" {
		t.Errorf("record %+v", r)
	}
	if err := c.Invoke(t.Context(), "/shop.Shop/Unary", wrapperspb.String(strings.Repeat("x", 70<<10)), &m); status.Code(err) != codes.ResourceExhausted && status.Code(err) != codes.Unknown {
		t.Errorf("a large call: %v", err)
	}
}

// A service that does not speak HTTP/2 has answered badly.
func TestCallWithoutHTTP2(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("HTTP/1.1")))
	d := openDoor(t, []*zone.Route{callRoute()}, behind(s))
	got := d.do(d.client(true), "POST", "/shop.Shop/Unary", "", "Content-Type: application/grpc")
	d.refused("HTTP/1.1 only", got, problem.UpstreamProtocol)
}

// A call that ends while its client does not read ends all the same.
func TestCallOfASlowReader(t *testing.T) {
	s := serveCalls(t)
	rt := callRoute()
	rt.Allow = zone.AllowUser
	d := openDoor(t, []*zone.Route{rt}, behindCalls(s), func(c *Config) { c.graces.vigil = vigilGrace })
	stream := openCall(as(t.Context(), rootToken), t, d.caller(), "Server")
	if err := stream.SendMsg(wrapperspb.String(strings.Repeat("x", 1<<19))); err != nil { // 100 of them come back
		t.Fatal(err)
	}
	standsStill(t, &s.sent)
	d.auth.fail(problem.New(problem.AuthRevoked, nil))
	d.gateway.Forget(hashOf(rootToken))
	if r := d.endRecord(); r.Reason != "auth.revoked" { // it comes long before the client's own time is over
		t.Errorf("record %+v", r)
	}
}

// Calls share connections to the service, and leave them fit.
func TestCallsShareConnections(t *testing.T) {
	s := serveCalls(t)
	d := openDoor(t, []*zone.Route{callRoute()}, behindCalls(s))
	c := d.caller()
	errs := make(chan error, 90)
	for range cap(errs) {
		go func() {
			var m wrapperspb.StringValue
			errs <- c.Invoke(context.Background(), "/shop.Shop/Unary", wrapperspb.String("x"), &m)
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all are given back", func() bool {
		st := d.gateway.now().pools["shop"].Status()[0]
		return st.Outstanding == 0 && st.Idle >= 1 && st.Idle <= 3 && st.Failures == 0
	})
}
