package main

import (
	"math"
	"testing"
)

// TestComparison holds both tests to values that can be had on paper, and to
// samples that are alike and that are not.
func TestComparison(t *testing.T) {
	series := func(n int, step, from float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = from + step*float64(i)
		}
		return out
	}
	near := func(got, want float64) bool { return math.Abs(got-want) < 0.001 }
	for _, c := range []struct {
		name         string
		a, b         []float64
		ranks, sizes float64 // p of Mann-Whitney and of Kolmogorov-Smirnov
	}{
		{"the same", series(50, 1, 0), series(50, 1, 0), 1, 1},
		{"all equal", series(50, 0, 7), series(50, 0, 7), 1, 1},
		{"one above the other", series(50, 1, 0), series(50, 1, 100), 0, 0},
		{"half a step", series(50, 2, 0), series(50, 2, 1), 0.8633, 1},              // U = 1225, spread 145.06: z = 0.1724
		{"wider, same middle", series(50, 1, -24.5), series(50, 4, -98), 1, 0.0003}, // distance 0.40
	} {
		if p := mannWhitney(c.a, c.b); !near(p, c.ranks) {
			t.Errorf("%s: Mann-Whitney %.4f, want %.4f", c.name, p, c.ranks)
		}
		if p := kolmogorovSmirnov(c.a, c.b); !near(p, c.sizes) {
			t.Errorf("%s: Kolmogorov-Smirnov %.4f, want %.4f", c.name, p, c.sizes)
		}
	}
	a, b := series(200, 1, 0), series(200, 1, 0)
	least := wouldFind(a, b)
	if least < 15 || least > 50 || told(a, b) {
		t.Errorf("samples of 0 to 199: a delay of %.1f is found, want about 0.16 of their range", least)
	}
	if told(series(200, 1, least*0.9), b) || !told(series(200, 1, least), b) {
		t.Errorf("a delay of %.1f is not where the samples part", least)
	}
}
