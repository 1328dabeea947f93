package bearer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// newClient returns the client for one issuer. It keeps to the address it is
// given: no proxy of the environment, no redirects.
func newClient(ca string, cfg *Config) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		roots, err := readRoots(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Timeout}).DialContext
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, // bounds are of what came
			ForceAttemptHTTP2: true, MaxIdleConns: 2, MaxConnsPerHost: 2, IdleConnTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       cfg.Timeout,
	}, nil
}

// fetchKeys asks the issuer for its keys, as RFC 8414 and OpenID Connect
// Discovery 1.0 section 4 have it.
func (i *issuer) fetchKeys(ctx context.Context) (*keySet, error) {
	place := i.JWKS
	if place == "" {
		var err error
		if place, err = i.discover(ctx); err != nil {
			return nil, err
		}
	}
	data, err := i.get(ctx, place)
	if err != nil {
		return nil, err
	}
	return parseKeys(data, i.Algorithms)
}

// discover returns the address of the issuer's keys. The document must be of
// exactly this issuer (section 4.3), or one issuer could speak for another.
func (i *issuer) discover(ctx context.Context) (string, error) {
	place := strings.TrimSuffix(i.Issuer, "/") + "/.well-known/openid-configuration"
	data, err := i.get(ctx, place)
	if err != nil {
		return "", err
	}
	var document map[string]any
	if err := json.Unmarshal(data, &document); err != nil {
		return "", fmt.Errorf("%s: %w", place, err)
	}
	c := claims(document)
	if c.text("issuer") != i.Issuer {
		return "", fmt.Errorf("%s is of the issuer %q, want %q", place, clip(c.text("issuer")), i.Issuer)
	}
	keys := c.text("jwks_uri")
	if err := secure(keys, i.Issuer); err != nil {
		return "", fmt.Errorf("%s: jwks_uri %q: %w", place, clip(keys), err)
	}
	return keys, nil
}

// secure refuses an address that others than the issuer could answer for. Plain
// http is for an issuer that is itself reached so: on loopback.
func secure(address, issuer string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || len(address) > 2000:
		return errors.New("no url")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && strings.HasPrefix(issuer, "http://") && loopback(u.Hostname()):
		return nil
	default:
		return errors.New("not https")
	}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// get reads a document of bounded size.
func (i *issuer) get(ctx context.Context, place string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "sallyport")
	answer, err := i.http.Do(request)
	if err != nil {
		return nil, err // it names method and address
	}
	defer func() { _ = answer.Body.Close() }() // read only
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d; redirects are not followed", place, answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("%s is longer than %d bytes", place, maxDocument)
	}
	return data, nil
}
