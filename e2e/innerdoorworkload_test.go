package e2e

import (
	"context"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// TestInnerDoorWorkloadAPI: the stock SPIFFE library gets the identities of this
// user's services from the socket in the run folder, and is believed with them.
func TestInnerDoorWorkloadAPI(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+filepath.Join(n.runDir, "workload.sock")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	all, err := client.FetchX509Context(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hints := map[string]string{}
	for _, s := range all.SVIDs {
		hints[s.Hint] = s.ID.String()
		if life := time.Until(s.Certificates[0].NotAfter); life <= 0 || life > time.Hour || len(s.Certificates[0].URIs) != 1 {
			t.Errorf("%s lives %v, names %v", s.ID, life, s.Certificates[0].URIs)
		}
	}
	if len(hints) != 3 || hints["front"] != "spiffe://shop.example/front" || hints["ledger"] == "" || hints["aside"] == "" {
		t.Errorf("the identities are %v, want those of the services with an inner door", hints)
	}
	td := spiffeid.RequireTrustDomainFromString("shop.example")
	bundle, err := all.Bundles.GetX509BundleForTrustDomain(td)
	if err != nil || len(bundle.X509Authorities()) != 1 {
		t.Fatalf("bundle: %v %v", bundle, err)
	}
	if root := bundle.X509Authorities()[0]; !n.roots().Equal(poolOf(root)) {
		t.Errorf("the bundle holds %s, which is not ca.pem", root.Subject)
	}
	pick := func(name string) *workloadapi.X509Source {
		source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClient(client), workloadapi.WithDefaultX509SVIDPicker(func(all []*svidOf) *svidOf {
			return all[slices.IndexFunc(all, func(s *svidOf) bool { return s.Hint == name })]
		}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = source.Close() })
		return source
	}
	ask := func(as, whom, url string) (status int, body string, err error) {
		source := pick(as)
		cfg := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(spiffeid.RequireFromPath(td, "/"+whom)))
		tr := &http.Transport{TLSClientConfig: cfg}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, "GET", url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		return res.StatusCode, readAll(res), nil
	}
	control, ledger := "https://"+n.address["control"], "https://"+n.door("ledger")
	for _, s := range []struct {
		as, whom, url string
		status        int
		want          string
	}{
		{"front", "control", control + "/.well-known/jwks.json", 200, `"keys"`}, {"front", "control", control + "/v1/services/front", 200, `"service"`},
		{"front", "control", control + "/v1/services/ledger", 403, "inside.peer"}, {"front", "ledger", ledger + "/entries/1", 401, "inside.token_missing"},
		{"front", "aside", ledger + "/entries/1", 0, ""}, {"front", "ledger", control + "/.well-known/jwks.json", 0, ""},
	} {
		status, body, err := ask(s.as, s.whom, s.url)
		if status != s.status || !strings.Contains(body, s.want) || (err != nil) != (s.status == 0) {
			t.Errorf("%s asks %s, whom it takes for %s: %d %.100s %v, want %d %s", s.as, s.url, s.whom, status, body, err, s.status, s.want)
		}
	}
	// A sidecar that has no token is who the socket says it is.
	n.launchSidecar("zone.yaml", "front", "by-socket", "--socket", filepath.Join(n.runDir, "workload.sock")).waitReady()
	n.reach("/open")
}

func poolOf(c *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return pool
}

// svidOf is what the stock library calls an identity.
type svidOf = x509svid.SVID
