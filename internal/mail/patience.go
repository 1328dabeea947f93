package mail

import (
	"sync"
	"time"
)

// When a failed delivery is tried again: after 15 s, then twice as long each
// time up to half an hour. While the server is away it is asked after 1 s, then
// twice as long up to a minute. All of it shaken by half, so that processes and
// letters do not march in step.
const (
	firstRetry = 15 * time.Second
	lastRetry  = 30 * time.Minute
	firstProbe = time.Second
	lastProbe  = time.Minute
)

// pause is how long to wait after that many failures; shake is in [0, 1).
func pause(failures int, first, last time.Duration, shake float64) time.Duration {
	d := last
	if failures < 20 {
		d = min(last, first<<max(0, failures-1))
	}
	return d/2 + time.Duration(shake*float64(d))
}

// weather is whether the server can be reached, as this process knows it.
type weather struct {
	mu       sync.Mutex
	failures int       // in a row; 0: it is there
	since    time.Time // of the first of them
	next     time.Time // when it may be asked again
	problem  string    // of the last of them
}

// away says whether the server is away, and whether it may be asked now.
func (w *weather) away(now time.Time) (away, ask bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures > 0, w.failures == 0 || !now.Before(w.next)
}

// failed notes a failure and says whether it is the first.
func (w *weather) failed(now time.Time, problem string, shake float64) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failures > 0 && now.Before(w.next) {
		return false // of a delivery that was under way when the first failed
	}
	if w.failures == 0 {
		w.since = now
	}
	w.failures++
	w.problem = problem
	w.next = now.Add(pause(w.failures, firstProbe, lastProbe, shake))
	return w.failures == 1
}

// there notes that the server answers and says whether that is news.
func (w *weather) there() (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = w.failures > 0
	w.failures, w.problem, w.since, w.next = 0, "", time.Time{}, time.Time{}
	return news
}
