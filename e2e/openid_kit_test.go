package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// nodePath is the Node that is pinned beside the outside programs.
func nodePath(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("node/node_modules/node-linux-*/bin/node")
	if err != nil || len(found) == 0 {
		t.Skip("the packages of e2e/node are not installed (scripts/setup does): outside programs were not tried")
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// event is one line that a program of e2e/node says.
type event struct {
	Event string
	Name  string
	Got   json.RawMessage
}

// nodeCommand is a program of e2e/node that trusts one more root.
func nodeCommand(ctx context.Context, t testing.TB, ca, script string, args ...string) (cmd *exec.Cmd, stderr *syncBuffer) {
	t.Helper()
	cmd = exec.CommandContext(ctx, nodePath(t), append([]string{script}, args...)...)
	cmd.Dir, stderr = "node", &syncBuffer{}
	cmd.Env, cmd.Stderr = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca), stderr
	return cmd, stderr
}

// suite runs a suite of e2e/node against the zone and returns what each case found.
func (z *zoned) suite(script string, world map[string]any) map[string]json.RawMessage {
	z.t.Helper()
	text, err := json.Marshal(world)
	if err != nil {
		z.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(z.t.Context(), 5*time.Minute)
	defer cancel()
	roots := filepath.Join(z.data, "ca.pem")
	if more, ok := world["roots"].(string); ok {
		roots = more
	}
	cmd, stderr := nodeCommand(ctx, z.t, roots, script)
	cmd.Env = append(cmd.Env, "WORLD="+string(text))
	out, err := cmd.Output()
	found, ended := map[string]json.RawMessage{}, false
	for line := range strings.Lines(string(out)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			z.t.Errorf("%s said %q: %v", script, line, err)
		}
		if e.Event == "case" {
			found[e.Name] = e.Got
		}
		ended = ended || e.Event == "end"
	}
	if err != nil || !ended {
		z.t.Errorf("%s did not come to its end: %v\n%s", script, err, stderr)
	}
	return found
}

// finding is what a case of a suite must have found, as JSON.
type finding struct{ name, want string }

// compare holds what was found against what must be; the names of both are the same.
func compare(t *testing.T, found map[string]json.RawMessage, findings []finding) {
	t.Helper()
	wanted := map[string]bool{}
	for _, f := range findings {
		wanted[f.name] = true
		t.Run(f.name, func(t *testing.T) {
			got, there := found[f.name]
			if !there {
				t.Fatal("the case was not run")
			}
			compareFields(t, "", fieldsOf(t, string(got)), fieldsOf(t, f.want))
		})
	}
	for name, got := range found {
		if !wanted[name] {
			t.Errorf("%s: nobody says what must be found: %s", name, got)
		}
	}
}

func compareFields(t *testing.T, path string, got, want map[string]any) {
	t.Helper()
	for _, name := range keysOf(want) {
		w, nested := want[name].(map[string]any)
		if g, ok := got[name].(map[string]any); ok && nested {
			compareFields(t, path+name+": ", g, w)
			continue
		}
		if !sameJSON(got[name], want[name]) {
			t.Errorf("%s%s: %v, want %v", path, name, got[name], want[name])
		}
	}
	for _, name := range keysOf(got) {
		if _, there := want[name]; !there {
			t.Errorf("%s%s: %v, which nobody asked for", path, name, got[name])
		}
	}
}

// nodeServer is a server of e2e/node. It ends with the test.
type nodeServer struct {
	ready map[string]any // what it said of itself
	said  []string       // since then; readable when it has ended
}

// startNode starts a server of e2e/node and waits until it serves.
func startNode(t testing.TB, ca, script string, args ...string) *nodeServer {
	t.Helper()
	ctx, kill := context.WithCancel(context.Background())
	cmd, stderr := nodeCommand(ctx, t, ca, script, args...)
	cmd.Env = append(cmd.Env, "STDIN_HOLDS=1")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &nodeServer{}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	ended := make(chan struct{})
	slow := time.AfterFunc(2*patience, kill) // to start, and then to end
	t.Cleanup(func() {
		slow.Reset(patience)
		_ = hold.Close() // which ends it
		<-ended
		_ = cmd.Wait()
		slow.Stop()
		kill()
		if t.Failed() {
			t.Logf("%s:\n%s\n%s", script, strings.Join(s.said, "\n"), stderr)
		}
	})
	if !lines.Scan() {
		close(ended)
		kill()
		t.Fatalf("%s did not start: %s", script, stderr)
	}
	slow.Stop()
	s.ready = fieldsOf(t, lines.Text())
	go func() {
		defer close(ended)
		for lines.Scan() {
			if len(s.said) < 200 {
				s.said = append(s.said, lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, out) // a line that was too long
	}()
	return s
}

// relyingSecret is that of the clients of relyingMap.
const relyingSecret = "a-secret-of-the-clients-of-the-tests" // #nosec G101 -- of tests

// relyingMap is a zone that is the OpenID provider of outside programs, of each kind.
const relyingMap = head + `
identity:
  url: https://localhost:@public:port@
  clients:
    - id: web
      title: The web
      kind: confidential
      secret: {file: client.secret}
      redirect_uris: ["https://web.example/cb"]
      logout_uris: ["https://web.example/bye"]
      backchannel_logout_uri: "http://@receiver@/logout"
      scopes: [openid, email, profile, offline_access, things.read, things.write]
    - {id: other, kind: confidential, secret: {file: client.secret}, redirect_uris: ["https://other.example/cb"], scopes: [openid, things.read]}
    - {id: spa, kind: public, redirect_uris: ["https://spa.example/cb"], scopes: [openid, email, things.read], access_token: jwt}
    - {id: signer, kind: confidential, jwks: signer.json, redirect_uris: ["https://signer.example/cb"], scopes: [openid, things.read], grants: [authorization_code, refresh_token, client_credentials], dpop: true, par: true}
    - {id: bank, kind: confidential, jwks: signer.json, scopes: [things.read]}
    - {id: tv, kind: public, scopes: [openid, things.read], grants: [device_code, refresh_token]}
    - {id: robot, kind: confidential, secret: {file: client.secret}, scopes: [things.read]}
    - {id: desk, kind: confidential, secret: {file: client.secret}, scopes: [things.read], grants: [token_exchange]}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: {allow: user, scopes: [things.read]}
      POST /mine: {allow: user, scopes: [things.write]}
      GET /machine: {allow: client, scopes: [things.read]}
      GET /open: anonymous
  member:
    upstream: https://@member@
    embedded: true
    routes:
      GET /member: user
`

// startRelying serves relyingMap, and returns what its suites must know of it.
func startRelying(t testing.TB) (z *zoned, world map[string]any, up *upstream) {
	t.Helper()
	nodePath(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := jose.JSONWebKey{Key: key, KeyID: "s1", Algorithm: "ES256"}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{private.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	up = startUpstream(t, nil)
	z = newZone(t, relyingMap, map[string]string{"plain": up.address})
	z.write("client.secret", relyingSecret+"\n")
	z.write("signer.json", string(public))
	z.start()
	alice, bob := z.addUser("alice@shop.example"), z.addUser("bob@shop.example")
	return z, map[string]any{
		"issuer": "https://localhost:" + portOf(z.address["public"]), "receiver": z.address["receiver"], "secret": relyingSecret, "signer": private,
		"user": map[string]string{"id": alice.ID, "email": alice.Email, "password": alice.Password},
		"bob":  map[string]string{"id": bob.ID, "email": bob.Email, "password": bob.Password},
	}, up
}
