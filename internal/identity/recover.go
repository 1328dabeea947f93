package identity

import (
	"net/http"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
)

const recoverPath = "/auth/recover"

var recoverShape = page.Shape{Required: []string{"email"}}

// recoverRoutes: without mail a password cannot be recovered, and the path answers
// like every unknown one.
func (id *Identity) recoverRoutes() []Route {
	if !id.mailed() {
		return nil
	}
	return []Route{id.get(recoverPath, id.recoverPage), id.post(recoverPath, id.recover)}
}

// recoverPage is GET /auth/recover. It has no JSON twin.
func (id *Identity) recoverPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	return id.pages.Write(w, r, 0, page.Recover{}, nil)
}

// recover is POST /auth/recover: 202 for every address. Nothing here looks whether
// there is an account; see recoverLetter.
func (id *Identity) recover(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, recoverShape, recoverShape)
	if err != nil {
		return err
	}
	email := v["email"]
	if media == page.Form {
		email = typed(email)
	}
	if err = id.askToRecover(r, email); err == nil {
		return id.sent(w, r, media, flowRecover, email)
	}
	if media == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		return id.pages.Write(w, r, 0, page.Recover{Email: email}, page.RefusalOf(err))
	}
	return err
}

func (id *Identity) askToRecover(r *http.Request, email string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	send, err := id.mayWrite(r, "recover", email)
	if err != nil || !send {
		return err
	}
	return id.ask(r, mail.Job{Kind: flowRecover, Address: email, Expires: id.clock().Add(recoverLife)})
}
