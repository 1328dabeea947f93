package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

const logoutPath = prefix + "/logout"

// flowLogout is a logout that waits for its user to confirm it.
const flowLogout = "oauth logout"

type waitingLogout struct {
	User, Session, To, Title string
}

// logout ends a session because a client asks for it (OpenID Connect RP-Initiated
// Logout 1.0). Only an ID token of this very session makes it happen unasked:
// else any page could log anybody out.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > maxQuery {
		return problem.WithDetail(problem.OAuthRequest, "the request is too long")
	}
	form, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return refusedForm(err)
	}
	h, hinted := hint{}, false
	if form.Has("id_token_hint") {
		h, hinted = p.parseHint(r.Context(), form.Get("id_token_hint"))
	}
	to, asking, err := p.afterLogout(r.Context(), form, h, hinted)
	if err != nil {
		return err
	}
	title := ""
	if asking != nil {
		title = asking.title()
	}
	who, there := person(r)
	if !there {
		return p.loggedOut(w, r, to, title, false)
	}
	if hinted && asking != nil && h.Subject == who.Subject {
		same, err := p.ofSession(r.Context(), who.Session, asking.ID, h)
		if err != nil {
			return answer(err)
		}
		if same {
			return p.endAtOnce(w, r, who, to, title)
		}
	}
	browserOf(w, r)
	browser := flowOf(r)
	if browser == "" {
		return page.Redirect(w, r.URL.RequestURI()) // with the cookie that was just set
	}
	var id string
	err = p.db.Tx(r.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		id, err = p.Flows.Begin(ctx, tx, flow.Record{Kind: flowLogout, User: who.Subject, Browser: browser, Expires: p.now().Add(10 * time.Minute)},
			waitingLogout{who.Subject, who.Session, to, title})
		return err
	})
	if err != nil {
		return answer(err)
	}
	return p.Pages.Write(w, r, 0, page.LogoutAsk{Flow: id, Client: title}, nil)
}

// ofSession says whether an ID token came of a session, which may have had other
// ids since.
func (p *Provider) ofSession(ctx context.Context, session, client string, h hint) (bool, error) {
	if h.SID == "" {
		return false, nil
	}
	n := 0
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM oauth_grants WHERE session_id = ? AND sub = ? AND client_id = ? AND sid = ?", session, h.Subject, client, h.SID).Scan(&n)
	})
	return n > 0, err
}

func (p *Provider) endAtOnce(w http.ResponseWriter, r *http.Request, who *policy.Principal, to, title string) error {
	if err := p.Users.EndSession(w, r, who.Subject, who.Session); err != nil {
		return err
	}
	return p.loggedOut(w, r, to, title, false)
}

// afterLogout is where the user goes then: a URI that the client registered, byte
// for byte, or nowhere.
func (p *Provider) afterLogout(ctx context.Context, form url.Values, h hint, hinted bool) (to string, c *client, err error) {
	id := form.Get("client_id")
	switch {
	case hinted && id == "" && len(h.Audience) == 1:
		id = h.Audience[0]
	case hinted && id != "" && !slices.Contains(h.Audience, id):
		return "", nil, problem.WithDetail(problem.OAuthRequest, "client_id is not whom the ID token is for")
	}
	if id != "" {
		c, err = p.client(ctx, p.state.Load(), id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return "", nil, problem.New(problem.OAuthClient, nil)
		case err != nil:
			return "", nil, answer(err)
		}
	}
	to = form.Get("post_logout_redirect_uri")
	if to == "" {
		return "", c, nil
	}
	if c == nil || !slices.Contains(c.LogoutURIs, to) {
		return "", nil, problem.WithDetail(problem.OAuthRequest, "post_logout_redirect_uri is not registered for the client")
	}
	if form.Has("state") {
		to = withQuery(to, url.Values{"state": {form.Get("state")}})
	}
	return to, c, nil
}

// loggedOut ends a logout: back at the client, or on a page of ours.
func (p *Provider) loggedOut(w http.ResponseWriter, r *http.Request, to, title string, posted bool) error {
	switch {
	case to == "":
		return p.Pages.Write(w, r, 0, page.LoggedOut{Title: title}, nil)
	case posted:
		return page.Onward(w, to)
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	return page.Redirect(w, to)
}

// postLogout takes the answer of our own page, from our own pages only; and what
// clients post, which is led on to the same with GET: a browser sends no session
// with a form of another site.
func (p *Provider) postLogout(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return refusedForm(err)
	}
	if !form.Has("flow") {
		return page.Redirect(w, logoutPath+"?"+form.Encode())
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return problem.New(problem.AuthCrossSite, err)
	}
	var data waitingLogout
	err = p.db.Tx(r.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := p.Flows.Take(ctx, tx, flowLogout, form.Get("flow"), flowOf(r), &data)
		return err
	})
	if err != nil {
		return answer(err)
	}
	if form.Get("decision") != "allow" {
		return page.Redirect(w, page.AccountPath)
	}
	if err := p.Users.EndSession(w, r, data.User, data.Session); err != nil {
		return err
	}
	return p.loggedOut(w, r, data.To, data.Title, true)
}

// postAuthorize leads an authorization request that was posted on to the same with
// GET (OpenID Connect Core section 3.1.2.1).
func (p *Provider) postAuthorize(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return refusedForm(err)
	}
	query := form.Encode()
	if len(query) > maxQuery {
		return problem.WithDetail(problem.OAuthRequest, "the request is too long: push it")
	}
	return page.Redirect(w, prefix+"/authorize?"+query)
}
