// Package export sends what the zone records elsewhere: records as OpenTelemetry
// logs and traces to a receiver (OTLP over HTTP, protobuf), as JSON lines to a
// file, and the metrics of this process as OpenTelemetry metrics.
//
// The journal is the queue. Each export of records is a feed: it reads the
// journal from a position of its own, sends a batch, and moves the position when
// the receiver has said that it took the batch. So every record that the journal
// keeps until the receiver is there leaves at least once, whatever ends the
// process when; some leave twice, with the same log.record.uid. Retention does
// not wait for a receiver: it frees the oldest segments by age and size. When it
// frees what a feed has not sent, the feed says how many records that were, in
// its log and in its counters, and goes on.
//
// A feed reads only what the journal has synced: a position never lies behind
// records that a loss of power takes back.
//
// Metrics have no queue. A sample that could not be sent is lost, and counted;
// the next one holds the same sums.
//
// What leaves is what a record holds, which has no field for a header, a body, a
// query value or a token. The client sends nothing else: no credential, no
// cookie, no variable of the environment. It refuses plain http to other hosts,
// redirects, proxies of the environment and certificates that do not verify.
//
// Protocol: OpenTelemetry protocol 1.9, section OTLP/HTTP. Names of attributes:
// OpenTelemetry semantic conventions, HTTP, 1.37; ours begin with "sallyport.".
package export
