package main

import (
	"math"
	"slices"
)

// apart is the level below which two samples count as different.
const apart = 0.001

// mannWhitney returns the two-sided p-value that values of one sample are as often
// above those of the other as below: by ranks, with the normal approximation
// (Mann and Whitney, 1947), which holds from about 20 values on. Equal values
// share their mean rank.
func mannWhitney(a, b []float64) float64 {
	type value struct {
		v     float64
		first bool
	}
	all := make([]value, 0, len(a)+len(b))
	for _, v := range a {
		all = append(all, value{v, true})
	}
	for _, v := range b {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(x, y value) int {
		switch {
		case x.v < y.v:
			return -1
		case x.v > y.v:
			return 1
		}
		return 0
	})
	n1, n2, n := float64(len(a)), float64(len(b)), float64(len(all))
	ranks, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		rank, t := float64(i+j+1)/2, float64(j-i)
		ties += t*t*t - t
		for ; i < j; i++ {
			if all[i].first {
				ranks += rank
			}
		}
	}
	u := ranks - n1*(n1+1)/2
	spread := math.Sqrt(n1 * n2 / 12 * (n + 1 - ties/(n*(n-1))))
	if spread == 0 {
		return 1
	}
	return math.Erfc(math.Abs(u-n1*n2/2) / spread / math.Sqrt2)
}

// kolmogorovSmirnov returns the p-value that two samples come of one distribution:
// by the greatest distance of what they have below a value, with the asymptotic
// distribution as corrected for small samples by Stephens (1970).
func kolmogorovSmirnov(a, b []float64) float64 {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	distance := 0.0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] == at {
			i++
		}
		for j < len(b) && b[j] == at {
			j++
		}
		distance = max(distance, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	root := math.Sqrt(float64(len(a)*len(b)) / float64(len(a)+len(b)))
	x := (root + 0.12 + 0.11/root) * distance
	if x < 0.2 { // the series converges slowly there, to 1
		return 1
	}
	p := 0.0
	for k := 1.0; k <= 100; k++ {
		p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*x*x)
	}
	return min(1, max(0, p))
}

// told says whether either test tells the samples apart.
func told(a, b []float64) bool { return min(mannWhitney(a, b), kolmogorovSmirnov(a, b)) < apart }

// wouldFind is the least delay of a, in its unit, by which the samples are told
// apart: what the comparison is able to see. 0 when they are already.
func wouldFind(a, b []float64) float64 {
	found := func(delay float64) bool {
		later := slices.Clone(a)
		for i := range later {
			later[i] += delay
		}
		return told(later, b)
	}
	low, high := 0.0, median(a)
	if found(low) {
		return 0
	}
	for !found(high) {
		high *= 2
	}
	for high-low > high/100 {
		if mid := (low + high) / 2; found(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}
