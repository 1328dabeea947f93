package brokertest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// Browser goes where a login begins and returns the request with which it comes
// back to the zone. ca is of the provider.
func Browser(t testing.TB, redirect, ca string) *http.Request {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		data, err := os.ReadFile(ca) // #nosec G304 -- of the test
		if err != nil {
			t.Fatal(err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(data)
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(redirect)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusFound {
		t.Fatalf("the provider answered %d: %s", answer.StatusCode, body)
	}
	return httptest.NewRequest(http.MethodGet, answer.Header.Get("Location"), nil)
}
