package obs

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the process's Prometheus metrics. Labels are service, route and
// stage names of the map and reasons of the closed list: their number is fixed
// when the zone is built.
type Metrics struct {
	Registry *prometheus.Registry
	Requests *prometheus.CounterVec   // sallyport_requests_total{service,route,reason}
	Duration *prometheus.HistogramVec // sallyport_request_duration_seconds{service}
	Stage    *prometheus.HistogramVec // sallyport_stage_duration_seconds{stage}
}

// NewMetrics makes the metrics of one process, in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_requests_total",
			Help: "Requests by service, route and reason; an allowed request has the reason ok.",
		}, []string{"service", "route", "reason"}),
		Duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_request_duration_seconds",
			Help:    "Time from the first stage to the journal record, by service.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"service"}),
		Stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_stage_duration_seconds",
			Help:    "Time of each stage of the pipeline: what every control costs.",
			Buckets: []float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, .001, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"stage"}),
	}
	m.Registry.MustRegister(m.Requests, m.Duration, m.Stage,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
}
