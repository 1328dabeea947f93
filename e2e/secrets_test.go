package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

const secretsMap = head + `
identity: {registration: open}
services:
  plain:
    upstream: http://@plain@
    routes:
      POST /things/{id}: {allow: [anonymous, user]}
      GET /things/{id}: anonymous
      GET /typed/{id}: {allow: anonymous, params: {id: int, q: int}}
      POST /staff: {allow: user, roles: [none]}
`

// files reads all that lies in and beside the data folder, sockets aside.
func (z *zoned) files() map[string][]byte {
	z.t.Helper()
	all := map[string][]byte{}
	for _, root := range []string{z.data, z.data + ".root"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			all[path], err = os.ReadFile(path)
			return err
		})
		if err != nil {
			z.t.Fatal(err)
		}
	}
	return all
}

// TestSecretsAreLoggedNowhere: words planted in every place of a request are in
// no file and no line that the zone writes; what is on record is found.
func TestSecretsAreLoggedNowhere(t *testing.T) {
	t.Parallel()
	planted := map[string]string{} // place by word
	plant := func(place string) string {
		word := "planted" + strings.ReplaceAll(newID(), "-", "")
		planted[word] = place
		return word
	}
	up := startUpstream(t, func(c net.Conn, r received) {
		if strings.Contains(r.Target, "/things/9") {
			_ = c.Close() // breaks off, so that there is a cause to log
			return
		}
		word := r.Header.Get("X-Answer")
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Answer: "+word+"\r\nSet-Cookie: c="+word+"\r\nContent-Length: 55\r\n\r\n"+word+strings.Repeat(".", 55-len(word)))
	})
	z := newZone(t, secretsMap, map[string]string{"plain": up.address})
	z.flags = []string{"--log-level", "debug"}
	z.start()
	alice := z.addUser("alice@shop.example")
	planted[alice.Password] = "password of user add"
	key := z.createKey("k", "--scope", "s")
	session, client := z.login(alice), z.client()
	planted[session], planted[session[4:]], planted[key.Key], planted[key.Key[len("spk_")+13:]] = "session token", "session token without prefix", "API key", "secret part of an API key"

	var ids []string
	send := func(c call) answer {
		c.client = client
		got := z.ask(c)
		ids = append(ids, got.ID)
		return got
	}
	for _, target := range []string{"/things/", "/things/9", "/typed/", "/nowhere/", "/things/../"} {
		send(call{method: "POST", path: target + plant("path") + "?" + plant("query name") + "=" + plant("query value"), body: `{"a":"` + plant("body") + `"}`, json: true, bearer: session, header: http.Header{
			"X-Mine": {plant("header")}, "Cookie": {"a=" + plant("cookie")}, "Referer": {"https://x/" + plant("Referer")}, "User-Agent": {plant("User-Agent")}, "X-Answer": {plant("answer")}, "X-User-Id": {plant("inside name")},
			"Tracestate": {plant("tracestate")}, "X-Forwarded-For": {plant("X-Forwarded-For")}, plant("Header-Name"): {"x"},
		}})
		send(call{path: target + plant("path of GET") + "?q=" + plant("query of GET"), header: xKey(key.Key)})
	}
	send(call{method: "POST", path: "/staff", bearer: session, body: plant("body of a refused request")})
	send(call{path: "/things/1", bearer: plant("unknown bearer")})
	send(call{path: "/things/1", bearer: "sps_" + plant("unknown session") + "AAAA"})
	send(call{path: "/things/1", header: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+plant("Basic password")))}}})
	send(call{path: "/things/1", header: xKey("spk_" + plant("unknown key"))})
	send(call{path: "/things/1", header: cookie("sps_" + plant("unknown cookie"))})
	send(call{method: "POST", path: "/auth/login", json: true, body: credentials(alice.Email, plant("wrong password"))})
	send(call{method: "POST", path: "/auth/login", json: true, body: credentials(plant("unknown account")+"@shop.example", plant("its password"))})
	send(call{method: "POST", path: "/auth/login", json: true, body: `{"email":"` + plant("broken JSON")})
	body, header := form("email", alice.Email, "password", plant("password of a form"), "next", "/"+plant("next"))
	send(call{method: "POST", path: "/auth/login", body: body, header: header})
	send(call{method: "POST", path: "/auth/register", json: true, body: credentials("new@shop.example", plant("password of a registration"))})
	z.exchange(t, "GET /things/1?a="+plant("query of a malformed request")+" HTTP/1.1\r\nHost: localhost\r\nX_Bad: "+plant("malformed header")+"\r\nConnection: close\r\n\r\n", 0)
	z.exchange(t, "GET /things/1 HTTP/1.1\r\n"+plant("line that is no header")+"\r\n\r\n", 0)
	z.exchange(t, plant("method")+" /"+plant("target of an unknown method")+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 0)
	for _, r := range up.all() {
		for _, token := range r.Header["Txn-Token"] {
			planted[token] = "inside token"
		}
	}
	log := z.must("logs", "--limit", "0", "--format", "json") + z.must("logs", "--limit", "0")

	search := func(where string, content []byte) {
		for word, place := range planted {
			for form, text := range map[string]string{"": word, " in base64": base64.StdEncoding.EncodeToString([]byte(word))[:len(word)], " in hex": hex.EncodeToString([]byte(word))} {
				if place == "User-Agent" && strings.Contains(where, "zone.db") {
					continue // of a login, by design: the user's list of sessions shows it
				}
				if bytes.Contains(content, []byte(text)) {
					t.Errorf("%s: the planted %s%s is there", where, place, form)
				}
			}
		}
	}
	files := z.files()
	for path, content := range files {
		search(path, content)
	}
	search("standard error", []byte(z.stderr.String()))
	search("the log", []byte(log))

	// What has to be there is found by the same search.
	anywhere := func(what string, text []byte) {
		t.Helper()
		for _, content := range files {
			if bytes.Contains(content, text) {
				return
			}
		}
		t.Errorf("positive control: %s is in no file", what)
	}
	hash, keyHash := sha256.Sum256([]byte(session)), sha256.Sum256([]byte(key.Key))
	anywhere("the hash of the session", hash[:])
	anywhere("the hash of the key", keyHash[:])
	anywhere("the form of a password hash", []byte("$argon2id$"))
	for _, id := range ids {
		raw := uuid.MustParse(id)
		anywhere("a correlation id", raw[:])
		if !strings.Contains(log, id) {
			t.Errorf("positive control: %s is not in the log", id)
		}
	}
	if !strings.Contains(log, "POST /things/{id}") || !strings.Contains(z.stderr.String(), "upstream") {
		t.Errorf("positive control: the route is not in the log, or the cause of a failure not on standard error:\n%s", z.stderr)
	}
	if err := z.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for path, content := range z.files() { // what the end writes
		search(path, content)
	}
}
