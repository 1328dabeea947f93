package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"
)

// record is a line of `sallyport logs --format json`.
type record struct {
	Time          time.Time `json:"time"`
	CorrelationID string    `json:"correlation_id"`
	TraceID       string    `json:"trace_id"`
	Listener      string    `json:"listener"`
	Service       string    `json:"service"`
	Route         string    `json:"route"`
	Method        string    `json:"method"`
	Client        string    `json:"client"`
	Principal     string    `json:"principal"`
	Reason        string    `json:"reason"`
	Status        int       `json:"status"`
	Duration      int64     `json:"duration_us"`
}

// records returns the log's lines for a search.
func (z *zoned) records(args ...string) []record {
	z.t.Helper()
	return parseRecords(z.t, z.must(append([]string{"logs", "--format", "json"}, args...)...))
}

func parseRecords(t testing.TB, lines string) (list []record) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(lines)))
	for {
		var r record
		if err := dec.Decode(&r); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatalf("logs: %v in\n%s", err, lines)
		}
		list = append(list, r)
	}
}

// of returns the records of one correlation id.
func (z *zoned) of(id string) []record {
	z.t.Helper()
	return z.records("--correlation", id)
}

// byID returns all records of the outside by correlation id, in one search.
func (z *zoned) byID() map[string][]record {
	z.t.Helper()
	all := map[string][]record{}
	for _, r := range z.records("--limit", "0") {
		all[r.CorrelationID] = append(all[r.CorrelationID], r)
	}
	return all
}
