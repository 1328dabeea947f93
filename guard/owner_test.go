package guard_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
)

// store is a service that takes no care of who asks: the guard must.
type store struct {
	orders map[string]order
	wrote  []string // METHOD id of the writes that were let through
	reads  int      // GETs of the guard
}

func newStore() *store {
	return &store{orders: map[string]order{"1": {"1", "u1"}, "2": {"2", "u2"}, "3": {"3", "anonymous"}, "4": {"4", ""}}}
}

func (s *store) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{user}/orders", echo)
	mux.HandleFunc("GET /orders/{id}", s.get)
	mux.HandleFunc("PATCH /orders/{id}", s.write)
	mux.HandleFunc("DELETE /orders/{id}", s.write)
	mux.HandleFunc("GET /code/{id}", func(w http.ResponseWriter, r *http.Request) {
		o := s.orders[r.PathValue("id")]
		if !guard.Owns(r.Context(), o.Customer) {
			return
		}
		_ = json.NewEncoder(w).Encode(o)
	})
	return mux
}

func (s *store) get(w http.ResponseWriter, r *http.Request) {
	if guard.OwnerRead(r.Context()) {
		s.reads++
	}
	o, ok := s.orders[r.PathValue("id")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Etag", `"secret"`)
	_ = json.NewEncoder(w).Encode(o)
}

func (s *store) write(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.wrote = append(s.wrote, r.Method+" "+r.PathValue("id")+" "+string(b))
}

// TestBOLA: every owner selector, user by object (OWASP API1:2023).
func TestBOLA(t *testing.T) {
	g := newOrders(t)
	st := newStore()
	h := g.Protect(st.mux())
	users := []string{"u1", "u2", "anonymous"}
	for _, op := range []struct{ method, path string }{
		{"GET", "/orders/%s"}, {"HEAD", "/orders/%s"}, {"PATCH", "/orders/%s"}, {"DELETE", "/orders/%s"}, {"GET", "/code/%s"}, {"HEAD", "/code/%s"},
	} {
		for _, user := range users {
			for _, id := range []string{"1", "2", "3", "4", "5"} {
				target := fmt.Sprintf(op.path, id)
				want := "owner.denied"
				switch {
				case user == "anonymous":
					want = "auth.missing"
				case st.orders[id].Customer == user:
					want = "200"
				}
				r := g.Request(op.method, target, g.Token(user))
				r.Body = io.NopCloser(strings.NewReader("x"))
				if got, w := send(h, r); got != want {
					t.Errorf("%s %s as %s = %s, want %s", op.method, target, user, got, want)
				} else if want != "200" && (strings.Contains(w.Body.String(), "customer") || w.Header().Get("Etag") != "") {
					t.Errorf("%s %s as %s leaks: %v %s", op.method, target, user, w.Header(), w.Body)
				}
			}
		}
	}
	if want := []string{"PATCH 1 x", "PATCH 2 x", "DELETE 1 x", "DELETE 2 x"}; !slices.Equal(st.wrote, want) {
		t.Errorf("writes that got through %q, want %q", st.wrote, want)
	}
	if want := 2 * 2 * 5; st.reads != want { // methods, users who are somebody, objects
		t.Errorf("%d reads by the guard, want %d", st.reads, want)
	}
	for _, tt := range []struct{ user, path, want string }{
		{"u1", "/users/u1/orders", "200"}, {"u2", "/users/u1/orders", "owner.denied"}, {"u1", "/users/u%31/orders", "200"},
		{"u1", "/users/U1/orders", "owner.denied"}, {"u1", "/users/u1%00/orders", "owner.denied"}, {"anonymous", "/users/anonymous/orders", "auth.missing"},
	} {
		if got, _ := send(h, g.Request("GET", tt.path, g.Token(tt.user))); got != tt.want {
			t.Errorf("GET %s as %s = %s, want %s", tt.path, tt.user, got, tt.want)
		}
	}
}

func TestOwnerBehindACaller(t *testing.T) {
	g := newOrders(t)
	st := newStore()
	h := g.Protect(st.mux())
	for _, tt := range []struct {
		sub, want string
		reads     int
	}{{"u1", "200", 1}, {"u2", "owner.denied", 1}, {"anonymous", "owner.denied", 0}} {
		st.reads = 0
		r := g.Request("DELETE", "/orders/1", g.Token(tt.sub), guardtest.From("catalog"))
		if got, _ := send(h, r); got != tt.want {
			t.Errorf("catalog deletes an order of u1 for %s: %s, want %s", tt.sub, got, tt.want)
		}
		if st.reads != tt.reads {
			t.Errorf("for %s the guard reads %d times, want %d", tt.sub, st.reads, tt.reads)
		}
	}
}

// TestOwnResponse: what may leave on a response: route.
func TestOwnResponse(t *testing.T) {
	g := newOrders(t)
	for _, tt := range []struct {
		name   string
		status int
		header []string
		body   string
		want   string
	}{
		{"mine", 200, []string{"Content-Type", "application/json"}, `{"customer":"u1"}`, "200"},
		{"mine, with a suffix", 200, []string{"Content-Type", "application/hal+json; charset=utf-8"}, `{"customer":"u1"}`, "200"},
		{"mine, without a type", 200, nil, `{"customer":"u1"}`, "200"},
		{"mine, created", 201, nil, `{"customer":"u1"}`, "201"},
		{"another's", 200, nil, `{"customer":"u2"}`, "owner.denied"},
		{"nobody's", 200, nil, `{}`, "owner.denied"},
		{"twice", 200, nil, `{"customer":"u2","customer":"u1"}`, "owner.denied"},
		{"a name twice elsewhere", 200, nil, `{"customer":"u1","lines":[{"a":1,"a":2}]}`, "owner.denied"},
		{"two documents", 200, nil, `{"customer":"u1"}{"customer":"u2"}`, "owner.denied"},
		{"a list", 200, nil, `[{"customer":"u1"},{"customer":"u2"}]`, "owner.denied"},
		{"HTML", 200, []string{"Content-Type", "text/html"}, `{"customer":"u1"}`, "owner.denied"},
		{"coded", 200, []string{"Content-Encoding", "gzip"}, `{"customer":"u1"}`, "owner.denied"},
		{"partial", 206, nil, `{"customer":"u1"}`, "owner.denied"},
		{"not modified", 304, nil, ``, "owner.denied"},
		{"redirect", 302, []string{"Location", "/orders/secret"}, ``, "owner.denied"},
		{"not found", 404, nil, `{"customer":"u1"}`, "owner.denied"},
		{"failed", 500, nil, `{"customer":"u1"}`, "owner.denied"},
		{"too large", 200, nil, `{"customer":"u1","x":"` + strings.Repeat("x", 1<<20) + `"}`, "owner.denied"},
		{"too large after a whole document", 200, nil, `{"customer":"u1"}` + "\f" + strings.Repeat(" ", 1<<20), "owner.denied"},
		{"as large as can be", 200, nil, `{"customer":"u1","x":"` + strings.Repeat("x", 1<<20-24-2) + `"}`, "200"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			var seen *http.Request
			h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = r
				w.Header().Set("X-Secret", "1")
				for i := 0; i < len(tt.header); i += 2 {
					w.Header().Set(tt.header[i], tt.header[i+1])
				}
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(tt.status)
				w.(http.Flusher).Flush()
				for part := range strings.SplitAfterSeq(tt.body, "\f") {
					_, _ = io.WriteString(w, strings.TrimSuffix(part, "\f"))
				}
			}))
			r := g.Request(method, "/orders/1", g.Token("u1"))
			headers("If-None-Match", `"a"`, "If-Modified-Since", "x", "Range", "bytes=0-1", "If-Range", "x", "Accept-Encoding", "gzip")(r)
			got, w := send(h, r)
			if got == "200" && tt.want != "200" || got != tt.want && !(tt.want == "201" && got == "201") {
				t.Errorf("%s %s = %s, want %s", method, tt.name, got, tt.want)
			}
			if seen == nil || seen.Method != "GET" {
				t.Fatalf("%s: the handler sees %v, want GET", method, seen)
			}
			for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range", "If-Range", "Accept-Encoding"} {
				if v := seen.Header.Get(name); v != "" {
					t.Errorf("%s %s: the handler sees %s: %s", method, tt.name, name, v)
				}
			}
			if tt.want == "owner.denied" {
				if w.Header().Get("X-Secret") != "" || w.Header().Get("Location") != "" || strings.Contains(w.Body.String(), "customer") {
					t.Errorf("%s %s leaks: %v %s", method, tt.name, w.Header(), w.Body)
				}
				continue
			}
			want := tt.body
			if method == "HEAD" {
				want = ""
			}
			if w.Body.String() != want || w.Header().Get("X-Secret") != "1" || w.Header().Get("Content-Length") != fmt.Sprint(len(tt.body)) {
				t.Errorf("%s %s: %d bytes, header %v; want %d bytes", method, tt.name, w.Body.Len(), w.Header(), len(want))
			}
			if !strings.HasSuffix(strings.Split(w.Header().Get("Content-Type"), ";")[0], "json") {
				t.Errorf("%s %s: type %q, want JSON", method, tt.name, w.Header().Get("Content-Type"))
			}
		}
	}
}

func TestOwnRead(t *testing.T) {
	g := newOrders(t)
	var read, write *http.Request
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			read = r
			_, _ = io.WriteString(w, `{"customer":"u1"}`)
			return
		}
		write = r
		w.Header().Set("X-Wrote", body(t, r.Body))
	}))
	r := g.Request("PATCH", "/orders/1?tenant=a", g.Token("u1"))
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("patch")), 5
	headers("Content-Type", "application/json", "If-Match", `"a"`, "Expect", "100-continue", "X-Tenant", "a", "Accept", "text/html")(r)
	got, w := send(h, r)
	if got != "200" || w.Header().Get("X-Wrote") != "patch" {
		t.Fatalf("PATCH = %s, wrote %q", got, w.Header().Get("X-Wrote"))
	}
	if read.URL.String() != "/orders/1?tenant=a" || read.Header.Get("X-Tenant") != "a" || read.ContentLength != 0 || read.Body != http.NoBody || !guard.OwnerRead(read.Context()) {
		t.Errorf("the guard reads %s with %v, %d bytes", read.URL, read.Header, read.ContentLength)
	}
	for _, name := range []string{"Content-Type", "If-Match", "Expect"} {
		if read.Header.Get(name) != "" || write.Header.Get(name) == "" {
			t.Errorf("%s: read %q, write %q", name, read.Header.Get(name), write.Header.Get(name))
		}
	}
	if guard.OwnerRead(write.Context()) || guard.PrincipalFrom(read.Context()).Subject != "u1" || write.Header.Get("Accept") != "text/html" {
		t.Errorf("the write is taken for a read, or changed: %v", write.Header)
	}
	if read.Context().Err() == nil {
		t.Error("the context of the read goes on after it")
	}
}

// TestOwnReadNeedsTheMux: Protect around one handler would run the write as its own read.
func TestOwnReadNeedsTheMux(t *testing.T) {
	g := newOrders(t)
	for _, tt := range []struct{ pattern, want string }{
		{"PATCH /orders/{id}", "owner.unchecked"},
		{"PATCH\t/orders/{id}", "owner.unchecked"}, // ServeMux takes any blanks
		{"/orders/{id}", "200"},
	} {
		runs := 0
		mux := http.NewServeMux()
		mux.Handle(tt.pattern, g.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			runs++
			_, _ = io.WriteString(w, `{"customer":"u1"}`)
		})))
		if got, _ := send(mux, g.Request("PATCH", "/orders/1", g.Token("u1"))); got != tt.want || runs > 0 != (tt.want == "200") {
			t.Errorf("%s: %s after %d runs, want %s", tt.pattern, got, runs, tt.want)
		}
	}
}

// TestOwnReadReadsTheSameObject: where the GET of a path is another operation
// than the write's own read, its answer says nothing about the object that is
// to be written.
func TestOwnReadReadsTheSameObject(t *testing.T) {
	g := guardtest.New(t, `
zone: shop.example
services:
  wiki:
    upstream: http://127.0.0.1:9002
    embedded: true
    routes:
      GET /pages/{slug}: {allow: user, owner: "response:/author"}
      GET /pages/mine: user
      PATCH /pages/{page}: {allow: user, owner: "read:/author"}
`, "wiki")
	wrote := ""
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pages/{slug}", func(w http.ResponseWriter, r *http.Request) {
		author := map[string]string{"a": "u1"}[r.PathValue("slug")]
		_ = json.NewEncoder(w).Encode(map[string]string{"author": cmp.Or(author, "u2")})
	})
	mux.HandleFunc("GET /pages/mine", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"author": guard.PrincipalFrom(r.Context()).Subject})
	})
	mux.HandleFunc("PATCH /pages/{page}", func(_ http.ResponseWriter, r *http.Request) { wrote += r.PathValue("page") })
	h := g.Protect(mux)
	for _, tt := range []struct{ path, want string }{
		{"/pages/a", "200"},
		{"/pages/b", "owner.denied"},
		{"/pages/mine", "owner.denied"}, // a page of u2 has this slug
		{"/pages/%6dine", "owner.denied"},
	} {
		if got, _ := send(h, g.Request("PATCH", tt.path, g.Token("u1"))); got != tt.want {
			t.Errorf("PATCH %s = %s, want %s", tt.path, got, tt.want)
		}
	}
	if wrote != "a" {
		t.Errorf("wrote %q, want a", wrote)
	}
}
