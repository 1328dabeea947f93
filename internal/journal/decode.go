package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrDamaged is in the chain of every error that says that bytes of the journal
// are not what was written.
var ErrDamaged = errors.New("damaged")

var errRecord = fmt.Errorf("%w: record is malformed", ErrDamaged)

// Raw is the body of one record as it lies in a frame. It is valid only until
// the buffer it came from is filled again.
type Raw []byte

// ids is the number of bytes that binary ids take, behind kind and flags.
func (r Raw) ids() int {
	n := 0
	if len(r) > 1 {
		if r[1]&flagCorrelation != 0 {
			n += 16
		}
		if r[1]&flagTrace != 0 {
			n += 16
		}
	}
	return n
}

// fixed is the length of the part of a body whose places are known without
// parsing: kind, flags, ids, time.
func (r Raw) fixed() int { return 2 + r.ids() + 8 }

// micros returns the time of the record without parsing it; 0 when it is too short.
func (r Raw) micros() uint64 {
	n := r.fixed()
	if len(r) < n {
		return 0
	}
	w := wire{b: r[n-8 : n]}
	return w.u64()
}

// View is a parsed record whose texts still lie in its Raw: it costs no
// allocation to look at.
type View struct {
	Kind     Kind
	Listener []byte
	Service  []byte
	Route    []byte
	Method   []byte
	Reason   []byte
	Status   int
	BytesIn  int64
	BytesOut int64
	Duration int64 // microseconds
	Micros   int64 // time, microseconds since 1970

	flags       byte
	correlation []byte
	trace       []byte
	client      []byte
	principal   []byte
	lists       []byte // stages and tags, not parsed
}

// Parse reads r into v. Stages and tags, which no search asks for, are only
// parsed by Record.
func (v *View) Parse(r Raw) error {
	w := wire{b: r}
	v.Kind = Kind(w.byte())
	v.flags = w.byte()
	if v.Kind >= kindCount || v.flags&^flagsKnown != 0 || v.flags&(flagIPv4|flagIPv6) == flagIPv4|flagIPv6 {
		return errRecord
	}
	if v.flags&flagCorrelation != 0 {
		v.correlation = w.bytes(16)
	}
	if v.flags&flagTrace != 0 {
		v.trace = w.bytes(16)
	}
	v.Micros = int64(w.u64())
	if uint64(v.Micros) > maxNumber {
		return errRecord
	}
	return v.parseTexts(&w)
}

func (v *View) parseTexts(w *wire) error {
	if v.flags&flagCorrelation == 0 {
		v.correlation = w.text(maxText)
	}
	if v.flags&flagTrace == 0 {
		v.trace = w.text(maxText)
	}
	switch {
	case v.flags&flagIPv4 != 0:
		v.client = w.bytes(4)
	case v.flags&flagIPv6 != 0:
		v.client = w.bytes(16)
	default:
		v.client = nil
	}
	v.Listener = w.text(maxText)
	v.Service = w.text(maxText)
	v.Route = w.text(maxText)
	v.Method = w.text(maxText)
	if v.flags&flagPrincipal != 0 {
		v.principal = w.bytes(16)
	} else {
		v.principal = w.text(maxText)
	}
	v.Reason = w.text(maxText)
	v.Status = int(w.number(maxStatus))
	v.BytesIn = int64(w.number(maxNumber))
	v.BytesOut = int64(w.number(maxNumber))
	v.Duration = int64(w.number(maxNumber))
	v.lists = w.b
	if w.bad {
		return errRecord
	}
	return nil
}

// maxNumber keeps every number of a record within an int64, and every duration in
// microseconds within a time.Duration.
const (
	maxNumber = (1<<63 - 1) / 1000
	maxStatus = 1<<31 - 1
)

// Record materialises a parsed record. Texts come from names, which keeps one
// string for each, so that a million records of a service share its name.
func (v *View) Record(names *Names) (Record, error) {
	stages, tags, err := v.parseLists(names)
	if err != nil {
		return Record{}, err
	}
	client, _ := netip.AddrFromSlice(v.client) // none: the zero Addr
	r := Record{
		Kind:          v.Kind,
		Time:          microTime(v.Micros),
		CorrelationID: idText(v.correlation, v.flags&flagCorrelation != 0, true),
		TraceID:       idText(v.trace, v.flags&flagTrace != 0, false),
		Listener:      names.Get(v.Listener),
		Service:       names.Get(v.Service),
		Route:         names.Get(v.Route),
		Method:        names.Get(v.Method),
		Client:        client.Unmap(),
		Reason:        names.Get(v.Reason),
		Status:        v.Status,
		BytesIn:       v.BytesIn,
		BytesOut:      v.BytesOut,
		Duration:      time.Duration(v.Duration) * time.Microsecond,
		Stages:        stages,
		Tags:          tags,
	}
	if v.flags&flagPrincipal != 0 {
		r.Principal = idText(v.principal, true, true)
	} else {
		r.Principal = names.Get(v.principal)
	}
	return r, nil
}

func (v *View) parseLists(names *Names) (stages []uint32, tags []string, err error) {
	w := wire{b: v.lists}
	for n := w.number(maxStages); n > 0; n-- {
		stages = append(stages, uint32(w.number(1<<32-1)))
	}
	for n := w.number(maxTags); n > 0; n-- {
		tags = append(tags, names.Get(w.text(maxTag)))
	}
	if !w.ended() {
		return nil, nil, errRecord
	}
	return stages, tags, nil
}

func idText(b []byte, binary, hyphens bool) string {
	if !binary {
		return string(b)
	}
	var t [36]byte
	if !hyphens {
		return string(hex.AppendEncode(t[:0], b))
	}
	out := t[:0]
	for i, part := range [...][]byte{b[0:4], b[4:6], b[6:8], b[8:10], b[10:16]} {
		if i > 0 {
			out = append(out, '-')
		}
		out = hex.AppendEncode(out, part)
	}
	return string(out)
}

// Names keeps one string for each distinct text. It forgets all of them when
// there are too many: principals are as many as users. The zero value is ready.
type Names struct{ m map[string]string }

const maxNames = 1 << 14

// Get returns the string of a text.
func (n *Names) Get(b []byte) string {
	if s, ok := n.m[string(b)]; ok {
		return s
	}
	if n.m == nil || len(n.m) >= maxNames {
		n.m = make(map[string]string)
	}
	s := string(b)
	n.m[s] = s
	return s
}

func microTime(us int64) time.Time { return time.UnixMicro(us).UTC() }
