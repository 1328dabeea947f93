package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// How often user codes may be tried: they have 34 bits, and live for five minutes
// (RFC 8628 section 5.1).
var (
	codesOfUser    = zone.Rate{Count: 5, Window: 5 * time.Minute}
	codesOfNetwork = zone.Rate{Count: 20, Window: 10 * time.Minute}
	codesOfAll     = zone.Rate{Count: 600, Window: time.Minute}
)

const devicePath = prefix + "/device"

// askCode shows the page on which a user enters the code of a device. What an
// address holds is filled in and nothing more: the user sends it (RFC 8628
// section 5.4).
func (p *Provider) askCode(w http.ResponseWriter, r *http.Request) error {
	if _, there := person(r); !there {
		return page.Redirect(w, page.LoginPath+"?next="+url.QueryEscape(devicePath))
	}
	browserOf(w, r)
	code := r.URL.Query().Get("user_code")
	if len(code) > 16 {
		code = ""
	}
	return p.Pages.Write(w, r, 0, page.Device{Code: code}, nil)
}

// enterCode takes a user code, and leads on to what the device asks for.
func (p *Provider) enterCode(w http.ResponseWriter, r *http.Request) error {
	who, there := person(r)
	if !there {
		return problem.New(problem.AuthMissing, nil)
	}
	v, _, err := page.Decode(r, page.Shape{Required: []string{"user_code"}}, page.Shape{Required: []string{"user_code"}})
	if err != nil {
		return err
	}
	code := v["user_code"]
	id, err := p.deviceRequest(r, who.Subject, code)
	if err != nil {
		if page.WantsPage(r) && page.Redo(err) {
			return p.Pages.Write(w, r, 0, page.Device{}, page.RefusalOf(err))
		}
		return err
	}
	return p.browse(w, r, endpointDevice, id, "")
}

func (p *Provider) deviceRequest(r *http.Request, user, code string) (id string, err error) {
	ctx := r.Context()
	for _, bound := range []struct {
		kind, subject string
		rate          zone.Rate
	}{{"oauth device user", user, codesOfUser}, {"oauth device network", clientAddress(r), codesOfNetwork}, {"oauth device", "", codesOfAll}} {
		if err := p.Throttle.Take(ctx, bound.kind, bound.subject, bound.rate); err != nil {
			return "", err
		}
	}
	if len(code) > 32 {
		return "", problem.WithDetail(problem.AccountInvalid, "user_code: unknown or too old")
	}
	err = p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT id FROM oauth_requests WHERE user_code = ? AND kind = 'device' AND status = 'pending' AND expires_at > ?",
			p.userCode(code), store.Micros(p.now())).Scan(&id)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", problem.WithDetail(problem.AccountInvalid, "user_code: unknown or too old")
	case err != nil:
		return "", problem.New(problem.AuthUnavailable, err)
	}
	return id, nil
}

// noPrompt would be the library's page for codes; ours is there instead.
func (p *Provider) noPrompt(http.ResponseWriter, *http.Request) error {
	return problem.New(problem.AccountFlow, nil)
}

// deviceConfirmed tells the user that the device may go on.
func (p *Provider) deviceConfirmed(w http.ResponseWriter, r *http.Request) error {
	return p.Pages.Write(w, r, 0, page.DeviceDone{Allowed: true}, nil)
}
