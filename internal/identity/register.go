package identity

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// mailed says whether accounts of this zone begin with a letter.
func (id *Identity) mailed() bool { return id.zone.Identity.Mail != nil }

// askToRegister is POST /auth/register with mail. Nothing here looks whether there
// is an account: what was typed and the hash of the password go into a sealed job,
// and Letter asks. So the answer is the same and costs the same by construction.
func (id *Identity) askToRegister(r *http.Request, email string, p obs.Secret, browser string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	if err := id.passwords.Judge(p, false, email, id.zone.Name); err != nil {
		return err
	}
	send, err := id.mayWrite(r, "register", email)
	if err != nil {
		return err
	}
	leave, err := id.addresses.enter(obs.RequestFrom(r.Context()).Client)
	if err != nil {
		return err
	}
	defer leave()
	encoded, form, err := id.passwords.Hash(r.Context(), p)
	if err != nil || !send {
		return err
	}
	return id.ask(r, mail.Job{Kind: flowRegister, Address: email, Data: map[string]string{"hash": encoded, "form": form, "browser": browser}})
}

// mayWrite counts a request for a letter to an address. send is false when the
// mailbox has had its share: the answer stays the same. Reason limit.rate: the
// network of the client has had its own.
func (id *Identity) mayWrite(r *http.Request, kind, email string) (send bool, err error) {
	if id.mail == nil {
		return false, problem.New(problem.ZoneNotEnforced, errors.New("identity: the map has mail, the process has none"))
	}
	return id.guesses.Letter(r.Context(), kind, foldEmail(email), obs.RequestFrom(r.Context()).Client, deviceOf(r))
}

// ask leaves a job to the outbox, in the language in which the request is answered.
func (id *Identity) ask(r *http.Request, job mail.Job) error {
	job.Language = id.pages.Language(r)
	err := id.db.change(r.Context(), func(ctx context.Context, t tx) error { return id.mail.Enqueue(ctx, t.whole(), job) })
	if errors.Is(err, mail.ErrFull) { // whoever asks, and for whatever address
		return page.Later(problem.LimitBusy, time.Minute)
	}
	return err
}

// sentJSON says how it goes on after a letter.
type sentJSON struct {
	Step string `json:"step"`
}

// sent answers who asked for a letter. kind is that of page.Sent.
func (id *Identity) sent(w http.ResponseWriter, r *http.Request, media page.Media, kind, email string) error {
	if media == page.Form && page.WantsPage(r) {
		return id.pages.Write(w, r, http.StatusAccepted, page.Sent{Kind: kind, Email: email}, nil)
	}
	step := "verify"
	if kind == flowRecover {
		step = "password"
	}
	return page.WriteJSON(w, http.StatusAccepted, sentJSON{Step: step})
}

// bindBrowser returns the name of the browser of a request, and names one that has
// none.
func bindBrowser(w http.ResponseWriter, r *http.Request) string {
	if b := browserOf(r); b != "" {
		return b
	}
	b := newBrowser()
	http.SetCookie(w, cookie(FlowCookie, b))
	return b
}
