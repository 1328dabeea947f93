package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"

	"sallyport.dev/internal/password"
)

// The bars of a login.
const (
	barAbove = 1.0 // ms of CPU above its argon2
	barSlow  = 1.1 // of its time in an empty zone
)

// regulars are the accounts that log in.
const regulars = 50

// contender is one thing that is done again and again, in turn with the others.
type contender struct {
	name string
	do   func(i int) (func() error, error) // makes ready what is measured
	cpu  []float64                         // ms each, means of rounds
	wall []float64                         // ms each, medians of rounds

	cpus, walls []float64 // of the round that runs
}

// measureLogins takes the first of beds as the zone that others are held against.
func measureLogins(ctx context.Context, p plan, beds []*bed) error {
	all := []*contender{{name: "argon2id alone", do: func(int) (func() error, error) { return argon2Alone, nil }}}
	for _, b := range beds {
		for i := range regulars {
			login, err := b.login(ctx, i, homeOf(i))
			if err != nil {
				return err
			}
			if err := login(); err != nil { // from now on their network is known
				return err
			}
		}
		all = append(all, &contender{name: b.name, do: func(i int) (func() error, error) { return b.login(ctx, i, homeOf(i%regulars)) }})
	}
	all = append(all, &contender{name: beds[0].name + ", new device", do: func(i int) (func() error, error) {
		return beds[0].login(ctx, i, beds[0].newClient())
	}})
	for round := range p.rounds {
		if err := loginRound(ctx, all, round, p.logins); err != nil {
			return err
		}
	}
	reportLogins(all, all[1], all[len(beds)], p)
	return nil
}

// argon2Alone is the hash of one password at the cost of the product.
func argon2Alone() error {
	c := password.DefaultCost()
	_ = argon2.IDKey([]byte(passphrase), make([]byte, 16), c.Passes, c.Memory, c.Threads, 32)
	return nil
}

// login makes a right login of one of the regulars ready.
func (b *bed) login(ctx context.Context, i int, from netip.Addr) (func() error, error) {
	b.ahead.Add(int64(time.Second))
	n := i % regulars * (b.accounts / regulars) // through the whole zone
	c, err := asJSON(ctx, from, "/auth/login", map[string]string{"email": emailOf(n), "password": passphrase}, 200)
	if err != nil {
		return nil, err
	}
	return func() error { return b.do(c) }, nil
}

// loginRound does each contender's thing in turn, in random order. Each begins
// with an empty heap, or it would pay for the 46 MiB of those before it: what the
// collector costs is the hash's, and is in no figure here.
func loginRound(ctx context.Context, all []*contender, round, times int) error {
	for i := range times {
		for _, at := range rand.Perm(len(all)) { // #nosec G404 -- an order
			c := all[at]
			do, err := c.do(round*times + i)
			if err != nil {
				return err
			}
			runtime.GC()
			cpu, wall, err := spent(do)
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.cpus, c.walls = append(c.cpus, millis(cpu)), append(c.walls, millis(wall))
		}
	}
	for _, c := range all {
		c.cpu, c.wall = append(c.cpu, mean(c.cpus)), append(c.wall, median(c.walls))
		c.cpus, c.walls = nil, nil
		fmt.Fprintf(os.Stderr, "round %d  %-48s CPU %7.2f ms  wall %7.2f ms\n", round+1, c.name, c.cpu[round], c.wall[round])
	}
	return nil
}

// over are the figures of each round by those of another contender.
func over(of, by []float64, combine func(a, b float64) float64) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = combine(of[i], by[i])
	}
	return out
}

func minus(a, b float64) float64   { return a - b }
func divided(a, b float64) float64 { return a / b }

// reportLogins holds each contender against argon2, which is all[0], and against
// the first zone.
func reportLogins(all []*contender, first, large *contender, p plan) {
	alone := all[0]
	fmt.Printf("\nA login, %d of each kind in a round\n\n", p.logins)
	fmt.Println("| zone | CPU ms | above its argon2, ms | wall ms | of the first zone's wall | of its CPU |")
	fmt.Println("|---|---:|---:|---:|---:|---:|")
	fmt.Printf("| *%s* | %s | | %s | | |\n", alone.name, ranged(alone.cpu, "%.1f"), ranged(alone.wall, "%.1f"))
	for i, c := range all[1:] {
		wall, cpu := "1", "1"
		if i > 0 {
			wall, cpu = ranged(over(c.wall, first.wall, divided), "%.2f"), ranged(over(c.cpu, first.cpu, divided), "%.2f")
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", c.name, ranged(c.cpu, "%.1f"), ranged(over(c.cpu, alone.cpu, minus), "%+.2f"), ranged(c.wall, "%.1f"), wall, cpu)
	}
	above, slow := median(over(first.cpu, alone.cpu, minus)), median(over(large.wall, first.wall, divided))
	fmt.Printf("\nAbove its argon2: %+.2f ms of CPU; the bar is %.0f: %s.\n", above, barAbove, met(above < barAbove))
	fmt.Printf("With %s: %.2f of the time; the bar is %.1f: %s.\n", large.name, slow, barSlow, met(slow <= barSlow))
}
