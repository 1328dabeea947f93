package storetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/internal/store"
)

func reopens(t *testing.T, e Engine) {
	place := e.New(t)
	db, err := e.Open(t.Context(), place)
	must(t, err)
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := createTables(ctx, tx); err != nil {
			return err
		}
		if err := put(ctx, tx, "kept", 42); err != nil {
			return err
		}
		return tx.Revoke(ctx, subject("u"))
	}))
	must(t, db.Close())

	db = open(t, e, place)
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := get(ctx, tx, "kept")
		if n != 42 {
			t.Errorf("after reopening: %d, want 42", n)
		}
		return err
	}))
	must(t, revoke(t.Context(), db, subject("u")))
	if n := last(t, db); n != 2 {
		t.Errorf("revocation after reopening has number %d, want 2", n)
	}
}

// childEnv hands the place to the process that is killed.
const childEnv = "SALLYPORT_STORETEST_PLACE"

// The child's lines: what it was told is committed.
const (
	ackPair  = "ack pair"
	ackRevoc = "ack revocation"
)

// acks is how many acknowledgements of each kind the parent waits for.
const acks = 25

// survivesKill: what a killed process was told is committed is there, whole;
// what it was not told is there whole or not at all.
func survivesKill(t *testing.T, e Engine) {
	place := e.New(t)
	root, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+root+"$") // #nosec G204 G702 -- this test binary
	cmd.Env = append(os.Environ(), childEnv+"="+place)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())

	var pairs, revocations int64
	killed := false
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); { // to the end: what was acknowledged while it died counts
		kind, number, _ := strings.Cut(lines.Text(), ": ")
		switch kind {
		case ackPair:
			_, err = fmt.Sscan(number, &pairs)
		case ackRevoc:
			_, err = fmt.Sscan(number, &revocations)
		default:
			said = append(said, lines.Text())
		}
		must(t, err)
		if !killed && pairs >= acks && revocations >= acks {
			killed = true
			must(t, cmd.Process.Kill())
		}
	}
	err = cmd.Wait()
	if !killed || cmd.ProcessState.Exited() {
		t.Fatalf("the child ended by itself (%v) after %d pairs and %d revocations; it said %q", err, pairs, revocations, said)
	}

	db := open(t, e, place)
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var halves, whole, highest int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*), COUNT(DISTINCT number), COALESCE(MAX(number), 0) FROM contract_pairs").Scan(&halves, &whole, &highest); err != nil {
			return err
		}
		if halves != 2*whole || whole != highest {
			t.Errorf("%d halves of %d pairs up to number %d: some are missing", halves, whole, highest)
		}
		if highest < pairs || highest > pairs+1 {
			t.Errorf("last pair = %d, want %d, the last acknowledged, or the one after", highest, pairs)
		}
		return nil
	}))
	list, err := db.RevocationsAfter(t.Context(), 0, 10_000)
	must(t, err)
	for i, r := range list {
		if r.Number != int64(i)+1 {
			t.Fatalf("revocation %d has number %d", i+1, r.Number)
		}
	}
	if n := int64(len(list)); n < revocations || n > revocations+1 || n != last(t, db) {
		t.Errorf("%d revocations, head %d, want %d, the last acknowledged, or one more", n, last(t, db), revocations)
	}
}

// child writes and acknowledges until it is killed. It never returns.
func child(e Engine, place string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
	}
	db, err := e.Open(ctx, place)
	fail(err)
	fail(db.Tx(ctx, createTables))
	var out sync.Mutex // one line at a time
	ack := func(kind string, n int64) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf("%s: %d\n", kind, n) // os.Stdout is not buffered: once written, the parent has it
	}
	go func() {
		for n := int64(1); ; n++ {
			fail(revoke(ctx, db, subject(fmt.Sprint("u", n))))
			ack(ackRevoc, n)
		}
	}()
	for n := int64(1); ; n++ {
		fail(db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			for half := range 2 {
				if _, err := tx.Exec(ctx, "INSERT INTO contract_pairs (number, half) VALUES (?, ?)", n, half); err != nil {
					return err
				}
			}
			return nil
		}))
		ack(ackPair, n)
	}
}
