package sidecar

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
)

const chainShop = `
zone: shop.example
services:
  catalog:
    upstream: https://127.0.0.1:9001
    embedded: true
    routes:
      POST /start: user
    calls:
      orders: [POST /mine]
  orders:
    upstream: UPSTREAM
    sidecar: 127.0.0.1:9502
    routes:
      POST /mine: user
      GET /mine: user
    calls:
      accounts: [POST /accounts/{id}]
      ledger: [{call: POST /entries, as: service}]
  accounts:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      POST /accounts/{id}: user
      GET /accounts/{id}: user
  ledger:
    upstream: https://127.0.0.1:9004
    embedded: true
    routes:
      POST /entries: service
`

// TestChain goes from a service through the sidecar of another to a third, with
// real guards: mutual TLS and proof on every hop but the one to the service itself.
func TestChain(t *testing.T) {
	socket := filepath.Join(shortDir(t), "out.sock")
	calls := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	call := func(r *http.Request, url, handle string) string {
		req, err := http.NewRequestWithContext(r.Context(), "POST", url, strings.NewReader("amount=7"))
		if err != nil {
			return err.Error()
		}
		if handle != "" {
			req.Header.Set(headerHandle, handle)
		}
		res, err := calls.Do(req)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s", res.StatusCode, body)
	}
	upstream := serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		_, _ = fmt.Fprintf(w, "orders: %s %s %s %s\n%s\n%s", h.Get(headerCaller), h.Get(headerUser), h.Get(headerCorrelation), body,
			call(r, "http://accounts/accounts/1", h.Get(headerHandle)), call(r, "http://ledger/entries", ""))
	})
	text := strings.ReplaceAll(chainShop, "UPSTREAM", upstream)

	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	inner, toAccounts, toLedger := listen(), listen(), listen()
	g := guardtest.New(t, text, "orders", guardtest.At("accounts", toAccounts.Addr().String()), guardtest.At("ledger", toLedger.Addr().String()))
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	serve := func(name string, l net.Listener) {
		peer := g.Peer(name)
		go func() {
			ended <- peer.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				c := r.Context()
				_, _ = fmt.Fprintf(w, "%s: %s %s %s %s", name, guard.Caller(c), guard.PrincipalFrom(c).Subject, guard.CorrelationID(c), body)
			}))
		}()
	}
	serve("accounts", toAccounts)
	serve("ledger", toLedger)
	s, err := New(Config{
		Zone: parse(t, text), Service: "orders", Guard: g, Socket: socket,
		Listen: func(context.Context, string, string) (net.Listener, error) { return inner, nil },
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),

		DialTime: patience, CallHead: patience, HeadTime: patience, PieceTime: patience, Drain: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		end()
		for range 3 {
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
		}
	}()
	eventually(t, "the door is open", s.open.Load)

	catalog := g.Peer("catalog", guardtest.At("orders", inner.Addr().String()))
	ask := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		catalog.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			req, err := http.NewRequestWithContext(r.Context(), method, "http://orders/mine", strings.NewReader("item=9"))
			if err != nil {
				t.Error(err)
				return
			}
			res, err := catalog.Client().Do(req)
			if err != nil {
				_, _ = io.WriteString(w, err.Error())
				return
			}
			defer func() { _ = res.Body.Close() }()
			w.Header().Set("X-Id", guard.CorrelationID(r.Context()))
			_, _ = io.Copy(w, res.Body)
		})).ServeHTTP(w, catalog.Request("POST", "/start", catalog.Token("usr_1")))
		return w
	}
	w := ask("POST")
	id := w.Header().Get("X-Id")
	want := "orders: catalog usr_1 " + id + " item=9\n200 accounts: orders usr_1 " + id + " amount=7\n200 ledger: orders spiffe://shop.example/orders "
	if got := w.Body.String(); id == "" || !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s...", got, want)
	}
	if got := ask("GET").Body.String(); !strings.Contains(got, guard.ErrUndeclared.Error()) {
		t.Errorf("the undeclared call got %s", got)
	}

	// Past the caller's own guard: no certificate, no TLS, and another service's.
	if c, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a peer without a certificate was served")
		}
		_ = c.Close()
	}
	if res, err := http.Get("http://" + inner.Addr().String() + "/mine"); err == nil {
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("a request in plain got %d", res.StatusCode)
		}
		_ = res.Body.Close()
	}
	// A service calls as the request in hand what the map does not declare.
	res, err := calls.Post("http://accounts/accounts/1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, res, problem.InsideCall)
}
