// Package obs is how the process is observed: structured logs, correlation and
// trace ids, and metrics.
//
// It promises that a value of type Secret is never printed, and that metric
// labels come from the map and the closed list of reasons only, so that no
// client can grow them.
package obs

import (
	"context"
	"io"
	"log/slog"
)

// Secret is a string that cannot be printed, logged or marshalled.
type Secret string

const redacted = "[redacted]"

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// String hides the value from fmt.
func (Secret) String() string { return redacted }

// GoString hides the value from %#v.
func (Secret) GoString() string { return redacted }

// MarshalText hides the value from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// NewLogger returns a logger that writes JSON lines, or text for a terminal.
// Lines logged with a request's context carry its correlation and trace id.
func NewLogger(w io.Writer, level slog.Leveler, text bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if text {
		h = slog.NewTextHandler(w, opts)
	}
	return slog.New(requestHandler{h})
}

// requestHandler adds the ids of the request in the context.
type requestHandler struct{ slog.Handler }

func (h requestHandler) Handle(ctx context.Context, rec slog.Record) error {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok && r != nil {
		rec.AddAttrs(slog.String("correlation_id", r.CorrelationID), slog.String("trace_id", r.Trace.String()))
	}
	return h.Handler.Handle(ctx, rec)
}

func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
