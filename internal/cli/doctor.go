package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/doctor"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/zone"
)

type doctorCmd struct {
	output
	dataFlag
	Zone    string `arg:"" optional:"" help:"The map; without it ports, services and engines are not looked at."`
	RootKey string `help:"The root key. Default: DIR.root beside the data folder." type:"path" placeholder:"FILE" default:""`
	Sockets string `name:"run" help:"The folder of sockets for other programs. Default: /run/sallyport for root, else the user's runtime folder." type:"path" placeholder:"DIR" default:""`
	Deep    bool   `help:"Read the whole database also while the zone runs; it costs the zone some of its disk."`
}

const (
	doctorTime  = 3 * time.Minute  // for all checks
	journalTime = 30 * time.Second // for the folder of the journal
)

func (c *doctorCmd) Run(e *env) error {
	ctx, cancel := context.WithTimeout(e.ctx, doctorTime)
	defer cancel()
	config := doctor.Config{
		Data: c.Data, RootKey: c.RootKey, Run: c.Sockets, Deep: c.Deep, MemoryLimit: app.MemoryLimit,
		Host: doctor.ThisHost(), Engines: doctor.RealEngines(),
	}
	config.Engines.SMTP = tryMail
	if config.Run == "" {
		config.Run = app.RunFolder()
	}
	if c.Zone != "" {
		var wrong *zone.Errors
		z, err := loadZone(c.Zone)
		if err != nil && !errors.As(err, &wrong) {
			return exit{exitRun, err} // there is no map to examine
		}
		config.Zone, config.MapError = z, err
	}
	config.Running, config.RunningErr = c.running(ctx)
	config.Journal = lookAtJournal(ctx, c.Data)

	report := doctor.Examine(ctx, config)
	if e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	if err := c.print(e, report, func(w io.Writer) { writeReport(w, &report) }); err != nil || report.Fail == 0 {
		return err
	}
	return no(nil)
}

// tryMail talks to the mail server as the zone would, and sends nothing.
func tryMail(ctx context.Context, url, zone string) (doctor.SMTP, error) {
	s, step, err := mail.Try(ctx, obs.Secret(url), zone, nil)
	return doctor.SMTP{At: s.At, TLS: s.TLS, Proved: s.Proved, Step: string(step)}, err
}

// lookAtJournal reads the folder of the journal. What hangs there is left alone:
// calls to the kernel heed no context.
func lookAtJournal(ctx context.Context, data string) doctor.Journal {
	ctx, cancel := context.WithTimeout(ctx, journalTime)
	defer cancel()
	seen := make(chan doctor.Journal, 1)
	go func() {
		j, err := app.LookAtJournal(data)
		seen <- doctor.Journal{Size: j.Size, Oldest: j.Oldest, Newest: j.Newest, Err: err}
	}()
	select {
	case j := <-seen:
		return j
	case <-ctx.Done():
		return doctor.Journal{Err: fmt.Errorf("its files gave no answer in %s", journalTime)}
	}
}

// running asks the zone about itself. Nil without an error: it is not running.
func (c *doctorCmd) running(ctx context.Context) (*doctor.Running, error) {
	s, err := askStatus(ctx, c.client(), askTime)
	var refused *refusal
	switch {
	case errors.Is(err, errNotRunning):
		return nil, nil //nolint:nilnil // see above
	case errors.As(err, &refused):
		return nil, fmt.Errorf("the zone answers on its admin socket, and cannot say how it is: %w", err)
	case err != nil:
		return nil, err
	}
	return runningOf(&s), nil
}

// runningOf is the status of a zone as the doctor reads it.
func runningOf(s *app.Status) *doctor.Running {
	r := &doctor.Running{PID: s.PID, Ready: s.Ready, Waiting: s.NotReady, Revision: s.Revision, Refused: s.Map.Refusal, Listeners: map[string]string{}}
	for _, l := range s.Listeners {
		r.Listeners[l.Name] = l.Address
	}
	for _, cert := range s.Certificates {
		end, err := time.Parse(time.RFC3339, cert.Until)
		if err != nil { // it has none: as good as ended
			end = time.Unix(0, 0)
		}
		r.Ends = append(r.Ends, doctor.Lifetime{Name: cert.Name, End: end})
	}
	for _, svc := range s.Services {
		r.Services = append(r.Services, doctor.Service{Name: svc.Name, Instances: svc.Instances, Healthy: svc.Healthy})
	}
	for _, i := range s.Issuers {
		r.Issuers = append(r.Issuers, doctor.Issuer{Name: i.Name, Usable: i.Usable, Keys: i.Keys, Had: timeOf(i.Had), Cause: i.Cause})
	}
	if m := s.Mail; m != nil {
		r.Mail = &doctor.Outbox{
			Waiting: m.Waiting, Limit: m.Limit, GivenUp: m.GivenUp, Failure: m.Failure, Error: m.Error,
			Oldest: timeOf(m.Oldest), Failing: timeOf(m.Failing),
		}
	}
	return r
}

// timeOf reads a time of the status; zero: there is none.
func timeOf(stamp string) time.Time {
	t, _ := time.Parse(time.RFC3339, stamp)
	return t
}

// writeReport prints a line for each check, and its mend below it.
func writeReport(w io.Writer, r *doctor.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.State, f.Part, f.Name, f.Found)
		if f.Mend != "" {
			fmt.Fprintf(w, "\t\t\tmend: %s\n", f.Mend)
		}
	}
	fmt.Fprintf(w, "\n%d fail, %d warn, %d unknown, %d ok\n", r.Fail, r.Warn, r.Unknown, r.OK)
}
