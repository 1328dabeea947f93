package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/store"
)

// ingest writes all records, and some more of them one by one.
func ingest(j *journal.Journal, w *workload, writers int) error {
	began := time.Now()
	var group sync.WaitGroup
	errs := make([]error, writers)
	next := make(chan int, writers)
	const run = 1000
	for k := range writers {
		group.Go(func() {
			var rec journal.Record
			for from := range next {
				for i := from; i < min(from+run, w.n) && errs[k] == nil; i++ {
					w.record(i, &rec)
					errs[k] = j.Append(&rec)
				}
			}
		})
	}
	for from := 0; from < w.n; from += run {
		next <- from
	}
	close(next)
	group.Wait()
	took := time.Since(began)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	fmt.Printf("%-44s %10s  %.0f records/s by %d writers, sealing beside it\n", "write (making the records included)", since(began), float64(w.n)/took.Seconds(), writers)
	return nil
}

func waitSealed(folder string) error {
	began := time.Now()
	for {
		list, err := journal.Segments(folder)
		if err != nil {
			return err
		}
		open := 0
		for _, s := range list {
			if !s.Sealed {
				open++
			}
		}
		if open <= 1 {
			fmt.Printf("%-44s %10s\n", "sealing behind the last write", since(began))
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func sizes(folder string, n int) error {
	list, err := journal.Segments(folder)
	if err != nil {
		return err
	}
	var sealed, live int64
	for _, s := range list {
		if s.Sealed {
			sealed += s.Size
		} else {
			live += s.Size
		}
	}
	r := journal.NewReader(folder)
	s, err := r.Open(list[len(list)-1], nil)
	if err != nil {
		return err
	}
	inLive := uint64(n) - s.Header.First
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Printf("%-44s %10.1f  in %d segments; %.1f live\n", "bytes a record, sealed with its index", float64(sealed)/float64(uint64(n)-inLive), len(list), float64(live)/float64(inLive))
	return nil
}

func questions(ctx context.Context, folder string, w *workload, evict bool) error {
	for _, q := range []struct {
		name string
		make func(i int) logs.Query
		want int
	}{
		{"correlation id, anywhere", func(i int) logs.Query {
			return logs.Query{Correlation: w.correlation(w.n / 21 * (i + 1))}
		}, 1},
		{"correlation id, in the live segment", func(i int) logs.Query {
			return logs.Query{Correlation: w.correlation(w.n - 1 - 10*i)}
		}, 1},
		{"correlation id, unknown", func(i int) logs.Query { return logs.Query{Correlation: uuid(uint64(i), 99)} }, 0},
		{"last 100 of a service, status >= 500", func(i int) logs.Query {
			return logs.Query{Service: w.services[4+i%10], Status: logs.Status{Min: 500, Max: 599}, Limit: 100}
		}, min(100, w.n/10_000)},
		{"the same where they are rare (1 in 5,000)", func(int) logs.Query {
			return logs.Query{Service: rareFailing, Status: logs.Status{Min: 500, Max: 599}, Limit: 100}
		}, min(100, w.n/100_000)},
		{"the same of a rare service (1 in 100,000)", func(int) logs.Query {
			return logs.Query{Service: rareService, Status: logs.Status{Min: 500, Max: 599}, Limit: 100}
		}, min(100, w.n/100_000)},
		{"the same where there are none", func(int) logs.Query {
			return logs.Query{Service: rareService, Status: logs.Status{Min: 503, Max: 503}, Limit: 100}
		}, 0},
		{"last 100 of a user", func(i int) logs.Query { return logs.Query{User: w.people[i*37], Limit: 100} }, min(100, w.n/10_000)},
		{"a minute in the middle of the day", func(i int) logs.Query {
			at := day.Add(12*time.Hour + time.Duration(i)*time.Minute)
			return logs.Query{Since: at, Until: at.Add(time.Minute)}
		}, w.n / 1440},
	} {
		if err := question(ctx, folder, q.name, q.make, q.want, evict); err != nil {
			return err
		}
	}
	return nil
}

func question(ctx context.Context, folder, name string, query func(int) logs.Query, want int, evict bool) error {
	const rounds = 20
	var cold, warm, spent []time.Duration
	kept := logs.New(folder)
	for i := range rounds {
		if evict {
			if err := evictFolder(folder); err != nil {
				return err
			}
		}
		for _, l := range []*logs.Log{logs.New(folder), kept} {
			found := 0
			began, cpu := time.Now(), processorTime()
			err := l.Search(ctx, query(i), func(*journal.Entry) bool { found++; return true })
			took := time.Since(began)
			spent = append(spent, processorTime()-cpu)
			if err != nil {
				return err
			}
			if found < want {
				return fmt.Errorf("%s: %d records found, want %d", name, found, want)
			}
			if l == kept {
				warm = append(warm, took)
			} else {
				cold = append(cold, took)
			}
		}
	}
	fmt.Printf("%-44s %10s  cold, slowest %s; %s warm, slowest %s; %s processor time\n", name,
		median(cold), slices.Max(cold).Round(10*time.Microsecond), median(warm[1:]), slices.Max(warm[1:]).Round(10*time.Microsecond), median(spent))
	return nil
}

// processorTime is what this process has used: on a busy machine it says more
// than the time that went by.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Round(10 * time.Microsecond)
}

func evictFolder(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		err = evict(f)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// rollUp counts everything from the beginning, and asks for the day.
func rollUp(ctx context.Context, dir, folder string, j *journal.Journal, w *workload) error {
	db, err := store.OpenSQLite(ctx, filepath.Join(dir, fmt.Sprintf("bench-%d.db", time.Now().UnixNano())))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	for j.Durable().Sequence < uint64(w.n) {
		time.Sleep(10 * time.Millisecond)
	}
	roller := logs.NewRoller(logs.RollerConfig{DB: db, Log: logs.New(folder), Source: j})
	began := time.Now()
	n, err := roller.Roll(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%-44s %10s  %.0f records/s\n", "roll-up of everything", since(began), float64(n)/time.Since(began).Seconds())
	for _, service := range []string{"", w.services[4], rareService} {
		var times []time.Duration
		var minutes []logs.Minute
		for range 5 {
			began := time.Now()
			if minutes, err = logs.Counts(ctx, db, day, day.Add(24*time.Hour), service); err != nil {
				return err
			}
			times = append(times, time.Since(began))
		}
		sum := int64(0)
		for _, m := range minutes {
			sum += m.Requests
		}
		if service == "" && sum != int64(w.n) {
			return fmt.Errorf("the counts add up to %d, want %d", sum, w.n)
		}
		if service == "" {
			service = "all services"
		}
		fmt.Printf("%-44s %10s  %d minutes, %d requests\n", "counts per minute of the day, "+service, median(times), len(minutes), sum)
	}
	return nil
}
