package app

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// adminHandler serves the admin listener: metrics and readiness. It answers only
// to its own addresses and to names of this host, so that a page in a browser cannot
// reach it by a name that it made point here (DNS rebinding).
func adminHandler(address string, m *obs.Metrics, ready func(context.Context) []string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if waiting := ready(r.Context()); len(waiting) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not ready: " + strings.Join(waiting, ", ") + "\n"))
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("sallyport admin\n\n/metrics  Prometheus metrics\n/ready    readiness\n"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, problem.RouteUnknown, "", "") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownHost(r.Host, address) {
			problem.Write(w, problem.ListenerHost, "", "")
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

// ownHost says whether a Host names the listener's own address or this host. On
// a listener that has every address, any is its own: DNS can make a name point
// anywhere, but who names an address has connected to it.
func ownHost(host, address string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil { // without a port
		name = host
		if inside, ok := strings.CutPrefix(host, "["); ok {
			if name, ok = strings.CutSuffix(inside, "]"); !ok {
				return false
			}
		}
	}
	own, _, _ := net.SplitHostPort(address) // the map has checked it
	ownIP, _ := netip.ParseAddr(own)
	if ip, err := netip.ParseAddr(name); err == nil {
		every := own == "" || ownIP.IsUnspecified()
		return ip.IsLoopback() || ip == ownIP || every && !ip.IsUnspecified()
	}
	return strings.EqualFold(name, "localhost") || own != "" && strings.EqualFold(name, own)
}
