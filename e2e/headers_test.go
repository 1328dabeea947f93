package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestTrapHeaders: headers that some readers fold, split or believe.
func TestTrapHeaders(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	for _, line := range []string{
		"X_Auth_User: a", "X.Auth.User: a", "X-Auth User: a", "X-Auth-User : a", "X-Auth@User: a", "X-\u00c4: a", "X(y): a", "X/Y: a", "Content_Type: a",
		"Expect: something", "Expect: 100-continue, x", strings.Repeat("X-Many: 1\r\n", 200) + "X: y", "X-Large: " + strings.Repeat("a", 40<<10), strings.Repeat("a", 40<<10) + ": x",
	} {
		if got := z.raw(t, up, get("/open", line)); !got.refused() {
			t.Errorf("%.40q: %v; want 4xx", line, got)
		}
	}
	for _, host := range []string{"", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nHost: evil.example\r\n", "Host: localhost, evil.example\r\n", "Host: a@localhost\r\n", "Host: localhost:99999999\r\n", "Host: localhost:x\r\n",
		"Host: localhost/\r\n", "Host: localhost#\r\n", "Host: local host\r\n", "Host:\r\n", "Host: localhost\x00\r\n", "Host: [::1\r\n", "Host: localhost;x\r\n", "Host: localhost\\x\r\n", "Host: evil.example\r\n", "Host: shop.example.evil.example\r\n", "Host: localhost.\r\n"} {
		got := z.raw(t, up, "GET /open HTTP/1.1\r\nX-Correlation-Id: ID\r\nConnection: close\r\n"+host+"\r\n")
		if !got.refused() || len(got.answers) != 1 {
			t.Errorf("%q: %v; want 4xx", host, got)
		}
		if host == "Host: evil.example\r\n" && got.first() != 421 {
			t.Errorf("an unknown Host: %d, want 421", got.first())
		}
	}
	if got := z.raw(t, up, get("/open", "X-Folded: a\r\n b")); !got.refused() && (len(got.in) != 1 || got.in[0].Header.Get("X-Folded") != "a b") {
		t.Errorf("a folded line: %v; want 4xx, or the fold replaced by a space", got)
	}
	for _, version := range []string{"HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1x", "HTTP/01.1", "HTTP/1,1", ""} {
		got := z.raw(t, up, strings.Replace(get("/open"), "HTTP/1.1", version, 1))
		if !got.refused() && version != "HTTP/1.2" && version != "HTTP/0.9" {
			t.Errorf("%q: %v; want it refused", version, got)
		}
	}
	const word = "10.9.8.7"
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-User", "Forwarded", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "X-Original-Url", "X-Original-Uri",
		"X-Rewrite-Url", "X-Http-Method-Override", "X-Original-Host", "Via", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Upgrade", "Http2-Settings", "Keep-Alive", "Content-Digest", "Signature", "Signature-Input", "X-Cluster-Client-Ip"} {
		got := z.raw(t, up, get("/open", name+": "+word, strings.ToLower(name)+": "+word))
		if got.refused() {
			continue
		}
		if got.first() != 200 || len(got.in) != 1 || strings.Contains(got.in[0].Raw, word) {
			t.Errorf("%s: %v; want it dropped", name, got)
		}
		if rs := z.of(got.id); len(rs) != 1 || rs[0].Client != "127.0.0.1" {
			t.Errorf("%s was believed: %+v", name, rs)
		}
	}
	if got := z.raw(t, up, get("/open", "X-Mine: kept", "Accept: text/plain")); got.first() != 200 || len(got.in) != 1 || got.in[0].Header.Get("X-Mine") != "kept" {
		t.Errorf("positive control: %v", got)
	}
}

// TestUpgrades: no upgrade is taken and none is asked of a service; bytes after
// the request are never a tunnel.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(c net.Conn, r received) {
		if r.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, plainAnswer)
	})
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	for _, lines := range [][]string{
		{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"},
		{"Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
		{"Connection: Upgrade", "Upgrade: TLS/1.3"},
	} {
		got := z.raw(t, up, get("/open", lines...)+smuggled)
		if got.refused() {
			continue
		}
		if len(got.answers) != 1 || got.first() != 200 || len(got.in) != 1 {
			t.Fatalf("%q: %v", lines, got)
		}
		for _, name := range []string{"Upgrade", "Http2-Settings", "Connection"} {
			if v := got.in[0].Header.Get(name); v != "" && !strings.EqualFold(v, "keep-alive") {
				t.Errorf("%q: %s: %s went in", lines, name, v)
			}
		}
	}
	plain, err := net.Dial("tcp", z.address["public"])
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(plain); len(b) > 0 && !strings.Contains(string(b), "400") && b[0] != 0x15 {
		t.Errorf("HTTP/2 without TLS is answered %q", b)
	}
	res, err := http.Get("http://" + z.address["public"] + "/open") //nolint:noctx // of a test
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode < 300 {
			t.Errorf("plain HTTP: %d", res.StatusCode)
		}
	}
}
