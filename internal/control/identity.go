package control

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// joinRate bounds the attempts to join from one address: each is a guess.
var joinRate = zone.Rate{Count: 30, Window: time.Minute}

// join redeems a join token. The request is read whole before the token is
// touched: what is wrong with it does not spend the token.
func (c *Control) join(w http.ResponseWriter, r *http.Request) {
	var in svid.JoinRequest
	who := "join"
	issued, err := c.issue(r, &in, &in.CSR, func(ctx context.Context) (string, error) {
		who = "join:" + hex.EncodeToString(in.ID[:min(len(in.ID), 16)])
		taken, err := c.Counters.Take(ctx, "join:"+address(r).String(), joinRate, c.Clock())
		if err != nil {
			return "", problem.New(problem.JoinRefused, err)
		}
		if !taken.Allowed {
			return "", problem.New(problem.LimitAddress, nil)
		}
		name, err := c.Tokens.Redeem(ctx, in.ID, in.Secret)
		if err != nil {
			return "", err
		}
		if c.Zone.Service(name) == nil {
			return "", problem.New(problem.JoinRefused, errors.New("the map no longer has service "+name))
		}
		return name, nil
	})
	c.answerIssued(w, r, who, issued, err)
}

// renew certifies the next key of the peer.
func (c *Control) renew(w http.ResponseWriter, r *http.Request) {
	var in svid.IdentityRequest
	who := "nobody"
	if p, ok := svid.PeerFrom(r.Context()); ok {
		who = p.ID.String()
	}
	issued, err := c.issue(r, &in, &in.CSR, func(context.Context) (string, error) { return c.peer(r) })
	c.answerIssued(w, r, who, issued, err)
}

// issue reads a request into in, learns from who whose the key is, and certifies it.
func (c *Control) issue(r *http.Request, in any, csr *[]byte, who func(context.Context) (string, error)) (*svid.Issued, error) {
	ctx := r.Context()
	if err := c.Journal.Admit(true); err != nil {
		return nil, err
	}
	if err := decode(r.Body, in); err != nil {
		return nil, err
	}
	key, err := c.ParseCSR(*csr)
	if err != nil {
		return nil, &problem.Error{Reason: problem.RequestMalformed, Detail: "the certificate request is not accepted", Cause: err}
	}
	name, err := who(ctx)
	if err != nil {
		return nil, err
	}
	return c.certify(ctx, name, key)
}

func (c *Control) certify(ctx context.Context, name string, key crypto.PublicKey) (*svid.Issued, error) {
	chain, _, err := c.CA.IssueSVID(ctx, name, key)
	if err != nil {
		return nil, problem.New(problem.InsideUnavailable, err)
	}
	issued := &svid.Issued{Certificates: chain}
	for _, root := range c.CA.Roots() {
		issued.Roots = append(issued.Roots, root.Raw)
	}
	return issued, nil
}

// decode reads one JSON value and nothing behind it.
func decode(r io.Reader, in any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return &problem.Error{Reason: problem.RequestMalformed, Detail: "the body is not what this operation takes", Cause: err}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return problem.WithDetail(problem.RequestMalformed, "data after the body")
	}
	return nil
}

// answerIssued answers when the record of what was issued, or refused, is on disk.
func (c *Control) answerIssued(w http.ResponseWriter, r *http.Request, who string, issued *svid.Issued, err error) {
	req := obs.RequestFrom(r.Context())
	reason := problem.ReasonOf(err)
	record := journal.Record{
		Kind: journal.KindAdmin, Time: c.Clock(), CorrelationID: req.CorrelationID, TraceID: req.Trace.String(),
		Listener: "control", Service: "control", Route: r.Pattern, Method: r.Method, Client: address(r), Principal: who,
		Reason: reason.Code(), Status: http.StatusOK,
	}
	if err != nil {
		record.Status = reason.Status()
	}
	if kept := c.Journal.AppendSync(&record); kept != nil && err == nil {
		err = kept
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	writeJSON(w, issued)
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil { // our own types of strings and bytes always marshal
		problem.Write(w, problem.InternalError, "", "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the peer may be gone
}

// address is the peer's, for the record.
func address(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
