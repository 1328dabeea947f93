package export

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/journal"
	"sallyport.dev/zone"
)

// Source is the journal whose records leave; *journal.Journal.
type Source interface {
	ID() string
	Head() journal.Head
	Durable() journal.Head
}

// Config says what leaves and where to. Exports, Source, Reader, Dir and
// Registerer are needed; JSON is where there is an export to a file.
type Config struct {
	Exports []zone.Export // those of kind otlp and jsonl; others are passed over
	Source  Source
	Reader  *journal.Reader // of the source's folder
	Dir     string          // keeps the positions, in a file for each feed; made when it is missing

	// JSON appends a record as one JSON object without line end: logs.AppendJSON.
	JSON func([]byte, *journal.Entry) []byte

	Gatherer   prometheus.Gatherer   // the metrics that leave; nil: none do
	Registerer prometheus.Registerer // where the counters of the exports go

	Every        time.Duration  // how often the journal is looked at; default 1 s
	MetricsEvery time.Duration  // how often metrics leave; default 60 s
	Roots        *x509.CertPool // of receivers; default those of the system
	Version      string         // of this program
	Clock        func() time.Time
	Log          *slog.Logger

	pace  pace   // default defaultPace
	acked func() // a test's: called when a batch was taken, before the position moves
}

const (
	defaultEvery        = time.Second
	defaultMetricsEvery = time.Minute
)

// Export is the exports of a zone.
type Export struct {
	c       Config
	feeds   []*feed
	meters  []*meter
	closers []func()
	closing sync.Once
}

// New makes the exports. It opens their files, and connects to nobody.
func New(c Config) (_ *Export, err error) {
	if c.Source == nil || c.Reader == nil || c.Registerer == nil || c.Dir == "" {
		return nil, errors.New("export: source, reader, registerer and folder are needed")
	}
	c = c.withDefaults()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("export: folder of positions: %w", err)
	}
	x := &Export{c: c}
	defer func() {
		if err != nil {
			_ = x.Close()
		}
	}()
	counters, err := newCounters(c.Registerer)
	if err != nil {
		return nil, err
	}
	for _, e := range c.Exports {
		switch e.Kind {
		case zone.ExportOTLP:
			err = x.addOTLP(e.Target, counters)
		case zone.ExportJSONL:
			err = x.addJSONL(e.Target, counters)
		}
		if err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (c Config) withDefaults() Config {
	if c.Every == 0 {
		c.Every = defaultEvery
	}
	if c.MetricsEvery == 0 {
		c.MetricsEvery = defaultMetricsEvery
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.pace == (pace{}) {
		c.pace = defaultPace()
	}
	return c
}

func (x *Export) addOTLP(target string, all *counters) error {
	client, err := newClient(target, x.c)
	if err != nil {
		return err
	}
	x.closers = append(x.closers, client.close)
	from := origin{journal: x.c.Source.ID(), version: x.c.Version}
	for _, s := range []struct {
		signal string
		packer packer
	}{
		{signalLogs, &logPacker{origin: from}},
		{signalTraces, &spanPacker{origin: from}},
	} {
		if err := x.addFeed(target, s.signal, all, &otlpSink{packer: s.packer, client: client, signal: s.signal}); err != nil {
			return err
		}
	}
	if x.c.Gatherer != nil {
		x.meters = append(x.meters, newMeter(x.c, client, all.of(target, signalMetrics)))
	}
	return nil
}

func (x *Export) addJSONL(file string, all *counters) error {
	if x.c.JSON == nil {
		return errors.New("export: an encoder of JSON lines is needed")
	}
	sink, err := openLines(file, x.c.JSON)
	if err != nil {
		return err
	}
	x.closers = append(x.closers, sink.close)
	for _, f := range x.feeds {
		if other, is := f.sink.(*linesSink); is && other.shares(sink) {
			return fmt.Errorf("export: %s and %s are one file; keep one of the exports", other.path, sink.path)
		}
	}
	return x.addFeed(file, signalLogs, all, sink)
}

func (x *Export) addFeed(target, signal string, all *counters, s sink) error {
	at, err := openPosition(x.c.Dir, signal, target)
	if err != nil {
		return err
	}
	x.closers = append(x.closers, at.close)
	x.feeds = append(x.feeds, &feed{
		c: x.c, sink: s, at: at, counters: all.of(target, signal),
		log: x.c.Log.With("export", target, "signal", signal),
	})
	return nil
}

// graceful is a context for one attempt, which lives a little longer than ctx.
func graceful(ctx context.Context, p pace) (context.Context, context.CancelFunc) {
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.attempt)
	stop := context.AfterFunc(ctx, func() {
		pause(attempt, p.grace)
		cancel()
	})
	return attempt, func() {
		stop()
		cancel()
	}
}

// Run exports until ctx ends, then tries once more to send what was recorded up
// to then, for 7 seconds at most, and closes the files. What is left goes on at
// the next start. It runs once. Two exports of one folder must not run at once.
func (x *Export) Run(ctx context.Context) error {
	defer func() { _ = x.Close() }()
	var all sync.WaitGroup
	for _, f := range x.feeds {
		all.Go(func() { f.run(ctx) })
	}
	for _, m := range x.meters {
		all.Go(func() { m.run(ctx) })
	}
	<-ctx.Done()
	all.Wait()
	return nil
}

// Close closes the files of exports that do not run, or do not run any more.
func (x *Export) Close() error {
	x.closing.Do(func() {
		for i := len(x.closers) - 1; i >= 0; i-- {
			x.closers[i]()
		}
	})
	return nil
}

// pause waits and says whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
