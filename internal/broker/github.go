package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/oauth2"

	"sallyport.dev/internal/outward"
	"sallyport.dev/zone"
)

// github speaks GitHub's dialect: OAuth without discovery, without an ID token, and
// with an API of its own for who somebody is. It cannot be asked for a fresh login,
// and says nothing of when the last one was.
type github struct {
	source string // issuer of the claims
	api    string // prefix of the API
	config oauth2.Config
	site   *outward.Client // asks source
	data   *outward.Client // asks api
}

const gitHub, gitHubAPI = "https://github.com", "https://api.github.com"

func newGitHub(p zone.Provider, secret string, cfg *Config) (protocol, error) {
	if p.ClientID == "" || secret == "" {
		return nil, errors.New("no client_id or client_secret")
	}
	g := &github{source: gitHub, api: gitHubAPI}
	if p.Issuer != "" { // a server of one's own has its API below the same host
		g.source = strings.TrimSuffix(p.Issuer, "/")
		g.api = g.source + "/api/v3"
	}
	var err error
	if g.site, err = outward.NewClient(g.source, cfg.outward(p)); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if g.data, err = outward.NewClient(g.api, cfg.outward(p)); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	g.config = oauth2.Config{
		ClientID: p.ClientID, ClientSecret: secret, RedirectURL: callback(cfg.Base, p.Name, "callback"),
		Scopes: []string{"read:user", "user:email"},
		Endpoint: oauth2.Endpoint{
			AuthURL: g.source + "/login/oauth/authorize", TokenURL: g.source + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	return g, nil
}

func (g *github) takeOver(protocol) {}

func (g *github) issuer(context.Context) (string, error) { return g.source, nil }

func (g *github) place() string { return g.source }

func (g *github) begin(_ context.Context, s *State) (string, error) {
	s.Verifier = oauth2.GenerateVerifier()
	return g.config.AuthCodeURL(s.Handle, oauth2.S256ChallengeOption(s.Verifier)), nil
}

// finish does not look at `iss`: GitHub has no issuer, and is told from others by
// its own callback.
func (g *github) finish(ctx context.Context, s *State, r *http.Request) (Claims, error) {
	a, err := parseAnswer(r)
	if err != nil {
		return Claims{}, err
	}
	if err := a.of(s); err != nil {
		return Claims{}, err
	}
	if err := a.refusal(); err != nil {
		return Claims{}, err
	}
	token, err := exchange(ctx, g.site, &g.config, a.code, s.Verifier)
	if err != nil {
		return Claims{}, err
	}
	return g.claims(ctx, token.AccessToken)
}

// claims asks who the access token is of. The login can be changed and is then free
// for another: the number is who it is.
func (g *github) claims(ctx context.Context, token string) (Claims, error) {
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := g.ask(ctx, "/user", token, &user); err != nil {
		return Claims{}, err
	}
	if user.ID <= 0 {
		return Claims{}, errors.New("/user has no id")
	}
	c := Claims{Subject: strconv.FormatInt(user.ID, 10)}
	c.setName(user.Name)
	if c.Name == "" {
		c.setName(user.Login)
	}
	var addresses []struct {
		Email             string `json:"email"`
		Primary, Verified bool
	}
	err := g.ask(ctx, "/user/emails", token, &addresses)
	status := (*outward.StatusError)(nil)
	switch {
	case errors.As(err, &status) && (status.Status == http.StatusForbidden || status.Status == http.StatusNotFound):
		// The user did not grant it. What /user says of an address is what is shown
		// to others, verified or not.
	case err != nil:
		return Claims{}, err
	}
	for _, a := range addresses {
		if a.Primary && a.Verified {
			c.setEmail(a.Email, true)
		}
	}
	return c, nil
}

func (g *github) ask(ctx context.Context, path, token string, into any) error {
	data, _, err := g.data.Get(ctx, g.api+path, "Accept", "application/vnd.github+json",
		"Authorization", "Bearer "+token, "X-GitHub-Api-Version", "2022-11-28")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
