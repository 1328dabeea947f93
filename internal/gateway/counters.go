package gateway

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// counters are the metrics of one route, found once: a request adds to them and
// looks nothing up. Those of a reason are made when it first happens, so that a
// zone of many routes does not show every reason of the list for each.
type counters struct {
	requests *prometheus.CounterVec // curried with service and route
	duration prometheus.Observer    // of the service; nil for requests without a route
	byReason []atomic.Pointer[prometheus.Counter]
}

func newCounters(m *obs.Metrics, service, pattern string) *counters {
	c := &counters{
		requests: m.Requests.MustCurryWith(prometheus.Labels{"service": service, "route": pattern}),
		byReason: make([]atomic.Pointer[prometheus.Counter], len(problem.All())),
	}
	if service != "" {
		c.duration = m.Duration.WithLabelValues(service)
	}
	return c
}

func (c *counters) count(r problem.Reason) {
	if int(r) >= len(c.byReason) {
		r = problem.InternalError
	}
	n := c.byReason[r].Load()
	if n == nil {
		made := c.requests.WithLabelValues(r.Code()) // the same one for every caller
		n = &made
		c.byReason[r].Store(n)
	}
	(*n).Inc()
}

// observe adds a finished trip.
func (c *counters) observe(r problem.Reason, took time.Duration) {
	c.count(r)
	if c.duration != nil {
		c.duration.Observe(took.Seconds())
	}
}

// stageTimers are the histograms of the stages, by index.
type stageTimers struct {
	byStage [maxStages]prometheus.Observer
}

func newStageTimers(m *obs.Metrics, names []string) *stageTimers {
	t := &stageTimers{}
	for i, name := range names {
		t.byStage[i] = m.Stage.WithLabelValues(name)
	}
	return t
}

func (t *stageTimers) observe(stage int, took time.Duration) {
	t.byStage[stage].Observe(took.Seconds())
}
