package guard

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Bounds of what control may answer.
const (
	maxSlice = 4 << 20  // bytes
	maxKeys  = 64 << 10 // bytes
	maxCA    = 1 << 20  // bytes

	fetchTimeout = 5 * time.Second // of one request to control, body included
)

// control fetches from the zone's control listener. Only the guard's own
// goroutine uses it.
type control struct {
	base    string
	service string
	ca      string // path; empty: client was given
	pem     []byte // what client was built from
	client  *http.Client
}

func newControl(cfg Config) *control {
	c := &control{base: cfg.Control, service: cfg.Service, ca: cfg.CA}
	if cfg.HTTPClient != nil {
		own := *cfg.HTTPClient
		own.CheckRedirect = noRedirect
		c.ca, c.client = "", &own
	}
	return c
}

// fetch returns the slice and the key set as they stand, undecoded.
func (c *control) fetch(ctx context.Context) (slice, keys []byte, err error) {
	if err := c.connect(); err != nil {
		return nil, nil, err
	}
	if keys, err = c.get(ctx, "/.well-known/jwks.json", maxKeys); err != nil {
		return nil, nil, err
	}
	if slice, err = c.get(ctx, "/v1/services/"+url.PathEscape(c.service), maxSlice); err != nil {
		return nil, nil, err
	}
	return slice, keys, nil
}

func (c *control) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("control answered %s to GET %s", res.Status, path)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer to GET %s: %w", path, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer to GET %s is larger than %d bytes", path, limit)
	}
	return body, nil
}

// connect makes the client anew when the CA file changed, so that a new root is
// taken up without a restart. A file that cannot be read leaves the old client.
func (c *control) connect() error {
	if c.ca == "" {
		return nil
	}
	pem, err := readFile(c.ca, maxCA)
	switch {
	case err != nil && c.client == nil:
		return fmt.Errorf("read the CA: %w", err)
	case err != nil || bytes.Equal(pem, c.pem):
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		if c.client == nil {
			return fmt.Errorf("read the CA: %s holds no certificate", c.ca)
		}
		return nil // half written: the next refresh reads it again
	}
	c.close()
	c.pem, c.client = pem, pinned(pool)
	return nil
}

func (c *control) close() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}

// pinned returns a client that speaks TLS 1.3 to servers of these roots only.
func pinned(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: noRedirect,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots},
			TLSHandshakeTimeout:    2 * time.Second,
			ResponseHeaderTimeout:  fetchTimeout,
			MaxResponseHeaderBytes: 32 << 10,
			MaxConnsPerHost:        2,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			DisableCompression:     true,
		},
	}
}

func noRedirect(*http.Request, []*http.Request) error { return errors.New("control does not redirect") }

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}
