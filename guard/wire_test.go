package guard

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestQuietCallOfPlainService: a call on which nothing is said for long lives on at an
// ordinary gRPC server, which wants to be asked seldom whether it is there.
func TestQuietCallOfPlainService(t *testing.T) {
	for ping, lives := range map[time.Duration]bool{pingPlain: true, pingGuard: false} {
		synctest.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
				for {
					if err := s.RecvMsg(new(emptypb.Empty)); err != nil {
						return err
					}
					if err := s.SendMsg(new(emptypb.Empty)); err != nil {
						return err
					}
				}
			}))
			go func() { _ = srv.Serve(l) }()
			defer srv.Stop()
			wire := newPlainWire(&Guard{cfg: Config{CallTimeout: time.Minute}}, nil, together)
			wire.HTTP2.SendPingTimeout = ping
			wire.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.DialContext(ctx) }
			defer wire.CloseIdleConnections()

			body, say := io.Pipe()
			defer say.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://plain/shop.Rpc/Listen", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
			empty := make([]byte, 5) // a message of no bytes, as gRPC frames it
			go func() { _, _ = say.Write(empty) }()
			res, err := wire.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			for range 3 {
				if _, err = io.ReadFull(res.Body, make([]byte, len(empty))); err != nil {
					break
				}
				time.Sleep(2*time.Minute - time.Second)
				_, _ = say.Write(empty) // what is lost is missed above
			}
			if (err == nil) != lives {
				t.Errorf("asked after each %v: %v, want that it lives: %v", ping, err, lives)
			}
		})
	}
}
