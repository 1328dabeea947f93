package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// loadH2 runs h2load on the other core: over HTTP/2, or at a rate. It writes a
// line for each request, from which the percentiles come: time from when it was
// sent, in microseconds, for a rate too.
func (b *bed) loadH2(ctx context.Context, c *contender, seconds, connections int) (result, error) {
	log := b.path("h2load.log")
	if err := os.RemoveAll(log); err != nil {
		return result{}, err
	}
	args := []string{"-c", otherCore, "h2load", "-t1", "-D" + strconv.Itoa(seconds), "--log-file=" + log}
	streams := 1
	if b.http2 {
		streams = 4
		args = append(args, "--npn-list=h2", "-c"+strconv.Itoa(connections/streams), "-m"+strconv.Itoa(streams))
	} else {
		args = append(args, "--h1", "-c"+strconv.Itoa(connections))
	}
	if b.rate > 0 {
		args = append(args, "--rps="+strconv.FormatFloat(float64(b.rate*streams)/float64(connections), 'f', 2, 64))
	}
	if c.tokens {
		tokens, err := os.ReadFile(b.path("tokens"))
		if err != nil {
			return result{}, err
		}
		first, _, _ := strings.Cut(string(tokens), "\n")
		args = append(args, "-H", "authorization: Bearer "+first)
	}
	args = append(args, "https://"+strings.Replace(c.address, "127.0.0.1", "localhost", 1)+"/products")
	if out, err := exec.CommandContext(ctx, "taskset", args...).CombinedOutput(); err != nil { // #nosec G204 -- fixed program
		return result{}, fmt.Errorf("h2load: %w: %s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	var took []int
	bad := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var start, status, micros int
		if _, err := fmt.Sscan(lines.Text(), &start, &status, &micros); err != nil {
			return result{}, fmt.Errorf("h2load wrote %q: %w", lines.Text(), err)
		}
		if status/100 != 2 {
			bad++
		}
		took = append(took, micros)
	}
	if len(took) == 0 {
		return result{}, fmt.Errorf("h2load made no request")
	}
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100]) / 1000 }
	return result{perSecond: float64(len(took)) / float64(seconds), p50: at(50), p99: at(99), bad: bad}, nil
}
