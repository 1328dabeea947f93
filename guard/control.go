package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
)

// Bounds of what control may answer.
const (
	maxSlice = 4 << 20  // bytes
	maxKeys  = 64 << 10 // bytes
	maxToken = 16 << 10 // bytes; a token is at most token.MaxSize

	fetchTimeout = 5 * time.Second // of one request to control, body included, besides the wait that was asked for
)

// control speaks with the zone's control listener.
type control struct {
	base   string
	path   string // of the slice
	source *svid.Source
	conns  *svid.Conns

	patience time.Duration // see standin.Parts

	mu   sync.Mutex
	wire http.RoundTripper // guarded by mu; nil: no identity yet, so it is not known which zone's control to ask
}

// newControl returns the client of control. A wire that is given takes the place
// of mutual TLS.
func newControl(cfg Config, parts standin.Parts) *control {
	c := &control{
		base: cfg.Control, path: "/v1/services/" + url.PathEscape(cfg.Service),
		source: parts.Source, conns: svid.NewConns(cfg.Clock), wire: parts.Control, patience: parts.Patience,
	}
	c.conns.Patience = parts.Patience
	return c
}

// answer is what control said to one question.
type answer struct {
	same bool   // 304: what was asked about has not changed
	tag  string // entity tag
	body []byte
}

// keys fetches the zone's public keys of inside tokens.
func (c *control) keys(ctx context.Context) ([]byte, error) {
	a, err := c.ask(ctx, http.MethodGet, "/.well-known/jwks.json", maxKeys, nil, nil)
	return a.body, err
}

// slice fetches the service's part of the map unless it still has the tag; then
// control may hold its answer for wait (RFC 7240 section 4.3), so that a change
// is told at once.
func (c *control) slice(ctx context.Context, tag string, wait time.Duration) (answer, error) {
	h := make(http.Header)
	if tag != "" {
		h.Set("If-None-Match", tag)
		if seconds := int(wait / time.Second); seconds > 0 {
			h.Set("Prefer", "wait="+strconv.Itoa(seconds))
		}
	}
	return c.ask(ctx, http.MethodGet, c.path, maxSlice, h, nil)
}

// token asks for an inside token of the service itself.
func (c *control) token(ctx context.Context) (value string, expires time.Time, err error) {
	h := http.Header{"Content-Type": {"application/json"}}
	a, err := c.ask(ctx, http.MethodPost, "/v1/token", maxToken, h, []byte("{}"))
	if err != nil {
		return "", time.Time{}, err
	}
	var got struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		return "", time.Time{}, fmt.Errorf("read the answer to POST /v1/token: %w", err)
	}
	if got.Token == "" || len(got.Token) > token.MaxSize {
		return "", time.Time{}, fmt.Errorf("control sent a token of %d bytes", len(got.Token))
	}
	return got.Token, got.Expires, nil
}

func (c *control) ask(ctx context.Context, method, path string, limit int64, h http.Header, body []byte) (answer, error) {
	wire, err := c.connect()
	if err != nil {
		return answer{}, err
	}
	patience := max(fetchTimeout, c.patience)
	if h.Get("Prefer") != "" {
		patience += pollWait
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if h != nil {
		req.Header = h
	}
	res, err := wire.RoundTrip(req) // no client around it: control does not redirect
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errAsked) {
			err = cause
		}
		return answer{}, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && h.Get("If-None-Match") != "":
		return answer{same: true, tag: h.Get("If-None-Match")}, nil
	case res.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("control answered %d to %s %s", res.StatusCode, method, path)
	}
	got, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	if int64(len(got)) > limit {
		return answer{}, fmt.Errorf("the answer to %s %s is larger than %d bytes", method, path, limit)
	}
	return answer{tag: res.Header.Get("Etag"), body: got}, nil
}

// connect returns the wire to the control part of the identity's zone.
func (c *control) connect() (http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire != nil {
		return c.wire, nil
	}
	own, err := c.source.Current()
	if err != nil {
		return nil, err
	}
	want, err := svid.ServiceID(own.ID.TrustDomain().Name(), svid.ControlName)
	if err != nil {
		return nil, err
	}
	c.wire = svid.NewTransport(c.source, want, c.conns, &http.Transport{
		DialContext:            (&net.Dialer{Timeout: max(2*time.Second, c.patience)}).DialContext,
		TLSHandshakeTimeout:    max(2*time.Second, c.patience),
		ResponseHeaderTimeout:  pollWait + max(fetchTimeout, c.patience),
		MaxResponseHeaderBytes: 32 << 10,
		MaxConnsPerHost:        4, // one waits for the map to change
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
	})
	return c.wire, nil
}

// close lets go of connections that no question uses.
func (c *control) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.wire.(*svid.Transport); ok {
		t.CloseIdleConnections()
	}
}

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
