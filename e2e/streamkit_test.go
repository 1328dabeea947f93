package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpctls "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev/guard"
)

// streamDoorsMap has a service of gRPC and one of WebSockets behind sidecars, one of both
// that is its own inner door, and one that calls the others.
const streamDoorsMap = head + `
services:
  rpc:
    upstream: http://@rpc@
    sidecar: "@rpcdoor@"
    routes:
      POST /shop.Rpc/{method}: {allow: user, stream: grpc}
  sock:
    upstream: http://@sock@
    sidecar: "@sockdoor@"
    routes:
      GET /sock/chat: {allow: user, stream: websocket}
      GET /sock/open: anonymous
      GET /sock/call: user
      GET /sock/events: {allow: user, stream: sse}
      GET /sock/relay: {allow: user, stream: websocket}
      GET /sock/secret/chat: {allow: user, stream: websocket}
    calls:
      rpc: ["POST /shop.Rpc/{method}"]
      kept: ["POST /shop.Kept/{method}", GET /kept/events, GET /kept/chat, GET /kept/open]
  kept:
    upstream: https://@kept@
    embedded: true
    routes:
      POST /shop.Kept/{method}: {allow: user, stream: grpc}
      GET /kept/chat: {allow: user, stream: websocket}
      GET /kept/events: {allow: user, stream: sse}
      GET /kept/open: anonymous
      GET /kept/call: user
      GET /kept/relay: {allow: user, stream: websocket}
      GET /kept/secret/chat: {allow: user, stream: websocket}
    calls:
      rpc: ["POST /shop.Rpc/{method}"]
      sock: [GET /sock/events, GET /sock/chat, GET /sock/open]
`

// doors is a zone of streamDoorsMap with all that belongs to it.
type doors struct {
	*zoned
	rpc, kept *callee // real gRPC, behind a sidecar and inside a guard
	sock      *chat
	keptSock  *chat
	guard     *guard.Guard
	stopGuard func() error // drains it
	sidecars  map[string]*sidecarRun
}

func startStreamDoors(t testing.TB) *doors {
	t.Helper()
	d := &doors{rpc: newCallee(), kept: newCallee(), sock: newChat(), keptSock: newChat(), sidecars: map[string]*sidecarRun{}}
	rpc := listenHere(t)
	srv := grpc.NewServer(grpc.UnknownServiceHandler(d.rpc.handle), grpc.MaxRecvMsgSize(80<<20))
	go func() { _ = srv.Serve(rpc) }()
	t.Cleanup(srv.Stop)
	sock := listenHere(t)
	web := &http.Server{Handler: d.sock, ReadHeaderTimeout: patience}
	go func() { _ = web.Serve(sock) }()
	t.Cleanup(func() { _ = web.Close() })
	d.zoned = newZone(t, streamDoorsMap, map[string]string{"rpc": rpc.Addr().String(), "sock": sock.Addr().String()})
	d.start()
	for _, name := range []string{"rpc", "sock"} {
		d.sidecars[name] = d.sidecar(name)
	}
	d.serveKept()
	d.keptSock.reach, d.sock.reach = d.byGuard, d.bySidecar
	for _, path := range []string{"/sock/open", "/kept/open"} {
		until(t, "the gateway finds "+path, func() bool { return d.do(call{path: path}).Status == 200 })
	}
	return d
}

func listenHere(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serveKept runs the service that imports the guard.
func (d *doors) serveKept() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g, err := guard.New(context.Background(), guard.Config{
		Service: "kept", Control: "https://" + d.address["control"], Socket: filepath.Join(d.runDir, "workload.sock"),
		Log: slog.New(slog.DiscardHandler), Spool: d.dir,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.guard = g
	calls := grpc.NewServer(grpc.UnknownServiceHandler(d.kept.handle), grpc.MaxRecvMsgSize(80<<20))
	served := make(chan error, 1)
	go func() {
		served <- g.ListenAndServe(ctx, d.door("kept"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if guard.Stream(r.Context()) == "grpc" {
				calls.ServeHTTP(w, r)
				return
			}
			d.keptSock.ServeHTTP(w, r)
		}))
	}()
	d.stopGuard = sync.OnceValue(func() error { cancel(); return <-served })
	d.t.Cleanup(func() { _ = d.stopGuard() })
	if err := g.Wait(d.t.Context()); err != nil {
		d.t.Fatalf("guard: %v\n%s", err, d.stderr)
	}
}

// callee is a gRPC service whose methods are the switch below.
type callee struct {
	mu    sync.Mutex
	seen  []metadata.MD                   // guarded by mu
	ended chan error                      // how each call of Bidi and Client ended
	hung  chan error                      // and of Hang
	begun chan struct{}                   // calls of Hang and Wait
	let   chan struct{}                   // what calls of Wait wait for
	call  func(ctx context.Context) error // what Call does
}

func newCallee() *callee {
	return &callee{ended: make(chan error, 64), hung: make(chan error, 64), begun: make(chan struct{}, 64), let: make(chan struct{})}
}

func (s *callee) handle(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.mu.Lock()
	s.seen = append(s.seen, md)
	s.mu.Unlock()
	method, _ := grpc.MethodFromServerStream(stream)
	in := new(wrapperspb.StringValue)
	switch method[strings.LastIndexByte(method, '/')+1:] {
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
		}
		return nil
	case "Client":
		n := 0
		for {
			switch err := stream.RecvMsg(in); {
			case err == io.EOF:
				return stream.SendMsg(wrapperspb.String(strings.Repeat("x", n)))
			case err != nil:
				s.ended <- err
				return err
			}
			n++
		}
	case "Bidi":
		for {
			err := stream.RecvMsg(in)
			if err == nil {
				err = stream.SendMsg(in)
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				s.ended <- err
				return err
			}
		}
	case "Fail":
		stream.SetTrailer(metadata.Pairs("own-trailer", "t"))
		return status.Error(codes.NotFound, "no such thing: ü")
	case "Hang": // as a unary call that takes its time
		s.begun <- struct{}{}
		<-stream.Context().Done()
		s.hung <- stream.Context().Err()
		return stream.Context().Err()
	case "Wait": // as one that ends by itself
		s.begun <- struct{}{}
		<-s.let
		return stream.SendMsg(in)
	case "Call":
		if err := s.call(stream.Context()); err != nil {
			return err
		}
		return stream.SendMsg(in)
	}
	return status.Error(codes.Unimplemented, "no method")
}

func (s *callee) last() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return nil
	}
	return s.seen[len(s.seen)-1]
}

// caller is a gRPC client of the public listener.
func (d *doors) caller(session string) (*grpc.ClientConn, context.Context) {
	d.t.Helper()
	_, port, _ := net.SplitHostPort(d.address["public"])
	c, err := grpc.NewClient("passthrough:///localhost:"+port,
		grpc.WithTransportCredentials(grpctls.NewTLS(&tls.Config{RootCAs: d.roots()})),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(80<<20)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", d.address["public"])
		}))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	ctx := d.t.Context()
	if session != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+session)
	}
	return c, ctx
}

// talk opens a stream in both directions and sees that it works.
func talk(t testing.TB, c *grpc.ClientConn, ctx context.Context, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	sayIn(t, s, method)
	return s
}

func sayIn(t testing.TB, s grpc.ClientStream, text string) {
	t.Helper()
	got := new(wrapperspb.StringValue)
	err := s.SendMsg(wrapperspb.String(text))
	if err == nil {
		err = s.RecvMsg(got)
	}
	if err != nil || got.Value != text {
		t.Fatalf("say %.20q: got %.20q, %v", text, got.Value, err)
	}
}

// chat takes WebSockets, whose messages it sends back, and makes event streams.
type chat struct {
	ended chan error       // of each connection and event stream
	heads chan http.Header // of the handshakes
	mu    sync.Mutex
	other http.HandlerFunc                                  // guarded by mu; what answers to .../call
	reach func(r *http.Request) (io.ReadWriteCloser, error) // opens the WebSocket of another service that .../relay stands before
}

func newChat() *chat { return &chat{ended: make(chan error, 64), heads: make(chan http.Header, 64)} }

func (c *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat"):
		c.heads <- r.Header.Clone()
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+socketAccept+"\r\nX-User-Id: leak\r\n\r\n")
		for {
			op, payload, err := readFrame(in.Reader)
			if err == nil {
				_, err = conn.Write(frame(op, false, payload))
			}
			if err != nil {
				c.ended <- err
				return
			}
		}
	case strings.HasSuffix(r.URL.Path, "/relay"):
		far, err := c.reach(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		bridge(w, far)
	case strings.HasSuffix(r.URL.Path, "/events"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		c.ended <- r.Context().Err()
	case strings.HasSuffix(r.URL.Path, "/call"):
		c.mu.Lock()
		do := c.other
		c.mu.Unlock()
		do(w, r)
	default:
		_, _ = io.WriteString(w, "ok")
	}
}

const (
	socketKey    = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 section 1.3
	socketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// frame is a whole message (RFC 6455 section 5.2); one of a client is masked.
func frame(op byte, masked bool, payload []byte) []byte {
	b := []byte{0x80 | op}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1] & 0x7f)
	if n >= 126 {
		var ext [8]byte
		size := 2
		if n == 127 {
			size = 8
		}
		if _, err = io.ReadFull(r, ext[8-size:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(ext[:])
	}
	var key [4]byte
	if h[1]&0x80 != 0 {
		if _, err = io.ReadFull(r, key[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return h[0] & 0x0f, payload, err
}

// socket is a client's WebSocket.
type socket struct {
	*tls.Conn
	r    *bufio.Reader
	head *http.Response
	id   string // correlation id
}

// open asks for a WebSocket; the answer may be another.
func (d *doors) open(path, session string, more ...string) *socket {
	d.t.Helper()
	conn, err := tls.Dial("tcp", d.address["public"], &tls.Config{RootCAs: d.roots(), ServerName: "localhost"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	s := &socket{Conn: conn, r: bufio.NewReader(conn), id: newID()}
	host := "localhost:" + portOf(d.address["public"])
	_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+socketKey+
		"\r\nAuthorization: Bearer "+session+"\r\nX-Correlation-Id: "+s.id+"\r\nX-User-Id: forged\r\n"+strings.Join(more, "")+"\r\n")
	if err == nil {
		s.head, err = http.ReadResponse(s.r, nil)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// chats opens a WebSocket and sees that it works.
func (d *doors) chats(path, session string) *socket {
	d.t.Helper()
	s := d.open(path, session)
	if s.head.StatusCode != 101 {
		d.t.Fatalf("%s: %d %s\n%s", path, s.head.StatusCode, readAll(s.head), d.stderr)
	}
	s.echo(d.t, path)
	return s
}

func (s *socket) echo(t testing.TB, text string) {
	t.Helper()
	if _, err := s.Write(frame(1, true, []byte(text))); err != nil {
		t.Fatal(err)
	}
	if op, got, err := readFrame(s.r); err != nil || op != 1 || string(got) != text {
		t.Fatalf("said %.30q, heard %d %.30q, %v", text, op, got, err)
	}
}
