// Accounts measures what the account service costs, with its real parts in this
// process and SQLite on disk: handlers are called as the gateway calls them,
// without wires. CPU is that of the whole process (getrusage); the collector is
// set as `sallyport serve` sets it.
//
//	go run ./bench/accounts [-rounds 10] [-logins 20] [-lookups 2000]
//	    [-accounts 100000] [-sessions 1000000] [-only logins|lookups] [-dir FOLDER] [-profile FILE]
//
// Logins: one at a time beside its argon2 alone, in turn, so that both meet the
// same machine; and in a large zone beside a small one. Each login is right, one
// of 50 accounts, from a network that is known there, or from a new one, which also
// asks for a letter. Each begins with an empty heap: what the collector costs is
// due to the 46 MiB of the hash, and is in no figure of logins. Differences and
// ratios are taken inside a round; printed are their medians and ranges.
//
// Look-ups: sessions, access tokens and introspection, over 1,000 sessions spread
// through the zone, nothing remembered between two of them.
//
// The large zone is seeded by rows of the real schema and takes a minute or two
// at full size (410 MiB); -accounts and -sessions make it smaller. All its accounts have
// one password and one hash: that costs a login the same and saves the seed
// 100,000 of them. -dir is where databases are made, by default the system's
// temporary folder: a login waits for that disk.
//
//	go run ./bench/accounts -enumeration [-pairs 500] [-seeded 2ms] [-settle]
//
// compares how long answers take for addresses that have an account and for ones
// that have none: login with a wrong password, recovery, registration with mail.
// Each pair asks both in random order, each address is asked once, while the
// outbox writes and sends letters as in a zone. Two tests, Mann-Whitney's and
// Kolmogorov-Smirnov's, say whether the times can be told apart (p < 0.001); "would
// find" is the least delay of known accounts that the same samples would have
// shown, which is what "cannot be told apart" is worth. A delay of -seeded, put
// before the counters of guesses for known accounts only, must be found. The
// request after is one of somebody else for an address without an account, sent
// at once after the answer: does the work behind an answer show there? With
// -settle it is sent when the outbox has come to rest.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// The collector of `sallyport serve` (docs/decisions/0007).
const (
	gcPercent   = 800
	memoryLimit = 512 << 20
)

// plan is what to run.
type plan struct {
	rounds, logins, lookups int
	accounts, sessions      int
	only                    string
	dir, profile            string
	pairs                   int
	seeded                  time.Duration
	settle                  bool
}

func main() {
	var p plan
	flag.IntVar(&p.rounds, "rounds", 10, "interleaved rounds")
	flag.IntVar(&p.logins, "logins", 20, "logins of each kind in a round")
	flag.IntVar(&p.lookups, "lookups", 2000, "look-ups of each kind in a round")
	flag.IntVar(&p.accounts, "accounts", 100_000, "of the large zone")
	flag.IntVar(&p.sessions, "sessions", 1_000_000, "of the large zone")
	flag.StringVar(&p.only, "only", "", "logins or lookups; default both")
	flag.StringVar(&p.dir, "dir", "", "where databases are made; default the system's temporary folder")
	flag.StringVar(&p.profile, "profile", "", "write a CPU profile of what is measured to this file")
	enumeration := flag.Bool("enumeration", false, "compare known and unknown accounts by time instead")
	flag.IntVar(&p.pairs, "pairs", 500, "with -enumeration: known and unknown accounts that each operation is asked about")
	flag.DurationVar(&p.seeded, "seeded", 0, "with -enumeration: delay of known accounts, which must be found")
	flag.BoolVar(&p.settle, "settle", false, "with -enumeration: let the outbox rest before the request after")
	flag.Parse()

	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := p.check()
	switch {
	case err != nil:
	case *enumeration:
		err = enumerate(ctx, p)
	default:
		err = measure(ctx, p)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/accounts:", err)
		os.Exit(1)
	}
}

func (p plan) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected %q", flag.Arg(0))
	case p.rounds < 1 || p.logins < 1 || p.lookups < 1 || p.pairs < 20:
		return fmt.Errorf("want a round, a login and a look-up at least, and 20 pairs")
	case p.accounts < smallAccounts || p.sessions < p.accounts:
		return fmt.Errorf("want %d accounts at least, and a session for each", smallAccounts)
	case p.sessions/p.accounts > perUser:
		return fmt.Errorf("want at most %d sessions for each account", perUser)
	case p.only != "" && p.only != "logins" && p.only != "lookups":
		return fmt.Errorf("-only %s: want logins or lookups", p.only)
	}
	return nil
}

// measure makes the zones and runs both parts on them.
func measure(ctx context.Context, p plan) error {
	each := p.sessions / p.accounts
	var beds []*bed
	defer func() {
		for _, b := range beds {
			b.close()
		}
	}()
	for _, size := range []struct{ accounts, sessions int }{
		{smallAccounts, 0}, {smallAccounts, smallAccounts * each}, {p.accounts, p.sessions},
	} {
		b, err := newBed(ctx, p.dir, size.accounts, size.sessions)
		if err != nil {
			return err
		}
		beds = append(beds, b)
	}
	fmt.Printf("%d rounds, medians (ranges); %d cores; %s\n", p.rounds, runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly))
	if p.profile != "" {
		f, err := os.Create(p.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if p.only != "lookups" {
		if err := measureLogins(ctx, p, beds); err != nil {
			return fmt.Errorf("logins: %w", err)
		}
	}
	if p.only != "logins" {
		if err := measureLookups(ctx, p, beds[1:]); err != nil {
			return fmt.Errorf("look-ups: %w", err)
		}
	}
	return nil
}
