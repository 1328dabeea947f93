package svid

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
)

// What a workload and control say to each other, in JSON over TLS; binary values
// are base64 with padding, certificates and requests DER.
const (
	JoinPath     = "/v1/join"     // POST JoinRequest, without a client certificate
	IdentityPath = "/v1/identity" // POST IdentityRequest, over mutual TLS

	MaxJoinBody = 64 << 10 // bytes of each of these documents
)

// JoinRequest asks for a first identity.
type JoinRequest struct {
	ID     []byte `json:"id"`
	Secret []byte `json:"secret"`
	CSR    []byte `json:"csr"` // RFC 2986; only its key and its proof of the key count
}

// IdentityRequest asks for the next identity of the peer.
type IdentityRequest struct {
	CSR []byte `json:"csr"`
}

// Issued answers both.
type Issued struct {
	Certificates [][]byte `json:"certificates"` // leaf first
	Roots        [][]byte `json:"roots"`
}

const (
	exchangeTimeout = 10 * time.Second
	maxRefusal      = 4 << 10 // bytes of a problem document that are read
)

// refusal is an answer of control other than 200.
type refusal struct {
	status int
	code   string // of its reason, where it gives one
}

func (e *refusal) Error() string {
	if e.code == "" {
		return fmt.Sprintf("control answered %d", e.status)
	}
	return fmt.Sprintf("control answered %d, %s", e.status, e.code)
}

// lasting says whether the same request would be refused again.
func (e *refusal) lasting() bool {
	return e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
}

// exchange sends one request on a connection of its own: each is made with the
// identity of its moment.
func (j *joining) exchange(ctx context.Context, cfg *tls.Config, path string, ask any) (*Issued, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Control+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	transport := &http.Transport{
		DialContext:            j.dial,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 32 << 10,
	}
	res, err := transport.RoundTrip(req) // no http.Client: control does not redirect
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, readRefusal(res)
	}
	return readIssued(res.Body)
}

func readIssued(r io.Reader) (*Issued, error) {
	body, err := io.ReadAll(io.LimitReader(r, MaxJoinBody+1))
	if err != nil {
		return nil, fmt.Errorf("read control's answer: %w", err)
	}
	if len(body) > MaxJoinBody {
		return nil, fmt.Errorf("control's answer is larger than %d bytes", MaxJoinBody)
	}
	var issued Issued
	if err := strictJSON(body, &issued); err != nil {
		return nil, fmt.Errorf("read control's answer: %w", err)
	}
	return &issued, nil
}

// readRefusal takes the reason of a problem document when it is one of ours:
// nothing else of what control says is shown.
func readRefusal(res *http.Response) *refusal {
	e := &refusal{status: res.StatusCode}
	var doc struct {
		Type string `json:"type"`
	}
	if json.NewDecoder(io.LimitReader(res.Body, maxRefusal)).Decode(&doc) == nil {
		if r, ok := problem.Parse(strings.TrimPrefix(doc.Type, "urn:sallyport:reason:")); ok {
			e.code = r.Code()
		}
	}
	return e
}

// strictJSON decodes one value with known members and nothing after it.
func strictJSON(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the end")
	}
	return nil
}
