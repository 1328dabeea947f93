package logs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/store"
)

// series is what the counts of a minute are kept apart by. All of it comes from
// the map and from closed lists, so there are few.
type series struct {
	service, route, reason string
	class                  int // first digit of the status; 0: any other
}

// minuteService is a row of log_service_minutes.
type minuteService struct {
	minute  int64 // since 1970
	service string
}

type minuteSeries struct {
	minute int64
	series
}

// cell is what a tally adds to one row.
type cell struct {
	classes                  [6]int64 // requests
	bytesIn, bytesOut        int64
	durationSum, durationMax int64 // microseconds
}

func (c *cell) requests() (sum int64) {
	for _, n := range c.classes {
		sum += n
	}
	return sum
}

func (c *cell) add(o *cell) {
	for i, n := range o.classes {
		c.classes[i] += n
	}
	c.bytesIn += o.bytesIn
	c.bytesOut += o.bytesOut
	c.durationSum += o.durationSum
	c.durationMax = max(c.durationMax, o.durationMax)
}

// A tally that is full is written and begun anew.
const (
	tallyRecords = 1 << 17
	tallyCells   = 20_000
)

// tally collects counts between two transactions.
type tally struct {
	services map[minuteService]*cell
	series   map[minuteSeries]*cell
	records  int
	names    journal.Names
	view     journal.View
}

func newTally() *tally {
	return &tally{services: make(map[minuteService]*cell), series: make(map[minuteSeries]*cell)}
}

func (t *tally) full() bool { return t.records >= tallyRecords || len(t.series) >= tallyCells }

// add counts one record: a request once, a stream when it opens, and sizes and
// durations when they are known. Marks of the journal are no requests.
func (t *tally) add(r journal.Raw) error {
	v := &t.view
	if err := v.Parse(r); err != nil {
		return err
	}
	t.records++
	if v.Kind == journal.KindMark {
		return nil
	}
	c := cell{bytesIn: v.BytesIn, bytesOut: v.BytesOut, durationSum: v.Duration, durationMax: v.Duration}
	class := v.Status / 100
	if class >= len(c.classes) {
		class = 0
	}
	if v.Kind != journal.KindEnd {
		c.classes[class] = 1
	}
	minute := v.Micros / 60_000_000
	s := series{t.names.Get(v.Service), t.names.Get(v.Route), t.names.Get(v.Reason), class}
	addTo(t.services, minuteService{minute, s.service}, &c)
	addTo(t.series, minuteSeries{minute, s}, &c)
	return nil
}

func addTo[K comparable](m map[K]*cell, k K, c *cell) {
	sum := m[k]
	if sum == nil {
		sum = &cell{}
		m[k] = sum
	}
	sum.add(c)
}

// rowsAtOnce makes the cost of a statement that of its rows.
const rowsAtOnce = 64

// write adds the tally to the database, within a transaction.
func (t *tally) write(ctx context.Context, tx *store.Tx, known map[series]int64) error {
	slots := make(map[int64]*cell, len(t.series))
	for k, c := range t.series {
		id, err := seriesID(ctx, tx, known, k.series)
		if err != nil {
			return err
		}
		addTo(slots, k.minute*slotsOfMinute+id, c) // otherRoute takes several
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(slots)), rowsAtOnce) {
		var args []any
		for _, slot := range part {
			c := slots[slot]
			args = append(args, slot, c.requests(), c.bytesIn, c.bytesOut, c.durationSum, c.durationMax)
		}
		if _, err := tx.Exec(ctx, addRows("log_minutes", "slot", "requests", len(part)), args...); err != nil {
			return fmt.Errorf("add counts: %w", err)
		}
	}
	byMinute := func(a, b minuteService) int {
		return cmp.Or(cmp.Compare(a.minute, b.minute), cmp.Compare(a.service, b.service))
	}
	for part := range slices.Chunk(slices.SortedFunc(maps.Keys(t.services), byMinute), rowsAtOnce) {
		var args []any
		for _, k := range part {
			c := t.services[k]
			args = append(args, k.minute, k.service, c.classes[0], c.classes[1], c.classes[2], c.classes[3], c.classes[4], c.classes[5],
				c.bytesIn, c.bytesOut, c.durationSum, c.durationMax)
		}
		if _, err := tx.Exec(ctx, addRows("log_service_minutes", "minute, service", "class_0, class_1, class_2, class_3, class_4, class_5", len(part)), args...); err != nil {
			return fmt.Errorf("add counts: %w", err)
		}
	}
	return nil
}

// addRows is the statement that adds rows to a table of counts, or makes them.
// All names in it are constants of this file.
func addRows(table, key, counts string, rows int) string {
	counts += ", bytes_in, bytes_out, duration_sum"
	columns := strings.Split(key+", "+counts+", duration_max", ", ")
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")"
	var set strings.Builder
	for c := range strings.SplitSeq(counts, ", ") {
		fmt.Fprintf(&set, "%s = %s.%s + excluded.%s, ", c, table, c, c)
	}
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " +
		row + strings.Repeat(", "+row, rows-1) +
		" ON CONFLICT (" + key + ") DO UPDATE SET " + set.String() +
		"duration_max = CASE WHEN excluded.duration_max > " + table + ".duration_max THEN excluded.duration_max ELSE " + table + ".duration_max END"
}
