package export

import (
	"bytes"
	"compress/gzip"
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

	"google.golang.org/protobuf/proto"

	"sallyport.dev/internal/journal"
)

// client sends OTLP requests to one receiver. It is safe for concurrent use.
type client struct {
	http  *http.Client
	base  string
	agent string
	clock func() time.Time
}

// newClient refuses what the map refuses too: a url with more than a place, and
// plain http to other hosts.
func newClient(base string, c Config) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("export: otlp: no base url of a receiver, such as https://otlp.example")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("export: otlp: plain http to %s: records would leave in clear; write https://", u.Hostname())
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &client{
		base:  strings.TrimRight(base, "/"),
		agent: "sallyport/" + c.Version,
		clock: c.Clock,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       c.pace.attempt,
			Transport: &http.Transport{
				Proxy:                  nil, // the environment has no say in where records go
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots},
				TLSHandshakeTimeout:    10 * time.Second,
				ResponseHeaderTimeout:  c.pace.attempt,
				ExpectContinueTimeout:  time.Second,
				IdleConnTimeout:        90 * time.Second,
				MaxIdleConns:           3,
				MaxIdleConnsPerHost:    3, // logs, traces, metrics
				MaxConnsPerHost:        3,
				MaxResponseHeaderBytes: 64 << 10,
				DisableCompression:     true, // answers are small, and must not grow
				ForceAttemptHTTP2:      true,
			},
		},
	}, nil
}

// loopback says whether only processes of this host can be behind a host name.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func (c *client) close() { c.http.CloseIdleConnections() }

// post sends one message of a signal.
func (c *client) post(ctx context.Context, signal string, body []byte) outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/"+signal, bytes.NewReader(body))
	if err != nil {
		return outcome{verdict: refused, err: fmt.Errorf("make request: %w", err)}
	}
	req.Header.Set("Content-Type", mediaProtobuf)
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return outcome{err: fmt.Errorf("send: %w", err)}
	}
	defer func() { _ = resp.Body.Close() }() // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return outcome{err: fmt.Errorf("read answer: %w", err)}
	}
	return judge(resp.StatusCode, resp.Header, answer, c.clock())
}

// pack encodes a message as it leaves.
func pack(m proto.Message) ([]byte, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// otlpSink sends one signal of the records to a receiver.
type otlpSink struct {
	packer packer
	client *client
	signal string
	body   []byte // the batch as it leaves, once it was tried
}

func (s *otlpSink) add(e *journal.Entry) bool {
	s.packer.add(e)
	items, bytes := s.packer.size()
	return items < batchItems && bytes < batchBytes
}

func (s *otlpSink) count() int {
	items, _ := s.packer.size()
	return items
}

func (s *otlpSink) clear() {
	s.packer.clear()
	s.body = nil
}

func (s *otlpSink) send(ctx context.Context) outcome {
	if s.body == nil {
		var err error
		if s.body, err = pack(s.packer.message()); err != nil {
			return outcome{verdict: refused, err: err}
		}
	}
	return s.client.post(ctx, s.signal, s.body)
}
