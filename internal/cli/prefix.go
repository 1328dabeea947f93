package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// prefixWriter writes whole lines with a prefix and keeps the last few for an error.
type prefixWriter struct {
	mu     sync.Mutex
	w      io.Writer
	prefix string
	part   []byte
	tail   []string
}

func (p *prefixWriter) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		line, rest, found := strings.Cut(string(p.part), "\n")
		if !found {
			break
		}
		p.part = []byte(rest)
		p.tail = append(p.tail, p.prefix+line)
		if len(p.tail) > 5 {
			p.tail = p.tail[1:]
		}
		if _, err := fmt.Fprintln(p.w, p.prefix+line); err != nil {
			return len(b), err
		}
	}
	if len(p.part) > 64<<10 {
		p.part = nil // a line without end is not kept
	}
	return len(b), nil
}

func (p *prefixWriter) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}
