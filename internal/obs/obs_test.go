package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCorrelationID(t *testing.T) {
	kept := "3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e"
	if got := CorrelationID(kept); got != kept {
		t.Errorf("CorrelationID(%q) = %q, want it kept", kept, got)
	}
	for _, c := range []string{
		"", "x", strings.ToUpper(kept),
		"3f2b8c1e-9d4a-1c7b-8e21-5a6f7b8c9d0e", // version 1
		"3f2b8c1e-9d4a-4c7b-0e21-5a6f7b8c9d0e", // variant
		"{" + kept + "}", kept + "\n", "urn:uuid:" + kept,
		"3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0g",
	} {
		got := CorrelationID(c)
		if got == c || !canonicalUUIDv4(got) {
			t.Errorf("CorrelationID(%q) = %q, want a new UUID v4", c, got)
		}
	}
}

func TestNewTrace(t *testing.T) {
	tr := NewTrace()
	if len(tr.String()) != 32 || tr.ID[0] == 0 || !bytes.Equal(tr.Span[:], tr.ID[8:]) {
		t.Errorf("trace %s, span %x", tr, tr.Span)
	}
	if NewTrace().ID == tr.ID {
		t.Error("two traces share an id")
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const planted = "planted-word"
	var buf bytes.Buffer
	log := NewLogger(&buf, slog.LevelInfo, false)
	s := Secret(planted)
	log.Info("secret", "s", s, "in", struct{ S Secret }{s})
	j, _ := json.Marshal(struct{ S Secret }{s})
	all := buf.String() + string(j) + fmt.Sprintf("%v %s %#v %+v", s, s, s, struct{ S Secret }{s})
	if strings.Contains(all, planted) {
		t.Errorf("the secret was printed: %s", all)
	}
	log.Info("control", "s", string(s))
	if !strings.Contains(buf.String(), planted) {
		t.Error("positive control: a plain string should be printed")
	}
}

func TestLogLinesCarryTheRequest(t *testing.T) {
	var buf bytes.Buffer
	log := NewLogger(&buf, slog.LevelInfo, false).With("part", "x").WithGroup("g")
	r := &Request{CorrelationID: CorrelationID(""), Trace: NewTrace()}
	log.InfoContext(WithRequest(context.Background(), r), "hello")
	if !strings.Contains(buf.String(), r.CorrelationID) || !strings.Contains(buf.String(), r.Trace.String()) {
		t.Errorf("line without ids: %s", buf.String())
	}
	buf.Reset()
	log.Info("no request")
	if strings.Contains(buf.String(), "correlation_id") {
		t.Errorf("line without request has an id: %s", buf.String())
	}
	if got := RequestFrom(context.Background()); got == nil {
		t.Error("RequestFrom returned nil")
	}
}

func TestMetricsAreServed(t *testing.T) {
	m := NewMetrics()
	m.Requests.WithLabelValues("shop", "GET /x", "ok").Inc()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if want := `sallyport_requests_total{reason="ok",route="GET /x",service="shop"} 1`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no line %s in\n%s", want, w.Body)
	}
}
