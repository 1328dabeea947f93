package page

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Config is what the pages need. Zone is required.
type Config struct {
	Zone  *zone.Zone
	Log   *slog.Logger     // nil: nothing is logged
	Clock func() time.Time // nil: time.Now; for "5 minutes ago"
}

// Pages renders the pages of the account service. It is safe for concurrent use.
type Pages struct {
	log       *slog.Logger
	clock     func() time.Time
	zone      string
	templates templates
	assets    []asset
	words     *catalogue
}

// New reads the pages and the theme of the zone. It fails, by file and reason,
// when the theme is broken.
func New(c Config) (*Pages, error) {
	if c.Zone == nil {
		return nil, errors.New("page: Zone is required")
	}
	p := &Pages{log: c.Log, clock: c.Clock, zone: c.Zone.Name}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.clock == nil {
		p.clock = time.Now
	}
	files, err := readTheme(c.Zone.Identity.Theme)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	if p.words, err = newCatalogue(files); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	if p.templates, err = parseTemplates(files); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	if p.assets, err = newAssets(files); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	if files.folder != "" {
		if err := p.rehearse(); err != nil {
			return nil, fmt.Errorf("page: theme %s: %w", files.folder, err)
		}
	}
	return p, nil
}

// rehearse renders every page once in every language, allowed and refused: what a
// theme gets wrong, html/template finds when a page is written.
func (p *Pages) rehearse() error {
	for _, v := range views() {
		for _, tag := range p.words.tags {
			for _, refusal := range []*Refusal{{Field: "password", Title: "refusal.auth.login", Plain: "x"}, nil} {
				if _, isRefusal := v.(refused); isRefusal && refusal == nil {
					continue
				}
				f := &frame{Page: v, Refusal: refusal, Zone: p.zone, Lang: tag.String(), pages: p, tag: tag, now: p.clock()}
				if err := p.templates.render(io.Discard, f); err != nil {
					return fmt.Errorf("page %s: %w", v.template(), err)
				}
			}
		}
	}
	return nil
}

// Write renders a page whole before its first byte. A refusal gives the status
// and the reason that the gateway records; status is for pages without one, 0
// means 200.
func (p *Pages) Write(w http.ResponseWriter, r *http.Request, status int, v View, refusal *Refusal) error {
	var b bytes.Buffer
	f := p.frame(r, v, refusal)
	if err := p.templates.render(&b, f); err != nil {
		return problem.New(problem.InternalError, fmt.Errorf("page %s: %w", v.template(), err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", f.Lang)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the Origin of our own forms null
	h.Set("X-Frame-Options", "DENY")
	if refusal != nil {
		status = refusal.Reason.Status()
		if status == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2; browsers ask nothing for it
		}
		h.Set(problem.ReasonHeader, refusal.Reason.Code())
		if refusal.After > 0 {
			h.Set("Retry-After", fmt.Sprint(refusal.After))
		}
	}
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone; the record says so elsewhere
	return nil
}
