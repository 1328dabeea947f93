package outward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Client asks one issuer. What a document of it says chooses hosts, so it must not
// choose them inside of our network:
//   - https, and plain http only to loopback where the map itself names such an
//     address;
//   - the host that the map names may be anywhere but at link-local addresses. Any
//     other host must have a public address, or one of the class (loopback, private)
//     that the map's own host has. The address that was judged is the one dialled;
//   - no redirects, no proxy of the environment, bounded in time and size.
type Client struct {
	http    *http.Client
	host    string // that the map names
	plain   bool   // the map names it with http://
	resolve Resolve
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Options are how a Client asks.
type Options struct {
	CA      string        // PEM file of roots; empty: those of the system
	Timeout time.Duration // required; of one call in all
	Resolve Resolve       // nil: the system's
	// Dial reaches addresses; nil: net.Dialer. TLS is made on top of it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewClient returns the client for an issuer whose own address, in the map, is base.
func NewClient(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no url", base)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		if config.RootCAs, err = readRoots(o.CA); err != nil {
			return nil, err
		}
	}
	c := &Client{host: u.Hostname(), plain: u.Scheme == "http", resolve: o.Resolve, dial: o.Dial}
	if c.resolve == nil {
		c.resolve = resolver
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{Timeout: o.Timeout}).DialContext
	}
	c.http = &http.Client{
		Transport: bounded{c, &http.Transport{
			DialContext: c.dialContext, TLSClientConfig: config, TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, // bounds are of what came
			ForceAttemptHTTP2: true, MaxIdleConns: 4, MaxConnsPerHost: 8, IdleConnTimeout: 10 * time.Second,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       o.Timeout,
	}
	if err := c.secure(base); err != nil {
		return nil, fmt.Errorf("%q: %w", Clip(base), err)
	}
	return c, nil
}

// HTTP is the client for libraries: it keeps to the same rules.
func (c *Client) HTTP() *http.Client { return c.http }

// secure refuses an address that others than the issuer could answer for.
func (c *Client) secure(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(address) > maxAddress:
		return errors.New("no url of a host")
	case u.Scheme == "https", u.Scheme == "http" && c.plain && Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("not https")
	}
}

// Loopback says whether a host is this one by its name alone.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Get reads a document. header holds pairs of name and value.
func (c *Client) Get(ctx context.Context, place string, header ...string) (data []byte, media string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, "", err
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, "", err // it names method and address
	}
	defer func() { _ = answer.Body.Close() }() // read only
	if answer.StatusCode != http.StatusOK {
		return nil, "", &StatusError{place, answer.StatusCode}
	}
	if data, err = io.ReadAll(answer.Body); err != nil {
		return nil, "", fmt.Errorf("%s: %w", Clip(place), err)
	}
	if media, _, err = mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil {
		media = ""
	}
	return data, strings.ToLower(media), nil
}

// StatusError is of an answer that is not 200.
type StatusError struct {
	place  string
	Status int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d; redirects are not followed", Clip(e.place), e.Status)
}

// bounded is the transport that all of an issuer's libraries speak through.
type bounded struct {
	client *Client
	next   *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.client.secure(r.URL.String()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // http.RoundTripper demands it
		}
		return nil, fmt.Errorf("%s: %w", Clip(r.URL.Redacted()), err)
	}
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", "sallyport")
	}
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &shortBody{ReadCloser: answer.Body, left: MaxBody}
	return answer, nil
}

// CloseIdleConnections is what http.Client asks for.
func (b bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

// shortBody fails where a body is too long, so that none is taken for whole that
// is not.
type shortBody struct {
	io.ReadCloser
	left int64
}

var errLong = fmt.Errorf("the answer is longer than %d bytes", MaxBody)

// Read implements io.Reader.
func (b *shortBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errLong
	}
	return n, err
}
