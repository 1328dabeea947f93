package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/guard"
)

// asked is the handshake of a service at another.
func asked(ctx context.Context, url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": socketKey,
		"X-User-Id": "root", "Txn-Token": "forged", "Origin": "https://elsewhere.example",
	} {
		r.Header.Set(name, value)
	}
	return r, nil
}

// byGuard opens the WebSocket of sock as any library does that takes an
// *http.Client, with a context that ends with the handshake.
func (d *doors) byGuard(r *http.Request) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	req, err := asked(ctx, "http://sock/sock/chat")
	if err != nil {
		return nil, err
	}
	res, err := d.guard.Client().Do(req)
	if err != nil {
		return nil, err
	}
	return switched(res)
}

// switched is the body of a 101 that accepts the handshake.
func switched(res *http.Response) (io.ReadWriteCloser, error) {
	body, ok := res.Body.(io.ReadWriteCloser)
	if !ok || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != socketAccept {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		_ = res.Body.Close()
		return nil, fmt.Errorf("%d %v %s", res.StatusCode, res.Header, text)
	}
	return body, nil
}

// bySidecar opens that of kept, as a service in any language does.
func (d *doors) bySidecar(r *http.Request) (io.ReadWriteCloser, error) {
	conn, _, res, err := d.outSocket("kept", "/kept/chat", r.Header.Get("Sallyport-Request"))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != socketAccept || res.Header.Get("X-User-Id") != "" {
		_ = conn.Close()
		return nil, fmt.Errorf("%d %v", res.StatusCode, res.Header)
	}
	return conn, nil
}

// outSocket asks the sidecar of sock for a WebSocket. Nothing but the head is read.
func (d *doors) outSocket(service, path, handle string) (net.Conn, *bufio.Reader, *http.Response, error) {
	conn, err := net.Dial("unix", filepath.Join(d.sidecars["sock"].dir, "out.sock"))
	if err != nil {
		return nil, nil, nil, err
	}
	req, err := asked(context.Background(), "http://"+service+path)
	if err == nil {
		if handle != "" {
			req.Header.Set("Sallyport-Request", handle)
		}
		err = req.Write(conn)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, nil, err
	}
	in := bufio.NewReaderSize(conn, 16) // the callee speaks when it is spoken to
	res, err := http.ReadResponse(in, req)
	if err != nil {
		_ = conn.Close()
		return nil, nil, nil, err
	}
	return conn, in, res, nil
}

// bridge accepts a WebSocket and moves what passes between it and another.
func bridge(w http.ResponseWriter, far io.ReadWriteCloser) {
	defer far.Close()
	conn, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+socketAccept+"\r\n\r\n")
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, in.Reader); done <- struct{}{} }()
	go func() { _, _ = io.Copy(conn, far); done <- struct{}{} }()
	<-done
}

// TestSocketsOfServices: a service opens the WebSocket of another, through its
// guard and through its sidecar, as the user whose request it has in hand and not
// otherwise. What is no declared WebSocket is a plain call, or none.
func TestSocketsOfServices(t *testing.T) {
	t.Parallel()
	d := startStreamDoors(t)
	alice := d.addUser("alice@shop.example")
	session := d.login(alice)
	for path, s := range map[string]*chat{"/kept/relay": d.sock, "/sock/relay": d.keptSock} {
		w := d.chats(path, session)
		h := <-s.heads
		if h.Get("Txn-Token") != "" || h.Get("X-User-Id") == "root" || h.Get("Sec-WebSocket-Key") != socketKey || h.Get("Origin") != "https://elsewhere.example" {
			t.Errorf("%s: the callee got %v", path, h)
		}
		if s == d.sock && (h.Get("X-User-Id") != alice.ID || h.Get("X-Caller") != "kept") {
			t.Errorf("%s: the callee was told of %q by %q", path, h.Get("X-User-Id"), h.Get("X-Caller"))
		}
		for _, n := range []int{0, 125, 126, 70_000, 4 << 20} {
			w.echo(t, strings.Repeat("x", n))
		}
		_ = w.Close()
		wantEnd(t, path, s.ended)
	}

	d.in(d.keptSock, "/kept/call", session, func(r *http.Request) error {
		for url, want := range map[string]error{"http://sock/sock/secret/chat": guard.ErrUndeclared, "http://sock/kept/chat": guard.ErrUndeclared, "http://sock/sock/chat": nil} {
			req, err := asked(r.Context(), url)
			if err != nil {
				return err
			}
			res, err := d.guard.Client().Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			if !errors.Is(err, want) {
				return fmt.Errorf("%s: %w, want %w", url, err, want)
			}
		}
		req, err := asked(context.Background(), "http://sock/sock/chat")
		if err != nil {
			return err
		}
		if res, err := d.guard.Client().Do(req); !errors.Is(err, guard.ErrNoRequest) {
			return fmt.Errorf("without a request in hand: %v %w", res, err)
		}
		return plainly(func() (*http.Response, error) {
			req, err := asked(r.Context(), "http://sock/sock/open")
			if err != nil {
				return nil, err
			}
			return d.guard.Client().Do(req)
		})
	})
	wantEnd(t, "the one that was opened and closed", d.sock.ended)

	d.in(d.sock, "/sock/call", session, func(r *http.Request) error {
		handle := r.Header.Get("Sallyport-Request")
		for _, c := range []struct {
			path, handle string
			status       int
		}{
			{"/kept/chat", handle, 101}, {"/kept/secret/chat", handle, 403}, {"/kept/chat", "", 403}, {"/kept/chat", flipped(handle, 3), 403},
		} {
			conn, in, res, err := d.outSocket("kept", c.path, c.handle)
			if err != nil {
				return err
			}
			if res.StatusCode != c.status {
				return fmt.Errorf("%s with handle %v: %d", c.path, c.handle == handle, res.StatusCode)
			}
			if c.status != 101 { // what follows is no request
				_, _ = io.WriteString(conn, "GET /kept/open HTTP/1.1\r\nHost: kept\r\nSallyport-Request: "+handle+"\r\n\r\n")
				_, _ = io.Copy(io.Discard, res.Body)
				if rest, _ := io.ReadAll(in); len(rest) != 0 {
					return fmt.Errorf("%s: behind %d came %q", c.path, res.StatusCode, rest)
				}
			}
			_ = conn.Close()
		}
		return plainly(func() (*http.Response, error) {
			_, _, res, err := d.outSocket("kept", "/kept/open", handle)
			return res, err
		})
	})
	wantEnd(t, "the one that was opened and closed", d.keptSock.ended)
}

// plainly wants the plain answer of a route that is no WebSocket.
func plainly(ask func() (*http.Response, error)) error {
	res, err := ask()
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || string(text) != "ok" {
		return fmt.Errorf("no WebSocket there: %d %q %w", res.StatusCode, text, err)
	}
	return nil
}

// in runs do in the handler of a request.
func (d *doors) in(c *chat, path, session string, do func(r *http.Request) error) {
	d.t.Helper()
	c.mu.Lock()
	c.other = func(w http.ResponseWriter, r *http.Request) {
		if err := do(r); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	}
	c.mu.Unlock()
	if got := d.do(call{path: path, bearer: session}); got.Status != 200 {
		d.t.Errorf("%s: %d %s\n%s", path, got.Status, got.Body, d.sidecars["sock"].stderr)
	}
}

// TestSocketsOfServicesEnd: with the session that their requests came with, with
// the request, and with the map; the twins live on.
func TestSocketsOfServicesEnd(t *testing.T) {
	t.Parallel()
	attempts(t, endSockets)
}

func endSockets(t *attempt) {
	d := startStreamDoors(t)
	defer t.strained(d.zoned)
	session, others := d.login(d.addUser("alice@shop.example")), d.login(d.addUser("bob@shop.example"))
	all := func(session string) (list []opened) {
		for path, s := range map[string]*chat{"/kept/relay": d.sock, "/sock/relay": d.keptSock} {
			w := d.chats(path, session)
			list = append(list, opened{path, func() error { _, _, err := readFrame(w.r); return err }, s.ended, w.id})
		}
		return list
	}
	twin := d.chats("/kept/relay", others)
	mine := all(session)
	if got := d.do(call{method: "POST", path: "/auth/logout", bearer: session}); got.Status != 204 {
		t.Fatalf("logout: %d", got.Status)
	}
	d.allEnd(mine)
	for _, s := range mine {
		d.endsOnRecord(s, "auth.revoked")
	}
	twin.echo(t, "still here")
	_ = twin.Close()
	wantEnd(t, "the twin", d.sock.ended)

	// A request that is over takes its sockets along, also those that its service
	// has forgotten.
	d.in(d.keptSock, "/kept/call", others, func(r *http.Request) error {
		_, err := d.byGuard(r.WithContext(context.WithoutCancel(r.Context())))
		return err
	})
	wantEnd(t, "that of the request which is over", d.sock.ended)
	d.in(d.sock, "/sock/call", others, func(r *http.Request) error { _, err := d.bySidecar(r); return err })
	wantEnd(t, "that of the request which is over", d.keptSock.ended)

	// The map takes the calls; the streams from outside live on.
	theirs, direct := all(others), d.chats("/kept/chat", others)
	d.rewrite(strings.NewReplacer("GET /kept/chat, ", "", "GET /sock/chat, ", "").Replace(d.text))
	d.allEnd(theirs)
	direct.echo(t, "still here")
}
