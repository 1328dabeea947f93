package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"sallyport.dev/internal/policy"
)

// barLook is that of introspection and of the look-up of a session, us of CPU.
const barLook = 20.0

// looked is how many sessions and tokens are looked up, in turn.
const looked = 1000

const (
	verifier   = "0123456789012345678901234567890123456789012345"
	formType   = "application/x-www-form-urlencoded"
	introspect = "/oauth/introspect"
)

// look is one kind of look-up.
type look struct {
	name string
	bar  bool
	// ready makes n look-ups ready; the i-th is done by the function it returns.
	ready func(n int) (func(i int) error, error)
	cpu   []float64 // us each, by round
}

func measureLookups(ctx context.Context, p plan, beds []*bed) error {
	var all [][]*look
	for _, b := range beds {
		looks, err := b.looks(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		all = append(all, looks)
	}
	for round := -1; round < p.rounds; round++ {
		for i, looks := range all {
			for _, l := range looks {
				if err := l.round(ctx, p.lookups); err != nil {
					return fmt.Errorf("%s: %s: %w", beds[i].name, l.name, err)
				}
				if round < 0 { // it warmed up
					l.cpu = nil
					continue
				}
				fmt.Fprintf(os.Stderr, "round %d  %-32s %-56s CPU %7.1f us\n", round+1, beds[i].name, l.name, l.cpu[round])
			}
		}
	}
	reportLookups(all, beds, p)
	return nil
}

// round does n look-ups. Their requests are made before.
func (l *look) round(ctx context.Context, n int) error {
	do, err := l.ready(n)
	if err != nil {
		return err
	}
	runtime.GC() // the requests' own garbage is not the look-ups'
	cpu, _, err := spent(func() error {
		for i := range n {
			if err := do(i); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	l.cpu = append(l.cpu, float64(cpu.Microseconds())/float64(n))
	return err
}

// looks are all kinds, in a zone.
func (b *bed) looks(ctx context.Context) ([]*look, error) {
	own, users, err := b.tokens(ctx)
	if err != nil {
		return nil, err
	}
	each := func(do func(i int) error) func(int) (func(int) error, error) {
		return func(int) (func(int) error, error) { return do, nil }
	}
	rights := func(user string) error {
		_, err := b.identity.Principal(ctx, user, policy.TwoFactors)
		return err
	}
	step := max(1, b.sessions/looked)
	tokens := make([]string, min(looked, b.sessions))
	for i := range tokens {
		tokens[i] = tokenOf(i * step)
	}
	return []*look{
		{name: "session.Lookup", bar: true, ready: each(func(i int) error {
			_, err := b.lived.Lookup(ctx, tokens[i%len(tokens)])
			return err
		})},
		{name: "the same and the user's rights (a gateway's first look)", ready: each(func(i int) error {
			s, err := b.lived.Lookup(ctx, tokens[i%len(tokens)])
			if err != nil {
				return err
			}
			return rights(s.User)
		})},
		{name: "oauth.Resolve", bar: true, ready: each(func(i int) error {
			_, err := b.provider.Resolve(ctx, users[i%len(users)])
			return err
		})},
		{name: "the same and the user's rights (a gateway's first look)", ready: each(func(i int) error {
			t, err := b.provider.Resolve(ctx, users[i%len(users)])
			if err != nil {
				return err
			}
			return rights(t.Subject)
		})},
		{name: "introspection of a client's own token", bar: true, ready: b.introspections(ctx, own)},
		{name: "introspection of a user's token", bar: true, ready: b.introspections(ctx, users)},
		{name: "*a request that no route takes*", ready: func(n int) (func(int) error, error) {
			return b.calls(n, func(int) (*call, error) {
				return newCall(ctx, homeOf(0), http.MethodPost, "/oauth/nothing", formType, "token=x", http.StatusNotFound)
			})
		}},
	}, nil
}

// calls makes n requests ready.
func (b *bed) calls(n int, request func(i int) (*call, error)) (func(int) error, error) {
	list := make([]*call, n)
	for i := range list {
		var err error
		if list[i], err = request(i); err != nil {
			return nil, err
		}
	}
	return func(i int) error { return b.do(list[i]) }, nil
}

func (b *bed) introspections(ctx context.Context, tokens []string) func(int) (func(int) error, error) {
	return func(n int) (func(int) error, error) {
		var list []*call
		do, err := b.calls(n, func(i int) (*call, error) {
			c, err := b.asClient(ctx, introspect, url.Values{"token": {tokens[i%len(tokens)]}})
			list = append(list, c)
			return c, err
		})
		return func(i int) error {
			if err := do(i); err != nil {
				return err
			}
			if body := list[i].answer.body.Bytes(); !bytes.Contains(body, []byte(`"active":true`)) {
				return fmt.Errorf("the token is not active: %.300s", body)
			}
			return nil
		}, err
	}
}

// asClient is a request of the confidential client.
func (b *bed) asClient(ctx context.Context, path string, form url.Values) (*call, error) {
	c, err := newCall(ctx, netip.AddrFrom4([4]byte{198, 51, 100, 7}), http.MethodPost, path, formType, form.Encode(), http.StatusOK)
	if err == nil {
		c.request.SetBasicAuth("shop", url.QueryEscape(clientSecret))
	}
	return c, err
}

// tokens are access tokens, some of the client itself, some of users, got as
// clients get them.
func (b *bed) tokens(ctx context.Context) (own, users []string, err error) {
	for range 50 {
		t, err := b.token(ctx, url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}})
		if err != nil {
			return nil, nil, err
		}
		own = append(own, t)
	}
	step := max(1, b.sessions/looked)
	for n := 0; n < b.sessions && len(users) < looked; n += step {
		code, err := b.code(ctx, n)
		if err != nil {
			return nil, nil, err
		}
		t, err := b.token(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}})
		if err != nil {
			return nil, nil, err
		}
		users = append(users, t)
	}
	return own, users, nil
}

func (b *bed) token(ctx context.Context, form url.Values) (string, error) {
	c, err := b.asClient(ctx, "/oauth/token", form)
	if err != nil {
		return "", err
	}
	if err := b.do(c); err != nil {
		return "", err
	}
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(c.answer.body.Bytes(), &got); err != nil || got.Token == "" {
		return "", fmt.Errorf("no token in %.300s", c.answer.body.String())
	}
	return got.Token, nil
}

// code has the user of a session say yes to the client.
func (b *bed) code(ctx context.Context, session int) (string, error) {
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {"shop"}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid orders.read"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	b.ahead.Add(int64(time.Second))
	c, err := newCall(asUser(ctx, b.accounts, session), b.newClient(), http.MethodGet, "/oauth/authorize?"+query.Encode(), "", "", http.StatusOK)
	if err != nil {
		return "", err
	}
	c.request.Header.Set("Accept", "text/html")
	b.mux.ServeHTTP(&c.answer, c.request)
	to := c.answer.header.Get("Location")
	if to == "" {
		_, to, _ = strings.Cut(c.answer.header.Get("Refresh"), "url=")
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	if code := u.Query().Get("code"); code != "" {
		return code, nil
	}
	return "", fmt.Errorf("no code: %d %s %.300s", c.answer.status, to, c.answer.body.String())
}

func reportLookups(all [][]*look, beds []*bed, p plan) {
	fmt.Printf("\nLook-ups, %d of each kind in a round, of %d sessions and tokens in turn: us of CPU each; the bar is %.0f\n\n", p.lookups, looked, barLook)
	fmt.Print("| look-up |")
	for _, b := range beds {
		fmt.Printf(" %s |", b.name)
	}
	fmt.Print(" bar |\n|---|")
	fmt.Println(strings.Repeat("---:|", len(beds)) + "---|")
	for i, l := range all[0] {
		fmt.Printf("| %s |", l.name)
		verdict := ""
		for _, looks := range all {
			fmt.Printf(" %s |", ranged(looks[i].cpu, "%.1f"))
			if l.bar {
				verdict = met(median(looks[i].cpu) < barLook)
			}
		}
		fmt.Printf(" %s |\n", verdict)
	}
}
