package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"sallyport.dev/internal/journal"
)

const (
	services    = 20
	routes      = 8
	principals  = 5000
	rareService = "returns"
	rareFailing = "service-03"
)

var stageNames = []string{"accept", "normalize", "identify", "decide", "route", "authenticate", "limit",
	"inspect", "authorize", "exchange", "prove", "forward", "answer", "record"}

var day = time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)

// workload makes record i of n, always the same.
type workload struct {
	n        int
	services []string
	routes   []string
	people   []string
	step     time.Duration
}

func newWorkload(n int) *workload {
	w := &workload{n: n, step: 24 * time.Hour / time.Duration(n)}
	for s := range services {
		w.services = append(w.services, fmt.Sprintf("service-%02d", s))
		for r := range routes {
			w.routes = append(w.routes, fmt.Sprintf("GET /things-%02d/{id}/part-%d", s, r))
		}
	}
	for p := range principals {
		w.people = append(w.people, uuid(uint64(p), 7))
	}
	return w
}

func uuid(i, salt uint64) string {
	r := rand.NewPCG(i, salt)
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], r.Uint64())
	binary.LittleEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	t := hex.EncodeToString(b[:])
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}

// correlation is the correlation id of record i.
func (w *workload) correlation(i int) string { return uuid(uint64(i), 1) }

// record fills rec, whose slices are used again.
func (w *workload) record(i int, rec *journal.Record) {
	r := rand.New(rand.NewPCG(uint64(i), 2))
	uneven := func(n int) int { return int(float64(n) * r.Float64() * r.Float64()) }
	s := uneven(services)
	person := uneven(principals)
	var trace [16]byte
	binary.LittleEndian.PutUint64(trace[:], r.Uint64())
	binary.LittleEndian.PutUint64(trace[8:], r.Uint64())
	*rec = journal.Record{
		Time:          day.Add(time.Duration(i) * w.step),
		CorrelationID: w.correlation(i),
		TraceID:       hex.EncodeToString(trace[:]),
		Listener:      "public",
		Service:       w.services[s],
		Route:         w.routes[s*routes+r.IntN(routes)],
		Method:        "GET",
		Client:        netip.AddrFrom4([4]byte{192, 0, byte(person >> 8), byte(person)}),
		Principal:     w.people[person],
		Reason:        "ok",
		Status:        200,
		BytesOut:      int64(200 + r.IntN(3000)),
		Duration:      time.Duration(800+r.ExpFloat64()*2000) * time.Microsecond,
		Stages:        rec.Stages[:0],
	}
	switch f := r.Float64(); {
	case f < 0.04:
		rec.Reason, rec.Status = "auth.missing", 401
	case f < 0.05:
		rec.Reason, rec.Status = "limit.rate", 429
	case f < 0.06 && rec.Service != rareFailing, f < 0.0502:
		rec.Reason, rec.Status = "upstream.timeout", 504
	}
	if i%100_000 == 777 {
		rec.Service, rec.Route, rec.Reason, rec.Status = rareService, "POST /returns", "ok", 500
	}
	for k := range stageNames {
		rec.Stages = append(rec.Stages, uint32(r.ExpFloat64()*3*float64(1+k%4)))
	}
}
