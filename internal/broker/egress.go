package broker

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

// Egress is how a provider is asked. What a discovery document or metadata says
// chooses hosts, so it must not choose them inside of our network:
//   - https, and plain http only to loopback where the map itself names such an
//     issuer;
//   - the host that the map names may be anywhere but at link-local addresses. Any
//     other host must have a public address, or one of the class (loopback, private)
//     that the map's own host has. The address that was judged is the one dialled;
//   - no redirects, no proxy of the environment, bounded in time and size.
type egress struct {
	http    *http.Client
	host    string // that the map names
	plain   bool   // the map names it with http://
	resolve Resolve
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolve returns the addresses of a host.
type Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

// newEgress returns the client for a provider whose own address is base.
func newEgress(base, ca string, cfg *Config) (*egress, error) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no url", base)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		data, err := readFile(ca, maxBody)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if config.RootCAs, err = parseRoots(data); err != nil {
			return nil, fmt.Errorf("ca %s: %w", ca, err)
		}
	}
	e := &egress{host: u.Hostname(), plain: u.Scheme == "http", resolve: cfg.Resolve, dial: (&net.Dialer{Timeout: cfg.Timeout}).DialContext}
	e.http = &http.Client{
		Transport: bounded{e, &http.Transport{
			DialContext: e.dialContext, TLSClientConfig: config, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, // bounds are of what came
			ForceAttemptHTTP2: true, MaxIdleConns: 4, MaxConnsPerHost: 8, IdleConnTimeout: 10 * time.Second,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       cfg.Timeout,
	}
	return e, nil
}

var errAddress = errors.New("the host has no address that may be asked")

// dialContext judges the addresses of a host and dials those that may be asked.
func (e *egress) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := e.allowed(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range addresses {
		conn, err := e.dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

const maxAddresses = 8 // of a host that are tried

func (e *egress) allowed(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := e.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	own := map[class]bool{public: true}
	if host == e.host {
		own[private], own[loopback] = true, true
	} else if named, err := e.lookup(ctx, e.host); err == nil {
		for _, a := range named {
			own[classOf(a)] = true
		}
	}
	own[special] = false
	var fine []netip.Addr
	for _, a := range addresses {
		if own[classOf(a)] {
			fine = append(fine, a)
		}
	}
	if len(fine) == 0 {
		return nil, fmt.Errorf("%q: %w", clip(host), errAddress)
	}
	return fine[:min(len(fine), maxAddresses)], nil
}

func (e *egress) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	return e.resolve(ctx, host)
}

// class is what an address is for.
type class uint8

const (
	special  class = iota // nobody's, or of the host's own cloud: never asked
	loopback              // this host
	private               // a network of one's own
	public
)

// specials are networks that no provider is in: RFC 6890 and its registry.
func specials() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), // these carry others
	}
}

func classOf(a netip.Addr) class {
	a = a.Unmap()
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), a.IsInterfaceLocalMulticast():
		return special
	case a.IsLoopback():
		return loopback
	case a.IsPrivate(), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a): // and RFC 6598
		return private
	}
	for _, p := range specials() {
		if p.Contains(a) {
			return special
		}
	}
	if a.Is6() && a.As16()[0]&0xe0 != 0x20 { // all that is routed is in 2000::/3
		return special
	}
	return public
}

// resolver asks the system.
func resolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// secure refuses an address that others than the provider could answer for.
func (e *egress) secure(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(address) > 2000:
		return errors.New("no url of a host")
	case u.Scheme == "https", u.Scheme == "http" && e.plain && loopbackHost(u.Hostname()):
		return nil
	default:
		return errors.New("not https")
	}
}

func loopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// bounded is the transport that all of a provider's libraries speak through.
type bounded struct {
	egress *egress
	next   http.RoundTripper
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.egress.secure(r.URL.String()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // http.RoundTripper demands it
		}
		return nil, fmt.Errorf("%s: %w", clip(r.URL.Redacted()), err)
	}
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", "sallyport")
	}
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &shortBody{ReadCloser: answer.Body, left: maxBody}
	return answer, nil
}

// shortBody fails where a body is too long, so that none is taken for whole that
// is not.
type shortBody struct {
	io.ReadCloser
	left int64
}

var errLong = fmt.Errorf("the answer is longer than %d bytes", maxBody)

func (b *shortBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errLong
	}
	return n, err
}

// get reads a document. header holds pairs of name and value.
func (e *egress) get(ctx context.Context, place string, header ...string) (data []byte, media string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, "", err
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	answer, err := e.http.Do(request)
	if err != nil {
		return nil, "", err // it names method and address
	}
	defer func() { _ = answer.Body.Close() }() // read only
	if answer.StatusCode != http.StatusOK {
		return nil, "", &statusError{place, answer.StatusCode}
	}
	if data, err = io.ReadAll(answer.Body); err != nil {
		return nil, "", fmt.Errorf("%s: %w", clip(place), err)
	}
	media, _, err = mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil {
		media = ""
	}
	return data, strings.ToLower(media), nil
}

type statusError struct {
	place  string
	status int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %d; redirects are not followed", clip(e.place), e.status)
}
