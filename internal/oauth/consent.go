package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// consent is what a user said yes to.
type consent struct{ user, client, scopes string }

// write adds it to what the user said before.
func (c *consent) write(ctx context.Context, tx *store.Tx, now time.Time) error {
	before, err := consented(ctx, tx, c.user, c.client)
	if err != nil {
		return err
	}
	all := strings.Join(slices.Compact(sorted(append(before, fields(c.scopes)...))), " ")
	_, err = tx.Exec(ctx, `INSERT INTO oauth_consents (user_id, client_id, scopes, given_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = excluded.scopes, given_at = excluded.given_at`,
		c.user, c.client, all, store.Micros(now))
	return err
}

func consented(ctx context.Context, tx *store.Tx, user, client string) ([]string, error) {
	var scopes string
	err := tx.QueryRow(ctx, "SELECT scopes FROM oauth_consents WHERE user_id = ? AND client_id = ?", user, client).Scan(&scopes)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return fields(scopes), nil
}

// asks says whether the user must be asked: always for a device, and for a program
// that another could pretend to be; else when there is something new.
func (p *Provider) asks(r *http.Request, c *call, as *goidc.AuthnSession, user, granted string) (bool, error) {
	if as.DeviceCode != "" || slices.Contains(fields(string(as.Prompt)), string(goidc.PromptTypeConsent)) {
		return true, nil
	}
	if !c.client.Consent {
		return false, nil
	}
	if c.client.native() {
		return true, nil
	}
	var before []string
	err := p.db.View(r.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		before, err = consented(ctx, tx, user, c.client.ID)
		return err
	})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(fields(granted), func(s string) bool { return !slices.Contains(before, s) }), nil
}

func (p *Provider) showConsent(w http.ResponseWriter, r *http.Request, c *call, as *goidc.AuthnSession, f *facts, who *policy.Principal) error {
	claims, err := p.Users.Claims(r.Context(), who.Subject, []string{"email"})
	if err != nil {
		return c.fail(err)
	}
	email, _ := claims["email"].(string)
	view := page.Consent{
		Flow: as.ID, Client: c.client.ID, Title: c.client.title(), Email: email,
		Scopes: told(fields(as.Scopes)), Device: as.DeviceCode != "", Place: f.Place,
	}
	if u, err := url.Parse(as.RedirectURI); err == nil {
		view.Host = u.Host
	}
	return p.Pages.Write(w, r, 0, view, nil)
}

// told are scopes in the order in which a person reads them: who they are, what the
// zone's services let the client do, and last that it goes on without them.
func told(scopes []string) []string {
	place := func(s string) int {
		first := []string{scopeOpenID, "profile", "email"}
		if i := slices.Index(first, s); i >= 0 {
			return i
		}
		if s == scopeOffline {
			return len(first) + 1
		}
		return len(first)
	}
	return slices.Compact(slices.SortedFunc(slices.Values(scopes), func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
	}))
}

// decideConsent takes the answer of the consent page, of a browser's request or a
// device's, and goes on with the request.
func (p *Provider) decideConsent(w http.ResponseWriter, r *http.Request) error {
	v, _, err := page.Decode(r, page.Shape{Required: []string{"flow", "decision"}}, page.Shape{Required: []string{"flow", "decision"}})
	if err != nil {
		return err
	}
	if d := v["decision"]; d != "allow" && d != "deny" {
		return problem.WithDetail(problem.AccountInvalid, "decision: want allow or deny")
	}
	if !wellFormed(v["flow"], "") {
		return problem.New(problem.AccountFlow, nil)
	}
	var kind string
	err = p.db.View(r.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT kind FROM oauth_requests WHERE id = ?", v["flow"]).Scan(&kind)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem.New(problem.AccountFlow, nil)
	case err != nil:
		return problem.New(problem.AuthUnavailable, err)
	}
	endpoint := endpointAuthorize
	if kind == kindDevice {
		endpoint = endpointDevice
	}
	return p.browse(w, r, endpoint, v["flow"], v["decision"])
}
