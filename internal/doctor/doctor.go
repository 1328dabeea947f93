// Package doctor examines the host and the zone: what is wrong, and what mends it.
// It works beside a running zone and without one.
//
// It promises:
//   - a finding is ok only by evidence that it states; what cannot be told is unknown;
//   - it changes nothing: no file of the zone is written, no migration is run, no lock
//     is kept. An address is bound for a moment to see whether it can be, a lock is
//     tried for a moment, and a database with a log beside it gets the index that
//     SQLite's readers share;
//   - every look at something that may hang has a bound;
//   - no secret is in what it says, and nothing that steers a terminal.
//
// What `check` says of the map alone is not repeated here.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/zone"
)

// Config is what is examined.
type Config struct {
	Zone     *zone.Zone // nil: no map was named, or it is wrong
	MapError error      // why the map is wrong

	Data    string // the data folder
	RootKey string // the root key; empty: Data + ".root"
	Run     string // the folder of sockets for other programs

	Running    *Running // what the zone says of itself; nil: nothing answers on its admin socket
	RunningErr error    // why it does not answer although it may run; nil: it is not running
	Deep       bool     // read the whole database also while the zone runs

	Journal Journal // what the folder of the journal shows
	Host    Host
	Engines Engines

	// MemoryLimit is the soft limit in bytes that `serve` sets without GOMEMLIMIT.
	MemoryLimit int64
}

// Running is what a running zone says of itself.
type Running struct {
	PID       int
	Ready     bool
	Waiting   []string // what it waits for
	Revision  string   // of the map in use
	Listeners map[string]string
	Ends      []Lifetime
	Services  []Service
	Issuers   []Issuer // outside ones
	Mail      *Outbox  // nil: it has none
	Refused   string   // why the last map that was read is not in use; empty: it is
}

// Lifetime is a certificate by name, with its end.
type Lifetime struct {
	Name string
	End  time.Time
}

// Service counts the instances of a service.
type Service struct {
	Name               string
	Instances, Healthy int
}

// Journal is what the folder of a journal shows.
type Journal struct {
	Size   int64     // bytes
	Oldest time.Time // of its records; zero: none
	Newest time.Time // likewise, or of what was written at the latest
	Err    error     // it could not be read
}

// examination is one run of the doctor.
type examination struct {
	Config
	part     string
	findings []Finding
}

// Examine runs every check. It ends early when ctx does: what was not looked at
// by then is unknown.
func Examine(ctx context.Context, c Config) Report {
	e := &examination{Config: c}
	if e.RootKey == "" {
		e.RootKey = e.Data + ".root"
	}
	for _, p := range []struct {
		name  string
		check func(*examination, context.Context)
	}{
		{"host", (*examination).host}, {"clock", (*examination).clock}, {"disk", (*examination).disk}, {"data", (*examination).data},
		{"map", (*examination).zoneMap}, {"ports", (*examination).ports}, {"certificates", (*examination).certificates},
		{"services", (*examination).services}, {"store", (*examination).store}, {"mail", (*examination).mail}, {"zone", (*examination).running},
	} {
		e.part = p.name
		if err := ctx.Err(); err != nil {
			e.unknown("not examined", "", "the time for the examination is over")
			continue
		}
		e.examine(ctx, p.check)
	}
	r := Report{Running: c.Running != nil, Findings: e.findings}
	if c.Zone != nil {
		r.Zone = c.Zone.Name
	}
	r.count()
	return r
}

// hangTime is how long after the end of its context a part may still come back.
const hangTime = time.Second

// examine runs the checks of a part. A call to the kernel that hangs, as on a dead
// network file system, heeds no context: it is left alone with what it found.
func (e *examination) examine(ctx context.Context, check func(*examination, context.Context)) {
	part := &examination{Config: e.Config, part: e.part}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(part, ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		late := time.NewTimer(hangTime)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C:
			e.unknown("not examined", "see dmesg, and whether a network file system has lost its server", "a file or a folder gives no answer")
			return
		}
	}
	e.findings = append(e.findings, part.findings...)
}

func (e *examination) add(s State, name, mend, found string, args ...any) {
	if len(args) > 0 {
		found = fmt.Sprintf(found, args...)
	}
	if s == OK {
		mend = ""
	}
	e.findings = append(e.findings, Finding{Part: e.part, Name: name, State: s, Found: printable(found), Mend: printable(mend)})
}

// printable keeps what others have named, a file, a process or a server's error,
// from writing lines of its own, or to a terminal as such.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, strings.ReplaceAll(text, "\n", "; "))
}

func (e *examination) ok(name, found string, args ...any) { e.add(OK, name, "", found, args...) }
func (e *examination) warn(name, mend, found string, args ...any) {
	e.add(Warn, name, mend, found, args...)
}
func (e *examination) fail(name, mend, found string, args ...any) {
	e.add(Fail, name, mend, found, args...)
}
func (e *examination) unknown(name, mend, found string, args ...any) {
	e.add(Unknown, name, mend, found, args...)
}

// home is the folder of a zone's state that is there: the data folder, or where
// `serve` would make it.
func (e *examination) home() string { return nearest(e.Data) }
