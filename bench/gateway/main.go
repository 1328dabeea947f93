// Gateway measures the whole job of the outer door beside nginx and Go's
// ReverseProxy, both bare: TLS 1.3 kept alive, opaque bearers of 1,000
// sessions, inside token, correlation id, limit, journal record, one upstream.
// Beside them stands the least that anything behind net/http's server costs.
//
// Each gateway gets one core (taskset), upstream and load the other. Rounds are
// interleaved, ratios are taken inside a round, and the medians are printed. It
// needs nginx, wrk and taskset in PATH.
//
//	go run ./bench/gateway [-rounds 5] [-seconds 3] [-connections 64] [-only NAMES] [-awake]
//
// With -awake idle cores poll instead of halting (Linux, as root), so that no
// gateway pays for waking a virtual core that stands for another machine.
//
// With -inner it measures one hop more: gateway, inner door (a sidecar) and
// service, by the strength of the proof, beside the same hop through a bare
// proxy in plain. The inner door runs on the other core; its CPU is a column of
// its own.
//
// Other loads, for all contenders alike: -http2 (16 connections of 4 streams),
// -size BYTES of the answer's body, -rate N requests a second instead of as many
// as there can be, -sessions N live ones, of which the load uses -of. They need
// h2load (Debian: nghttp2-client), which sends one session's token only.
//
// With -profile FILE it runs sallyport alone and writes its CPU profile, for go
// tool pprof.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	seconds := flag.Int("seconds", 3, "length of a round for each gateway")
	connections := flag.Int("connections", 64, "connections of the load")
	only := flag.String("only", "", "run those gateways only whose names contain one of these words, separated by commas")
	inner := flag.Bool("inner", false, "measure the hop through an inner door")
	load := workload{}
	flag.BoolVar(&load.http2, "http2", false, "load over HTTP/2")
	flag.IntVar(&load.size, "size", 200, "bytes of the answer's body")
	flag.IntVar(&load.rate, "rate", 0, "requests a second; 0: as many as there can be")
	flag.IntVar(&load.sessions, "sessions", 1000, "live sessions")
	flag.IntVar(&load.used, "of", 1000, "sessions that the load uses")
	awake := flag.Bool("awake", false, "keep idle cores awake for all contenders (Linux, as root)")
	profile := flag.String("profile", "", "run sallyport alone for a round and write its CPU profile to this file")
	floor := flag.String("floor", "", "(inner use) run the least gateway: listen,upstream,cert,key")
	proxy := flag.String("reverseproxy", "", "(inner use) run Go's bare ReverseProxy: listen,upstream[,cert,key]")
	flag.Parse()
	if *proxy != "" {
		fatal(runReverseProxy(*proxy))
		return
	}
	if *floor != "" {
		fatal(runFloor(*floor))
		return
	}
	if *awake {
		release, err := keepAwake()
		fatal(err)
		defer release()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := plan{workload: load, rounds: *rounds, seconds: *seconds, connections: *connections, only: *only, inner: *inner, awake: *awake}
	if *profile != "" {
		var err error
		p.profile, err = filepath.Abs(*profile)
		fatal(err)
		p.only, p.rounds = "sallyport", 1
	}
	fatal(run(ctx, p))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// workload is what the load is like.
type workload struct {
	http2          bool
	size           int // bytes of an answer's body
	rate           int // requests a second; 0: closed loop
	sessions, used int
}

// plan is what to run.
type plan struct {
	workload
	rounds, seconds, connections int
	only                         string
	profile                      string // file for the CPU profile of sallyport; empty: none
	inner                        bool   // the hop through an inner door
	awake                        bool   // idle cores poll
}

// contender is one gateway under test.
type contender struct {
	name    string
	address string
	start   func(ctx context.Context, b *bed) (*exec.Cmd, error)
	tokens  bool                                                 // the load sends session tokens
	hop     func(ctx context.Context, b *bed) (*exec.Cmd, error) // a second process, between gateway and service; nil: none
	results []result
}

// result is one round of one contender.
type result struct {
	perSecond float64 // requests
	cpu       float64 // us of CPU a request, the gateway's process only
	hop       float64 // likewise of the process behind it
	p50, p99  float64 // ms
	memory    float64 // MiB resident at the end
	bad       int     // answers other than 2xx, and errors
}

func run(ctx context.Context, p plan) error {
	for _, tool := range []string{"nginx", "wrk", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed (Debian: nginx-light, wrk, util-linux): %w", tool, err)
		}
	}
	b, err := newBed(ctx, p.profile, p.workload)
	if err != nil {
		return err
	}
	defer b.close()

	all := []*contender{
		{name: "nginx, bare", address: "127.0.0.1:18441", start: startNginx},
		{name: "Go ReverseProxy, bare", address: "127.0.0.1:18442", start: startReverseProxy},
		{name: "net/http's floor", address: "127.0.0.1:18449", start: startFloor},
		{name: "sallyport, whole job", address: "127.0.0.1:18443", start: startSallyport, tokens: true},
	}
	if p.inner {
		all = append(all[:1], innerContenders()...)
	}
	all = slices.DeleteFunc(all, func(c *contender) bool {
		return p.only != "" && !slices.ContainsFunc(strings.Split(p.only, ","), func(part string) bool { return strings.Contains(c.name, part) })
	})
	for round := range p.rounds {
		for _, c := range all {
			r, err := b.measure(ctx, c, p)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.results = append(c.results, r)
			fmt.Fprintf(os.Stderr, "round %d  %-24s %8.0f/s  %6.1f us  + %6.1f us  p50 %.2f ms  p99 %.2f ms  %d bad\n", round+1, c.name, r.perSecond, r.cpu, r.hop, r.p50, r.p99, r.bad)
		}
	}
	report(all, p)
	return nil
}

// report prints the medians, and the ratios taken inside each round.
func report(all []*contender, p plan) {
	idle := "halt"
	if p.awake {
		idle = "poll"
	}
	fmt.Printf("\n%d rounds of %d s, %d connections, medians; one core for the gateway; idle cores %s; %s\n\n", p.rounds, p.seconds, p.connections, idle, time.Now().UTC().Format(time.DateOnly))
	if p.inner {
		reportInner(all)
		return
	}
	fmt.Println("| gateway | requests/s | of nginx | of ReverseProxy | CPU us/request | p50 ms | p99 ms | MiB |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|")
	for _, c := range all {
		fmt.Printf("| %s | %.0f | %s | %s | %.0f | %.2f | %.2f | %.0f |\n", c.name, median(c.results, func(r result) float64 { return r.perSecond }),
			ratio(c, all, "nginx"), ratio(c, all, "Go"), median(c.results, func(r result) float64 { return r.cpu }),
			median(c.results, func(r result) float64 { return r.p50 }), median(c.results, func(r result) float64 { return r.p99 }),
			median(c.results, func(r result) float64 { return r.memory }))
	}
}

func median(rs []result, of func(result) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// ratio is the median of the in-round ratios of requests/s, with their range.
func ratio(c *contender, all []*contender, base string) string {
	i := slices.IndexFunc(all, func(o *contender) bool { return strings.HasPrefix(o.name, base) })
	if i < 0 || all[i] == c {
		return "1"
	}
	var ratios []result
	for n, r := range c.results {
		ratios = append(ratios, result{perSecond: r.perSecond / all[i].results[n].perSecond})
	}
	of := func(r result) float64 { return r.perSecond }
	low, high := ratios[0].perSecond, ratios[0].perSecond
	for _, r := range ratios {
		low, high = min(low, r.perSecond), max(high, r.perSecond)
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(ratios, of), low, high)
}
