package oauth

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"net/url"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/dpop"
)

// call is one request as the door has read it. The library's hooks find it in
// their context.
type call struct {
	p        *Provider
	st       *state
	endpoint string
	form     url.Values
	claimed  string // client id that the request names
	method   goidc.AuthnMethod
	client   *client       // once it was looked up
	library  *goidc.Client // the same as the library knows it
	redirect string        // redirect URI that the door has compared

	assertion assertion
	proof     *dpop.Proof
	cert      *x509.Certificate
	browser   []byte // SHA-256 of the browser's cookie; nil: no browser
	decision  string // of the consent page: allow, deny
	hint      string // the user whom the client expects (id_token_hint)
	essential string // levels of which the login must have one (claims)
	place     string // address of the client

	unit    *unit
	failed  error // the store or another part: no answer of the library counts
	refused error // what a page is to be about
	handed  bool  // the policy has sent the browser to a page of ours
	slow    bool  // a device asked too soon
	unheld  bool  // the code or token is bound to a key that the call has not proved
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf returns the call of a context; an empty one when there is none.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{unit: &unit{}}
}

// fail notes that a part did not answer: whatever the library makes of it, the
// client is told to come back.
func (c *call) fail(err error) error {
	if c.failed == nil {
		c.failed = err
	}
	return err
}

// reply is an answer that waits for its commit.
type reply struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newReply() *reply { return &reply{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// send writes it to the client.
func (a *reply) send(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	h.Del("Content-Length")
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // the client may be gone; the record says so elsewhere
}

// redirectsTo is where the answer leads; empty when it leads nowhere.
func (a *reply) redirectsTo() string {
	if a.status == http.StatusSeeOther || a.status == http.StatusFound {
		return a.header.Get("Location")
	}
	return ""
}
