package identity

import (
	"net/http"
	"time"

	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

var strengthShape = page.Shape{Required: []string{"password"}, Optional: []string{"email"}}

// strengthRates bound what one network may have estimated: an estimate costs up to
// some milliseconds.
var strengthRates = []zone.Rate{{Count: 60, Window: time.Minute}, {Count: 1000, Window: time.Hour}}

// strengthOfAll bounds what all networks may together, of which one customer may
// hold many. Beyond it the meter stands still, which harms nobody.
var strengthOfAll = zone.Rate{Count: 600, Window: time.Minute}

type strengthJSON struct {
	Score int           `json:"score"`
	Hint  password.Hint `json:"hint,omitempty"`
}

// strength is POST /auth/password/strength, for the meter beside the field. What
// is sent is kept nowhere.
func (id *Identity) strength(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, strengthShape, strengthShape)
	if err != nil {
		return err
	}
	if media != page.JSON {
		return problem.New(problem.RequestContent, nil)
	}
	if err := id.guesses.Take(r.Context(), "strength", networkOf(r), strengthRates...); err != nil {
		return err
	}
	if err := id.guesses.Take(r.Context(), "strength of all", "", strengthOfAll); err != nil {
		return err
	}
	words := []string{id.zone.Name}
	if email := v["email"]; email != "" && len(email) <= emailMax {
		words = append(words, email)
	}
	s := id.passwords.Strength(obs.Secret(v["password"]), words...)
	return page.WriteJSON(w, http.StatusOK, strengthJSON{Score: s.Score, Hint: s.Hint})
}

// networkOf is what the client of a request is counted as.
func networkOf(r *http.Request) string {
	return guess.Network(obs.RequestFrom(r.Context()).Client).String()
}
