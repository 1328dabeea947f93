package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// authenticate is what the library asks at each step of an authorization request:
// who the user is, and whether the client may. It answers with a page of its own
// or another's, or ends the request.
func (p *Provider) authenticate(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, _ *goidc.Client) (goidc.Status, error) {
	c := callOf(r.Context())
	device := as.DeviceCode != ""
	switch {
	case c.client == nil || c.browser == nil || as.Status != goidc.StatusPending:
		return goidc.StatusFailure, errors.New("oauth: no request to go on with")
	case device != (c.endpoint == endpointDevice):
		return goidc.StatusFailure, errors.New("oauth: a request of the other kind")
	case !device && len(as.CodeChallenge) != secretLength:
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeInvalidRequest, "code_challenge is required")
	case strings.TrimSpace(as.Scopes) == "":
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeInvalidScope, "scope is required")
	}
	f := factsOf(as.Store)
	if c.hint != "" {
		f.Hint = c.hint
	}
	if c.essential != "" {
		f.Essential = c.essential
	}
	if f.Asked == 0 {
		f.Asked = store.Micros(p.now())
	}
	status, err := p.decide(w, r, c, as, &f)
	f.put(as.Store)
	return status, err
}

func (p *Provider) decide(w http.ResponseWriter, r *http.Request, c *call, as *goidc.AuthnSession, f *facts) (goidc.Status, error) {
	silent := slices.Contains(fields(string(as.Prompt)), string(goidc.PromptTypeNone))
	who, there := person(r)
	if there && c.decision != "" { // it was posted: the session may have ended while its body was sent
		if _, err := p.Users.Active(r.Context(), who.Subject, who.Session); problem.ReasonOf(err).Status() >= http.StatusInternalServerError {
			return goidc.StatusFailure, c.fail(err)
		} else if err != nil {
			there = false
		}
	}
	if step := p.missing(who, there, as, f); step != noStep {
		switch {
		case silent:
			return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "the user must log in")
		case step == stepOther && f.Login:
			return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "another user is logged in")
		}
		f.Login = true
		c.handed = true
		return goidc.StatusPending, page.Redirect(w, step.path()+"?next="+url.QueryEscape(prefix+"/"+c.endpoint+"/"+as.ID))
	}
	level := f.level(who)
	if level == 0 {
		return goidc.StatusFailure, goidc.NewError(codeUnmet, "the user has not shown what acr demands")
	}
	granted := strings.Join(slices.Compact(sorted(fields(as.Scopes))), " ")
	switch {
	case c.decision == "deny":
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeAccessDenied, "the user said no")
	case c.decision == "allow" && f.Shown == who.Subject:
		c.unit.consent = &consent{who.Subject, c.client.ID, granted}
	default:
		asks, err := p.asks(r, c, as, who.Subject, granted)
		switch {
		case err != nil:
			return goidc.StatusFailure, c.fail(err)
		case asks && silent:
			return goidc.StatusFailure, goidc.NewError("consent_required", "the user must consent")
		case asks:
			f.Shown = who.Subject
			c.handed = true
			return goidc.StatusPending, p.showConsent(w, r, c, as, f, who)
		}
	}
	as.Subject, as.GrantedScopes = who.Subject, granted
	as.GrantedResources = goidc.Resources{p.Issuer}
	f.Kind, f.Session, f.SID = kindUser, who.Session, p.sid(who.Session, c.client.ID)
	f.Level, f.Auth = level, store.Micros(who.AuthTime)
	f.Offline = slices.Contains(fields(granted), scopeOffline)
	return goidc.StatusSuccess, nil
}

// step is what a user must do before a request can go on.
type step uint8

const (
	noStep    step = iota
	stepLogin      // nobody is logged in
	stepOther      // somebody else is
	stepUp         // the login is too old or too weak
)

func (s step) path() string {
	if s == stepUp {
		return page.StepUpPath
	}
	return page.LoginPath
}

// missing says what the request demands of the login that it does not have
// (OpenID Connect Core section 3.1.2.1).
func (p *Provider) missing(who *policy.Principal, there bool, as *goidc.AuthnSession, f *facts) step {
	if !there {
		return stepLogin
	}
	if f.Hint != "" && f.Hint != who.Subject {
		return stepOther
	}
	if who.StepUp {
		return stepUp
	}
	prompt := fields(string(as.Prompt))
	again := slices.Contains(prompt, string(goidc.PromptTypeLogin)) || slices.Contains(prompt, string(goidc.PromptTypeSelectAccount))
	if again && store.Micros(who.AuthTime) < f.Asked || f.tooOld(who, as.MaxAuthnAgeSecs) || f.wants(as.ACRValues, who) {
		return stepUp
	}
	return noStep
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// refusal is what a person reads of an error of the library. The words of the
// client are not among it.
func refusal(err error) error {
	var e goidc.Error
	if !errors.As(err, &e) {
		return problem.New(problem.InternalError, err)
	}
	switch e.Code {
	case goidc.ErrorCodeInvalidClient:
		return &problem.Error{Reason: problem.OAuthClient, Cause: err}
	case goidc.ErrorCodeAccessDenied:
		return &problem.Error{Reason: problem.OAuthDenied, Cause: err}
	}
	return &problem.Error{Reason: problem.OAuthRequest, Detail: e.Description, Cause: err}
}
