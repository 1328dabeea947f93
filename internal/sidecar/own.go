package sidecar

import (
	"io"
	"net/http"

	"sallyport.dev/internal/problem"
)

// ownHost is the Host under which the service speaks to the sidecar itself, on
// the outbound socket.
const ownHost = "sidecar"

// own returns what the sidecar answers to its service: whether it is ready, and
// that it ends.
func own(ready func() bool, quit func()) http.Handler {
	routes := map[string]struct {
		method string
		serve  func(w http.ResponseWriter)
	}{
		"/ready": {http.MethodGet, func(w http.ResponseWriter) {
			if !ready() {
				w.Header().Set("Retry-After", "1")
				problem.Write(w, problem.InsideUnavailable, "", "")
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			_, _ = io.WriteString(w, "ready\n") // a service that is gone need not know
		}},
		"/quit": {http.MethodPost, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusAccepted) // the drain waits for this answer
			quit()
		}},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, known := routes[r.URL.EscapedPath()]
		switch {
		case !known:
			problem.Write(w, problem.RouteUnknown, "", "")
		case r.Method != route.method:
			w.Header().Set("Allow", route.method)
			problem.Write(w, problem.RouteMethod, "", "")
		default:
			route.serve(w)
		}
	})
}
