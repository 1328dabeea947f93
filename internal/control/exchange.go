package control

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// The names of token exchange (RFC 8693 section 3, draft-ietf-oauth-transaction-tokens).
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	kindAccess    = "urn:ietf:params:oauth:token-type:access_token"
	kindTxn       = "urn:ietf:params:oauth:token-type:txn_token"
)

// methodOAuth is the `rctx` method of an access token. Nothing else is exchanged.
const methodOAuth = "oauth"

// exchangeRate bounds the exchanges of one workload: each has its record.
var exchangeRate = zone.Rate{Count: 6000, Window: time.Minute}

// AccessToken is whom an access token of the zone's own provider stands for.
type AccessToken struct {
	Subject string
	Roles   []string
	Scopes  []string
	Level   int
	Client  string
	Bound   bool // to a key or certificate that its sender must show
}

// AccessTokens know the access tokens of the zone's own provider.
type AccessTokens interface {
	// AccessToken looks a token up anew. Whatever is no such token, or has ended, is
	// an error with a reason of the family auth.
	AccessToken(ctx context.Context, value string) (AccessToken, error)
}

// txnAnswer is a Txn-Token response.
type txnAnswer struct {
	Token  string `json:"access_token"`
	Issued string `json:"issued_token_type"`
	Type   string `json:"token_type"`
	Life   int64  `json:"expires_in"` // seconds

	tags []string // of the record
}

// exchange makes of an outside access token an inside one, for a service that
// calls others for users. It speaks OAuth (RFC 8693), errors too.
func (c *Control) exchange(w http.ResponseWriter, r *http.Request) {
	name, err := c.peer(r)
	who, key, rate, over := "nobody", svid.HostOf(address(r)).String(), joinRate, problem.LimitAddress
	if err == nil {
		peer, _ := svid.PeerFrom(r.Context())
		who, key, rate, over = peer.ID.String(), peer.ID.String(), exchangeRate, problem.LimitRate
	}
	recorded, limited := c.take(w, r, "exchange:"+key, rate, over)
	var answer *txnAnswer
	switch {
	case limited != nil:
		err = limited
	case err != nil:
		err = &fault{code: "invalid_client", text: "a client certificate of the zone is needed here", reason: problem.ReasonOf(err), cause: err}
	default:
		answer, err = c.swap(r, name, who)
	}
	if err == nil {
		err = c.keep(r, who, problem.OK, http.StatusOK, answer.tags...)
	} else if recorded {
		f := faultOf(err)
		if kept := c.keep(r, who, f.reason, f.status); kept != nil {
			c.Log.WarnContext(r.Context(), "control: a refusal has no record", "operation", r.Pattern, "cause", kept)
		}
	}
	if err != nil {
		c.refuseExchange(w, r, faultOf(err))
		return
	}
	writeJSON(w, answer)
}

// swap judges an exchange, who asks before what: a service that may not learns
// nothing of a token.
func (c *Control) swap(r *http.Request, name, workload string) (*txnAnswer, error) {
	if err := c.Journal.Admit(false); err != nil { // no reserve is kept for it: it is traffic
		return nil, err
	}
	z := c.zone()
	if !callsForUsers(z.Service(name)) {
		return nil, &fault{code: "access_denied", text: "the map declares no call of this service that is made for a user", reason: problem.InsideCall}
	}
	form, err := readForm(r)
	if err != nil {
		return nil, err
	}
	if err := checkExchange(form, z.Name); err != nil {
		return nil, err
	}
	t, err := c.Access.AccessToken(r.Context(), form.Get("subject_token"))
	switch {
	case err != nil && problem.ReasonOf(err).Status() >= http.StatusInternalServerError:
		return nil, err
	case err != nil: // RFC 8693 section 2.2.2; which of the reasons it is, the record says
		return nil, &fault{code: "invalid_request", text: "the subject token is not valid", reason: problem.ReasonOf(err), cause: err}
	case t.Bound: // the service cannot hold the key: somebody took the token
		return nil, &fault{code: "invalid_request", text: "the subject token is bound to a key", reason: problem.AuthProof}
	}
	scopes, err := narrowed(t.Scopes, form)
	if err != nil {
		return nil, err
	}
	// No outside listener took it in: the name is of none, so that it opens nothing
	// as a request from outside.
	minted, err := c.Minter.Mint(r.Context(), token.Subject{
		Subject: t.Subject, Roles: t.Roles, Scopes: scopes, Level: t.Level, Client: t.Client,
		Listener: "control", Method: methodOAuth, Workload: workload,
	})
	if err != nil {
		return nil, problem.New(problem.TokenUnavailable, err)
	}
	life := max(0, int64(minted.Expires.Sub(c.Clock())/time.Second))
	return &txnAnswer{minted.Value, kindTxn, "N_A", life, []string{"subject:" + t.Subject, "client:" + t.Client}}, nil
}

// callsForUsers says whether the map has a call of the service that carries the
// token of whom it acts for. Who has none has no use for such a token.
func callsForUsers(svc *zone.Service) bool {
	return svc != nil && slices.ContainsFunc(svc.Calls, func(call zone.Call) bool { return !call.AsService })
}

// checkExchange holds the parameters to the one exchange that there is. What would
// change the meaning of the token and is not done is refused, never passed over.
func checkExchange(form url.Values, zoneName string) error {
	if form.Get("grant_type") != grantExchange {
		return &fault{code: "unsupported_grant_type", text: "tokens are exchanged here (RFC 8693), and nothing else", reason: problem.OAuthRequest}
	}
	for _, name := range []string{"actor_token", "actor_token_type", "request_context", "request_details"} {
		if form.Has(name) {
			return invalid(name + " is not supported")
		}
	}
	switch {
	case !form.Has("subject_token"):
		return invalid("subject_token is required")
	case form.Get("subject_token_type") != kindAccess:
		return invalid("subject_token_type must be " + kindAccess)
	case form.Get("requested_token_type") != kindTxn:
		return invalid("requested_token_type must be " + kindTxn)
	case form.Has("resource"), form.Has("audience") && form.Get("audience") != zoneName:
		return &fault{code: "invalid_target", text: "tokens are for this zone", reason: problem.OAuthRequest}
	}
	return nil
}

// narrowed are the scopes that were asked for, all of which the token has; without
// a question all that it has.
func narrowed(granted []string, form url.Values) ([]string, error) {
	if !form.Has("scope") {
		return granted, nil
	}
	asked := strings.Split(form.Get("scope"), " ")
	for _, scope := range asked {
		if !slices.Contains(granted, scope) {
			return nil, &fault{code: "invalid_scope", text: "the subject token has no such scope", reason: problem.OAuthScope}
		}
	}
	slices.Sort(asked)
	return slices.Compact(asked), nil
}
