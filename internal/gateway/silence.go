package gateway

import (
	"sync/atomic"
	"time"
)

// silence ends a stream on which nothing moves, in either direction, for the idle
// time of its listener.
type silence struct {
	began time.Time
	idle  atomic.Int64 // nanoseconds
	last  atomic.Int64 // since began
	fired atomic.Bool
	timer *time.Timer
}

// await begins to watch. cut is called at most once, from another goroutine, and
// may still be under way when stop has returned.
func await(idle time.Duration, cut func()) *silence {
	s := &silence{began: time.Now()}
	s.idle.Store(int64(idle))
	ready := make(chan struct{}) // the timer is not there before AfterFunc has returned
	s.timer = time.AfterFunc(idle, func() {
		<-ready
		quiet := int64(time.Since(s.began)) - s.last.Load()
		if left := s.idle.Load() - quiet; left > 0 {
			s.timer.Reset(time.Duration(left))
			return
		}
		s.fired.Store(true)
		cut()
	})
	close(ready)
	return s
}

// touch says that something has moved.
func (s *silence) touch() { s.last.Store(int64(time.Since(s.began))) }

// shorten makes the rest of the stream end sooner.
func (s *silence) shorten(idle time.Duration) {
	s.touch()
	if int64(idle) < s.idle.Load() {
		s.idle.Store(int64(idle))
		s.timer.Reset(idle)
	}
}

// stop ends the watch and says whether it has cut the stream.
func (s *silence) stop() bool {
	s.timer.Stop()
	return s.fired.Load()
}
