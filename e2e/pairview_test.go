package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// logsOfAll puts the records of all processes together, as far as one journal
// would show them.
func (z *zoned) logsOfAll(args []string) (stdout, stderr string, code int) {
	z.t.Helper()
	type said struct {
		out, errs string
		code      int
	}
	answers := make([]said, len(z.pair.each))
	var work sync.WaitGroup
	for i, w := range z.pair.each {
		work.Go(func() {
			out, errs, code := z.exec(append(slices.Clone(args), "--data", w.data)...)
			answers[i] = said{out, errs, code}
		})
	}
	work.Wait()
	var lines []string
	for _, a := range answers {
		if a.code != 0 {
			return a.out, a.errs, a.code
		}
		lines = append(lines, slices.Collect(strings.Lines(a.out))...)
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(timeOf(a), timeOf(b)) })
	limit := 1000
	if i := slices.Index(args, "--limit"); i >= 0 {
		limit, _ = strconv.Atoi(args[i+1]) // the verb has taken it
	}
	if limit > 0 && len(lines) > limit {
		lines = lines[len(lines)-limit:]
	}
	return strings.Join(lines, ""), answers[0].errs + answers[1].errs, 0
}

// timeOf is the time of a record, which is first in both forms and always as long.
func timeOf(line string) string {
	size := len("2006-01-02 15:04:05.000")
	if strings.HasPrefix(line, "{") {
		size = len(`{"time":"2006-01-02T15:04:05.000000Z`)
	}
	return line[:min(len(line), size)]
}

// turns gives the requests of a client to transports in turn, each of which has
// connections of its own: those of one client meet both processes.
type turns struct {
	each []*http.Transport
	next atomic.Uint32
}

func (a *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.each[(a.next.Add(1)-1)%uint32(len(a.each))].RoundTrip(r)
}

func (a *turns) CloseIdleConnections() {
	for _, tr := range a.each {
		tr.CloseIdleConnections()
	}
}

// addMetrics puts the metrics of processes together: what they count is added,
// what they are is the mean, so that a flag is up when it is up in all.
func addMetrics(all []map[string]float64, kinds map[string]string) map[string]float64 {
	sum := map[string]float64{}
	for _, values := range all {
		for name, value := range values {
			family, _, _ := strings.Cut(name, "{")
			if kinds[family] == "gauge" {
				value /= float64(len(all))
			}
			sum[name] += value
		}
	}
	return sum
}
