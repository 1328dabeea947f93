package identity

import (
	"encoding/json"
	"net/http"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// exportJSON is all that the account service keeps of a user (GDPR article 15 and
// 20), without what would open the account.
type exportJSON struct {
	Zone       string `json:"zone"`
	ExportedAt string `json:"exported_at"`
	accountJSON
	HasPassword bool   `json:"has_password"`
	Disabled    bool   `json:"disabled"`
	Version     uint64 `json:"version"` // how often rights or password changed
}

// export is GET /auth/export: a file, for who has just shown who they are.
func (id *Identity) export(w http.ResponseWriter, r *http.Request) error {
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	f, err := id.facts(r, p, a)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(exportJSON{
		Zone: id.zone.Name, ExportedAt: page.Stamp(id.clock()), accountJSON: f.answer(),
		HasPassword: a.password != "", Disabled: a.Disabled, Version: a.Version,
	}, "", "  ")
	if err != nil {
		return problem.New(problem.InternalError, err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="account.json"`)
	_, _ = w.Write(append(b, '\n')) // the client may be gone; the record says so elsewhere
	return nil
}
