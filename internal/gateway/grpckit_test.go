package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev/zone"
)

func callRoute() *zone.Route {
	return &zone.Route{Method: "POST", Path: "/shop.Shop/{method}", Allow: zone.AllowAnonymous | zone.AllowUser, Stream: zone.StreamGRPC}
}

// callee is a real gRPC server whose methods are the switch below.
type callee struct {
	address string
	server  *grpc.Server
	mu      sync.Mutex
	seen    []metadata.MD
	ended   chan error   // of each call of Hang, Bidi and Client
	sent    atomic.Int64 // messages of Server
}

func serveCalls(t testing.TB) *callee {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveCallsOn(l)
	t.Cleanup(s.server.Stop)
	return s
}

func serveCallsOn(l net.Listener) *callee {
	s := &callee{address: l.Addr().String(), ended: make(chan error, 64)}
	s.server = grpc.NewServer(grpc.UnknownServiceHandler(s.handle), grpc.MaxRecvMsgSize(64<<20))
	go func() { _ = s.server.Serve(l) }()
	return s
}

func (s *callee) handle(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.mu.Lock()
	s.seen = append(s.seen, md)
	s.mu.Unlock()
	method, _ := grpc.MethodFromServerStream(stream)
	in := new(wrapperspb.StringValue)
	switch strings.TrimPrefix(method, "/shop.Shop/") {
	case "Unary":
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		_ = stream.SetHeader(metadata.Pairs("own-header", "h", "txn-token", "leak", "x-user-id", "leak"))
		stream.SetTrailer(metadata.Pairs("own-trailer", "t", "txn-token", "leak", "sallyport-reason", "leak", "x-caller", "leak"))
		return stream.SendMsg(wrapperspb.String("got " + in.Value))
	case "Server":
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		for range 100 {
			if err := stream.SendMsg(in); err != nil {
				return err
			}
			s.sent.Add(1)
		}
		return nil
	case "Client":
		n := 0
		for {
			switch err := stream.RecvMsg(in); {
			case err == io.EOF:
				s.ended <- nil
				return stream.SendMsg(wrapperspb.String(strings.Repeat("x", n)))
			case err != nil:
				s.ended <- err
				return err
			}
			n++
		}
	case "Bidi":
		for {
			switch err := stream.RecvMsg(in); {
			case err == io.EOF:
				s.ended <- nil
				return nil
			case err != nil:
				s.ended <- err
				return err
			}
			if err := stream.SendMsg(in); err != nil {
				s.ended <- err
				return err
			}
		}
	case "Fail":
		stream.SetTrailer(metadata.Pairs("own-trailer", "t"))
		return status.Error(codes.NotFound, "no such thing: ü")
	case "Late": // a status after messages
		if err := stream.SendMsg(wrapperspb.String("one")); err != nil {
			return err
		}
		return status.Error(codes.DataLoss, "lost")
	case "Hang":
		<-stream.Context().Done()
		s.ended <- stream.Context().Err()
		return stream.Context().Err()
	}
	return errors.New("no method")
}

func (s *callee) last() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1]
}

func (s *callee) count() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.seen) }

// behindCalls puts it behind the door.
func behindCalls(s *callee) func(*Config) {
	return func(c *Config) {
		c.Zone.Services[0].Upstreams = []zone.Upstream{{Scheme: "http", Network: "tcp", Address: s.address, URL: "http://" + s.address}}
	}
}

// caller is a real gRPC client of the public listener.
func (d *door) caller() *grpc.ClientConn {
	d.t.Helper()
	return d.callerOver(&tls.Config{RootCAs: theCA().pool, ServerName: "shop.example"}, func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", d.addrs["public"])
	})
}

func (d *door) callerOver(config *tls.Config, dial func(context.Context, string) (net.Conn, error)) *grpc.ClientConn {
	d.t.Helper()
	c, err := grpc.NewClient("passthrough:///shop.example:443",
		grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithContextDialer(dial),
		grpc.WithAuthority("shop.example"), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.WaitForReady(true)))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// call opens a stream in both directions.
func openCall(ctx context.Context, t testing.TB, c *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/shop.Shop/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func as(ctx context.Context, token string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, append([]string{"authorization", "Bearer " + token}, more...)...)
}
