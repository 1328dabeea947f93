package guard

import (
	"bytes"
	"log/slog"
	"sync"
	"time"
)

const sparseEvery = time.Second

// sparse takes what net/http's server has to say, failed handshakes above all,
// and passes on one line in sparseEvery: strangers do not write our log.
type sparse struct {
	log   *slog.Logger
	clock func() time.Time

	mu      sync.Mutex
	last    time.Time // guarded by mu; of the line that was passed on
	skipped int       // guarded by mu; lines since
}

func (s *sparse) Write(line []byte) (int, error) {
	const most = 512
	s.say(string(bytes.TrimSpace(line[:min(len(line), most)])))
	return len(line), nil
}

func (s *sparse) say(cause string) {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < sparseEvery {
		s.skipped++
		return
	}
	s.log.Info("guard: connection refused or broken", "cause", cause, "skipped", s.skipped)
	s.last, s.skipped = now, 0
}
