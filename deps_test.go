package sallyport

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the import graph of docs/architecture.md: what each package of ours
// may import of ours. A package that is not named here is an error, so that a
// new room is drawn before it is used.
var layers = map[string][]string{
	// 0: facts
	"internal/problem":   nil,
	"internal/obs":       nil,
	"zone":               nil,
	"internal/es256":     nil, // how ECDSA signatures are written
	"internal/unixsock":  nil,
	"internal/fieldname": nil, // what names of header fields mean
	"internal/jws":       nil, // which signatures of others are taken
	// 1: mechanisms
	"internal/token":   {"internal/problem", "internal/es256"},
	"internal/journal": {"internal/problem"},
	"internal/store":   {"internal/problem"},
	"internal/kv":      {"zone"},
	"internal/httpsig": {"internal/problem", "internal/es256"},
	"internal/svid":    {"internal/problem"},
	"internal/dpop":    {"internal/jws"},     // proofs of possession of outside tokens
	"internal/reqsig":  {"internal/problem"}, // signatures of outside requests
	"internal/outward": {"internal/jws"},     // what is asked of outside issuers
	// 2: judgement and keys
	"internal/policy":   {"zone", "internal/problem"}, // pure: no I/O, so that both doors can use it
	"internal/keys":     {"internal/token", "internal/store"},
	"internal/upstream": {"zone", "internal/problem"},
	"internal/recall":   {"internal/store"}, // what was found of credentials, until a revocation
	// what the account service is made of; it alone knows accounts
	"internal/password": {"internal/problem", "internal/obs"},
	"internal/page":     {"internal/problem", "internal/obs", "zone"}, // its face
	"internal/mail":     {"internal/obs", "zone", "internal/store", "internal/keys"},
	"internal/factor":   {"internal/problem", "internal/obs", "internal/store", "internal/keys"},
	"internal/flow":     {"internal/problem", "internal/store", "internal/keys"},
	"internal/guess":    {"internal/problem", "zone", "internal/kv", "internal/page"},
	"internal/broker":   {"internal/problem", "zone", "internal/store", "internal/keys", "internal/jws", "internal/outward"},
	// 3: parts; never each other
	"internal/pki":      {"internal/store", "internal/keys"},
	"internal/session":  {"internal/problem", "zone", "internal/store"},
	"internal/identity": {"internal/problem", "internal/obs", "zone", "internal/store", "internal/keys", "internal/policy", "internal/password", "internal/page", "internal/mail", "internal/factor", "internal/flow", "internal/guess", "internal/broker"},
	"internal/apikey":   {"internal/problem", "internal/obs", "zone", "internal/store", "internal/keys", "internal/policy"},
	"internal/logs":     {"internal/store", "internal/journal"},
	"internal/bearer":   {"internal/problem", "zone", "internal/policy", "internal/jws", "internal/outward"},
	"internal/export":   {"zone", "internal/journal"},
	"internal/join":     {"internal/problem", "internal/store"},
	"internal/workload": {"internal/unixsock"},
	// 4: the OpenID provider; it meets users and sessions through interfaces of its own
	"internal/oauth": {"internal/problem", "internal/obs", "zone", "internal/store", "internal/recall", "internal/kv", "internal/keys", "internal/policy", "internal/token", "internal/page", "internal/flow", "internal/dpop", "internal/es256", "internal/jws"},
	// 4: where inner doors join
	"internal/control": {"internal/problem", "internal/obs", "zone", "internal/token", "internal/journal", "internal/kv", "internal/svid"},
	// 5: the doors; they meet the parts through interfaces of their own
	"internal/gateway": {"internal/problem", "internal/obs", "zone", "internal/journal", "internal/kv", "internal/policy", "internal/upstream", "internal/httpsig", "internal/svid", "internal/fieldname", "internal/dpop", "internal/reqsig"},
	// side: what services import
	"guard":                  {"zone", "internal/token", "internal/policy", "internal/problem", "internal/httpsig", "internal/svid"},
	"guard/internal/channel": {"internal/httpsig", "internal/svid"}, // how a request came in, which tests may say
	"guard/internal/standin": {"internal/svid"},                     // control, in a test's memory
	"guard/internal/testca":  {"internal/svid"},                     // identities of a test's own zone
	"guard/guardtest":        {"guard", "guard/internal/channel", "guard/internal/standin", "guard/internal/testca", "zone", "internal/token", "internal/policy", "internal/svid"},
	// 6: guard in front of a service in any language
	"internal/sidecar": {"guard", "zone", "internal/problem", "internal/upstream", "internal/unixsock", "internal/fieldname"},
	// a look at host and zone from outside, which knows no part
	"internal/doctor": {"zone"},
	// 7: wiring
	"internal/app":  {"*"},
	"internal/cli":  {"*"},
	"cmd/sallyport": {"internal/cli"},
}

// free are folders that may import what they like: nobody imports them.
var free = []string{"examples/", "bench/", "scripts/", "e2e"}

const module = "sallyport.dev/"

// testOnly are the packages that must not reach the product by any path.
var testOnly = []string{"testing", "net/http/httptest", "github.com/chromedp", "github.com/rogpeppe", "github.com/santhosh-tekuri"}

func TestImportsGoOneWay(t *testing.T) {
	all := packages(t)
	for pkg, allowed := range layers { // what is allowed for nothing is a door left open
		for _, one := range allowed {
			if one != "*" && !slices.Contains(all[pkg], one) {
				t.Errorf("%s may import %s and does not: take the line away", pkg, one)
			}
		}
		if _, exists := all[pkg]; !exists {
			t.Errorf("%s is in the import graph and is no package", pkg)
		}
	}
	for pkg, imports := range all {
		if isFree(pkg) || pkg == "" {
			continue
		}
		allowed, known := layers[pkg]
		if !known && strings.HasSuffix(pkg, "test") { // storetest, kvtest: contract suites
			continue
		}
		if !known {
			t.Errorf("%s is not in the import graph; draw it in docs/architecture.md and here", pkg)
			continue
		}
		for _, imported := range imports {
			if !slices.Contains(allowed, imported) && !slices.Contains(allowed, "*") && !strings.HasPrefix(imported, pkg+"/") {
				t.Errorf("%s imports %s, which its layer may not (allowed: %v)", pkg, imported, allowed)
			}
		}
	}
}

func TestProductHasNoTestCode(t *testing.T) {
	deps := list(t, "-deps", "-f", "{{.ImportPath}}", "./cmd/sallyport")
	if !slices.Contains(deps, module+"internal/gateway") {
		t.Fatal("positive control: the product should import the gateway")
	}
	for _, dep := range deps {
		for _, banned := range testOnly {
			if dep == banned || strings.HasPrefix(dep, banned+"/") {
				t.Errorf("the product imports %s, which is for tests", dep)
			}
		}
	}
}

// TestGatewayHoldsNoUserTable is GW-09: the outer door cannot reach accounts,
// sessions or signing keys except through the interfaces that app hands it.
func TestGatewayHoldsNoUserTable(t *testing.T) {
	deps := list(t, "-deps", "-f", "{{.ImportPath}}", "./internal/gateway")
	for _, banned := range []string{"internal/identity", "internal/apikey", "internal/oauth", "internal/session", "internal/keys", "internal/pki", "internal/token"} {
		if slices.Contains(deps, module+banned) {
			t.Errorf("internal/gateway reaches %s", banned)
		}
	}
}

// packages returns the packages of the module with their imports inside it.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, line := range list(t, "-f", `{{.ImportPath}}:{{range .Imports}} {{.}}{{end}}`, "./...") {
		pkg, rest, _ := strings.Cut(line, ":")
		var own []string
		for imported := range strings.FieldsSeq(rest) {
			if inside, ok := strings.CutPrefix(imported, module); ok {
				own = append(own, inside)
			}
		}
		all[strings.TrimPrefix(strings.TrimPrefix(pkg, "sallyport.dev"), "/")] = own
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

func isFree(pkg string) bool {
	return slices.ContainsFunc(free, func(prefix string) bool { return strings.HasPrefix(pkg, prefix) })
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
