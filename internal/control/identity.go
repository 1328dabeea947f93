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
	"strconv"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// The bounds on attempts: to join from one address, where each is a guess, and
// to renew by one workload, of which there may be many instances.
var (
	joinRate  = zone.Rate{Count: 300, Window: time.Minute} // a host may start a whole zone at once
	renewRate = zone.Rate{Count: 120, Window: time.Minute}
	toldRate  = zone.Rate{Count: 1, Window: time.Minute} // of records that tell of a bound
)

// join redeems a join token. The request is read whole before the token is
// touched: what is wrong with it does not spend the token.
func (c *Control) join(w http.ResponseWriter, r *http.Request) {
	if !c.within(w, r, "join", svid.HostOf(address(r)).String(), joinRate, problem.LimitAddress) {
		return
	}
	var in svid.JoinRequest
	who := "join"
	issued, err := c.issue(r, &in, &in.CSR, func(ctx context.Context) (string, error) {
		who = "join:" + hex.EncodeToString(in.ID[:min(len(in.ID), 16)])
		name, err := c.Tokens.Redeem(ctx, in.ID, in.Secret)
		if err != nil {
			return "", err
		}
		if svc := c.zone().Service(name); svc == nil || !svc.InnerDoor() {
			return "", problem.New(problem.JoinRefused, errors.New("the map has no inner door of service "+name+" any more"))
		}
		return name, nil
	})
	c.answerIssued(w, r, who, issued, err)
}

// renew certifies the next key of the peer.
func (c *Control) renew(w http.ResponseWriter, r *http.Request) {
	name, err := c.peer(r)
	if err != nil {
		if c.within(w, r, "renew", svid.HostOf(address(r)).String(), joinRate, problem.LimitAddress) {
			c.answerIssued(w, r, "nobody", nil, err)
		}
		return
	}
	peer, _ := svid.PeerFrom(r.Context())
	who := peer.ID.String()
	if !c.within(w, r, "renew", who, renewRate, problem.LimitRate) {
		return
	}
	var in svid.IdentityRequest
	issued, err := c.issue(r, &in, &in.CSR, func(context.Context) (string, error) { return name, nil })
	c.answerIssued(w, r, who, issued, err)
}

// within takes an attempt of who from its bound, and answers for who is beyond it.
func (c *Control) within(w http.ResponseWriter, r *http.Request, what, who string, rate zone.Rate, reason problem.Reason) bool {
	recorded, err := c.take(w, r, what+":"+who, rate, reason)
	switch {
	case err == nil:
		return true
	case recorded:
		c.answerIssued(w, r, who, nil, err)
	default:
		c.refuse(w, r, err)
	}
	return false
}

// take takes an attempt from a bound. Beyond it the attempt is refused, and one
// such refusal a minute has its record: a flood of requests must not become a
// flood of records, which are on disk before they are answered.
func (c *Control) take(w http.ResponseWriter, r *http.Request, key string, rate zone.Rate, reason problem.Reason) (recorded bool, err error) {
	taken, err := c.Counters.Take(r.Context(), key, rate, c.Clock())
	switch {
	case err != nil:
		err = problem.New(problem.LimitUnavailable, err)
	case taken.Allowed:
		return true, nil
	default:
		err = problem.New(reason, nil)
		w.Header().Set("Retry-After", strconv.Itoa(int(taken.Reset/time.Second)+1))
	}
	told, fails := c.Counters.Take(r.Context(), "told:"+key, toldRate, c.Clock())
	return fails == nil && told.Allowed, err
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
	reason, status := problem.ReasonOf(err), http.StatusOK
	if err != nil {
		status = reason.Status()
	}
	if kept := c.keep(r, who, reason, status); kept != nil && err == nil {
		err = kept
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	writeJSON(w, issued)
}

// keep has the record of what was done, or refused, on disk.
func (c *Control) keep(r *http.Request, who string, reason problem.Reason, status int, tags ...string) error {
	req := obs.RequestFrom(r.Context())
	return c.Journal.AppendSync(&journal.Record{
		Kind: journal.KindAdmin, Time: c.Clock(), CorrelationID: req.CorrelationID, TraceID: req.Trace.String(),
		Listener: "control", Service: "control", Route: r.Pattern, Method: r.Method, Client: address(r), Principal: who,
		Reason: reason.Code(), Status: status, Tags: tags,
	})
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
