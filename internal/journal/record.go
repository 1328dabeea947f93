package journal

import (
	"net/netip"
	"time"
)

// Kind says what a record stands for. The numbers are part of the format.
type Kind uint8

// The kinds of records.
const (
	KindRequest Kind = iota // one request with its answer
	KindOpen                // a stream has begun: it has a status, and no sizes yet
	KindEnd                 // the same stream has ended: sizes and duration
	KindAdmin               // an act of administration
	KindMark                // a note of the journal itself; its tags tell which
	kindCount
)

var kindNames = [kindCount]string{"request", "open", "end", "admin", "mark"}

// String returns the name that the log shows.
func (k Kind) String() string {
	if k >= kindCount {
		return "unknown"
	}
	return kindNames[k]
}

// The tags of a KindMark record. A number may follow after a colon.
const (
	MarkTorn    = "journal.torn"    // unsynced bytes at the end were cut when the journal was opened: the number of bytes
	MarkDamaged = "journal.damaged" // durable records could not be read and were put aside: the number of bytes
	MarkResumed = "journal.resumed" // writing works again after a failure
)

// Record is what one transaction leaves behind. It has no field for a header,
// a body, a query value or a token, so that none can be recorded.
//
// A text longer than 1,024 bytes is cut and ends in "…"; more than 64 stages
// and more than 32 tags are dropped; negative numbers become 0; times are kept
// in microseconds and durations too.
type Record struct {
	Kind          Kind
	Time          time.Time
	CorrelationID string // canonical UUIDs take 16 bytes, other texts their length
	TraceID       string // 32 lower-case hexadecimal digits take 16 bytes
	Listener      string
	Service       string
	Route         string // the declared pattern, never the path that was asked for
	Method        string
	Client        netip.Addr // without a zone
	Principal     string     // the `sub`
	Reason        string     // a code of package problem
	Status        int
	BytesIn       int64
	BytesOut      int64
	Duration      time.Duration
	Stages        []uint32 // microseconds, by the index of Options.Stages
	Tags          []string
}

// Entry is a record as a reader finds it.
type Entry struct {
	Record
	Sequence uint64  // its place in the journal, from 0; never used twice for synced records
	Header   *Header // of its segment: zone and names of the stages; shared, not to be changed
}

// Bounds of a record. A record that was encoded within them is never longer than maxRecord.
const (
	maxText   = 1024
	maxTag    = 256
	maxTags   = 32
	maxStages = 64
	maxRecord = 32 << 10
)
