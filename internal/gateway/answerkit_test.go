package gateway

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

var errTest = errors.New("made by the test")

var errDeadline = os.ErrDeadlineExceeded

// fail makes the authenticator answer with err from now on.
func (f *fakeAuth) fail(err error) { f.mu.Lock(); defer f.mu.Unlock(); f.err = err }

// watchedJournal calls the test for every record, before it is kept.
type watchedJournal struct {
	*fakeJournal
	watch func(*journal.Record) error
}

func (j *watchedJournal) Append(r *journal.Record) error {
	if err := j.watch(r); err != nil {
		return err
	}
	return j.fakeJournal.Append(r)
}

// taker is the client's side of an answer, in memory: what has left when.
type taker struct {
	header http.Header
	status int
	sent   bytes.Buffer
	flush  int
	fail   error // of every Write
}

func newTaker() *taker { return &taker{header: http.Header{}} }

func (w *taker) Header() http.Header { return w.header }
func (w *taker) WriteHeader(s int)   { w.status = s }
func (w *taker) Write(p []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	return w.sent.Write(p)
}
func (w *taker) FlushError() error                { w.flush++; return w.fail }
func (w *taker) SetWriteDeadline(time.Time) error { return nil }
func (w *taker) SetReadDeadline(time.Time) error  { return nil }

// behind puts a service in the place of the ordinary one.
func behind(s *upstreamtest.Service) func(*Config) {
	return func(c *Config) {
		c.Zone.Services[0].Upstreams = []zone.Upstream{s.Upstream()}
	}
}

// watchedGateway is a gateway before a raw service, whose records the test sees.
func watchedGateway(t *testing.T, s *upstreamtest.Service, watch func(*journal.Record) error, routes ...*zone.Route) (*Gateway, *fakeJournal) {
	t.Helper()
	if len(routes) == 0 {
		routes = []*zone.Route{anything("GET")}
	}
	return editedGateway(t, routes, behind(s), func(c *Config) {
		if watch != nil {
			c.Journal = &watchedJournal{c.Journal.(*fakeJournal), watch}
		}
	})
}

// inPlain reaches services in plain, also those with an inner door.
func inPlain(c *Config) {
	c.Upstream.Dial = func(ctx context.Context, _ *zone.Service, to zone.Upstream) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, to.Network, to.Address)
	}
}

// pipedGateway is a gateway before a service without a socket.
func pipedGateway(t *testing.T, s *upstreamtest.Service, dial upstreamtest.Dial, routes ...*zone.Route) (*Gateway, *fakeJournal) {
	t.Helper()
	return editedGateway(t, routes, func(c *Config) {
		c.Zone.Services[0].Upstreams = []zone.Upstream{s.Upstream(), s.Upstream()} // the last one is never at fault
		c.graces, c.Upstream = graces{}, upstream.Config{Dial: dial}               // fake time: the defaults
	})
}

func editedGateway(t *testing.T, routes []*zone.Route, edit ...func(*Config)) (*Gateway, *fakeJournal) {
	t.Helper()
	d := &door{t: t}
	cfg := testConfig(d, testZone("", routes...))
	unhurried(&cfg)
	for _, e := range edit {
		e(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g, d.journal
}

// visit sends one request through the gateway. It reports whether the answer
// was broken off.
func visit(g *Gateway, w http.ResponseWriter, method, target string) (broken bool) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			broken = true
		}
	}()
	r := httptest.NewRequest(method, "https://shop.example"+target, nil)
	r.RequestURI = target
	r.URL.Scheme, r.URL.Host = "", ""
	r.RemoteAddr = "127.0.0.1:4711"
	r.TLS.ServerName = "shop.example"
	g.serve(g.now().listeners[0], w, r)
	return false
}
