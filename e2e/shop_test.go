package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// shopAddresses are where the shop's map has its inner doors on TCP.
var shopAddresses = map[string]string{
	"catalog": "127.0.0.1:9001", "accounts": "127.0.0.1:9003", "payments": "127.0.0.1:9004",
	"orders": "127.0.0.1:9502", "reviews": "127.0.0.1:9505", "legacy": "127.0.0.1:9506",
}

// mirrorService shows a test what travels inside: a service without inner door
// is given the inside token as it is.
const mirrorService = `
  mirror:
    upstream: http://@mirror@
    routes:
      GET /mirror: user
`

// shopped is the shop of examples/shop at other addresses, with its real services,
// sidecars and all.
type shopped struct {
	*zoned
	out    *syncBuffer // what services and sidecars write
	mirror *upstream
}

// needNode skips a test that cannot be without Node.
func needNode(t testing.TB) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	return node
}

// startShop serves the shop's map until the test ends.
func startShop(t *testing.T) *shopped {
	t.Helper()
	node := needNode(t)
	text, err := os.ReadFile("../examples/shop/zone.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shop := strings.NewReplacer("127.0.0.1:8443", "@public@", "127.0.0.1:8444", "@partner@", "/run/sallyport/", "@run@/",
		"limits: {", "limits: {header_time: 1min, ", "partners.shop.example]", "partners.shop.example]\n    limits: {header_time: 1min}",
		"listeners:\n", "listeners:\n  admin: {address: \"@admin@\"}\n  control: {address: \"@control@\"}\n").Replace(string(text))
	for name, address := range shopAddresses {
		shop = strings.ReplaceAll(shop, address, "@"+name+"@")
	}
	mirror := startUpstream(t, nil)
	z := startZone(t, "journal: {size: 64MiB}\n"+shop+mirrorService, map[string]string{"mirror": mirror.address})
	s := &shopped{zoned: z, out: &syncBuffer{}, mirror: mirror}
	if err := os.Mkdir(filepath.Join(z.runDir, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, svc := range z.model().Services {
		if svc.InnerDoor() {
			s.startService(svc, node)
		}
	}
	s.waitOpen()
	return s
}

// startService runs one service, and the sidecar that the map gives it. Those of
// orders and accounts join with a token, the others ask the Workload API.
func (s *shopped) startService(svc *zone.Service, node string) {
	s.t.Helper()
	program := filepath.Join(s.bin, svc.Name)
	api := filepath.Join(s.runDir, "workload.sock")
	var join string
	if svc.Name == "orders" || svc.Name == "accounts" {
		join = s.write(svc.Name+".join", s.must("join", svc.Name))
	}
	if svc.Embedded {
		env := []string{"SALLYPORT_CONTROL=https://" + s.address["control"], "SPIFFE_ENDPOINT_SOCKET=unix://" + api}
		if join != "" {
			env = []string{env[0], "SPIFFE_ENDPOINT_SOCKET=", "SALLYPORT_JOIN_FILE=" + join}
		}
		s.startChild(env, program, "-listen", s.address[svc.Name])
		return
	}
	listen := svc.Upstreams[0].Address
	switch svc.Name {
	case "reviews":
		s.startChild([]string{"LISTEN=" + listen, "CALLS=" + svc.Outbound}, node, "../examples/shop/reviews/reviews.mjs")
	case "legacy":
		s.startChild(nil, program, "-listen", "unix:"+listen, "-data", filepath.Join(s.dir, "legacy"))
	default:
		s.startChild(nil, program, "-listen", "unix:"+listen, "-calls", "unix:"+svc.Outbound)
	}
	identity := []string{"--socket", api}
	if join != "" {
		identity = []string{"--join-file", join}
	}
	s.startChild(nil, filepath.Join(s.bin, "sallyport"), append([]string{"sidecar", filepath.Join(s.dir, "zone.yaml"), svc.Name,
		"--data", filepath.Join(s.runDir, "sidecar-"+svc.Name)}, identity...)...)
}

// startChild runs a program until the test ends.
func (s *shopped) startChild(env []string, path string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
		_ = cmd.Wait()
	})
}

// waitOpen waits until every service answers through the gateway, and until an
// order passes all of them.
func (s *shopped) waitOpen() {
	s.t.Helper()
	ready := s.login(s.addUser("ready@shop.example", "support", "merchant"))
	for _, path := range []string{"/products", "/orders/1", "/accounts/6f2d4a1e-8c1b-4a77-9d3e-0b5a1c2d3e4f", "/payments", "/export?file=stock.csv", "/products/1/reviews"} {
		s.until(path+" is answered", func() bool { return s.do(call{path: path, bearer: ready}).Status < 500 })
	}
	s.until("an order is taken", func() bool {
		return s.do(call{method: "POST", path: "/orders", bearer: ready, json: true, body: `{"product":3,"amount":1}`}).Status == 201
	})
}

// until is the other until, which also shows what the services wrote.
func (s *shopped) until(what string, holds func() bool) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the services and sidecars wrote:\n%s", s.out)
		}
	}()
	until(s.t, what, holds)
}

// insideToken is the token that travels inside for a session.
func (s *shopped) insideToken(bearer string) string {
	s.t.Helper()
	got := s.do(call{path: "/mirror", bearer: bearer})
	in := s.mirror.of(got.ID)
	if got.Status != 200 || len(in) != 1 || in[0].Header.Get("Txn-Token") == "" {
		s.t.Fatalf("mirror: %d %s, asked %d times", got.Status, got.Body, len(in))
	}
	return in[0].Header.Get("Txn-Token")
}

// straight is a request to a service past its sidecar, on its own socket.
func (s *shopped) straight(service, method, target string) innerAnswer {
	s.t.Helper()
	conn, err := net.Dial("unix", s.model().Service(service).Upstreams[0].Address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	return exchangeInside(conn, []byte(method+" "+target+" HTTP/1.1\r\nHost: "+service+"\r\nContent-Length: 0\r\n\r\n"), method)
}

// TestShop walks the owner checks, roles, calls and the partner's door of the
// shop: status, reason and the one record of each.
func TestShop(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	client := s.client()
	alice, bob, carol := s.addUser("alice@shop.example"), s.addUser("bob@shop.example"), s.addUser("carol@shop.example", "merchant", "support")
	a, b, c := bearer(s.loginWith(client, alice)), bearer(s.loginWith(client, bob)), bearer(s.loginWith(client, carol))
	partner, weak := bearer(s.createKey("partner", "--scope", "payments.notify").Key), bearer(s.createKey("weak", "--scope", "payments.read").Key)
	create := func(path, body, of string) (id string, charge int) {
		created := s.do(call{method: "POST", path: path, header: a, json: true, body: body, client: client})
		if created.Status != 201 {
			t.Fatalf("alice's %s: %d %s\n%s", of, created.Status, created.Body, s.out)
		}
		fields := fieldsOf(t, created.Body)
		number, _ := fields["charge"].(float64)
		return strconv.Itoa(int(fields["id"].(float64))), int(number)
	}
	id, paid := create("/orders", `{"product":1,"amount":1900}`, "order")
	order, charge := "/orders/"+id, strconv.Itoa(paid)
	id, _ = create("/products/1/reviews", `{"text":"It burns all night."}`, "review")
	review := "/reviews/" + id

	bodies := map[string]string{}
	for i, step := range []struct {
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
		{"", "GET", "/users/" + alice.ID + "/orders", b, "", 404, "owner.denied"},
		{"", "GET", "/users/" + alice.ID + "/orders", a, "", 200, "ok"},
		{"", "GET", "/users/" + strings.ToUpper(alice.ID) + "/orders", a, "", 404, "owner.denied"}, // compared as a string
		{"", "GET", "/accounts/" + alice.ID, b, "", 404, "owner.denied"},
		{"", "GET", "/accounts/" + alice.ID, a, "", 200, "ok"},
		{"", "POST", "/charges", a, `{"amount":1}`, 404, "route.unknown"}, // inside only
		{"", "POST", "/sales", a, `[1]`, 404, "route.unknown"},
		{"", "GET", "/users/" + alice.ID + "/charges", b, "", 404, "owner.denied"},
		{"", "GET", "/users/" + alice.ID + "/charges", a, "", 200, "ok"},
		{"", "POST", "/payments/" + charge + "/dispute", nil, "", 401, "auth.missing"},
		{"", "POST", "/payments/" + charge + "/dispute", b, "", 404, "owner.denied"},
		{"", "POST", "/payments/4711/dispute", b, "", 404, "owner.denied"},
		{"", "POST", "/payments/" + charge + "/dispute", a, "", 200, "ok"},
		{"", "GET", "/payments", a, "", 403, "access.role"},
		{"", "GET", "/payments", c, "", 200, "ok"},
		{"", "POST", "/callbacks/payment", partner, `{"charge":1}`, 404, "route.unknown"}, // of the other door
		{"partner", "POST", "/callbacks/payment", nil, `{"charge":1}`, 401, "auth.missing"},
		{"partner", "POST", "/callbacks/payment", a, `{"charge":1}`, 403, "access.kind"},
		{"partner", "POST", "/callbacks/payment", weak, `{"charge":1}`, 403, "access.scope"},
		{"partner", "POST", "/callbacks/payment", partner, `{"charge":1}`, 200, "ok"},
		{"partner", "GET", "/products", nil, "", 404, "route.unknown"},
		{"", "GET", "/products/1/reviews", nil, "", 200, "ok"},
		{"", "POST", "/products/1/reviews", nil, `{"text":"x"}`, 401, "auth.missing"},
		{"", "POST", "/products/1/reviews", b, `{"text":""}`, 400, "ok"},
		{"", "POST", "/products/1/reviews", b, `{"text":"Never had one."}`, 201, "ok"},
		{"", "GET", review, nil, "", 200, "ok"},
		{"", "HEAD", review, nil, "", 200, "ok"},
		{"", "DELETE", review, nil, "", 401, "auth.missing"},
		{"", "DELETE", review, b, "", 404, "owner.denied"},
		{"", "DELETE", "/reviews/4711", b, "", 404, "owner.denied"},
		{"", "GET", review, nil, "", 200, "ok"}, // bob's DELETE was not done
		{"", "DELETE", review, a, "", 200, "ok"},
		{"", "GET", review, nil, "", 404, "ok"},
		{"", "GET", "/export?file=prices.csv", a, "", 403, "access.role"},
		{"", "GET", "/export?file=prices.csv", c, "", 200, "ok"},
		{"", "DELETE", order, a, "", 403, "access.role"},
		{"", "DELETE", order, c, "", 200, "ok"},
		{"", "GET", order, a, "", 404, "owner.denied"}, // gone: as unknown as somebody else's
	} {
		name := fmt.Sprintf("%d %s %s", i, step.method, step.path)
		got := s.do(call{listener: step.listener, method: step.method, path: step.path, header: step.who, body: step.body, json: step.body != "", client: client})
		bodies[name] = got.Body
		if got.Status != step.status || step.reason != "ok" && got.reason() != step.reason {
			t.Errorf("%s: %d %s, want %d %s", name, got.Status, got.Body, step.status, step.reason)
		}
		rs := s.of(got.ID)
		if len(rs) != 1 || rs[0].Reason != step.reason || rs[0].Status != step.status {
			t.Errorf("%s: the records are %+v, want one of %s and %d", name, rs, step.reason, step.status)
		}
		if step.reason == "owner.denied" && (strings.Contains(got.Body, alice.ID) || strings.Contains(got.Body, "amount")) {
			t.Errorf("%s: a withheld answer tells %s", name, got.Body)
		}
	}
	var final struct{ Amount int }
	for name, body := range bodies {
		if strings.HasSuffix(name, "DELETE "+order) && strings.Contains(body, `"id"`) {
			if err := json.Unmarshal([]byte(body), &final); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, "GET /users/"+alice.ID+"/orders") && strings.Contains(body, `"id"`) && !strings.Contains(body, `"state":"pending"`) {
			t.Errorf("%s: %s, want the state that payments knows", name, body)
		}
	}
	if final.Amount != 2000 {
		t.Errorf("the order ended as %+v: bob's writes must not have been done, alice's must", final)
	}
	if t.Failed() {
		t.Logf("the services and sidecars wrote:\n%s", s.out)
	}
}

// TestShopAsService: catalog's visitors are nobody, and it learns what it needs
// in its own name. Nobody else does: see TestShopMatrix.
func TestShopAsService(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	var product struct{ Sold, Stock *int }
	s.until("catalog knows what orders and legacy know", func() bool {
		if err := json.Unmarshal([]byte(s.do(call{path: "/products/3"}).Body), &product); err != nil {
			t.Fatal(err)
		}
		return product.Sold != nil && product.Stock != nil
	})
	if *product.Sold < 1 || *product.Stock != 7 {
		t.Errorf("product 3: sold %d, stock %d, want at least the one order, and 7", *product.Sold, *product.Stock)
	}
}

// TestShopChain: four services deep, through two sidecars and two guards, a
// request is still of the same user and has the same correlation id; another
// user's token leads nowhere on the way.
func TestShopChain(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	alice, bob := s.addUser("alice@shop.example"), s.addUser("bob@shop.example")
	aliceToken, bobToken := s.login(alice), s.login(bob)
	if got := s.do(call{method: "POST", path: "/orders", bearer: aliceToken, json: true, body: `{"product":2,"amount":2450}`}); got.Status != 201 {
		t.Fatalf("order: %d %s", got.Status, got.Body)
	}
	for _, who := range []struct {
		account
		token  string
		bought bool
	}{{alice, aliceToken, true}, {bob, bobToken, false}} {
		got := s.do(call{method: "POST", path: "/products/2/reviews", bearer: who.token, json: true, body: `{"text":"Long."}`})
		if fields := fieldsOf(t, got.Body); got.Status != 201 || fields["bought"] != who.bought || fields["author"] != who.ID {
			t.Errorf("review of %s: %d %s, want bought %t", who.Email, got.Status, got.Body, who.bought)
		}
		// reviews -> orders -> payments -> accounts
		want := fmt.Sprintf("account read by %q for user %s, correlation id %s", "payments", who.ID, got.ID)
		s.until("accounts writes "+want, func() bool { return strings.Contains(s.out.String(), want) })
		if rs := s.of(got.ID); len(rs) != 1 || rs[0].Principal != who.ID {
			t.Errorf("the records of %s are %+v, want the one of the gateway", got.ID, rs)
		}
	}
	reviews, aliceInside, bobInside := s.member("reviews"), s.insideToken(aliceToken), s.insideToken(bobToken)
	orders := innerCall{to: "orders", target: "/users/" + alice.ID + "/orders", token: aliceInside}
	if got := reviews.ask(orders); !got.passed() {
		t.Errorf("positive control: reviews asks for alice's orders with alice's token: %s", got)
	}
	orders.token = bobInside
	if got := reviews.ask(orders); got.Reason != "owner.denied" || strings.Contains(got.Body, "amount") {
		t.Errorf("reviews asks for alice's orders with bob's token: %s %s, want owner.denied", got, got.Body)
	}
}

// TestLegacyHole: both holes of legacy are open to whoever speaks to it, and
// closed to whoever comes through the zone.
func TestLegacyHole(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	const secret = "DE02120300000000202051"
	if got := s.straight("legacy", "GET", "/export?file=../customers.csv"); got.Status != 200 || !strings.Contains(got.Body, secret) {
		t.Fatalf("positive control: straight to the service: %s %q, want what it should not tell", got, got.Body)
	}
	if got := s.straight("legacy", "POST", "/admin/restock?to=3"); got.Status != 200 {
		t.Fatalf("positive control: straight to the service: %s", got)
	}
	carol := s.login(s.addUser("carol@shop.example", "merchant", "support"))
	if got := s.do(call{path: "/export?file=prices.csv", bearer: carol}); got.Status != 200 || !strings.Contains(got.Body, "1900") {
		t.Fatalf("positive control: the declared export: %d %s", got.Status, got.Body)
	}
	for query, reason := range map[string]string{
		"file=../customers.csv":                 "request.param",
		"file=..%2Fcustomers.csv":               "request.param",
		"file=%2e%2e%2fcustomers.csv":           "request.param",
		"%66ile=../customers.csv":               "request.param",
		"file=prices.csv&file=../customers.csv": "request.param",
		"file=../customers.csv&file=prices.csv": "request.param",
		"file=prices.csv/../../customers.csv":   "request.param",
		"file=/etc/passwd":                      "request.param",
		"file=prices.csv%00":                    "", // what refuses it is not the point here
		"file=prices.csv;file=../customers.csv": "",
		"FILE=../customers.csv":                 "",
		"":                                      "",
	} {
		got := s.do(call{path: "/export?" + query, bearer: carol})
		if reason != "" && got.reason() != reason || got.Status == 200 || strings.Contains(got.Body, secret) {
			t.Errorf("GET /export?%s: %d %s, want %s", query, got.Status, got.Body, reason)
		}
	}
	catalog := s.member("catalog")
	if got := catalog.ask(innerCall{to: "legacy", target: "/stock/1", token: catalog.ownToken()}); !got.passed() || strings.TrimSpace(got.Body) != "3" {
		t.Errorf("positive control: catalog asks for the stock: %s %s", got, got.Body)
	}
	if got := s.do(call{method: "POST", path: "/admin/restock?to=0", bearer: carol}); got.reason() != "route.unknown" {
		t.Errorf("POST /admin/restock by the gateway: %d %s, want route.unknown", got.Status, got.Body)
	}
	for target, reason := range map[string]string{"/admin/restock?to=0": "inside.route", "/stock/1/../../admin/restock?to=0": "", "/stock/%2e%2e%2fadmin": ""} {
		got := catalog.ask(innerCall{to: "legacy", method: "POST", target: target, token: catalog.ownToken()})
		if got.Status/100 == 2 || reason != "" && got.Reason != reason {
			t.Errorf("POST %s at the inner door: %s, want %s", target, got, reason)
		}
	}
	if got := s.straight("legacy", "GET", "/stock/1"); strings.TrimSpace(got.Body) != "3" {
		t.Errorf("the stock is %s: something got through to restock", got.Body)
	}
}

// TestShopAttack runs the program that attacks the inner door of orders.
func TestShopAttack(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	attack := func(socket string) (string, error) {
		out, err := exec.CommandContext(t.Context(), filepath.Join(s.bin, "attack"), "-socket", socket,
			"-control", "https://"+s.address["control"], "-orders", s.door("orders")).CombinedOutput()
		return string(out), err
	}
	attempts(t, func(t *attempt) {
		began := time.Now()
		out, err := attack(filepath.Join(s.runDir, "workload.sock"))
		t.late("the attack", time.Since(began), 10*time.Second) // which is what each of its steps has
		if err != nil {
			t.Errorf("attack: %v", err)
		}
		attacked(t, out)
	})
	began := time.Now()
	if out, err := attack(filepath.Join(s.runDir, "nobody.sock")); err == nil || time.Since(began) > patience {
		t.Errorf("attack without a zone: %v\n%s", err, out)
	}
}

// attacked holds what the attack printed against what it has to.
func attacked(t testing.TB, out string) {
	t.Helper()
	for _, want := range []string{
		`Every attack was refused\.`,
		`control: catalog asks for the sales, as the map says +200\n`, `no certificate +refused in the handshake\n`,
		`a stolen token and its own certificate, without a proof +400 proof.missing\n`,
		`a stolen token with another service's certificate, .* +401 inside.token_invalid\n`,
		`a replay on the same connection +400 proof.replayed\n`, `a changed body under a good proof +400 proof.digest\n`,
		`a forged caller: .* +403 inside.call\n`,
	} {
		if !matches(want, out) {
			t.Errorf("attack did not print %s:\n%s", want, out)
		}
	}
}
