package gateway

import (
	"sync/atomic"
	"time"
)

// linesPerSecond bounds the lines that requests can make the log write: what
// fails fails often, and a full disk would be the next thing to fail. Every
// request is in the journal and the metrics all the same.
const linesPerSecond = 20

// lineBound counts the lines of the second under way. Two requests that begin a
// second at once may write a line too many, which does no harm.
type lineBound struct {
	second atomic.Int64
	count  atomic.Int64
}

func (b *lineBound) take(now time.Time) bool {
	if s := now.Unix(); b.second.Swap(s) != s {
		b.count.Store(0)
	}
	return b.count.Add(1) <= linesPerSecond
}
