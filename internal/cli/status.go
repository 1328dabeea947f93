package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sallyport.dev/internal/app"
)

// askTime is how long a zone may take to say how it is.
const askTime = 5 * time.Second

// errNoAnswer tells of a process that is stopped, or has something in its way.
var errNoAnswer = fmt.Errorf("a process takes connections on the admin socket and gave no answer in %s", askTime)

// askStatus asks the zone how it is.
func askStatus(ctx context.Context, c *client, wait time.Duration) (s app.Status, err error) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = c.do(bounded, "GET", "/v1/status", nil, &s)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = errNoAnswer
	}
	return s, err
}

type statusCmd struct {
	output
	dataFlag
}

func (c *statusCmd) Run(e *env) error {
	s, err := askStatus(e.ctx, c.client(), askTime)
	var refused *refusal
	if errors.As(err, &refused) || errors.Is(err, errNoAnswer) { // it runs, and cannot even say how it is
		return no(fmt.Errorf("not ready: %w", err))
	}
	if err != nil {
		return err
	}
	if err := c.print(e, s, func(w io.Writer) { writeStatus(w, &s) }); err != nil || s.Ready {
		return err
	}
	return no(nil)
}

// writeStatus prints a line for each part: what it is, its name, how it is.
func writeStatus(w io.Writer, s *app.Status) {
	state := "not ready"
	if s.Ready {
		state = "ready"
	}
	fmt.Fprintf(w, "%s: %s, up %s, version %s, pid %d\n", s.Zone, state, length(s.Uptime), s.Version, s.PID)
	for _, reason := range s.NotReady {
		fmt.Fprintf(w, "not ready\t%s\n", reason)
	}
	fmt.Fprintf(w, "map\t%s\trevision %.12s, in force since %s\n", s.Map.File, s.Revision, s.Map.Since)
	if s.Map.Refused != "" {
		first, _, more := strings.Cut(s.Map.Refusal, "\n")
		if more {
			first += " ..."
		}
		fmt.Fprintf(w, "map refused\t%s\t%s\n", s.Map.Refused, first)
	}
	fmt.Fprintf(w, "store\t%s\t%s\n", s.Store.Engine, s.Store.State)
	fmt.Fprintf(w, "kv\t%s\t%s\n", s.KV.Engine, s.KV.State)
	if !s.Revocations.Fresh {
		fmt.Fprintf(w, "revocations\tnot heard of\tsince %s\n", s.Revocations.Heard)
	}
	writeJournal(w, &s.Journal)
	keys := s.Keys.Error
	if keys == "" {
		keys = "signs with " + s.Keys.Signing
	}
	fmt.Fprintf(w, "inside keys\t%d published\t%s\n", s.Keys.Published, keys)
	for _, c := range s.Certificates {
		until := "until " + c.Until
		if c.Error != "" {
			until = c.Error
		}
		fmt.Fprintf(w, "certificate\t%s\t%s\n", c.Name, until)
	}
	for _, l := range s.Listeners {
		fmt.Fprintf(w, "listener\t%s\t%s\n", l.Name, l.Address)
	}
	for _, svc := range s.Services {
		writeService(w, &svc)
	}
	for _, i := range s.Issuers {
		writeIssuer(w, &i)
	}
	for _, x := range s.Exports {
		fmt.Fprintf(w, "export\t%s %s\t%d sent, %d waiting, %d dropped, %d failures\n", x.Exporter, x.Signal, x.Sent, x.Waiting, x.Dropped, x.Failures)
	}
	if s.Mail != nil {
		writeMail(w, s.Mail)
	}
	if s.Notices > 0 {
		fmt.Fprintf(w, "notices\t%d\tsallyport check %s\n", s.Notices, s.Map.File)
	}
}

func writeJournal(w io.Writer, j *app.JournalStatus) {
	fmt.Fprintf(w, "journal\t%s\t%s of %s in %d segments", j.State, size(j.Size), size(j.Limit), j.Segments)
	if j.Oldest != "" {
		fmt.Fprintf(w, ", since %s", j.Oldest)
	}
	if j.Reach > 0 {
		fmt.Fprintf(w, "; at this rate it holds %s", length(j.Reach))
		if j.Reach < j.Retain {
			fmt.Fprintf(w, ", and retain says %s", length(j.Retain))
		}
	}
	fmt.Fprintln(w)
}

func writeService(w io.Writer, svc *app.ServiceStatus) {
	fmt.Fprintf(w, "service\t%s\t%d of %d instances reachable", svc.Name, svc.Healthy, svc.Instances)
	if svc.Door != "" {
		fmt.Fprintf(w, ", inner door: %s", svc.Door)
	}
	if g := svc.Guard; g != nil {
		which := "the map in force"
		if !g.Current {
			which = "an older map"
		}
		fmt.Fprintf(w, ", seen %s with %s", g.Seen, which)
	}
	fmt.Fprintln(w)
}

// writeIssuer prints whether the keys of an outside issuer are there.
func writeIssuer(w io.Writer, i *app.IssuerStatus) {
	keys := "no keys: its tokens are answered 503"
	if i.Usable {
		keys = fmt.Sprintf("%d keys", i.Keys)
	}
	switch {
	case i.Had == "" && i.Cause == "":
		keys += ", not asked yet"
	case i.Had == "":
		keys += ", never had: " + i.Cause
	case i.Cause == "":
		keys += ", seen " + i.Had
	default:
		keys += fmt.Sprintf(", not seen since %s: %s", i.Had, i.Cause)
	}
	fmt.Fprintf(w, "outside issuer\t%s\t%s\n", i.Name, keys)
}

// writeMail prints how many letters wait, and what keeps them.
func writeMail(w io.Writer, m *app.MailStatus) {
	if m.Error != "" {
		fmt.Fprintf(w, "mail\tunknown\tno answer of: %s\n", m.Error)
		return
	}
	fmt.Fprintf(w, "mail\t%d waiting\tof %d at most", m.Waiting, m.Limit)
	if m.Oldest != "" {
		fmt.Fprintf(w, "; the oldest since %s", m.Oldest)
	}
	if m.Cause != "" {
		fmt.Fprintf(w, ", last answer: %s", m.Cause)
	}
	fmt.Fprintln(w)
	if m.Failing != "" {
		fmt.Fprintf(w, "mail server\tfails\tsince %s: %s\n", m.Failing, m.Failure)
	}
	if m.GivenUp > 0 {
		var causes []string
		for _, c := range m.Causes {
			causes = append(causes, fmt.Sprintf("%d %s", c.Letters, c.Cause))
		}
		fmt.Fprintf(w, "mail given up\t%d\tof the last 30 days: %s\n", m.GivenUp, strings.Join(causes, "; "))
	}
}

// length prints seconds as people say them.
func length(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case seconds >= 2*24*60*60:
		return fmt.Sprintf("%d d", seconds/(24*60*60))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", seconds)
}

// size prints bytes as the map writes them.
func size(bytes int64) string {
	for _, u := range []struct {
		name string
		of   int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= u.of {
			if whole := bytes / u.of; bytes%u.of == 0 || whole >= 100 {
				return fmt.Sprintf("%d%s", whole, u.name)
			}
			return fmt.Sprintf("%.1f%s", float64(bytes)/float64(u.of), u.name)
		}
	}
	return fmt.Sprintf("%dB", bytes)
}
