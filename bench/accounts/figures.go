package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// cpuTime is what this process has used so far, user and system.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// spent measures one thing that is done.
func spent(do func() error) (cpu, wall time.Duration, err error) {
	before, err := cpuTime()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	wall = time.Since(began)
	after, err := cpuTime()
	return after - before, wall, err
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func mean(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total / float64(len(values))
}

// ranged is a median of rounds, with their range.
func ranged(values []float64, format string) string {
	f := format + " (" + format + " to " + format + ")"
	return fmt.Sprintf(f, median(values), slices.Min(values), slices.Max(values))
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
