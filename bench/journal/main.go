// Command journal measures the journal and its log: how fast records are
// written, how many bytes they take, and how long the questions of the log take
// over them.
//
//	go run ./bench/journal -n 10000000
//
// The records are those of a day: 20 services of 8 routes, used unevenly, each
// record with a correlation id and a trace id of its own, one of 5,000
// principals and 14 stage times. One service is rare (one record in 100,000),
// and one common service fails rarely (one in 5,000 of its records).
//
// A question is asked "cold" with a reader that has seen no footer, and "warm"
// with one that has; with -evict the files are also pushed out of the page cache
// before each cold question.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/internal/journal"
)

func main() {
	n := flag.Int("n", 1_000_000, "records")
	writers := flag.Int("writers", 16, "concurrent writers")
	evict := flag.Bool("evict", false, "evict the page cache before cold questions")
	dir := flag.String("dir", "", "folder to use and keep, and to use again as it is; default a temporary one")
	flag.Parse()
	if err := run(context.Background(), *n, *writers, *evict, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench/journal:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context, n, writers int, evict bool, dir string) error {
	if dir == "" {
		temp, err := os.MkdirTemp("", "bench-journal-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temp) }()
		dir = temp
	}
	folder := filepath.Join(dir, "journal")
	w := newWorkload(n)
	j, err := journal.Open(folder, journal.Options{Zone: "shop.example", Stages: stageNames, Size: 64 << 30})
	if err != nil {
		return err
	}
	if j.Head().Sequence == 0 { // else the folder is that of an earlier run
		if err := ingest(j, w, writers); err != nil {
			return err
		}
	}
	if err := waitSealed(folder); err != nil {
		return err
	}
	if err := sizes(folder, n); err != nil {
		return err
	}
	if err := questions(ctx, folder, w, evict); err != nil {
		return err
	}
	if err := rollUp(ctx, dir, folder, j, w); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	began := time.Now()
	report, err := journal.Verify(ctx, folder)
	if err != nil {
		return err
	}
	fmt.Printf("%-44s %10s  %d records, %d findings\n", "verify everything", since(began), report.Records, len(report.Findings))
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Microsecond) }
