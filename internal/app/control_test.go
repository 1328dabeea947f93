package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

const controlMap = `
zone: shop.example
services:
  catalog:
    upstream: http://127.0.0.1:9001
    embedded: true
    routes: {GET /products: anonymous}
    calls: {orders: [GET /orders]}
  orders:
    upstream: http://127.0.0.1:9002
    embedded: true
    routes: {GET /orders: user, GET /secret: user}
`

// ring is a set of keys that is there or not.
type ring struct {
	key *ecdsa.PrivateKey
	err error
}

func (r *ring) SigningKey(context.Context) (token.SigningKey, error) {
	return token.SigningKey{ID: "k1", Signer: r.key}, r.err
}

func (r *ring) PublicKeys(context.Context) ([]token.PublicKey, error) {
	if r.err != nil {
		return nil, r.err
	}
	return []token.PublicKey{{ID: "k1", Key: &r.key.PublicKey}}, nil
}

// TestControl: a guard gets the inside keys and its own slice, and nothing else
// is there.
func TestControl(t *testing.T) {
	z, err := zone.Parse("zone.yaml", []byte(controlMap))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := &ring{key: key}
	h := (&control{zone: z, keys: keys, log: slog.New(slog.DiscardHandler)}).handler()
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}

	w := get("GET", "/.well-known/jwks.json")
	set, err := token.ParseJWKS(w.Body.Bytes())
	if w.Code != 200 || err != nil || w.Header().Get("Content-Type") != "application/jwk-set+json" {
		t.Fatalf("keys: %d %s %v", w.Code, w.Body, err)
	}
	if got, err := set.Key(t.Context(), "k1"); err != nil || !got.Equal(&key.PublicKey) {
		t.Errorf("key k1 = %v, %v, want the ring's", got, err)
	}
	if strings.Contains(w.Body.String(), `"d"`) { // RFC 7518 section 6.2.2
		t.Errorf("the private part is in the answer: %s", w.Body)
	}

	w = get("GET", "/v1/services/catalog")
	var s zone.Slice
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 || s.Service != "catalog" || len(s.Routes) != 1 || len(s.Calls) != 1 {
		t.Errorf("slice: %d %s (%v), want catalog's route and call", w.Code, w.Body, err)
	}
	if strings.Contains(w.Body.String(), "/secret") {
		t.Errorf("the slice of catalog tells of a route of orders: %s", w.Body)
	}
	for _, c := range []struct{ method, path string }{
		{"GET", "/v1/services/nobody"}, {"GET", "/v1/services/"}, {"GET", "/v1/services"}, {"GET", "/"}, {"GET", "/metrics"},
		{"POST", "/v1/services/catalog"}, {"DELETE", "/.well-known/jwks.json"}, {"GET", "/v1/services/catalog/routes"},
	} {
		if w := get(c.method, c.path); w.Code != 404 || !strings.Contains(w.Body.String(), "route.unknown") {
			t.Errorf("%s %s: %d %s, want 404 route.unknown", c.method, c.path, w.Code, w.Body)
		}
	}
	keys.err = errors.New("the ring lies on the planted bottom of the sea")
	if w := get("GET", "/.well-known/jwks.json"); w.Code != 503 || strings.Contains(w.Body.String(), "planted") {
		t.Errorf("without keys: %d %s, want 503 without the cause", w.Code, w.Body)
	}
}
