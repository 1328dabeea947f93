package e2e

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// insideNames are what only the doors may say inwards.
var insideNames = []string{
	"Txn-Token", "X-User-Id", "X-User-Roles", "X-User-Scopes", "X-User-Email", "X-User-", "X-Client-Id", "X-Caller",
	"Sallyport-Request", "Sallyport-Client", "Sallyport-Reason", "Sallyport-Anything",
}

// TestForgedInsideNames: in every spelling, none reaches a service; the true
// ones cannot be named away through Connection.
func TestForgedInsideNames(t *testing.T) {
	t.Parallel()
	z, up, legacy := startInside(t)
	alice := z.addUser("alice@shop.example", "merchant")
	session := z.login(alice)
	const word = "forgedforgedforged"
	send := func(path, lines string) ([]wireAnswer, string) {
		id := newID()
		raw := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: " + id + "\r\n" + lines + "Connection: close\r\n\r\n"
		answers, _ := z.exchange(t, raw, 0)
		return answers, id
	}
	for _, name := range insideNames {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), mixed(name)} {
			answers, id := send("/open", spelling+": "+word+"\r\n"+spelling+":"+word+"\r\n")
			in := up.of(id)
			if len(answers) != 1 || answers[0].Status != 200 || len(in) != 1 || strings.Contains(in[0].Raw, word) {
				t.Errorf("%s: answers %v, the service got %+v", spelling, answers, in)
			}
		}
		for _, alias := range []string{strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", "_", 1), name + "\x00", name + "\t"} {
			answers, id := send("/open", alias+": "+word+"\r\n")
			if len(answers) != 1 || answers[0].Status != 400 || len(up.of(id)) != 0 {
				t.Errorf("%q: answers %v, the service got %+v; want 400", alias, answers, up.of(id))
			}
		}
	}
	for _, connection := range []string{"Txn-Token", "txn-token, X-User-Id, x-user-roles, X-Correlation-Id, Traceparent, Sallyport-Client", "close, X-User-Id"} {
		id := newID()
		raw := "GET /legacy HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: " + id + "\r\nAuthorization: Bearer " + session + "\r\nX-User-Id: " + word + "\r\nConnection: " + connection + ", close\r\n\r\n"
		answers, _ := z.exchange(t, raw, 0)
		in := legacy.of(id)
		if len(answers) != 1 || answers[0].Status != 200 || len(in) != 1 {
			t.Fatalf("Connection: %s: answers %v, the service got %+v", connection, answers, in)
		}
		h := in[0].Header
		if len(h["Txn-Token"]) != 1 || !slices.Equal(h["X-User-Id"], []string{alice.ID}) || !slices.Equal(h["X-User-Roles"], []string{"merchant"}) || len(h["Sallyport-Client"]) != 1 || len(h["Traceparent"]) != 1 {
			t.Errorf("Connection: %s: the service got\n%s", connection, in[0].Raw)
		}
	}
	// A service without plain_headers gets no name in plain, an anonymous caller has none.
	got := z.do(call{path: "/mine", bearer: session})
	if in := up.of(got.ID); len(in) != 1 || in[0].Header.Get("X-User-Id") != "" {
		t.Errorf("without plain_headers: %+v", in)
	}
	got = z.do(call{path: "/legacy", header: http.Header{"X-User-Id": {word}}})
	if in := legacy.of(got.ID); len(in) != 1 || in[0].Header["X-User-Id"] != nil {
		t.Errorf("anonymous: %+v", in)
	}
}

func mixed(name string) string {
	b := []byte(strings.ToLower(name))
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

// TestNamesOfARequest: a correlation id of the client is kept when it is a UUID
// v4, else minted; a new trace starts; both are in the answer's record.
func TestNamesOfARequest(t *testing.T) {
	t.Parallel()
	z, up, _ := startInside(t)
	client := z.client()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for given, kept := range map[string]bool{
		"3f2b8c1e-9d4a-4c7b-8e21-0123456789ab":  true,
		"3F2B8C1E-9D4A-4C7B-8E21-0123456789AB":  false, // not canonical
		"3f2b8c1e-9d4a-1c7b-8e21-0123456789ab":  false, // version 1
		"3f2b8c1e-9d4a-4c7b-0e21-0123456789ab":  false, // another variant
		"3f2b8c1e9d4a4c7b8e210123456789ab":      false,
		"../../etc/passwd":                      false,
		"":                                      false,
		"3f2b8c1e-9d4a-4c7b-8e21-0123456789abc": false,
	} {
		got := z.do(call{path: "/open", client: client, header: http.Header{
			"X-Correlation-Id": {given}, "Traceparent": {"00-" + trace + "-" + parent + "-01"}, "Tracestate": {"a=b"}, "Baggage": {"k=v"},
		}})
		id := got.Header.Get("X-Correlation-Id")
		if got.Status != 200 || !uuidForm.MatchString(id) || kept != (id == given) {
			t.Errorf("%q: %d, answered with %q", given, got.Status, id)
			continue
		}
		in, rs := up.of(id), z.of(id)
		if len(in) != 1 || len(rs) != 1 {
			t.Errorf("%q: the service was asked %d times, %d records", given, len(in), len(rs))
			continue
		}
		parts := strings.Split(in[0].Header.Get("Traceparent"), "-")
		if len(parts) != 4 || parts[0] != "00" || parts[1] == trace || parts[2] == parent || parts[1] != rs[0].TraceID {
			t.Errorf("%q: traceparent inside is %q, the record has %s", given, in[0].Header["Traceparent"], rs[0].TraceID)
		}
		if in[0].Header.Get("Tracestate")+in[0].Header.Get("Baggage") != "" {
			t.Errorf("%q: the caller's trace state went in: %s", given, in[0].Raw)
		}
	}
	two := z.do(call{path: "/open", header: http.Header{"X-Correlation-Id": {newID(), newID()}}})
	if id := two.Header.Get("X-Correlation-Id"); !uuidForm.MatchString(id) || len(up.of(id)) != 1 || len(up.of(id)[0].Header["X-Correlation-Id"]) != 1 {
		t.Errorf("two ids: answered with %q, the service got %+v", id, up.of(id))
	}
}

// TestAnswersTellNothingOfTheInside: what a service says of itself, of the
// inside and in our cookie's name stays inside; its own cookies and headers pass.
func TestAnswersTellNothingOfTheInside(t *testing.T) {
	t.Parallel()
	lines := "HTTP/1.1 103 Early Hints\r\nLink: </hint>\r\nX-Hop: leaked\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: leaked/1\r\nX-Powered-By: leaked\r\nVia: 1.1 leaked\r\n" +
		"Txn-Token: leaked\r\nX-User-Id: leaked\r\nSallyport-Reason: ok\r\nSallyport-Client: leaked\r\nX-Caller: leaked\r\n" +
		"Connection: X-Hop\r\nX-Hop: leaked\r\nKeep-Alive: leaked\r\nProxy-Authenticate: leaked\r\nUpgrade: leaked\r\nAlt-Svc: leaked\r\n" +
		"Access-Control-Allow-Origin: leaked\r\nSet-Cookie: __Host-session=leaked; Path=/; Secure\r\nSet-Cookie: theme=dark\r\n" +
		"Strict-Transport-Security: max-age=1\r\nX-Own: kept\r\n\r\nok"
	up := startUpstream(t, func(c net.Conn, _ received) { _, _ = io.WriteString(c, lines) })
	z := startZone(t, insideMap, map[string]string{"plain": up.address})
	got := z.do(call{path: "/open"})
	if got.Status != 200 || got.Header.Get("X-Own") != "kept" || !slices.Equal(got.Header["Set-Cookie"], []string{"theme=dark"}) {
		t.Errorf("positive control: %d %v", got.Status, got.Header)
	}
	for name, values := range got.Header {
		if strings.Contains(strings.Join(values, " "), "leaked") {
			t.Errorf("%s: %q came out", name, values)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Strict-Transport-Security": ""} {
		if got.Header.Get(name) != want {
			t.Errorf("localhost: %s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if named := z.do(call{path: "/open", host: "shop.example"}); named.Header.Get("Strict-Transport-Security") == "" {
		t.Error("shop.example: no Strict-Transport-Security")
	}
}
