package e2e

import (
	"strings"
	"syscall"
	"testing"
)

const laterMap = head + `
services:
  plain:
    upstream: http://@plain@
    egress: ["https://api.bank.example"]
    data:
      main_db:
        engine: postgres
        url: {file: db.url}
        tables: {orders: {rights: [select], fields: {iban: secret}}}
    routes:
      GET /now: anonymous
      POST /once: {allow: user, once: true}
      POST /upload: {allow: user, upload: {types: [application/pdf], size: 1MiB}}
      GET /proof: {allow: anonymous, proof: signature}
      GET /mac: {allow: anonymous, proof: mac}
  proven:
    upstream: http://@proven@
    proof: signature
    routes: {GET /proven: anonymous}
traffic: {windows: {peak: 50/1min}, action: block}
export: [{syslog: "udp://127.0.0.1:514"}]
`

// TestNotEnforcedIsClosed: a route with a restriction that this version does not
// enforce answers 503, whoever asks; `check` and the start tell of each key.
func TestNotEnforcedIsClosed(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := newZone(t, laterMap, map[string]string{"plain": up.address, "proven": startUpstream(t, nil).address, "sock": t.TempDir() + "/s.sock"})
	out, errs, code := z.exec("check", "zone.yaml")
	if code != 0 {
		t.Fatalf("check: exit %d\n%s", code, errs)
	}
	z.start()
	said := z.stderr.String()
	for _, key := range []string{"once", "upload", `routes["GET /proof"].proof`, `routes["GET /mac"].proof`, "services.proven.proof", "egress", "services.plain.data", "traffic", "export[0].syslog"} {
		escaped := strings.ReplaceAll(key, `"`, `\"`)
		if !strings.Contains(out, key) {
			t.Errorf("check does not tell of %s:\n%s", key, out)
		}
		if !strings.Contains(said, escaped) {
			t.Errorf("serve does not tell of %s", key)
		}
	}
	alice, key := z.login(z.addUser("alice@shop.example")), z.createKey("k", "--scope", "s")
	for _, path := range []string{"POST /once", "POST /upload", "GET /proof", "GET /mac", "GET /proven"} {
		method, path, _ := strings.Cut(path, " ")
		for who, header := range map[string]call{"nobody": {}, "a user": {bearer: alice}, "a key": {bearer: key.Key}} {
			header.method, header.path = method, path
			got := z.do(header)
			rs := z.of(got.ID)
			if got.Status != 503 || got.reason() != "zone.not_enforced" || len(up.of(got.ID)) != 0 || len(rs) != 1 || rs[0].Reason != "zone.not_enforced" {
				t.Errorf("%s %s by %s: %d %s, records %+v; want 503 zone.not_enforced", method, path, who, got.Status, got.reason(), rs)
			}
		}
	}
	if got := z.do(call{path: "/now"}); got.Status != 200 {
		t.Errorf("positive control: %d", got.Status)
	}
}

// TestWhatStopsServe: what cannot be left out without breaking a promise stops
// the start, with its place; check says so too.
func TestWhatStopsServe(t *testing.T) {
	t.Parallel()
	base := strings.Replace(trapsMap, "@plain@", "127.0.0.1:9", 1)
	for name, change := range map[string][2]string{
		"acme":                 {`public: {address: "@public@", `, `public: {address: "@public@", certificate: acme, `},
		"https without a door": {"upstream: http://127.0.0.1:9", "upstream: https://127.0.0.1:9001"},
		"postgres":             {"\nservices:", "\nstore: {postgres: {file: pg.url}}\nservices:"},
		"policies":             {"\nservices:", "\npolicies: [policies/*.cedar]\nservices:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(base, change[0], change[1], 1)
			z := newZone(t, text, nil)
			out, errs, code := z.exec("check", "zone.yaml")
			if code != 0 || !strings.Contains(out, "zone.yaml:") {
				t.Errorf("check: exit %d\n%s%s", code, out, errs)
			}
			z.launch()
			_ = z.wait()
			if got := z.cmd.ProcessState.ExitCode(); got != 3 || !strings.Contains(z.stderr.String(), "zone.yaml:") {
				t.Errorf("serve: exit %d, want 3 and the place\n%s", got, z.stderr)
			}
			if _, _, code := z.run("status"); code != 3 {
				t.Errorf("status: exit %d", code)
			}
		})
	}
	good := startZone(t, base, nil)
	if err := good.end(syscall.SIGTERM); err != nil {
		t.Errorf("positive control: %v", err)
	}
}

// TestBadMapIsRefusedWhole: every error at once, each with its place; serve does
// not start.
func TestBadMapIsRefusedWhole(t *testing.T) {
	t.Parallel()
	z := newZone(t, strings.Replace(trapsMap, "GET /open: anonymous", "GET /open: anonymos\n      GET /open: user\n      FETCH /x: user\n      GET /y: {allow: user, lmit: 3/min}\n      GET /z: {allow: user, listener: nowhere}", 1), nil)
	out, errs, code := z.exec("check", "zone.yaml")
	if code != 1 || out != "" {
		t.Errorf("check: exit %d, %q; want 1 and nothing on standard output", code, out)
	}
	for _, want := range []string{"anonymos", "GET /open", "FETCH", "lmit", "nowhere"} {
		found := false
		for line := range strings.Lines(errs) {
			found = found || strings.Contains(line, want) && strings.Contains(line, "zone.yaml:")
		}
		if !found {
			t.Errorf("nothing about %s with its place:\n%s", want, errs)
		}
	}
	z.launch()
	_ = z.wait()
	if got := z.cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("serve: exit %d, want 3: it could not run\n%s", got, z.stderr)
	}
}
