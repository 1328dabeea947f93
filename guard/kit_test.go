package guard_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/internal/problem"
)

const correlationID = "4ff4a6a2-5e8e-4b62-9c27-3a2b8a9a5a10"

// shop declares something of every kind for the service orders.
const shop = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /open: anonymous
      GET /mine: user
      GET /staff: {allow: user, roles: [support, admin]}
      GET /keys: {allow: key, scopes: [orders.read]}
      GET /both: {allow: [user, service]}
      GET /inner: service
      GET /inner/staff: {allow: service, roles: [admin]}
      GET /own: service
      GET /own/user: user
      GET /own/staff: {allow: service, roles: [admin]}
      GET /typed/{id}: {allow: user, params: {id: int, lang: [de, en]}}
      GET /raw/{name}: {allow: user, paths: encoded-slash}
      DELETE /closed: {allow: user, once: true}
      GET /users/{user}/orders: {allow: user, owner: "path:user"}
      GET /orders/{id}: {allow: user, owner: "response:/customer"}
      PATCH /orders/{id}: {allow: user, owner: "read:/customer"}
      DELETE /orders/{id}: {allow: [user, service], owner: "read:/customer"}
      GET /code/{id}: {allow: user, owner: code}
      POST /code: {allow: user, owner: code}
      GET /tree/{rest...}: anonymous
    calls:
      accounts: [GET /accounts/{id}, "POST /accounts/{id}/notes", {call: POST /charges, as: service}]
  accounts:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /accounts/{id}: service
      POST /accounts/{id}/notes: service
      POST /charges: service
      GET /admin: service
  catalog:
    upstream: https://127.0.0.1:9004
    embedded: true
    routes:
      GET /products: anonymous
    calls:
      orders: [GET /both, GET /inner, GET /inner/staff, GET /mine, GET /keys, "DELETE /orders/{id}",
        {call: GET /own, as: service}, {call: GET /own/user, as: service}, {call: GET /own/staff, as: service}]
  nosy:
    upstream: https://127.0.0.1:9005
    embedded: true
    routes:
      GET /nosy: anonymous
    calls:
      orders: [GET /mine]
`

// order is an object that has an owner.
type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
}

// echo answers 200 with what the handler saw.
func echo(w http.ResponseWriter, r *http.Request) {
	p := guard.PrincipalFrom(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"method": r.Method, "path": r.URL.EscapedPath(), "kind": p.Kind.String(), "sub": p.Subject, "roles": p.Roles,
		"caller": guard.Caller(r.Context()), "correlation": guard.CorrelationID(r.Context()),
	})
}

func reasonOf(w *httptest.ResponseRecorder) string {
	if r := w.Header().Get(problem.ReasonHeader); r != "" {
		return r
	}
	return fmt.Sprintf("%d", w.Code)
}

// send serves one request and returns its reason, "200" or whatever status else.
func send(h http.Handler, r *http.Request) (string, *httptest.ResponseRecorder) {
	r.Header.Set("X-Correlation-Id", correlationID)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reasonOf(w), w
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// headers returns a change of a request; pairs are names and values.
func headers(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

// from returns a change that makes a request one of another workload of the zone.
func from(t testing.TB, name string) func(*http.Request) { return fromZone(t, "shop.example", name) }

func fromZone(t testing.TB, zone, name string) func(*http.Request) {
	t.Helper()
	id, err := spiffeid.FromString("spiffe://" + zone + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) { *r = *r.WithContext(channel.Assume(r.Context(), id)) }
}

// both makes two changes.
func both(a, b func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { a(r); b(r) }
}

// tamper flips a bit of one part of a token: 0 the header, 1 the claims, 2 the signature.
func tamper(token string, part int) string {
	parts := strings.Split(token, ".")
	b := []byte(parts[part])
	b[len(b)/2] ^= 1
	parts[part] = string(b)
	return strings.Join(parts, ".")
}

func newOrders(t testing.TB, options ...guardtest.Option) *guardtest.Guard {
	t.Helper()
	return guardtest.New(t, shop, "orders", options...)
}
