package sidecar

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"slices"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// inbound is the handler behind guard.Protect: it passes what was let through
// on to the service.
type inbound struct {
	cfg       Config
	handles   *handles
	streams   *zone.Matcher // nil when no route is a stream
	ordinary  *httputil.ReverseProxy
	streaming *httputil.ReverseProxy // each piece at once
	transport *http.Transport
}

func newInbound(c Config, svc *zone.Service, t *handles) (*inbound, error) {
	d := &inbound{cfg: c, handles: t}
	if slices.ContainsFunc(svc.Routes, func(rt *zone.Route) bool { return rt.Stream != zone.NoStream }) {
		var err error
		if d.streams, err = zone.NewMatcher(svc.Routes); err != nil {
			return nil, err
		}
	}
	d.transport = newTransport(c, newInstances(svc.Upstreams, c.DialTime))
	proxy := httputil.ReverseProxy{
		Rewrite:        d.rewrite,
		ModifyResponse: d.answer,
		ErrorHandler:   d.failed,
		Transport:      &wire{d, d.transport},
		BufferPool:     &pieces{},
		ErrorLog:       log.New(io.Discard, "", 0), // it would quote the service's answer; failed says what is to say
	}
	streaming := proxy
	streaming.FlushInterval = -1
	d.ordinary, d.streaming = &proxy, &streaming
	return d, nil
}

// ServeHTTP serves one request that the guard let through.
func (d *inbound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case asksUpgrade(r): // no stream of this version needs one
		d.refuse(w, r, problem.New(problem.RequestUpgrade, nil))
		return
	case !originForm(r) || !oneReading(r.URL.Path):
		d.refuse(w, r, problem.New(problem.RequestTarget, nil))
		return
	}
	f, err := factsOf(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	h, ok := d.handles.issue(r.Context())
	if !ok {
		w.Header().Set("Retry-After", "1")
		d.refuse(w, r, problem.New(problem.UpstreamBusy, nil))
		return
	}
	defer d.handles.withdraw(h)
	x := d.newExchange(r)
	defer x.end()
	x.facts, x.handle, x.stream = f, h, d.isStream(r)
	d.forward(w, r, x)
}

func (d *inbound) isStream(r *http.Request) bool {
	if d.streams == nil {
		return false
	}
	rt, found := d.streams.Match(r.Method, r.URL.EscapedPath(), nil)
	return found == zone.Matched && rt.Stream != zone.NoStream
}

// forward lets the reverse proxy do its work. Where the answer broke off, the
// connection does too: nobody may take it for whole. Where the writer in front
// takes no more, which is the guard's when it holds an answer back, the rest is
// the writer's to say.
func (d *inbound) forward(w http.ResponseWriter, r *http.Request, x *exchange) {
	out := &front{ResponseWriter: w}
	defer func() {
		p := recover()
		switch err, _ := p.(error); {
		case p == nil && x.broken == nil:
		case p != nil && !errors.Is(err, http.ErrAbortHandler):
			panic(p)
		case x.broken != nil || !out.full:
			panic(http.ErrAbortHandler)
		}
	}()
	proxy := d.ordinary
	if x.stream {
		proxy = d.streaming
	}
	proxy.ServeHTTP(out, r.WithContext(context.WithValue(x.ctx, exchangeKey{}, x)))
}

// rewrite makes the request for the service. ReverseProxy has removed what
// belongs to the connection, and what Connection nominates, before it.
func (d *inbound) rewrite(pr *httputil.ProxyRequest) {
	x := exchangeFrom(pr.In.Context())
	out := pr.Out
	keep(out.Header, reachesService)
	x.facts.say(out.Header, x.handle)
	out.Trailer = nil // a header that comes late, past every rule
	out.URL.Scheme, out.URL.Host = "http", serviceName
	out.URL.RawQuery = pr.In.URL.RawQuery // what was proved, also where ReverseProxy cannot parse it
	out.Host = pr.In.Host
	if out.Body != nil {
		out.Body = &upload{out.Body, &x.upload}
	}
}

// answer takes from the service's answer what is not the service's to say.
func (d *inbound) answer(res *http.Response) error {
	keep(res.Header, answers)
	return nil
}

// failed answers in place of a service that did not.
func (d *inbound) failed(w http.ResponseWriter, r *http.Request, err error) {
	d.refuse(w, r, exchangeFrom(r.Context()).blame(err))
}

func (d *inbound) refuse(w http.ResponseWriter, r *http.Request, err error) {
	logRefusal(d.cfg.Log, r, "sidecar: request not answered by the service", err)
	problem.WriteError(w, err, correlationOf(r.Context()))
}

// logRefusal says a refusal once: a defect of the service louder than one of the
// asker.
func logRefusal(l *slog.Logger, r *http.Request, text string, err error) {
	reason := problem.ReasonOf(err)
	level := slog.LevelInfo
	if reason.Status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !l.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("reason", reason.Code()), slog.String("correlation_id", correlationOf(r.Context()))}
	if cause := errors.Unwrap(err); cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	l.LogAttrs(r.Context(), level, text, attrs...)
}

// front is the writer in front of the sidecar.
type front struct {
	http.ResponseWriter
	full bool // it took less than it was given, and will take no more
}

func (f *front) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err != nil {
		f.full = true
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (f *front) Unwrap() http.ResponseWriter { return f.ResponseWriter }
