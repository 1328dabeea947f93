package guard_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/zone"
)

// within runs f as the handler of a request of u1 through the guard.
func within(t *testing.T, g *guardtest.Guard, f func(context.Context)) {
	t.Helper()
	ran := false
	h := g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ran = true; f(r.Context()) }))
	r := g.Request("GET", "/mine", g.Token("u1"))
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if got, _ := send(h, r); got != "200" || !ran {
		t.Fatalf("GET /mine = %s, ran %v", got, ran)
	}
}

func do(ctx context.Context, g *guardtest.Guard, method, url string, change func(*http.Request)) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	if change != nil {
		change(r)
	}
	res, err := g.Client().Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func TestClientCarriesOn(t *testing.T) {
	var got *http.Request
	g := newOrders(t, guardtest.Callee("accounts", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("got "), b...))
	})))
	within(t, g, func(ctx context.Context) {
		sent := http.Header{}
		_, answer, err := do(ctx, g, "POST", "http://accounts/accounts/u%201/notes?a=1", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("note")), 4
			headers("Authorization", "Bearer x", "Cookie", "a=b", "X-Api-Key", "spk_x", "Txn-Token", "forged", "X-Caller", "payments", "X-User-Id", "root",
				"X-Correlation-Id", "other", "Traceparent", "other", "Sallyport-Client", "x", "Connection", "Txn-Token", "Accept", "text/plain",
				"Signature", "x", "Signature-Input", "x", "Content-Digest", "x")(r)
			r.Host = "elsewhere"
			sent = r.Header
		})
		if err != nil || answer != "got note" {
			t.Fatalf("answer %q, %v", answer, err)
		}
		if sent.Get("Authorization") == "" || sent.Get("Txn-Token") != "forged" {
			t.Errorf("the caller's request was changed: %v", sent)
		}
	})
	for name, want := range map[string]string{
		"X-Caller": "orders", "X-Correlation-Id": correlationID, "Accept": "text/plain", "Sallyport-Client": "-",
		"Authorization": "", "Cookie": "", "X-Api-Key": "", "X-User-Id": "", "Connection": "", "Signature": "", "Signature-Input": "", "Content-Digest": "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("the callee sees %s: %q, want %q", name, v, want)
		}
	}
	if got.Host != "accounts" || got.URL.RequestURI() != "/accounts/u%201/notes?a=1" {
		t.Errorf("the callee sees %s %s", got.Host, got.URL)
	}
	trace := got.Header.Get("Traceparent")
	if !strings.HasPrefix(trace, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(trace, "b7ad6b7169203331") || len(trace) != 55 {
		t.Errorf("the callee sees the trace %s: want the same trace and another span", trace)
	}
	if tokens := got.Header.Values("Txn-Token"); len(tokens) != 1 || tokens[0] == "forged" {
		t.Errorf("the callee sees the tokens %q", tokens)
	}
}

// TestClientThroughBothGuards: what one guard sends the guard of the callee takes.
func TestClientThroughBothGuards(t *testing.T) {
	var callee http.Handler
	g := newOrders(t, guardtest.Callee("accounts", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { callee.ServeHTTP(w, r) })))
	callee = g.Peer("accounts").Protect(http.HandlerFunc(echo))
	within(t, g, func(ctx context.Context) {
		_, answer, err := do(ctx, g, "GET", "http://accounts/accounts/7", nil)
		if err != nil || !strings.Contains(answer, `"sub":"u1"`) || !strings.Contains(answer, `"caller":"orders"`) || !strings.Contains(answer, correlationID) {
			t.Errorf("accounts answers %s, %v", answer, err)
		}
	})
}

func TestClientRefuses(t *testing.T) {
	var hits atomic.Int32
	g := newOrders(t, guardtest.Callee("accounts", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) })))
	within(t, g, func(ctx context.Context) {
		for _, tt := range []struct {
			name, method, url string
			want              error
		}{
			{"declared", "GET", "http://accounts/accounts/7", nil},
			{"HEAD of a declared GET", "HEAD", "http://accounts/accounts/7", nil},
			{"undeclared path", "GET", "http://accounts/admin", guard.ErrUndeclared},
			{"undeclared method", "DELETE", "http://accounts/accounts/7", guard.ErrUndeclared},
			{"trailing slash", "GET", "http://accounts/accounts/7/", guard.ErrUndeclared},
			{"dot segments", "GET", "http://accounts/accounts/../admin", guard.ErrUndeclared},
			{"encoded slash", "GET", "http://accounts/accounts/7%2Fnotes", guard.ErrUndeclared},
			{"no path", "GET", "http://accounts", guard.ErrUndeclared},
			{"undeclared service", "GET", "http://catalog/products", guard.ErrUndeclared},
			{"an address", "GET", "http://127.0.0.1/accounts/7", guard.ErrUndeclared},
			{"with port", "GET", "http://accounts:80/accounts/7", guard.ErrUndeclared},
			{"https", "GET", "https://accounts/accounts/7", guard.ErrUndeclared},
			{"user", "GET", "http://u:p@accounts/accounts/7", guard.ErrUndeclared},
			{"other case", "GET", "http://Accounts/accounts/7", guard.ErrUndeclared},
			{"as: service", "POST", "http://accounts/charges", nil},
		} {
			before := hits.Load()
			_, _, err := do(ctx, g, tt.method, tt.url, nil)
			if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("%s: %s %s: error %v, want %v", tt.name, tt.method, tt.url, err, tt.want)
			}
			if called, ok := errors.AsType[*guard.CallError](err); tt.want != nil && (!ok || called.Method != tt.method) {
				t.Errorf("%s: error %#v is no *CallError", tt.name, err)
			}
			if sent := hits.Load() > before; sent != (tt.want == nil) {
				t.Errorf("%s: sent %v", tt.name, sent)
			}
		}
	})
	if _, _, err := do(t.Context(), g, "GET", "http://accounts/accounts/7", nil); !errors.Is(err, guard.ErrNoRequest) {
		t.Errorf("without an inside token: %v, want %v", err, guard.ErrNoRequest)
	}
	if _, _, err := do(t.Context(), g, "POST", "http://accounts/charges", nil); err != nil {
		t.Errorf("as: service without a request in hand: %v", err)
	}
}

// TestClientDoesNotPassOnAServicesToken: what a service asks for itself ends here.
func TestClientDoesNotPassOnAServicesToken(t *testing.T) {
	g := newOrders(t, guardtest.Callee("accounts", http.HandlerFunc(echo)))
	for _, tt := range []struct {
		target, token, url string
		want               error
	}{
		{"/inner", g.Token("u1"), "http://accounts/accounts/7", nil},
		{"/own", g.ServiceToken("catalog"), "http://accounts/accounts/7", guard.ErrNoRequest},
	} {
		ran := false
		h := g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ran = true
			if _, _, err := do(r.Context(), g, "GET", tt.url, nil); !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("GET %s in a request of GET %s: %v, want %v", tt.url, tt.target, err, tt.want)
			}
		}))
		if got, _ := send(h, g.Request("GET", tt.target, tt.token, guardtest.From("catalog"))); got != "200" || !ran {
			t.Errorf("GET %s = %s", tt.target, got)
		}
	}
}

func TestClientDoesNotFollow(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	g := newOrders(t, guardtest.Callee("accounts", http.RedirectHandler("http://accounts/accounts/8", http.StatusFound)))
	within(t, g, func(ctx context.Context) {
		res, _, err := do(ctx, g, "GET", "http://accounts/accounts/7", nil)
		if err != nil || res.StatusCode != http.StatusFound {
			t.Errorf("a redirect: %v, %v; want it back as it is", res, err)
		}
	})
}

// TestClientDials: the next instance when one takes no connection, over TCP and unix sockets.
func TestClientDials(t *testing.T) {
	serve := func(l net.Listener) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, l.Addr().Network()) }), ReadHeaderTimeout: time.Minute}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
	}
	listen := func(network, address string) net.Listener {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	closed := listen("tcp", "127.0.0.1:0")
	_ = closed.Close()
	dead := zone.SliceUpstream{Scheme: "http", Network: "tcp", Address: closed.Addr().String()}
	tcp := listen("tcp", "127.0.0.1:0")
	serve(tcp)
	socket := filepath.Join(t.TempDir(), "a.sock")
	serve(listen("unix", socket))
	overTCP := zone.SliceUpstream{Scheme: "http", Network: "tcp", Address: tcp.Addr().String()}
	overName := zone.SliceUpstream{Scheme: "http", Network: "tcp", Address: strings.Replace(overTCP.Address, "127.0.0.1", "localhost", 1)}
	overUnix := zone.SliceUpstream{Scheme: "http", Network: "unix", Address: socket}

	for _, tt := range []struct {
		name      string
		upstreams []zone.SliceUpstream
		want      string // empty: an error
		err       error
	}{
		{"tcp", []zone.SliceUpstream{overTCP}, "tcp", nil},
		{"localhost", []zone.SliceUpstream{overName}, "tcp", nil},
		{"unix", []zone.SliceUpstream{overUnix}, "unix", nil},
		{"the second", []zone.SliceUpstream{dead, overUnix}, "unix", nil},
		{"all dead", []zone.SliceUpstream{dead}, "", nil},
		{"none", nil, "", guard.ErrNotEnforced},
		{"another host", []zone.SliceUpstream{{Scheme: "http", Network: "tcp", Address: "10.0.0.1:80"}}, "", guard.ErrNotEnforced},
		{"TLS", []zone.SliceUpstream{{Scheme: "https", Network: "tcp", Address: overTCP.Address}}, "", guard.ErrNotEnforced},
		{"unknown network", []zone.SliceUpstream{{Scheme: "http", Network: "vsock", Address: "2:80"}}, "", guard.ErrNotEnforced},
	} {
		g := guardtest.FromSlice(t, &zone.Slice{
			Version: zone.SliceVersion, Zone: "z", Issuer: "https://z", Service: "orders",
			Routes: []zone.SliceRoute{{Listener: "public", Method: "GET", Path: "/mine", Allow: []string{"user"}}},
			Calls:  []zone.SliceCall{{Service: "accounts", Method: "GET", Path: "/a", Upstreams: tt.upstreams}},
		})
		within(t, g, func(ctx context.Context) {
			_, answer, err := do(ctx, g, "GET", "http://accounts/a", nil)
			if (err == nil) != (tt.want != "") || answer != tt.want || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%s: answer %q, %v; want %q, %v", tt.name, answer, err, tt.want, tt.err)
			}
		})
	}
}

func TestClientOfAGuardWithoutMap(t *testing.T) {
	source := testca.New(t, "shop.example", time.Now()).Source(t, "orders", time.Now)
	ctx := standin.With(t.Context(), standin.Parts{Source: source, Control: nothing{}})
	g, err := guard.New(ctx, guard.Config{Service: "orders", Control: "https://control.invalid", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", http.NoBody)
	from(t, "gateway")(r)
	g.Protect(http.HandlerFunc(echo)).ServeHTTP(w, r)
	if got := reasonOf(w); got != "inside.unavailable" || w.Header().Get("Retry-After") == "" || g.Ready() {
		t.Errorf("a request = %s, %v, ready %v", got, w.Header(), g.Ready())
	}
	r, err = http.NewRequestWithContext(t.Context(), "GET", "http://accounts/accounts/7", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := g.Client().Do(r); !errors.Is(err, guard.ErrNotReady) {
		t.Errorf("a call = %v, %v, want %v", res, err, guard.ErrNotReady)
	}
}

type nothing struct{}

func (nothing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("down") }
