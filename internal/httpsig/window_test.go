package httpsig

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestWindow(t *testing.T) {
	var w Window
	for _, c := range []struct {
		n    uint64
		want bool
	}{
		{0, false},
		{1, true}, {1, false},
		{3, true}, {2, true}, {2, false}, {3, false},
		{1024, true}, {4, true},
		{1025, true}, {1, false}, {5, true}, // 1 is 1024 behind
		{1026, true}, {2, false}, {6, true}, {6, false},
		{5000, true}, {3976, false}, {3977, true}, {3977, false}, {4999, true}, {4999, false},
		{1027, false},
		{math.MaxUint64, true}, {math.MaxUint64, false}, {math.MaxUint64 - 1023, true}, {math.MaxUint64 - 1024, false}, {5001, false},
	} {
		if got := w.Accept(c.n); got != c.want {
			t.Errorf("Accept(%d) = %v, want %v", c.n, got, c.want)
		}
	}
}

// The window against the plainest thing that does the same.
func TestWindowLikeASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var w Window
		seen, top := map[uint64]bool{}, uint64(0)
		for range 5000 {
			n := top + 1 + uint64(random.IntN(5))
			switch random.IntN(10) {
			case 0:
				n = top + uint64(random.IntN(3000))
			case 1, 2, 3, 4, 5:
				n = uint64(max(0, int64(top)-int64(random.IntN(1100))))
			}
			want := n > 0 && !seen[n] && n+WindowSize > top
			if got := w.Accept(n); got != want {
				t.Fatalf("Accept(%d) after %d = %v, want %v", n, top, got, want)
			}
			if want {
				seen[n], top = true, max(top, n)
			}
		}
	}
}

// Every value of the window from many sides at once, a window at a time: each
// is accepted once, whoever comes first.
func TestWindowConcurrently(t *testing.T) {
	var (
		w        Window
		accepted atomic.Int64
	)
	for turn := range 5 {
		var wg sync.WaitGroup
		for side := range 8 {
			wg.Go(func() {
				for i := range WindowSize {
					n := i
					if side%2 == 1 { // half of them from the end
						n = WindowSize - 1 - i
					}
					if w.Accept(uint64(turn*WindowSize + n + 1)) {
						accepted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got, want := accepted.Load(), int64((turn+1)*WindowSize); got != want {
			t.Fatalf("%d accepted, want %d", got, want)
		}
	}
}

func TestCounterConcurrently(t *testing.T) {
	var (
		c    Counter
		seen sync.Map
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if n := c.Next(); n == 0 {
					t.Error("zero")
				} else if _, dup := seen.LoadOrStore(n, true); dup {
					t.Errorf("%d twice", n)
				}
			}
		})
	}
	wg.Wait()
}
