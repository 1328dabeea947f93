package logs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/journal"
)

// Order is the order of results: that in which records were written.
type Order uint8

// The orders; the newest first is the default.
const (
	NewestFirst Order = iota
	OldestFirst
)

// Query says which records are looked for. Each field that is set must hold;
// the zero Query finds everything.
type Query struct {
	Correlation string // correlation id
	Service     string
	User        string // principal: its `sub`
	Reason      string // code
	Status      Status
	Since       time.Time // not before
	Until       time.Time // before
	Limit       int       // 0: none
	Order       Order
}

// Status is a range of statuses, both ends included. The zero value is any.
type Status struct{ Min, Max int }

// ParseStatus reads 404, 5xx, 400-499, >=500 or <400.
func ParseStatus(s string) (Status, error) {
	bad := fmt.Errorf("logs: status %q: want 404, 5xx, 400-499, >=500 or <400", s)
	number := func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && len(s) == 3 && n >= 100 && n <= 999
	}
	switch {
	case len(s) == 3 && strings.HasSuffix(s, "xx") && s[0] >= '1' && s[0] <= '5':
		low := int(s[0]-'0') * 100
		return Status{low, low + 99}, nil
	case strings.HasPrefix(s, ">="):
		if n, ok := number(s[2:]); ok {
			return Status{n, 999}, nil
		}
	case strings.HasPrefix(s, "<"):
		if n, ok := number(s[1:]); ok && n > 100 {
			return Status{100, n - 1}, nil
		}
	default:
		low, high, isRange := strings.Cut(s, "-")
		if !isRange {
			high = low
		}
		from, ok := number(low)
		to, ok2 := number(high)
		if ok && ok2 && from <= to {
			return Status{from, to}, nil
		}
	}
	return Status{}, bad
}

func (s Status) holds(status int) bool { return s == Status{} || status >= s.Min && status <= s.Max }

// matcher is a query made ready. It is for one goroutine.
type matcher struct {
	Query
	keys         []*journal.Key // which the filters are asked for
	correlation  *journal.Key
	principal    *journal.Key
	since, until int64  // microseconds
	before       uint64 // sequence number: records from it on are left out
	facets       []bool // of the current segment: which of them match
	view         journal.View
	names        journal.Names
}

func newMatcher(q Query) *matcher {
	m := &matcher{Query: q, since: math.MinInt64, until: math.MaxInt64, before: math.MaxUint64}
	if q.Correlation != "" {
		k := journal.CorrelationKey(q.Correlation)
		m.correlation = &k
		m.keys = append(m.keys, &k)
	}
	if q.User != "" {
		k := journal.PrincipalKey(q.User)
		m.principal = &k
		m.keys = append(m.keys, &k)
	}
	if !q.Since.IsZero() {
		m.since = q.Since.UnixMicro()
	}
	if !q.Until.IsZero() {
		m.until = q.Until.UnixMicro()
	}
	return m
}

// segment says whether a segment may hold matching records, and makes ready for
// asking for its blocks.
func (m *matcher) segment(s *journal.Segment) (bool, error) {
	lo, hi, any := s.Times()
	if !any || hi < m.since || lo >= m.until {
		return false, nil
	}
	if !s.Sealed {
		return true, nil
	}
	m.facets = m.facets[:0]
	some := false
	for _, f := range s.Facets() {
		match := (m.Service == "" || f.Service == m.Service) && (m.Reason == "" || f.Reason == m.Reason) && m.Status.holds(f.Status)
		m.facets = append(m.facets, match)
		some = some || match
	}
	if !some {
		return false, nil
	}
	for _, k := range m.keys {
		if may, err := s.MayHold(k); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// block says whether a block may hold matching records.
func (m *matcher) block(s *journal.Segment, i int) (bool, error) {
	b := s.Block(i)
	if b.First >= m.before || b.Max < m.since || b.Min >= m.until {
		return false, nil
	}
	some := !s.Sealed
	if s.Sealed {
		for _, f := range s.BlockFacets(i) {
			some = some || m.facets[f]
		}
	}
	if !some {
		return false, nil
	}
	for _, k := range m.keys {
		if may, err := s.BlockMayHold(i, k); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// record returns record i of a buffer when it matches, else nil.
func (m *matcher) record(b *journal.Buffer, i int) (*journal.Entry, error) {
	r := b.At(i)
	if m.correlation != nil && !r.Correlates(m.correlation) {
		return nil, nil
	}
	v := &m.view
	if err := v.Parse(r); err != nil {
		return nil, err
	}
	if b.First+uint64(i) >= m.before || v.Micros < m.since || v.Micros >= m.until ||
		m.Service != "" && string(v.Service) != m.Service ||
		m.principal != nil && !v.HasPrincipal(m.principal) ||
		m.Reason != "" && string(v.Reason) != m.Reason ||
		!m.Status.holds(v.Status) {
		return nil, nil
	}
	return b.Entry(i, v, &m.names)
}
