package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// control serves what guards need to judge by themselves: the inside keys and
// their own slice of the map. Both are public facts inside the zone, and the
// TLS certificate proves whose they are. Guards will have to prove who they are
// when they have certificates of their own.
type control struct {
	zone *zone.Zone
	keys token.Signers
	log  *slog.Logger
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", c.jwks)
	mux.HandleFunc("GET /v1/services/{name}", c.slice)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, problem.RouteUnknown, "", obs.CorrelationID(r.Header.Get(obs.CorrelationHeader)))
	})
	return mux
}

func (c *control) jwks(w http.ResponseWriter, r *http.Request) {
	keys, err := c.keys.PublicKeys(r.Context())
	var body []byte
	if err == nil {
		body, err = token.MarshalJWKS(keys)
	}
	if err != nil {
		c.log.ErrorContext(r.Context(), "control: inside keys are not available", "error", err)
		problem.Write(w, problem.TokenUnavailable, "", "")
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(body)
}

func (c *control) slice(w http.ResponseWriter, r *http.Request) {
	s, ok := c.zone.Slice(r.PathValue("name"))
	if !ok {
		problem.Write(w, problem.RouteUnknown, "", "")
		return
	}
	body, err := json.Marshal(s)
	if err != nil {
		c.log.ErrorContext(r.Context(), "control: slice", "error", err)
		problem.Write(w, problem.InternalError, "", "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// certificateSource hands out the certificate of a listener.
type certificateSource interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// listen opens the control listener; serve answers on it.
func (c *control) listen(ctx context.Context, cert certificateSource) (net.Listener, error) {
	l, err := listenTCP(ctx, "control", c.zone.Control)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         cert.GetCertificate,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
	}), nil
}

func (c *control) serve(ctx context.Context, l net.Listener) error {
	return serveUntil(ctx, newHTTPServer(c.handler(), c.log), l)
}
