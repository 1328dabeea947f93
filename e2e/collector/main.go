// Command collector is the OpenTelemetry Collector's OTLP receiver with nothing
// behind it: the tests of internal/export send to it. It is a module of its own,
// so that the collector's many dependencies stay out of the product's.
//
// It listens on -listen (OTLP over HTTP), prints `ready` on its standard error
// and then one JSON line for each log record, span and data point it has
// received on its standard output. Lines on its standard input change how it
// receives, from the next request on:
//
//	accept         take everything (as it does at first)
//	busy           refuse for now: 429
//	down           refuse for now: 503
//	refuse         refuse for good: 400
//	slow DURATION  wait before each answer
//
// Each command is answered with `done` on standard error.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of OTLP over HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	in := &intake{out: bufio.NewWriter(os.Stdout)}
	parts, err := receivers(ctx, listen, in)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.Start(ctx, componenttest.NewNopHost()); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, "ready")
	go obey(os.Stdin, in)
	<-ctx.Done()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, p := range parts {
		if err := p.Shutdown(bounded); err != nil {
			return err
		}
	}
	return nil
}

// receivers makes the receiver, which is one behind the three that a factory gives.
func receivers(ctx context.Context, listen string, in *intake) ([]component.Component, error) {
	factory := otlpreceiver.NewFactory()
	config, ok := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	if !ok {
		return nil, fmt.Errorf("config of another type")
	}
	config.Protocols.GRPC = configoptional.None[configgrpc.ServerConfig]()
	config.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = listen
	settings := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	logs, err := consumer.NewLogs(in.logs)
	if err != nil {
		return nil, err
	}
	traces, err := consumer.NewTraces(in.traces)
	if err != nil {
		return nil, err
	}
	metrics, err := consumer.NewMetrics(in.metrics)
	if err != nil {
		return nil, err
	}
	l, err := factory.CreateLogs(ctx, settings, config, logs)
	if err != nil {
		return nil, err
	}
	t, err := factory.CreateTraces(ctx, settings, config, traces)
	if err != nil {
		return nil, err
	}
	m, err := factory.CreateMetrics(ctx, settings, config, metrics)
	return []component.Component{l, t, m}, err
}
