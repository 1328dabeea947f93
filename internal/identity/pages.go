package identity

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// The files that pages load.
const (
	stylePath = "/auth/style.css"
	iconPath  = "/auth/icon.svg"
)

// pagePolicy lets a page load our style and images and send forms to this
// origin, and nothing else: there is no script (CSP Level 3).
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed web
var web embed.FS

// pages renders the HTML of the account service.
type pages struct {
	frame     frame
	templates map[string]*template.Template
	style     []byte
	icon      []byte
}

// frame is what every page shows around its own content.
type frame struct {
	Zone     string
	Style    string // with the hash of its content: a new style is a new address
	Icon     string
	Register bool // there is a registration to point to
}

func newPages(z *zone.Zone) (*pages, error) {
	p := &pages{templates: make(map[string]*template.Template)}
	var err error
	if p.style, err = web.ReadFile("web/style.css"); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if p.icon, err = web.ReadFile("web/icon.svg"); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	p.frame = frame{
		Zone:     z.Name,
		Style:    stylePath + "?v=" + contentHash(p.style),
		Icon:     iconPath + "?v=" + contentHash(p.icon),
		Register: z.Identity.Registration == zone.RegistrationOpen && z.Identity.Mail == nil,
	}
	for _, name := range []string{"login", "register", "account", "sessions", "refusal"} {
		t, err := template.ParseFS(web, "web/frame.html", "web/parts.html", "web/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("identity: page %s: %w", name, err)
		}
		p.templates[name] = t.Option("missingkey=error")
	}
	return p, nil
}

func contentHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// refusalView is why a form is shown again, or why there is a page of refusal.
type refusalView struct {
	Title  string
	Detail string
	Field  string // the input at fault: email, password or none
	reason problem.Reason
	after  int // seconds; 0: unsaid
}

type loginView struct {
	Email     string
	Remember  bool
	Next      string
	LoggedOut bool
	Refusal   *refusalView
}

type registerView struct {
	Email   string
	Next    string
	Refusal *refusalView
}

// Focus is the input to go on with: the one at fault, else the first that is empty.
func (v loginView) Focus() string    { return focus(v.Email, v.Refusal) }
func (v registerView) Focus() string { return focus(v.Email, v.Refusal) }

func focus(email string, r *refusalView) string {
	switch {
	case r != nil && r.Field != "":
		return r.Field
	case email == "":
		return "email"
	}
	return "password"
}

type accountView struct {
	User     User
	Sessions []sessionView
}

// Others says whether there is another session to end.
func (v accountView) Others() bool { return len(v.Sessions) > 1 }

func (p *pages) login(w http.ResponseWriter, status int, v loginView) error {
	return p.write(w, "login", "Log in", status, v.Refusal, v)
}

func (p *pages) register(w http.ResponseWriter, status int, v registerView) error {
	return p.write(w, "register", "Create your account", status, v.Refusal, v)
}

func (p *pages) account(w http.ResponseWriter, v accountView) error {
	return p.write(w, "account", "Your account", http.StatusOK, nil, v)
}

func (p *pages) sessions(w http.ResponseWriter, v accountView) error {
	return p.write(w, "sessions", "Your sessions", http.StatusOK, nil, v)
}

// refusal shows a refusal that no form can mend, with the id to ask about it.
func (p *pages) refusal(w http.ResponseWriter, r *http.Request, err error) {
	v := refusalOf(err)
	type content struct {
		Refusal       *refusalView
		CorrelationID string
	}
	if p.write(w, "refusal", v.Title, 0, v, content{v, correlationID(r)}) != nil {
		problem.WriteError(w, err, correlationID(r))
	}
}

// write renders a page whole before its first byte. A refusal gives the status
// and the reason that the gateway records.
func (p *pages) write(w http.ResponseWriter, name, title string, status int, refusal *refusalView, content any) error {
	var b bytes.Buffer
	data := struct {
		frame
		Title   string
		Refused bool
		Page    any
	}{p.frame, title, refusal != nil, content}
	if err := p.templates[name].ExecuteTemplate(&b, "frame", data); err != nil {
		return problem.New(problem.InternalError, fmt.Errorf("page %s: %w", name, err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the Origin of our own forms null
	h.Set("X-Frame-Options", "DENY")
	if refusal != nil {
		status = refusal.reason.Status()
		if status == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2; browsers ask nothing for it
		}
		h.Set(problem.ReasonHeader, refusal.reason.Code())
		if refusal.after > 0 {
			h.Set("Retry-After", fmt.Sprint(refusal.after))
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone; the record says so elsewhere
	return nil
}

// redo says whether a form is shown again after err: the visitor can mend it.
func redo(err error) bool {
	switch problem.ReasonOf(err) {
	case problem.AccountInvalid, problem.AccountPassword, problem.AccountExists, problem.AuthLogin,
		problem.LimitRate, problem.LimitAddress, problem.LimitBusy:
		return true
	}
	return false
}

// refusalOf puts a refusal into words for a person.
func refusalOf(err error) *refusalView {
	v := &refusalView{reason: problem.ReasonOf(err), after: retryAfter(err)}
	v.Title = v.reason.Title()
	if e, ok := errors.AsType[*problem.Error](err); ok {
		v.Detail = e.Detail
	}
	switch v.reason {
	case problem.AccountPassword:
		v.Field = "password"
	case problem.AccountExists:
		v.Field, v.Title, v.Detail = "email", "There is an account with this address", "Log in instead, or use another address."
	case problem.AccountInvalid:
		if field, rest, ok := strings.Cut(v.Detail, ": "); ok && (field == "email" || field == "password") {
			v.Field, v.Title, v.Detail = field, "Check the password", rest
			if field == "email" {
				v.Title = "Check the e-mail address"
			}
		}
	case problem.AuthLogin:
		v.Detail = "Check both and try again."
	case problem.LimitRate, problem.LimitAddress:
		v.Title, v.Detail = "Too many attempts", "Try again in "+span(v.after)+"."
	case problem.LimitBusy:
		v.Detail = "Many people are logging in right now. Try again in " + span(v.after) + "."
	}
	v.Detail = sentence(v.Detail)
	return v
}

func (id *Identity) style(w http.ResponseWriter, r *http.Request) error {
	return asset(w, r, "text/css; charset=utf-8", id.pages.style)
}

func (id *Identity) icon(w http.ResponseWriter, r *http.Request) error {
	return asset(w, r, "image/svg+xml", id.pages.icon)
}

// asset answers with a file. Under the address that names its hash it never
// changes; under any other it is asked for again.
func asset(w http.ResponseWriter, r *http.Request, kind string, content []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Del("Vary")
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == contentHash(content) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = w.Write(content) // the client may be gone; the record says so elsewhere
	return nil
}
