package e2e

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const adminMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  partner: {address: "@partner@", hosts: [localhost], limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
services:
  plain:
    upstream: http://@plain@
    health: GET /health
    routes:
      GET /open: anonymous
      GET /things/{id}: anonymous
      GET /partner: {allow: anonymous, listener: partner}
`

// plainGet asks the admin listener, which speaks plain HTTP on loopback.
func (z *zoned) plainGet(listener, host, path string) answer {
	z.t.Helper()
	req, err := http.NewRequestWithContext(z.t.Context(), http.MethodGet, "http://"+z.address[listener]+path, http.NoBody)
	if err != nil {
		z.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	res, err := z.client().Do(req)
	for tries := 0; err != nil && tries < 5; tries++ { // these listeners wait 5 s for a head
		res, err = z.client().Do(req)
	}
	if err != nil {
		return answer{Err: err}
	}
	defer res.Body.Close()
	return answer{Status: res.StatusCode, Header: res.Header, Body: readAll(res)}
}

var (
	comment = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	sample  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? ([^ ]+)( \d+)?$`)
)

// metrics parses the Prometheus text format strictly: every line is a comment
// or a sample of a family whose type was told before.
func (z *zoned) metrics() map[string]float64 {
	z.t.Helper()
	if z.pair == nil {
		values, _ := z.metricsOf()
		return values
	}
	var all []map[string]float64
	var kinds map[string]string
	for _, w := range z.pair.each {
		values, k := w.metricsOf()
		all, kinds = append(all, values), k
	}
	return addMetrics(all, kinds)
}

// metricsOf are those of one process, and the type of each family.
func (z *zoned) metricsOf() (values map[string]float64, kinds map[string]string) {
	z.t.Helper()
	got := z.plainGet("admin", "", "/metrics")
	if got.Status != 200 || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		z.t.Fatalf("metrics: %d %s %v", got.Status, got.Header.Get("Content-Type"), got.Err)
	}
	values, kinds = map[string]float64{}, map[string]string{}
	for line := range strings.Lines(got.Body) {
		line = strings.TrimSuffix(line, "\n")
		if m := comment.FindStringSubmatch(line); m != nil {
			if m[1] == "TYPE" {
				kinds[m[2]] = m[3]
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			z.t.Errorf("metrics: no line of the format: %q", line)
			continue
		}
		family := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(m[1], suffix); cut && (kinds[base] == "histogram" || kinds[base] == "summary") {
				family = base
			}
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if _, twice := values[m[1]+m[2]]; err != nil || kinds[family] == "" || twice {
			z.t.Errorf("metrics: %q: %v, type %q, twice %v", line, err, kinds[family], twice)
		}
		values[m[1]+m[2]] = value
	}
	return values, kinds
}

// TestMetrics: they are valid, and count each request by service, route and
// reason; what a client sends makes no new label.
func TestMetrics(t *testing.T) {
	t.Parallel()
	z := startZone(t, adminMap, map[string]string{"plain": startUpstream(t, nil).address})
	z.do(call{path: "/open"}) // so that the families are there
	before := z.metrics()
	for i := range 7 {
		z.do(call{path: "/things/" + strconv.Itoa(i)})
		z.do(call{path: "/nowhere/" + newID()})
		z.do(call{method: "DELETE", path: "/open"})
	}
	z.exchange(t, "NONSENSE\r\n\r\n", 0)
	after := z.metrics()
	for name, want := range map[string]float64{
		`sallyport_requests_total{reason="ok",route="GET /things/{id}",service="plain"}`: 7,
		`sallyport_requests_total{reason="ok",route="GET /open",service="plain"}`:        0,
		`sallyport_requests_total{reason="route.unknown",route="",service=""}`:           7,
		`sallyport_requests_total{reason="route.method",route="",service=""}`:            7,
		`sallyport_requests_total{reason="request.malformed",route="",service=""}`:       1,
		`sallyport_request_duration_seconds_count{service="plain"}`:                      7,
		`sallyport_stage_duration_seconds_count{stage="forward"}`:                        7,
		`sallyport_stage_duration_seconds_count{stage="accept"}`:                         21,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s grew by %v, want %v", name, got, want)
		}
	}
	for name := range after {
		if strings.HasPrefix(name, "sallyport_") && (strings.Contains(name, "nowhere") || strings.Contains(name, "/things/1")) {
			t.Errorf("a client's path became a label: %s", name)
		}
	}
	if got := z.plainGet("admin", "", "/ready"); got.Status != 200 {
		t.Errorf("/ready: %d %s", got.Status, got.Body)
	}
}

// TestAdminAnswersToItsOwnHostOnly: a name that somebody made point here (DNS
// rebinding) is refused, on every path.
func TestAdminAnswersToItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	z := startZone(t, adminMap, map[string]string{"plain": startUpstream(t, nil).address})
	port := portOf(z.address["admin"])
	for _, path := range []string{"/", "/metrics", "/ready", "/nowhere"} {
		for _, host := range []string{"", "localhost", "localhost:" + port, "127.0.0.1", "127.0.0.1:" + port} {
			if got := z.plainGet("admin", host, path); got.Status == 421 || got.Status != 200 && path != "/nowhere" {
				t.Errorf("%s as %q: %d", path, host, got.Status)
			}
		}
		for _, host := range []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example", "shop.example", "2130706433", "127.1"} {
			if got := z.plainGet("admin", host, path); got.Status != 421 {
				t.Errorf("%s as %q: %d, want 421", path, host, got.Status)
			}
		}
	}
	for _, path := range []string{"/open", "/auth/login", "/v1/users", "/v1/status", "/debug/pprof/", "/.well-known/jwks.json"} {
		if got := z.plainGet("admin", "", path); got.Status != 404 {
			t.Errorf("%s on the admin listener: %d, want 404", path, got.Status)
		}
	}
}

// TestOnlyDeclaredRoutesAnswer is the path fuzz of GW-04: on every outside
// listener, only what the map declares, and the account service on its own,
// answers other than 404 or 405.
func TestOnlyDeclaredRoutesAnswer(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, adminMap, map[string]string{"plain": up.address})
	declared := map[string][]string{
		"public": {"/open", "/things/x", "/auth/login", "/auth/me", "/auth/sessions", "/auth/style.css", "/auth/icon.svg", "/auth/keys", "/auth/password",
			"/oauth/authorize", "/oauth/token", "/.well-known/jwks.json"},
		"partner": {"/partner"},
	}
	paths := []string{"/open", "/things/x", "/partner"}
	for _, dir := range []string{"", "/api", "/admin", "/v1", "/auth", "/internal", "/.well-known", "/oauth"} {
		for _, name := range []string{"", "metrics", "health", "healthz", "ready", "readyz", "live", "livez", "status", "info", "env", "heapdump", "actuator", "actuator/env", "debug/pprof", "debug/pprof/heap", "debug/vars", "console", "users", "services/plain", "logs",
			"keys", "jwks.json", "config", "config.json", "swagger.json", "openapi.json", "graphql", "server-status", ".git/config", ".env", "robots.txt", "favicon.ico", "login", "me", "sessions", "register", "recover", "mfa", "password", "verify", "style.css", "icon.svg", "web/style.css", "authorize", "token", "index.html", "zone.yaml", "data/zone.db", "ca.pem", "journal", "lock"} {
			paths = append(paths, dir+"/"+name, dir+"/"+name+"/")
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, listener := range []string{"public", "partner"} {
		client := z.client()
		for _, path := range paths {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				if strings.Contains(path, "//") {
					continue
				}
				got := z.do(call{listener: listener, method: method, path: path, client: client})
				if slices.Contains(declared[listener], path) {
					if method == "GET" && got.Status == 404 {
						t.Errorf("positive control: %s on %s: 404", path, listener)
					}
					continue
				}
				if got.Status != 404 && got.Status != 405 && !(listener == "public" && path == "/auth/logout") {
					t.Errorf("%s %s on %s: %d %.80q, want 404 or 405", method, path, listener, got.Status, got.Body)
				}
				if strings.Contains(strings.ToLower(got.Body+fmt.Sprint(got.Header)), "go1.") || got.Header.Get("Server") != "" {
					t.Errorf("%s %s on %s tells what runs here: %v %s", method, path, listener, got.Header, got.Body)
				}
			}
		}
	}
	for _, r := range up.all() {
		if r.Target != "/health" && r.Target != "/open" && r.Target != "/partner" && r.Target != "/things/x" {
			t.Errorf("the service was asked for %s", r.Target)
		}
	}
	if c, err := net.Dial("tcp", z.address["admin"]); err != nil {
		t.Errorf("positive control: the admin listener: %v", err)
	} else {
		_ = c.Close()
	}
}
