package identity

import (
	"context"
	"crypto/subtle"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// The kinds of flows of a login at another provider. Each is bound to the browser
// that began it, and good once.
const (
	flowProvider = "provider"          // the provider was asked
	flowAnswered = "provider-answered" // it answered by a POST without cookies; the browser comes after
	flowLink     = "provider-link"     // the local credential is asked for
)

// providerLife bounds the way to a provider and back.
const providerLife = 10 * time.Minute

// providerRates bound the flows that one network begins.
var providerRates = []zone.Rate{{Count: 30, Window: 10 * time.Minute}, {Count: 300, Window: 24 * time.Hour}}

var providerShape = page.Shape{Optional: []string{"next"}}

// errand is what a flow of a provider keeps: who went there, and what for.
type errand struct {
	Provider string       `json:"provider"`
	State    broker.State `json:"state"`
	Browser  string       `json:"browser"`
	Next     string       `json:"next"`
	User     string       `json:"user,omitempty"`    // who connects the provider; empty: a login
	Session  string       `json:"session,omitempty"` // of that user
	Again    string       `json:"again,omitempty"`   // who logs in anew, having nothing else to show; empty: anybody
	Locale   string       `json:"locale"`
	// Claims is the answer, in a flow of the kind flowAnswered.
	Claims broker.Claims `json:"claims"`
}

// logsIn says whether users log in by a kind of provider.
func logsIn(kind string) bool {
	return kind == broker.KindOIDC || kind == broker.KindGitHub || kind == broker.KindSAML
}

func (id *Identity) providerRoutes() []Route {
	if !slices.ContainsFunc(id.zone.Identity.Providers, func(p zone.Provider) bool { return logsIn(p.Kind) }) {
		return nil
	}
	const one = "/auth/providers/{name}"
	routes := []Route{
		id.post(one, id.beginProvider),
		id.post(one+"/unlink", id.unlinkProvider),
		id.get(one+"/link", id.finishLink),
		id.post(one+"/link", id.linkProvider),
	}
	back := id.get(one+"/callback", id.providerCallback)
	back.Durable = true // it may make an account
	routes = append(routes, back)
	if slices.ContainsFunc(id.zone.Identity.Providers, func(p zone.Provider) bool { return p.Kind == broker.KindSAML }) {
		acs := sized(id.post(one+"/acs", id.samlAnswer, page.CrossSite), broker.MaxAnswer)
		acs.CrossSite = true
		routes = append(routes, acs, id.get(one+"/metadata", id.samlMetadata))
	}
	return routes
}

// provider finds a provider of the map.
func (id *Identity) provider(name string) (broker.Provider, bool) {
	if id.broker == nil {
		return broker.Provider{}, false
	}
	list := id.broker.List()
	i := slices.IndexFunc(list, func(p broker.Provider) bool { return p.Name == name })
	if i < 0 {
		return broker.Provider{}, false
	}
	return list[i], true
}

// namedProvider is provider by the path of a request. Reason provider.unknown.
func (id *Identity) namedProvider(r *http.Request) (broker.Provider, error) {
	p, ok := id.provider(r.PathValue("name"))
	if !ok {
		return p, problem.New(problem.ProviderUnknown, nil)
	}
	return p, nil
}

// providerButtons are the other providers that the login page offers.
func (id *Identity) providerButtons() []page.ProviderButton {
	if id.broker == nil {
		return nil
	}
	var list []page.ProviderButton
	for _, p := range id.broker.List() {
		list = append(list, page.ProviderButton{Name: p.Name, Title: p.Title})
	}
	return list
}

// beginProvider is POST /auth/providers/{name}: it sends the browser to the
// provider. Who is logged in connects it to their account, freshly proved. It is for
// browsers: an app opens the login page in one.
func (id *Identity) beginProvider(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, providerShape, providerShape)
	if err != nil {
		return err
	}
	if media != page.Form {
		return problem.New(problem.RequestContent, nil)
	}
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	if err := id.guesses.Take(r.Context(), "provider", networkOf(r), providerRates...); err != nil {
		return err
	}
	a := errand{Provider: p.Name, Next: localPath(v["next"]), Locale: id.pages.Language(r)}
	if err := id.onBehalf(w, r, p, &a); err != nil {
		return err
	}
	a.Browser = bindBrowser(w, r)
	to, err := id.askProvider(r.Context(), p, a)
	if err != nil {
		return err
	}
	return page.Onward(w, to)
}

// onBehalf says for whom the provider is asked. Who is logged in connects it,
// freshly proved; or proves anew who they are, if nothing else than a provider
// which opens the account already can show it.
func (id *Identity) onBehalf(w http.ResponseWriter, r *http.Request, p broker.Provider, a *errand) error {
	if _, err := caller(r); problem.ReasonOf(err) == problem.AuthMissing {
		return nil
	}
	who, own, err := id.whoAsks(w, r)
	if err != nil {
		return err
	}
	stale := id.fresh(r, who, own)
	if stale == nil {
		a.User, a.Session = own.ID, who.Session
		return nil
	}
	ask, err := id.askFor(r, who, own)
	if err != nil || problem.ReasonOf(stale) != problem.AuthStepUp || !ask.nothing() {
		if err == nil {
			err = stale
		}
		return err
	}
	return id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		connected, err := connectionsOf(ctx, t, own.ID)
		if err == nil && !slices.ContainsFunc(connected, func(c connection) bool { return c.provider == p.Name }) {
			err = stale
		}
		a.Again = own.ID
		return err
	})
}

// askProvider begins the flow and returns where the provider is to be met. An
// answer of SAML comes without cookies: its flow is bound when the browser comes
// after it.
func (id *Identity) askProvider(ctx context.Context, p broker.Provider, a errand) (to string, err error) {
	record := flow.Record{Kind: flowProvider, User: a.User, Browser: a.Browser, Expires: id.clock().Add(providerLife)}
	if p.Kind == broker.KindSAML {
		record.Browser = ""
	}
	var handle string
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		handle, err = id.flows.Begin(ctx, t.whole(), record, a)
		return err
	})
	if err != nil {
		return "", err
	}
	if to, a.State, err = id.broker.Begin(ctx, p.Name, broker.Ask{Handle: handle, Fresh: a.Again != "" && p.Fresh}); err != nil {
		return "", err
	}
	return to, id.db.change(ctx, func(ctx context.Context, t tx) error {
		return id.flows.Update(ctx, t.whole(), flowProvider, handle, a)
	})
}

// takeAsked ends the flow of an answer: whatever becomes of it, there is one.
func (id *Identity) takeAsked(r *http.Request, kind, handle, name string) (a errand, err error) {
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		_, err := id.flows.Take(ctx, t.whole(), kind, handle, browserOf(r), &a)
		return err
	})
	if err == nil && a.Provider != name {
		err = problem.New(problem.AccountFlow, nil)
	}
	return a, err
}

// providerCallback is GET /auth/providers/{name}/callback: the answer of OpenID
// Connect or GitHub, or the browser after that of SAML.
func (id *Identity) providerCallback(w http.ResponseWriter, r *http.Request) error {
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	if p.Kind == broker.KindSAML {
		a, err := id.takeAsked(r, flowAnswered, r.URL.Query().Get("flow"), p.Name)
		if err != nil {
			return err
		}
		return id.answered(w, r, p, a)
	}
	a, err := id.takeAsked(r, flowProvider, broker.HandleOf(r), p.Name)
	if err != nil {
		return err
	}
	if a.Claims, err = id.broker.Finish(r.Context(), p.Name, a.State, r); err != nil {
		return err
	}
	return id.answered(w, r, p, a)
}

// samlAnswer is POST /auth/providers/{name}/acs. The browser sends it from the
// provider's site and so without cookies: nothing is done with it here but to keep
// what it says, for the browser that asked.
func (id *Identity) samlAnswer(w http.ResponseWriter, r *http.Request) error {
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	if p.Kind != broker.KindSAML {
		return problem.New(problem.ProviderUnknown, nil)
	}
	handle := broker.HandleOf(r)
	a, err := id.takeAsked(r, flowProvider, handle, p.Name)
	if err != nil {
		return err
	}
	if a.Claims, err = id.broker.Finish(r.Context(), p.Name, a.State, r); err != nil {
		return err
	}
	a.State = broker.State{}
	var next string
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		next, err = id.flows.Begin(ctx, t.whole(), flow.Record{
			Kind: flowAnswered, User: a.User, Browser: a.Browser, Expires: id.clock().Add(providerLife),
		}, a)
		return err
	})
	if err != nil {
		return err
	}
	return page.Redirect(w, "/auth/providers/"+p.Name+"/callback?flow="+next)
}

// samlMetadata is GET /auth/providers/{name}/metadata.
func (id *Identity) samlMetadata(w http.ResponseWriter, r *http.Request) error {
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	b, err := id.broker.Metadata(p.Name)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(b) // the client may be gone; the record says so elsewhere
	return nil
}

// sameText compares two secrets.
func sameText(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
