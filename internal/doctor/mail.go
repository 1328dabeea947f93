package doctor

import (
	"context"
	"fmt"
	"time"
)

// SMTP is how far a try of the mail server came. Nothing was sent.
type SMTP struct {
	At     string // host and port
	TLS    string // its version; empty: in clear, on this host
	Proved bool   // user and password were taken
	Step   string // where it failed: read (the url), connect, greet, cover (TLS), prove (user and password)
}

// Outbox is what the running zone says of its letters.
type Outbox struct {
	Waiting, Limit int
	Oldest         time.Time // asked for; zero: none waits
	GivenUp        int
	Failing        time.Time // the server fails since; zero: it does not
	Failure        string    // how
	Error          string    // what gave no answer; empty: nothing
}

const (
	mailTime   = 15 * time.Second                                                                                       // a server that looks the client up may be slow to greet
	longInMail = 15 * time.Minute                                                                                       // a letter that waits for longer is of little use to who asked for it
	mailMend   = "smtps://USER:PASS@HOST:465, or smtp+starttls://USER:PASS@HOST:587, in the file of identity.mail.smtp" // #nosec G101 -- words in the place of both
)

// mail tries the server that the map names, and tells what the running zone says of
// its letters.
func (e *examination) mail(ctx context.Context) {
	if e.Zone != nil && e.Zone.Identity.Mail != nil {
		if at, ok := e.secret("smtp", &e.Zone.Identity.Mail.SMTP); ok {
			e.smtp(ctx, at)
		}
	}
	if e.Running != nil && e.Running.Mail != nil {
		e.outbox(e.Running.Mail)
	}
}

// smtp says how far a conversation with the server comes, and what is to be done
// where it ends. The error is ours: no text of the server's is in it.
func (e *examination) smtp(ctx context.Context, at string) {
	const name = "smtp server"
	if e.Engines.SMTP == nil {
		e.unknown(name, "", "nothing can ask it here")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	s, err := e.Engines.SMTP(ctx, at, e.Zone.Name)
	if err != nil {
		mend := map[string]string{
			"read":    mailMend,
			"connect": "see host and port in the url, that the server runs, and that a firewall lets this host out (many providers of hosts block 25, 465 and 587)",
			"greet":   "see the port: 465 is smtps://, 587 is smtp+starttls://; and whether the server refuses this host",
			"cover":   "465 is smtps://, 587 is smtp+starttls://; the name in the url must be that of its certificate, of an authority that this host trusts",
			"prove":   "see user and password in the url, %-encoded; some providers want a password made for programs",
		}[s.Step]
		where := s.At
		if where == "" {
			where = "identity.mail.smtp"
		}
		e.fail(name, mend, "%s: %v", where, err)
		return
	}
	switch {
	case s.TLS == "":
		e.ok(name, "%s answers, in clear on this host", s.At)
	case !s.Proved:
		e.warn(name, mailMend, "%s answers over %s, and asks for no password", s.At, s.TLS)
	default:
		e.ok(name, "%s answers over %s, with a good certificate, and takes user and password", s.At, s.TLS)
	}
}

// outbox tells of the letters that wait.
func (e *examination) outbox(o *Outbox) {
	const name = "outbox"
	const mend = "the server: see `smtp server`; else sallyport status and the zone's log tell which answer it gives"
	age := time.Duration(0)
	if !o.Oldest.IsZero() && e.Host.Now != nil {
		age = e.Host.Now().Sub(o.Oldest).Round(time.Second)
	}
	also := ""
	if o.GivenUp > 0 {
		also = fmt.Sprintf("; %d were given up in the last 30 days: `sallyport status` says why", o.GivenUp)
	}
	switch {
	case o.Error != "":
		e.unknown(name, "see its log", "the zone cannot say what waits: no answer of the %s", o.Error)
	case o.Limit > 0 && o.Waiting >= o.Limit-o.Limit/10:
		e.fail(name, mend, "%d letters wait, of %d at most: registration and recovery answer 503 limit.busy", o.Waiting, o.Limit)
	case !o.Failing.IsZero():
		e.fail(name, mend, "%d letters wait; the server fails since %s: %s", o.Waiting, o.Failing.UTC().Format(time.RFC3339), o.Failure)
	case age > longInMail:
		e.warn(name, mend, "%d letters wait, the oldest for %s%s", o.Waiting, age, also)
	default:
		e.ok(name, "%d letters wait%s", o.Waiting, also)
	}
}
