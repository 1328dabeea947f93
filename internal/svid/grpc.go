package svid

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The one method of gRPC that a workload needs, over net/http: a service that
// embeds the guard does not take on a whole gRPC for it. Framing is that of
// "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md), without compression.

const (
	fetchMethod = "http://localhost/SpiffeWorkloadAPI/FetchX509SVID"
	maxMessage  = 1 << 20 // bytes
	maxStatus   = 500     // bytes of a server's error text that we keep

	codeInvalidArgument  = 3
	codePermissionDenied = 7
	codeUnimplemented    = 12
)

// rpcError is a status of gRPC other than OK.
type rpcError struct {
	code    int
	message string
}

func (e *rpcError) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.message) }

// lasting says whether the same request would fail forever (Workload Endpoint
// section 6).
func (e *rpcError) lasting() bool {
	return e.code == codeInvalidArgument || e.code == codeUnimplemented
}

// socketPath reads the address of a Workload API (Workload Endpoint section 4).
func socketPath(address string) (string, error) {
	path := address
	if strings.HasPrefix(address, "unix:") {
		u, err := url.Parse(address)
		if err != nil || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
			return "", fmt.Errorf("%q is not unix:///PATH", address)
		}
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is neither unix:///PATH nor an absolute path", address)
	}
	return path, nil
}

func unixClient(path string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a Workload API does not redirect") },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx, "unix", path)
			},
			Protocols:              protocols,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 32 << 10,
			IdleConnTimeout:        time.Minute,
		},
	}
}

// stream is an open FetchX509SVID.
type stream struct{ res *http.Response }

func openStream(ctx context.Context, client *http.Client) (*stream, error) {
	empty := make([]byte, 5) // the frame of an empty message
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fetchMethod, bytes.NewReader(empty))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("TE", "trailers")
	req.Header.Set("User-Agent", "sallyport")
	req.Header.Set("workload.spiffe.io", "true") // Workload Endpoint section 5
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	st := &stream{res}
	switch kind := res.Header.Get("Content-Type"); {
	case res.StatusCode != http.StatusOK:
		err = fmt.Errorf("answered %s, no gRPC server listens there", res.Status)
	case kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+"):
		err = fmt.Errorf("answered with the content type %.80q, no gRPC server listens there", kind)
	case res.Header.Get("Grpc-Status") != "": // a refusal without a message
		err = status(res.Header)
	}
	if err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// next returns the next message. The end of the stream is an error too, its
// status where that is not OK.
func (s *stream) next() ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(s.res.Body, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, status(s.res.Trailer)
		}
		return nil, fmt.Errorf("read the stream: %w", err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 {
		return nil, errors.New("a message is compressed, which was not offered")
	}
	if size > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes, want at most %d", size, maxMessage)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(s.res.Body, message); err != nil {
		return nil, fmt.Errorf("read the stream: %w", err)
	}
	return message, nil
}

func (s *stream) close() { _ = s.res.Body.Close() }

// status reads how a call ended.
func status(h http.Header) error {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return errors.New("the stream ended without a status")
	}
	if code == 0 {
		return errors.New("the server ended the stream")
	}
	text := h.Get("Grpc-Message") // percent-encoded
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	return &rpcError{code, strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")}
}
