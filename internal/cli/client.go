package cli

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
	"path/filepath"
	"syscall"
	"time"

	"sallyport.dev/internal/problem"
)

// errNotRunning says that no zone listens on the admin socket.
var errNotRunning = errors.New("the zone is not running")

// client speaks to the admin socket of a running zone.
type client struct {
	http http.Client
	path string
}

func (d dataFlag) client() *client {
	path := filepath.Join(d.Data, "admin.sock")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	return &client{
		path: path,
		http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true}},
	}
}

// open sends one request and returns the answer of a success, which the caller
// closes. A refusal becomes an error: 4xx the answer is no, others could not run.
func (c *client) open(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	u := url.URL{Scheme: "http", Host: "admin", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	var doc problem.Document
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("admin socket: %s", res.Status)
	}
	text := doc.Title
	if doc.Detail != "" {
		text = doc.Detail
	}
	if res.StatusCode < 500 {
		return nil, no(errors.New(text))
	}
	return nil, errors.New(text)
}

// explain names the mend of the usual failures to connect.
func (c *client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers on %s; start it with `sallyport serve ZONE --data %s`", errNotRunning, c.path, filepath.Dir(c.path))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is for root and the user that runs the zone: %w", c.path, os.ErrPermission)
	}
	return fmt.Errorf("admin socket: %w", err)
}

// do sends one request and decodes the answer into out, which may be nil.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	res, err := c.open(ctx, method, path, nil, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}
