package identity

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/store"
)

// deleteGrace is how long a deletion can be taken back.
const deleteGrace = 14 * 24 * time.Hour

var nothingShape = page.Shape{}

// deleteJSON says when an account is to be deleted.
type deleteJSON struct {
	DeleteAt string `json:"delete_at"`
}

func (id *Identity) deleteRoutes() []Route {
	return []Route{
		id.get("/auth/delete", id.deletePage),
		id.post("/auth/delete", id.scheduleDelete),
		id.post("/auth/delete/cancel", id.cancelDelete),
	}
}

// emptyBody refuses a body that says anything. It may be left out.
func emptyBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	_, _, err := page.Decode(r, nothingShape, nothingShape)
	return err
}

// deletePage is GET /auth/delete. It has no JSON twin.
func (id *Identity) deletePage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	_, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	if !a.Deleting.IsZero() {
		return page.Redirect(w, page.AccountPath)
	}
	v := page.Delete{Email: a.Email, At: id.clock().Add(deleteGrace), Days: int(deleteGrace / (24 * time.Hour))}
	return id.pages.Write(w, r, 0, v, nil)
}

// scheduleDelete is POST /auth/delete: all that acts for the user ends now, the
// account after its grace. Asked again, the day stays.
func (id *Identity) scheduleDelete(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	due := id.clock().Add(deleteGrace)
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		if err := id.unchanged(ctx, t, a); err != nil {
			return err
		}
		var at int64
		if err := t.QueryRow(ctx, "UPDATE users SET delete_at = CASE WHEN delete_at = 0 THEN ? ELSE delete_at END WHERE id = ? RETURNING delete_at",
			store.Micros(due), a.ID).Scan(&at); err != nil {
			return err
		}
		due = store.FromMicros(at)
		if _, err := id.endKeys(ctx, t, a.ID); err != nil {
			return err
		}
		if err := id.bump(ctx, t, a.ID); err != nil {
			return err
		}
		if _, err := id.endAll(ctx, t, a.ID, ""); err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.DeletionScheduled, map[string]string{"due": page.Stamp(due), "link": id.config.Base + page.AccountPath})
	})
	if err != nil {
		return err
	}
	if byCookie(p) {
		clearCookie(w)
	}
	clearSite(w, false)
	if page.WantsPage(r) {
		return page.Redirect(w, page.LoginPath+"?bye")
	}
	return page.WriteJSON(w, http.StatusOK, deleteJSON{DeleteAt: page.Stamp(due)})
}

// cancelDelete is POST /auth/delete/cancel: whoever logs in keeps the account.
func (id *Identity) cancelDelete(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	p, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "UPDATE users SET delete_at = 0 WHERE id = ?", a.ID)
		return err
	})
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"?notice=deletion_cancelled")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
