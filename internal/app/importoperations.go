package app

import (
	"context"
	"errors"
	"net/http"

	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/problem"
)

// maxImport bounds a file of users, in bytes.
const maxImport = 256 << 20

// Invitation is the body of POST /v1/invitations.
type Invitation struct {
	Email string   `json:"email"`
	Roles []string `json:"roles"`
}

// OpenInvitation is one of GET /v1/invitations.
type OpenInvitation struct {
	Email   string   `json:"email"`
	Roles   []string `json:"roles"`
	Created string   `json:"created"`
	Expires string   `json:"expires"`
}

// Invitations is one page of GET /v1/invitations.
type Invitations struct {
	Invitations []OpenInvitation `json:"invitations"`
	Next        string           `json:"next,omitempty"` // the parameter after of the next page; empty at the end
}

// Imported is the answer of POST /v1/users/import. The body is the file; the query
// says format (csv, json), dry_run and skip_invalid (true).
type Imported struct {
	Rows    int            `json:"rows"`
	Added   int            `json:"added"` // of a dry run: that would be added
	Invalid int            `json:"invalid"`
	Formats map[string]int `json:"formats"` // of the password hashes of rows that can be taken
	Faults  []ImportFault  `json:"faults"`  // a hundred at most
}

// ImportFault is why a row is not taken.
type ImportFault struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// importRoutes are how users come in by letters and files.
func (a *administration) importRoutes(s *adminSocket) {
	s.handle("POST /v1/invitations", a.invite)
	s.handle("GET /v1/invitations", a.listInvitations)
	s.handleSized("POST /v1/users/import", maxImport, a.importUsers)
}

func (a *administration) invite(ctx context.Context, r *http.Request) (any, error) {
	var in Invitation
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	return nil, a.identity().Invite(ctx, in.Email, in.Roles)
}

// listInvitations answers with a page of open invitations, in the order of their
// addresses.
func (a *administration) listInvitations(ctx context.Context, r *http.Request) (any, error) {
	open, err := a.identity().Invitations(ctx, r.URL.Query().Get("after"), pageSize)
	if err != nil {
		return nil, err
	}
	page := Invitations{Invitations: make([]OpenInvitation, 0, len(open))}
	for _, i := range open {
		page.Invitations = append(page.Invitations, OpenInvitation{Email: i.Email, Roles: i.Roles, Created: stamp(i.Created), Expires: stamp(i.Expires)})
	}
	if len(open) == pageSize {
		page.Next = open[pageSize-1].Email
	}
	return page, nil
}

func (a *administration) importUsers(ctx context.Context, r *http.Request) (any, error) {
	query := r.URL.Query()
	o := identity.ImportOptions{Format: query.Get("format")}
	for name, set := range map[string]*bool{"dry_run": &o.DryRun, "skip_invalid": &o.SkipInvalid} {
		switch query.Get(name) {
		case "", "false":
		case "true":
			*set = true
		default:
			return nil, problem.WithDetail(problem.AdminInvalid, name+": want true or false")
		}
	}
	report, err := a.identity().Import(ctx, r.Body, o)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		err = problem.WithDetail(problem.AdminInvalid, "the file is larger than 256 MiB: split it")
	}
	if err != nil {
		return nil, err
	}
	out := Imported{Rows: report.Rows, Added: report.Added, Invalid: report.Invalid, Formats: report.Formats, Faults: []ImportFault{}}
	for _, f := range report.Faults {
		out.Faults = append(out.Faults, ImportFault(f))
	}
	return out, nil
}
