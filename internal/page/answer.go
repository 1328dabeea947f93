package page

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
)

// WantsPage says whether the answer is a page: the client names text/html, and
// did not itself speak JSON. `*/*` and a missing Accept get JSON.
func WantsPage(r *http.Request) bool {
	return mediaOf(r) != JSON && acceptsHTML(r.Header.Values("Accept"))
}

// acceptsHTML reads Accept (RFC 9110 section 12.5.1): text/html must be named,
// with a weight above zero and not below that of JSON.
func acceptsHTML(accept []string) bool {
	var html, asJSON float64
	for entry := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(entry, ";")
		weight := 1.0
		for p := range strings.SplitSeq(params, ";") {
			if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
				var err error
				if weight, err = strconv.ParseFloat(q, 64); err != nil || !(weight >= 0 && weight <= 1) {
					weight = 0
				}
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, weight)
		case "application/json", problem.ContentType:
			asJSON = max(asJSON, weight)
		}
	}
	return html > 0 && html >= asJSON
}

// Stamp writes a time as the interface does: RFC 3339, UTC, whole seconds.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// WriteJSON answers with a body in JSON.
func WriteJSON(w http.ResponseWriter, status int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return problem.New(problem.InternalError, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone; the record says so elsewhere
	return nil
}

// Redirect sends a browser on with GET. Location is ours or from LocalPath.
func Redirect(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// Follow sends a browser on after a form of ours was posted, to a local path. What
// begins under /oauth/ may end at a client, so that it goes Onward.
func Follow(w http.ResponseWriter, to string) error {
	if strings.HasPrefix(to, "/oauth/") {
		return Onward(w, to)
	}
	return Redirect(w, to)
}

// Onward sends a browser on with GET, out of this origin too, after a form of ours
// was posted. A redirect would not do: browsers hold the whole chain that follows
// a form to the form-action of the page it stood on (CSP Level 3 section 6.4.2),
// and where another provider or a client leads to is not ours to list. So the
// answer is an empty page that ends at once.
func Onward(w http.ResponseWriter, to string) error {
	h := w.Header()
	h.Set("Refresh", "0; url="+to)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte("<!doctype html><title>…</title>"))
	return nil
}
