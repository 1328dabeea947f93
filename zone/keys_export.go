package zone

import (
	"fmt"
	"net/url"
	"strings"
)

// maxExports bounds the sinks of records: each of them reads the whole journal.
const maxExports = 8

// The kinds of Export.
const (
	ExportOTLP    = "otlp"    // Target is the base URL of an OTLP receiver, without /v1/logs
	ExportJSONL   = "jsonl"   // Target is a file
	ExportSyslog  = "syslog"  // declared, not enforced yet
	ExportWebhook = "webhook" // declared, not enforced yet
)

func exportType() typ[Export] {
	type sinks struct{ otlp, jsonl, syslog, webhook string }
	const later = "this exporter is not there yet: records stay in the journal"
	web := webURL("url", "a url without login or query, such as https://logs.example/hook", "https", "http")
	log := webURL("syslog url", "udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT", "udp", "tcp", "tls")
	of := object("export", "one of otlp, jsonl, syslog, webhook",
		key("otlp", otlpURL(), func(s *sinks) *string { return &s.otlp }, "an OpenTelemetry receiver: logs, traces and metrics go to /v1/logs, /v1/traces and /v1/metrics below it (OTLP over HTTP)"),
		key("jsonl", filePath(), func(s *sinks) *string { return &s.jsonl }, "a file of JSON lines"),
		key("syslog", log, func(s *sinks) *string { return &s.syslog }, "a syslog receiver (RFC 5424)").later(Listed, later),
		key("webhook", web, func(s *sinks) *string { return &s.webhook }, "receives JSON").later(Listed, later),
	)
	return oneKey(convert(of, func(s sinks) Export {
		for _, e := range []Export{{ExportOTLP, s.otlp}, {ExportJSONL, s.jsonl}, {ExportSyslog, s.syslog}, {ExportWebhook, s.webhook}} {
			if e.Target != "" {
				return e
			}
		}
		return Export{}
	}))
}

// otlpURL is the base URL of an OTLP receiver. Records name clients and users,
// so plain http leaves this host nowhere.
func otlpURL() typ[string] {
	const doc = "the base url of the receiver, such as https://otlp.example or http://127.0.0.1:4318"
	of := webURL("url", doc, "https", "http")
	return scalar("otlp url", doc, `^https?://[^@?#]+$`, func(s string) (string, error) {
		s, err := of.parse(s)
		if err != nil {
			return "", err
		}
		s = strings.TrimRight(s, "/")
		u, err := url.Parse(s)
		if err != nil {
			return "", errNo
		}
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return "", wrong("write https://, or run a collector on this host and write http://127.0.0.1:4318", "%s: plain http to another host: records would leave in clear", quote(s))
		}
		for _, signal := range []string{"/v1/logs", "/v1/traces", "/v1/metrics"} {
			if base, is := strings.CutSuffix(s, signal); is {
				return "", wrong("write "+base, "%s names one signal; the exporter adds %s by itself", quote(s), signal)
			}
		}
		return s, nil
	})
}

// checkExports refuses more sinks than are read for, and the same one in two spellings.
func (r *reader) checkExports(z *Zone) {
	if len(z.Export) > maxExports {
		r.fail(r.at("export").key, fmt.Sprintf("more than %d exports", maxExports), "send to a collector, which sends on to many")
		return
	}
	seen := make(map[Export]bool)
	for i, e := range z.Export {
		if e != (Export{}) && seen[e] {
			r.fail(r.at(fmt.Sprintf("export[%d]", i)).key, fmt.Sprintf("an export to %s %s is there twice", e.Kind, quote(e.Target)), "keep one of them")
		}
		seen[e] = true
	}
}
