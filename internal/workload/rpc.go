package workload

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// header is the metadata that every request must carry (SPIFFE Workload
// Endpoint, section 3): a client that was tricked into fetching does not send it.
const header = "workload.spiffe.io"

const (
	maxMessage  = 64 << 10 // bytes received; requests that are answered are empty
	maxHeader   = 8 << 10  // bytes of metadata
	bufferSize  = 4 << 10  // bytes a connection and direction: messages are few
	firstWords  = 5 * time.Second
	idleTime    = 2 * time.Minute // without a stream
	pingAfter   = time.Minute
	pingWithin  = 20 * time.Second
	pingAllowed = 10 * time.Second
)

// options bound what a connection can cost.
func (s *Server) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(kernelCredentials{}),
		grpc.ConnectionTimeout(s.limits.FirstWords),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ReadBufferSize(bufferSize),
		grpc.WriteBufferSize(bufferSize),
		// More than a process may have open: one stream too many is to be
		// answered, where HTTP/2's own bound would let it wait for ever.
		grpc.MaxConcurrentStreams(2*uint32(min(s.limits.StreamsPerProcess, 1<<16)) + 1), // #nosec G115 -- bounded in the line
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime, Time: pingAfter, Timeout: pingWithin}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAllowed, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
			defer contain(s.log, &err)
			if err := headed(ctx); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
			defer contain(s.log, &err)
			if err := headed(stream.Context()); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
}

// headed says whether a request carries the header, once.
func headed(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(header); len(v) != 1 || v[0] != "true" {
		return status.Error(codes.InvalidArgument, "the header "+header+": true is missing")
	}
	return nil
}

// contain makes a panic the end of its request: the process is the whole zone.
func contain(log *slog.Logger, err *error) {
	if p := recover(); p != nil {
		log.Error("panic in a handler of the workload api", "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal error")
	}
}

// api is the service as go-spiffe ships it. What it does not define here is
// Unimplemented.
type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	server *Server
}

func registerAPI(srv *grpc.Server, s *Server) {
	workload.RegisterSpiffeWorkloadAPIServer(srv, &api{server: s})
}

// FetchX509SVID streams the identities of the process, with the roots.
func (a *api) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return follow(a.server, stream, (&svids{server: a.server}).next)
}

// FetchX509Bundles streams the roots, to processes that have an identity.
func (a *api) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return follow(a.server, stream, (&bundles{server: a.server}).next)
}
