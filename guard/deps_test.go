package guard_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDependencies keeps the guard small: what a service imports with it is this
// list, and nothing that brings a server, SQL or a metrics library. A new line
// needs its reason.
func TestDependencies(t *testing.T) {
	allowed := []string{
		"sallyport.dev/guard",
		"sallyport.dev/guard/internal/channel",
		"sallyport.dev/guard/internal/standin", // a context key; what tests put there is not linked
		"sallyport.dev/zone",                   // the slice of the map and the matcher of its routes
		"sallyport.dev/internal/svid",          // who the service is: certificates, mutual TLS, Workload API, join
		"sallyport.dev/internal/httpsig",       // proof of requests
		"sallyport.dev/internal/token",         // inside tokens
		"sallyport.dev/internal/policy",        // the judgement, the same as the gateway's
		"sallyport.dev/internal/es256",         // signatures of tokens and requests
		"sallyport.dev/internal/problem",       // the closed list of reasons
		"github.com/go-jose/go-jose/v4",        // signatures of tokens; with its own json and cipher
		"github.com/goccy/go-yaml",             // zone: the parser of the map

		// The SPIFFE ID type, not the Workload API client, which brings gRPC: svid has
		// a small one, and reads its messages with protowire alone.
		"github.com/spiffe/go-spiffe/v2/spiffeid",
		"google.golang.org/protobuf/encoding/protowire",
		"google.golang.org/protobuf/internal/errors",  // protowire's
		"google.golang.org/protobuf/internal/detrand", // its errors'
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "sallyport.dev/guard").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, "sallyport.dev/guard") {
		t.Fatalf("go list prints %q", out)
	}
	for _, p := range packages {
		if !slices.ContainsFunc(allowed, func(a string) bool {
			return p == a || !strings.HasPrefix(a, "sallyport.dev/") && strings.HasPrefix(p, a+"/")
		}) {
			t.Errorf("the guard depends on %s", p)
		}
	}
}
