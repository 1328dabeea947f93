package cli

import (
	"bytes"
	"cmp"
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

// refusal is an answer of the zone that is none of what was asked.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// answerTime is how long the zone may take to begin its answer. It is far above
// what any operation needs: a process that is stopped takes connections still.
const answerTime = 30 * time.Second

func (d dataFlag) client() *client {
	path := filepath.Join(d.Data, "admin.sock")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	return &client{
		path: path,
		http: http.Client{
			Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: answerTime},
			// A path that the zone would rewrite is another operation than was asked for.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// segment is a name as one segment of a path. Dots would be read as steps in it.
func segment(what, name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", usage(fmt.Errorf("%s: %q names none", what, name))
	}
	return url.PathEscape(name), nil
}

// open sends one request and returns the answer of a success, which the caller
// closes. Else the error is a *refusal, errNotRunning, or what went wrong.
func (c *client) open(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	kind := ""
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body, kind = bytes.NewReader(b), "application/json"
	}
	return c.send(ctx, method, path, query, kind, body)
}

// upload sends a file as it is and decodes the answer into out.
func (c *client) upload(ctx context.Context, path string, query url.Values, file io.Reader, out any) error {
	res, err := c.send(ctx, "POST", path, query, "application/octet-stream", file)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

func (c *client) send(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = query.Encode()
	if kind != "" {
		req.Header.Set("Content-Type", kind)
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
	return nil, &refusal{status: res.StatusCode, text: cmp.Or(doc.Detail, doc.Title)}
}

// explain names the mend of the usual failures to connect.
func (c *client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers on %s; start it with `sallyport serve ZONE --data %s`", errNotRunning, c.path, filepath.Dir(c.path))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is for root and the user that runs the zone: %w", c.path, os.ErrPermission)
	case errors.Is(err, syscall.EINVAL): // it is too long for a socket: none can be there
		return fmt.Errorf("%w: the path %s is too long for a socket", errNotRunning, c.path)
	}
	var asked *url.Error // without its "Get http://admin/..."
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return fmt.Errorf("admin socket %s: %w", c.path, err)
}

// do sends one request and decodes the answer into out, which may be nil.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	return c.ask(ctx, method, path, nil, in, out)
}

func (c *client) ask(ctx context.Context, method, path string, query url.Values, in, out any) error {
	res, err := c.open(ctx, method, path, query, in)
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
