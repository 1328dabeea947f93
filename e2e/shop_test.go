package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// shopServices are the shop's programs and where its map has them.
var shopServices = map[string]string{"catalog": "127.0.0.1:9001", "orders": "127.0.0.1:9002", "accounts": "127.0.0.1:9003", "payments": "127.0.0.1:9004"}

// startShop serves the map of examples/shop, at other addresses, with its real
// services behind their guards. What the services write is returned.
func startShop(t *testing.T) (*zoned, *syncBuffer) {
	t.Helper()
	text, err := os.ReadFile("../examples/shop/zone.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shop := strings.NewReplacer("127.0.0.1:8443", "@public@", "127.0.0.1:8444", "@partner@",
		"listeners:\n", "listeners:\n  admin: {address: \"@admin@\"}\n  control: {address: \"@control@\"}\n").Replace(string(text))
	for name, address := range shopServices {
		shop = strings.ReplaceAll(shop, address, "@"+name+"@")
	}
	z := startZone(t, "journal: {size: 64MiB}\n"+shop, nil)
	out := &syncBuffer{}
	for name := range shopServices {
		z.startService(name, out)
	}
	alice := z.login(z.addUser("ready@shop.example", "support"))
	for _, path := range []string{"/products", "/orders/1", "/accounts/6f2d4a1e-8c1b-4a77-9d3e-0b5a1c2d3e4f", "/payments"} {
		until(t, path+" is answered by a guard that has its map", func() bool {
			got := z.do(call{path: path, bearer: alice})
			return got.Status < 500
		})
	}
	return z, out
}

// startService runs one program of the shop until the test ends.
func (z *zoned) startService(name string, out *syncBuffer) {
	z.t.Helper()
	cmd := exec.Command(filepath.Join(z.bin, name), "-listen", z.address[name])
	cmd.Env = append(os.Environ(), "SALLYPORT_CONTROL=https://"+z.address["control"], "SALLYPORT_CA="+filepath.Join(z.data, "ca.pem"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
		_ = cmd.Wait()
	})
}

// TestShop walks the owner checks, roles, calls and the partner's door of the
// shop: status, reason and the one record of each.
func TestShop(t *testing.T) {
	t.Parallel()
	z, out := startShop(t)
	client := z.client()
	alice, bob, carol := z.addUser("alice@shop.example"), z.addUser("bob@shop.example"), z.addUser("carol@shop.example", "merchant", "support")
	a, b, c := bearer(z.loginWith(client, alice)), bearer(z.loginWith(client, bob)), bearer(z.loginWith(client, carol))
	partner, weak := bearer(z.createKey("partner", "--scope", "payments.notify").Key), bearer(z.createKey("weak", "--scope", "payments.read").Key)
	created := z.do(call{method: "POST", path: "/orders", header: a, json: true, body: `{"product":1,"amount":1900}`, client: client})
	if created.Status != 201 {
		t.Fatalf("alice's order: %d %s\n%s", created.Status, created.Body, out)
	}
	order := "/orders/" + strconv.Itoa(int(fieldsOf(t, created.Body)["id"].(float64)))

	ids := map[string]string{} // of each step, its correlation id
	bodies := map[string]string{}
	for i, s := range []struct {
		listener, method, path string
		who                    http.Header
		body                   string
		status                 int
		reason                 string
	}{
		{"", "GET", "/products", nil, "", 200, "ok"},
		{"", "GET", "/products/1", nil, "", 200, "ok"},
		{"", "GET", "/products/99", nil, "", 404, "ok"}, // the service's own 404
		{"", "GET", "/products/one", nil, "", 400, "request.param"},
		{"", "GET", "/products/1?id=x", nil, "", 400, "request.param"},
		{"", "PUT", "/products/1", nil, `{"name":"Lamp","price":1}`, 401, "auth.missing"},
		{"", "PUT", "/products/1", a, `{"name":"Lamp","price":1}`, 403, "access.role"},
		{"", "PUT", "/products/1", c, `{"name":"Lamp","price":1}`, 200, "ok"},
		{"", "GET", order, nil, "", 401, "auth.missing"},
		{"", "GET", order, a, "", 200, "ok"},
		{"", "GET", order, b, "", 404, "owner.denied"},
		{"", "GET", order, c, "", 404, "owner.denied"}, // a role is no ownership
		{"", "GET", "/orders/4711", b, "", 404, "owner.denied"},
		{"", "PATCH", order, b, `{"amount":1}`, 404, "owner.denied"},
		{"", "PATCH", "/orders/4711", b, `{"amount":1}`, 404, "owner.denied"},
		{"", "PATCH", order, a, `{"amount":2000}`, 200, "ok"},
		{"", "POST", order + "/notes", b, `{"text":"bob was here"}`, 404, "owner.denied"},
		{"", "POST", order + "/notes", a, `{"text":"ring twice"}`, 200, "ok"},
		{"", "POST", order + "/notes", b, `not json`, 404, "owner.denied"}, // not even that is told
		{"", "POST", order + "/notes", a, `not json`, 400, "ok"},
		{"", "GET", "/users/" + alice.ID + "/orders", b, "", 404, "owner.denied"},
		{"", "GET", "/users/" + alice.ID + "/orders", a, "", 200, "ok"},
		{"", "GET", "/users/" + strings.ToUpper(alice.ID) + "/orders", a, "", 404, "owner.denied"}, // compared as a string
		{"", "GET", "/accounts/" + alice.ID, b, "", 404, "owner.denied"},
		{"", "GET", "/accounts/" + alice.ID, a, "", 200, "ok"},
		{"", "POST", "/charges", a, `{"amount":1}`, 404, "route.unknown"}, // inside only
		{"", "GET", "/payments", a, "", 403, "access.role"},
		{"", "GET", "/payments", c, "", 200, "ok"},
		{"", "POST", "/callbacks/payment", partner, `{"charge":1}`, 404, "route.unknown"}, // of the other door
		{"partner", "POST", "/callbacks/payment", nil, `{"charge":1}`, 401, "auth.missing"},
		{"partner", "POST", "/callbacks/payment", a, `{"charge":1}`, 403, "access.kind"},
		{"partner", "POST", "/callbacks/payment", weak, `{"charge":1}`, 403, "access.scope"},
		{"partner", "POST", "/callbacks/payment", partner, `{"charge":1}`, 200, "ok"},
		{"partner", "GET", "/products", nil, "", 404, "route.unknown"},
		{"", "DELETE", order, a, "", 403, "access.role"},
		{"", "DELETE", order, c, "", 200, "ok"},
		{"", "GET", order, a, "", 404, "owner.denied"}, // gone: as unknown as somebody else's
	} {
		name := fmt.Sprintf("%d %s %s", i, s.method, s.path)
		got := z.do(call{listener: s.listener, method: s.method, path: s.path, header: s.who, body: s.body, json: s.body != "", client: client})
		ids[name], bodies[name] = got.ID, got.Body
		if got.Status != s.status || s.reason != "ok" && got.reason() != s.reason {
			t.Errorf("%s: %d %s, want %d %s", name, got.Status, got.Body, s.status, s.reason)
		}
		rs := z.of(got.ID)
		if len(rs) != 1 || rs[0].Reason != s.reason || rs[0].Status != s.status {
			t.Errorf("%s: the records are %+v, want one of %s and %d", name, rs, s.reason, s.status)
		}
		if s.reason == "owner.denied" && strings.Contains(got.Body, "alice") {
			t.Errorf("%s: a withheld answer tells %s", name, got.Body)
		}
	}
	var final struct {
		Amount int
		Notes  []string
	}
	for name, body := range bodies {
		if strings.HasSuffix(name, "DELETE "+order) && strings.Contains(body, `"id"`) {
			if err := json.Unmarshal([]byte(body), &final); err != nil {
				t.Fatal(err)
			}
		}
	}
	if final.Amount != 2000 || len(final.Notes) != 1 || final.Notes[0] != "ring twice" {
		t.Errorf("the order ended as %+v: bob's writes must not have been done, alice's must", final)
	}
	if n := strings.Count(out.String(), created.ID); n == 0 { // accounts writes it
		t.Errorf("the correlation id %s of the order did not reach accounts:\n%s", created.ID, out)
	}
}

// TestServicesRefuseThePastGateway: whoever reaches a service past the gateway
// is refused by its guard.
func TestServicesRefuseThePastGateway(t *testing.T) {
	t.Parallel()
	z, _ := startShop(t)
	token := z.login(z.addUser("alice@shop.example"))
	get := func(header http.Header, method, path, service string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+z.address[service]+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode, res.Header.Get("Sallyport-Reason")
	}
	for _, s := range []struct {
		name         string
		header       http.Header
		method, path string
		service      string
		status       int
		reason       string
	}{
		{"no token", nil, "GET", "/products", "catalog", 401, "inside.token_missing"}, // also on an anonymous route
		{"the outside token", bearer(token), "GET", "/payments", "payments", 401, "inside.token_missing"},
		{"the outside token as inside token", http.Header{"Txn-Token": {token}}, "GET", "/payments", "payments", 401, "inside.token_invalid"},
		{"claims in plain", http.Header{"X-User-Id": {"1"}, "X-User-Roles": {"support"}, "X-Caller": {"orders"}}, "GET", "/payments", "payments", 401, "inside.token_missing"},
		{"unsigned", http.Header{"Txn-Token": {"eyJhbGciOiJub25lIiwidHlwIjoidHhudG9rZW4rand0In0.eyJzdWIiOiJhIn0."}}, "GET", "/payments", "payments", 401, "inside.token_invalid"},
		{"a call as if of orders", http.Header{"X-Caller": {"orders"}}, "POST", "/charges", "payments", 401, "inside.token_missing"},
		{"undeclared path", nil, "GET", "/debug/pprof/", "catalog", 401, "inside.token_missing"},
	} {
		if status, reason := get(s.header, s.method, s.path, s.service); status != s.status || reason != s.reason {
			t.Errorf("%s: %d %s, want %d %s", s.name, status, reason, s.status, s.reason)
		}
	}
	if got := z.do(call{path: "/products", bearer: token}); got.Status != 200 {
		t.Errorf("positive control: through the gateway: %d", got.Status)
	}
}
