package app

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// maxNewest bounds a search for the newest records: they are kept in memory
// until the oldest of them is found.
const maxNewest = 100_000

// RecordQuery reads the parameters of GET /v1/logs: correlation, service, user,
// reason, status, since, until (RFC 3339, or a duration back from now) and limit.
func RecordQuery(v url.Values, now time.Time) (logs.Query, error) {
	q := logs.Query{Correlation: v.Get("correlation"), Service: v.Get("service"), User: v.Get("user"), Reason: v.Get("reason")}
	invalid := func(detail string) (logs.Query, error) {
		return logs.Query{}, problem.WithDetail(problem.AdminInvalid, detail)
	}
	var err error
	if s := v.Get("status"); s != "" {
		if q.Status, err = logs.ParseStatus(s); err != nil {
			return invalid("status: want 404, 5xx, 400-499, >=500 or <400")
		}
	}
	if _, known := problem.Parse(q.Reason); q.Reason != "" && !known {
		return invalid("reason: not in the list of docs/reference/reasons.md")
	}
	if q.Since, err = moment(v.Get("since"), now); err != nil {
		return invalid("since: " + err.Error())
	}
	if q.Until, err = moment(v.Get("until"), now); err != nil {
		return invalid("until: " + err.Error())
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 0 || q.Limit > maxNewest {
			return invalid(fmt.Sprintf("limit: want 1 to %d, or 0 for all", maxNewest))
		}
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

const searchPattern = "GET /v1/logs"

func (a *adminSocket) search(rs *records) {
	a.mux.HandleFunc(searchPattern, func(w http.ResponseWriter, r *http.Request) {
		u, ctx := a.begin(w, r, searchPattern)
		u.status = http.StatusOK
		q, err := RecordQuery(r.URL.Query(), rs.clock())
		if err := a.record(ctx, r, u, err); err != nil {
			problem.WriteError(w, err, obs.RequestFrom(ctx).CorrelationID)
			return
		}
		form, media := logs.AppendJSON, "application/x-ndjson"
		if r.URL.Query().Get("form") == "text" {
			form, media = logs.AppendText, "text/plain; charset=utf-8"
		}
		w.Header().Set("Content-Type", media)
		out := http.NewResponseController(w)
		_ = out.Flush() // the head: the search may take its time
		var line []byte
		write := func(e *journal.Entry) error {
			line = append(form(line[:0], e), '\n')
			_, err := w.Write(line)
			return err
		}
		if r.URL.Query().Get("follow") == "" {
			err = Records(ctx, rs.log, q, write)
		} else {
			following, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(a.streams, cancel)()
			wrote, stop := rs.journal.Watch()
			defer stop()
			err = rs.log.Follow(following, q, wrote, func(e *journal.Entry) bool { return write(e) == nil && out.Flush() == nil })
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "logs: search ended early", "error", err)
			panic(http.ErrAbortHandler) // the caller sees a broken stream, not a short one
		}
	})
}
