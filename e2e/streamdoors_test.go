package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestCallsThroughBothDoors: a real gRPC client and a real server, each kind of
// call, through the gateway and mutual TLS, to a service behind a sidecar and to
// one that has its guard in it.
func TestCallsThroughBothDoors(t *testing.T) {
	t.Parallel()
	d := startStreamDoors(t)
	alice := d.addUser("alice@shop.example")
	c, ctx := d.caller(d.login(alice))
	stranger, plain := d.caller("")
	for name, s := range map[string]*callee{"/shop.Rpc/": d.rpc, "/shop.Kept/": d.kept} {
		t.Run(strings.Trim(name, "/"), func(t *testing.T) {
			in, got := wrapperspb.String("hello"), new(wrapperspb.StringValue)
			if err := stranger.Invoke(plain, name+"Unary", in, got); status.Code(err) != codes.Unauthenticated || s.last() != nil {
				t.Errorf("without credential: %v, the service saw %v", err, s.last())
			}
			var header, trailer metadata.MD
			forged := metadata.AppendToOutgoingContext(ctx, "x-user-id", "root", "x-caller", "root", "own", "kept", "own-bin", "\x00\xff")
			if err := c.Invoke(forged, name+"Unary", in, got, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil || got.Value != "got hello" {
				t.Fatalf("unary: %v %v", got, err)
			}
			if first(header, "own-header") != "h" || first(trailer, "own-trailer") != "t" {
				t.Errorf("header %v, trailer %v", header, trailer)
			}
			for _, md := range []metadata.MD{header, trailer} {
				for k, v := range md {
					if strings.Contains(strings.Join(v, " "), "leak") {
						t.Errorf("the client got %s: %q", k, v)
					}
				}
			}
			md := s.last()
			if first(md, "own") != "kept" || first(md, "own-bin") != "\x00\xff" || strings.Contains(strings.Join(md["x-user-id"], " "), "root") || md["x-caller"] != nil || md["txn-token"] != nil || md["authorization"] != nil {
				t.Errorf("the service got %v", md)
			}
			if name == "/shop.Rpc/" && first(md, "x-user-id") != alice.ID {
				t.Errorf("the service was told of %q", first(md, "x-user-id"))
			}
			err := c.Invoke(ctx, name+"Fail", in, got, grpc.Trailer(&trailer))
			if st := status.Convert(err); st.Code() != codes.NotFound || st.Message() != "no such thing: ü" || first(trailer, "own-trailer") != "t" {
				t.Errorf("a failing call: %v, trailer %v", err, trailer)
			}

			server, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name+"Server")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = server.SendMsg(in), server.CloseSend()
			n := 0
			for ; err == nil; n++ {
				err = server.RecvMsg(got)
			}
			if n != 101 || err != io.EOF {
				t.Errorf("server stream: %d messages, %v", n-1, err)
			}
			client, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, name+"Client")
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				_ = client.SendMsg(in)
			}
			_ = client.CloseSend()
			if err := client.RecvMsg(got); err != nil || len(got.Value) != 100 {
				t.Errorf("client stream: %d messages, %v", len(got.Value), err)
			}
			both := talk(t, c, ctx, name+"Bidi")
			for range 20 {
				sayIn(t, both, "ping")
			}
			_ = both.CloseSend()
			if err := both.RecvMsg(got); err != io.EOF {
				t.Errorf("the end of both directions: %v", err)
			}

			for deadline := 300 * time.Millisecond; ; deadline *= 2 { // until it is long enough for the service to be asked
				timed, cancel := context.WithTimeout(ctx, deadline)
				err = c.Invoke(timed, name+"Hang", in, got)
				cancel()
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("a deadline of %v: %v", deadline, err)
				}
				if err == nil || len(s.begun) > 0 || deadline > patience {
					break
				}
			}
			wantEnd(t, "the service at the deadline", s.hung)
			leaving, leave := context.WithCancel(ctx)
			talk(t, c, leaving, name+"Bidi")
			leave()
			wantEnd(t, "the service of a client that left", s.ended)
			// What was not declared is not there, whoever asks.
			if err := c.Invoke(ctx, "/shop.Other/Unary", in, got); status.Code(err) != codes.Unimplemented {
				t.Errorf("an undeclared service: %v", err)
			}
		})
	}
}

func first(md metadata.MD, name string) string {
	if v := md[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// wantEnd waits for an end that a service sees.
func wantEnd(t testing.TB, what string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("%s: it saw a good end", what)
		}
	case <-time.After(patience):
		t.Errorf("%s: it did not see the end", what)
	}
}

// TestSocketsThroughBothDoors: WebSockets to a service behind a sidecar and to one
// with its guard in it; refusals open nothing.
func TestSocketsThroughBothDoors(t *testing.T) {
	t.Parallel()
	d := startStreamDoors(t)
	session := d.login(d.addUser("alice@shop.example"))
	for path, s := range map[string]*chat{"/sock/chat": d.sock, "/kept/chat": d.keptSock} {
		w := d.chats(path, session)
		h := <-s.heads
		if h.Get("Txn-Token") != "" || h.Get("Authorization") != "" || strings.Contains(h.Get("X-User-Id"), "forged") || w.head.Header.Get("X-User-Id") != "" {
			t.Errorf("%s: the service got %v, the client %v", path, h, w.head.Header)
		}
		for _, n := range []int{0, 125, 126, 70_000, 1 << 20} {
			w.echo(t, strings.Repeat("x", n))
		}
		_ = w.Close()
		wantEnd(t, path, s.ended)
		// A refused handshake, with frames right behind it.
		for what, more := range map[string]string{"no credential": "", "another upgrade": "h2c"} {
			bearer := session
			if more == "" {
				bearer = "none"
			}
			got := d.open(path, bearer, strings.Replace("Upgrade: "+more+"\r\n", "Upgrade: \r\n", "", 1))
			_, _ = got.Write(frame(1, true, []byte("GET /kept/open HTTP/1.1\r\n\r\n")))
			if got.head.StatusCode == 101 || got.head.StatusCode == 200 {
				t.Errorf("%s %s: %d", path, what, got.head.StatusCode)
			}
			_, _ = io.Copy(io.Discard, got.head.Body)
			if rest, _ := io.ReadAll(got.r); len(rest) != 0 {
				t.Errorf("%s %s: behind the refusal came %q", path, what, rest)
			}
		}
		if len(s.heads) != 0 {
			t.Errorf("%s: a refused handshake reached the service", path)
		}
	}
}

// opened are the streams of a test, each with how its client sees the end.
type opened struct {
	what    string
	client  func() error // waits for the end
	service <-chan error // its side
	id      string
}

// openAll opens a stream of each kind at each door.
func (d *doors) openAll(session string) (all []opened) {
	d.t.Helper()
	c, ctx := d.caller(session)
	for method, s := range map[string]*callee{"/shop.Rpc/Bidi": d.rpc, "/shop.Kept/Bidi": d.kept} {
		id := newID()
		stream := talk(d.t, c, metadata.AppendToOutgoingContext(ctx, "x-correlation-id", id), method)
		all = append(all, opened{method, func() error { return stream.RecvMsg(new(wrapperspb.StringValue)) }, s.ended, id})
	}
	for path, s := range map[string]*chat{"/sock/chat": d.sock, "/kept/chat": d.keptSock} {
		w := d.chats(path, session)
		all = append(all, opened{path, func() error { _, _, err := readFrame(w.r); return err }, s.ended, w.id})
	}
	for path, s := range map[string]*chat{"/sock/events": d.sock, "/kept/events": d.keptSock} {
		req, id := d.request(call{path: path, bearer: session})
		res, err := d.client().Do(req)
		if err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { _ = res.Body.Close() })
		lines := bufio.NewReader(res.Body)
		if line, err := lines.ReadString('\n'); err != nil || line != "data: first\n" || res.StatusCode != http.StatusOK {
			d.t.Fatalf("%s: %d %q %v", path, res.StatusCode, line, err)
		}
		all = append(all, opened{path, func() error {
			_, err := io.Copy(io.Discard, lines)
			if err == nil {
				err = io.EOF
			}
			return err
		}, s.ended, id})
	}
	return all
}

// allEnd wants each stream to end on both sides.
func (d *doors) allEnd(all []opened) {
	d.t.Helper()
	began := time.Now()
	var work sync.WaitGroup
	for _, s := range all {
		ended := make(chan error, 1)
		go func() { ended <- s.client() }()
		work.Go(func() {
			select {
			case err := <-ended:
				d.t.Logf("%s ended for its client after %v: %v", s.what, time.Since(began).Round(time.Millisecond), err)
				if err == nil {
					d.t.Errorf("%s: something came instead of the end", s.what)
				}
			case <-time.After(patience):
				d.t.Errorf("%s: its client does not see the end", s.what)
			}
		})
		work.Go(func() {
			select {
			case <-s.service:
			case <-time.After(patience):
				d.t.Errorf("%s: its service does not see the end", s.what)
			}
		})
	}
	work.Wait()
}

// endsOnRecord waits for the record of a stream's end; reason may be empty.
func (d *doors) endsOnRecord(s opened, reason string) {
	d.t.Helper()
	var r []record
	until(d.t, "the end of "+s.what+" is on record", func() bool { r = d.of(s.id); return len(r) == 2 })
	if reason != "" && r[1].Reason != reason {
		d.t.Errorf("the end of %s is recorded as %+v, want %s", s.what, r[1], reason)
	}
}

// TestStreamsEndThroughBothDoors: a session that ends, and a map that gives
// the routes to others, end what was opened by them, and both ends see it.
func TestStreamsEndThroughBothDoors(t *testing.T) {
	t.Parallel()
	attempts(t, endStreams)
}

func endStreams(t *attempt) {
	d := startStreamDoors(t)
	defer t.strained(d.zoned)
	alice, bob := d.addUser("alice@shop.example"), d.addUser("bob@shop.example")
	session, others := d.login(alice), d.login(bob)
	w := d.chats("/sock/chat", others) // the twin: it lives on
	all := d.openAll(session)
	if got := d.do(call{method: "POST", path: "/auth/logout", bearer: session}); got.Status != 204 {
		t.Fatalf("logout: %d", got.Status)
	}
	d.allEnd(all)
	for _, s := range all {
		d.endsOnRecord(s, "auth.revoked")
	}
	w.echo(t, "still here")

	all = d.openAll(others)
	less := strings.NewReplacer("/{method}: {allow: user, stream: grpc}", "/{method}: {allow: user, roles: [admin], stream: grpc}",
		"chat: {allow: user", "chat: {allow: user, roles: [admin]", "events: {allow: user", "events: {allow: user, roles: [admin]")
	d.rewrite(less.Replace(d.text))
	d.allEnd(append(all, opened{"the twin", func() error { _, _, err := readFrame(w.r); return err }, d.sock.ended, ""}))
	for _, s := range all {
		if isTwin(t) { // the inner door may hear of the map by the other process first
			d.endsOnRecord(s, "")
		} else {
			d.endsOnRecord(s, "access.role")
		}
	}
}

// TestDrainsEndStreams: what is told to end lets go of its streams, at each door;
// a unary call that is under way is finished first.
func TestDrainsEndStreams(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"gateway", "inner doors"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			attempts(t, func(a *attempt) { drainStreams(a, who) })
		})
	}
}

func drainStreams(a *attempt, who string) {
	const drain = 10 * time.Second // what is under way then is cut
	d := startStreamDoors(a)
	session := d.login(d.addUser("alice@shop.example"))
	all := d.openAll(session)
	c, ctx := d.caller(session)
	waiting := make(chan error, 2)
	for method, s := range map[string]*callee{"/shop.Rpc/Wait": d.rpc, "/shop.Kept/Wait": d.kept} {
		go func() { waiting <- c.Invoke(ctx, method, wrapperspb.String(""), new(wrapperspb.StringValue)) }()
		select {
		case <-s.begun:
		case err := <-waiting:
			a.Fatalf("%s: %v before it was to end", method, err)
		}
	}
	began := time.Now()
	defer func() { a.late("the drain", time.Since(began), drain) }()
	if who == "gateway" {
		if err := d.signal(syscall.SIGTERM); err != nil {
			a.Fatal(err)
		}
	} else {
		for _, s := range d.sidecars {
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				a.Fatal(err)
			}
		}
		go func() { _ = d.stopGuard() }()
	}
	d.allEnd(all)
	close(d.rpc.let)
	close(d.kept.let)
	for range 2 {
		if err := <-waiting; err != nil {
			a.Errorf("a unary call that was under way: %v", err)
		}
	}
	if who == "gateway" {
		if err := d.wait(); err != nil {
			a.Errorf("the zone ended: %v", err)
		}
		if strings.Contains(d.stderr.String(), "requests cut at the end of the drain") {
			a.Errorf("the zone cut what was under way\n%s", d.stderr)
		}
		return
	}
	for name, s := range d.sidecars {
		if code := s.waitEnd(); code != 0 {
			a.Errorf("the sidecar of %s ended with %d\n%s", name, code, s.stderr)
		}
	}
	if err := d.stopGuard(); err != nil {
		a.Errorf("the guard in the service: %v", err)
	}
}
