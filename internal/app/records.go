package app

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// RecordQuery reads the parameters of GET /v1/logs: correlation, service, user,
// reason, status, since, until (RFC 3339, or a duration back from now) and limit.
func RecordQuery(v url.Values, now time.Time) (logs.Query, error) {
	q := logs.Query{Correlation: v.Get("correlation"), Service: v.Get("service"), User: v.Get("user"), Reason: v.Get("reason")}
	if s := v.Get("status"); s != "" {
		var err error
		if q.Status, err = logs.ParseStatus(s); err != nil {
			return q, problem.WithDetail(problem.AdminInvalid, "status: want 404, 5xx, 400-499, >=500 or <400")
		}
	}
	if q.Reason != "" {
		if _, known := problem.Parse(q.Reason); !known {
			return q, problem.WithDetail(problem.AdminInvalid, "reason: not in the list of docs/reference/reasons.md")
		}
	}
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		if back, err := time.ParseDuration(text); err == nil {
			*into = now.Add(-back)
			continue
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return q, problem.WithDetail(problem.AdminInvalid, name+": want a time such as 2026-11-22T13:00:00Z, or how long ago, such as 10m")
		}
		*into = at
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, problem.WithDetail(problem.AdminInvalid, "limit: want a number, 0 for all")
		}
		q.Limit = n
	}
	return q, nil
}

// Records calls yield with the records that match, the oldest first: the newest
// ones where the query has a limit.
func Records(ctx context.Context, log *logs.Log, q logs.Query, yield func(*journal.Entry) error) error {
	var failed error
	pass := func(e *journal.Entry) bool {
		failed = yield(e)
		return failed == nil
	}
	if q.Limit == 0 {
		q.Order = logs.OldestFirst
		err := log.Search(ctx, q, pass)
		if failed != nil {
			return failed
		}
		return err
	}
	var newest []journal.Entry // the newest first, at most q.Limit
	err := log.Search(ctx, q, func(e *journal.Entry) bool {
		newest = append(newest, *e)
		return true
	})
	for i := len(newest) - 1; i >= 0; i-- {
		if err := yield(&newest[i]); err != nil {
			return err
		}
	}
	return err
}

// records answers searches of the journal on the admin socket: JSON lines, or
// lines for a person with form=text. Who reads is recorded before the first line.
type records struct {
	log     *logs.Log
	journal *journal.Journal
	clock   func() time.Time
}

func (a *adminSocket) search(rs *records) {
	a.mux.HandleFunc("GET /v1/logs", func(w http.ResponseWriter, r *http.Request) {
		req := &obs.Request{CorrelationID: obs.CorrelationID(r.Header.Get(obs.CorrelationHeader)), Trace: obs.NewTrace(), Listener: adminListener}
		ctx := obs.WithRequest(r.Context(), req)
		q, err := RecordQuery(r.URL.Query(), rs.clock())
		if err := a.record(ctx, r, use{route: "GET /v1/logs", start: rs.clock(), err: err, status: http.StatusOK}); err != nil {
			problem.WriteError(w, err, req.CorrelationID)
			return
		}
		form, media := logs.AppendJSON, "application/x-ndjson"
		if r.URL.Query().Get("form") == "text" {
			form, media = logs.AppendText, "text/plain; charset=utf-8"
		}
		w.Header().Set("Content-Type", media)
		out := http.NewResponseController(w)
		var line []byte
		write := func(e *journal.Entry) error {
			line = append(form(line[:0], e), '\n')
			_, err := w.Write(line)
			return err
		}
		if r.URL.Query().Get("follow") == "" {
			err = Records(ctx, rs.log, q, write)
		} else {
			wrote, stop := rs.journal.Watch()
			defer stop()
			_ = out.Flush() // the follower waits for the head
			err = rs.log.Follow(ctx, q, wrote, func(e *journal.Entry) bool { return write(e) == nil && out.Flush() == nil })
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "logs: search ended early", "error", err)
			panic(http.ErrAbortHandler) // the caller sees a broken stream, not a short one
		}
	})
}
