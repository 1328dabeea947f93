package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// eachKind makes a call of each kind and says what went wrong.
func eachKind(ctx context.Context, c *grpc.ClientConn, service string) error {
	in, got := wrapperspb.String("hello"), new(wrapperspb.StringValue)
	var header, trailer metadata.MD
	if err := c.Invoke(ctx, service+"Unary", in, got, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil || got.Value != "got hello" {
		return fmt.Errorf("unary: %v %w", got, err)
	}
	if first(header, "own-header") != "h" || first(trailer, "own-trailer") != "t" || header["x-user-id"] != nil || trailer["sallyport-reason"] != nil {
		return fmt.Errorf("header %v, trailer %v", header, trailer)
	}
	if st := status.Convert(c.Invoke(ctx, service+"Fail", in, got)); st.Code() != codes.NotFound || st.Message() != "no such thing: ü" {
		return fmt.Errorf("a failing call: %w", st.Err())
	}
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, service+"Bidi")
	if err != nil {
		return err
	}
	for i := range 20 {
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
			return err
		}
		if err := s.RecvMsg(got); err != nil || got.Value != fmt.Sprint(i) {
			return fmt.Errorf("message %d: %v %w", i, got, err)
		}
	}
	_ = s.CloseSend()
	if err := s.RecvMsg(got); err != io.EOF {
		return fmt.Errorf("the end: %w", err)
	}
	return nil
}

// TestCallsOfServicesOnStreams: a service calls others by gRPC, through its guard
// and through its sidecar, as the user whose request it has in hand and not
// otherwise; event streams as well.
func TestCallsOfServicesOnStreams(t *testing.T) {
	t.Parallel()
	d := startStreamDoors(t)
	alice := d.addUser("alice@shop.example")
	session := d.login(alice)

	// The guard's client, in a handler of gRPC.
	dial := func(authority string, more ...grpc.DialOption) *grpc.ClientConn {
		c, err := grpc.NewClient("passthrough:///"+authority, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	byGuard := []grpc.DialOption{grpc.WithContextDialer(d.guard.GRPC().Dial), grpc.WithPerRPCCredentials(d.guard.GRPC())}
	rpc, sock := dial("rpc", byGuard...), dial("sock", byGuard...)
	d.kept.call = func(ctx context.Context) error {
		var many errgroup.Group // over the same connections
		for range 16 {
			many.Go(func() error { return eachKind(ctx, rpc, "/shop.Rpc/") })
		}
		if err := many.Wait(); err != nil {
			return err
		}
		if err := rpc.Invoke(ctx, "/shop.Other/Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != codes.PermissionDenied {
			return fmt.Errorf("an undeclared call: %w", err)
		}
		if err := sock.Invoke(ctx, "/shop.Rpc/Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != codes.PermissionDenied {
			return fmt.Errorf("a call of another service: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, "GET", "http://sock/sock/events", http.NoBody)
		if err != nil {
			return err
		}
		return firstEvent(d.guard.Client().Do(req))
	}
	c, ctx := d.caller(session)
	if err := c.Invoke(ctx, "/shop.Kept/Call", wrapperspb.String(""), new(wrapperspb.StringValue)); err != nil {
		t.Errorf("by the guard: %v", err)
	}
	if md := d.rpc.last(); first(md, "x-user-id") != alice.ID || first(md, "x-caller") != "kept" || md["sallyport-call"] != nil {
		t.Errorf("the callee was told %v", md)
	}
	if err := rpc.Invoke(t.Context(), "/shop.Rpc/Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a request in hand: %v", err)
	}

	// The sidecar's outbound socket, from a handler in any language.
	out := filepath.Join(d.sidecars["sock"].dir, "out.sock")
	unix := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", out)
	})
	outRPC, outKept := dial("rpc", unix), dial("kept", unix)
	plain := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", out)
	}}}
	calls := func(r *http.Request) error {
		mine := metadata.AppendToOutgoingContext(r.Context(), "sallyport-request", r.Header.Get("Sallyport-Request"), "x-user-id", "root", "txn-token", "forged")
		for service, c := range map[string]*grpc.ClientConn{"/shop.Rpc/": outRPC, "/shop.Kept/": outKept} {
			if err := eachKind(mine, c, service); err != nil {
				return fmt.Errorf("%s: %w", service, err)
			}
			if err := c.Invoke(r.Context(), service+"Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); err == nil {
				return fmt.Errorf("%s: without a handle it passed", service)
			}
			guessed := metadata.AppendToOutgoingContext(r.Context(), "sallyport-request", flipped(r.Header.Get("Sallyport-Request"), 3))
			if err := c.Invoke(guessed, service+"Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); err == nil {
				return fmt.Errorf("%s: with a guessed handle it passed", service)
			}
			if err := c.Invoke(mine, "/shop.Other/Unary", wrapperspb.String(""), new(wrapperspb.StringValue)); err == nil {
				return fmt.Errorf("an undeclared call passed")
			}
		}
		req, err := http.NewRequestWithContext(r.Context(), "GET", "http://kept/kept/events", http.NoBody)
		if err != nil {
			return err
		}
		req.Header.Set("Sallyport-Request", r.Header.Get("Sallyport-Request"))
		return firstEvent(plain.Do(req))
	}
	d.sock.mu.Lock()
	d.sock.other = func(w http.ResponseWriter, r *http.Request) {
		if err := calls(r); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	}
	d.sock.mu.Unlock()
	if got := d.do(call{path: "/sock/call", bearer: session}); got.Status != 200 {
		t.Errorf("by the sidecar: %d %s\n%s", got.Status, got.Body, d.sidecars["sock"].stderr)
	}
	for name, s := range map[string]*callee{"rpc": d.rpc, "kept": d.kept} {
		if md := s.last(); first(md, "x-user-id") == "root" || md["txn-token"] != nil || md["sallyport-call"] != nil {
			t.Errorf("%s was told %v", name, md)
		}
	}
}

// firstEvent reads the first event of a stream and lets go of it.
func firstEvent(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || line != "data: first\n" {
		return fmt.Errorf("%d %q %w", res.StatusCode, line, err)
	}
	return nil
}
