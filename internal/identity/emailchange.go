package identity

import (
	"net/http"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
)

var emailShape = page.Shape{Required: []string{"email"}}

// emailRoutes: an address changes by a letter to the new one, so only with mail.
func (id *Identity) emailRoutes() []Route {
	if !id.mailed() {
		return nil
	}
	return []Route{id.get("/auth/email", id.emailPage), id.post("/auth/email", id.changeEmail)}
}

// emailPage is GET /auth/email. It has no JSON twin.
func (id *Identity) emailPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	_, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	return id.pages.Write(w, r, 0, page.Email{Email: a.Email}, nil)
}

// changeEmail is POST /auth/email: 202 for every address, taken or not. The account
// keeps its address until the link to the new one is followed. Its own address may
// be asked for too: so one that nobody has shown to be theirs is shown to be.
func (id *Identity) changeEmail(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, emailShape, emailShape)
	if err != nil {
		return err
	}
	_, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	email := v["email"]
	if media == page.Form {
		email = typed(email)
	}
	if err = id.askToMove(r, a, email); err == nil {
		return id.sent(w, r, media, flowEmail, email)
	}
	if media == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		return id.pages.Write(w, r, 0, page.Email{Email: a.Email, New: email}, page.RefusalOf(err))
	}
	return err
}

func (id *Identity) askToMove(r *http.Request, a account, email string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	send, err := id.mayWrite(r, "email", email)
	if err != nil || !send {
		return err
	}
	return id.ask(r, mail.Job{Kind: flowEmail, Address: email, User: a.ID})
}
