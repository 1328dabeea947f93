package gateway

import (
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
)

// secureDefaults are the fields that an answer gets where the service set none.
// They are the ones that are right for an API and for pages alike; what needs
// knowledge of the pages (a content security policy) is the service's. The
// slices are shared by all answers and never written.
var secureDefaults = [...]struct {
	name  string
	value []string
}{
	// A body is what its Content-Type says: no guessing of scripts in uploads.
	{"X-Content-Type-Options", []string{"nosniff"}},
	// Nobody frames the zone: clickjacking. A service that wants frames says so
	// here or by frame-ancestors, which browsers put above this.
	{"X-Frame-Options", []string{"DENY"}},
	// Paths hold identifiers; other sites learn the origin alone.
	{"Referrer-Policy", []string{"strict-origin-when-cross-origin"}},
	// A page that opens one of ours gets no handle on it.
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
}

// The fields that depend on the answer.
var (
	// Other sites may not embed what an answer holds (side channels of the
	// Spectre kind), unless the route says by cors that it is for them.
	sameOriginResource = []string{"same-origin"}
	// A year, without subdomains: they may not be of this zone (RFC 6797).
	strictTransport = []string{"max-age=31536000"}
	// What an authenticated principal reads is in no cache (RFC 9111 section
	// 5.2.2.5), shared or on a disk, unless the service says otherwise.
	noStore = []string{"no-store"}
)

// dress completes the header section of any answer: correlation id, what the
// stages have to say, cors, the secure defaults.
func (t *trip) dress(h http.Header) {
	h[obs.CorrelationHeader] = []string{t.CorrelationID}
	for name, values := range t.extra {
		if name == "Set-Cookie" { // one field a cookie: these stand beside the others
			values = append(slices.Clip(h[name]), values...)
		}
		h[name] = values
	}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // net/http would guess one from the body
	}
	for i := range secureDefaults {
		if d := &secureDefaults[i]; h[d.name] == nil {
			h[d.name] = d.value
		}
	}
	switch {
	case t.route != nil && t.route.CORS != nil:
		share(h, t.route.Route, t.r.Header["Origin"])
	case h["Cross-Origin-Resource-Policy"] == nil:
		h["Cross-Origin-Resource-Policy"] = sameOriginResource
	}
	switch {
	case t.r.TLS == nil || !hasName(t.host):
		// RFC 6797 section 7.2: not over plain HTTP. Never for localhost and
		// addresses, where it would bind every other program on the machine.
		delete(h, "Strict-Transport-Security")
	case h["Strict-Transport-Security"] == nil:
		h["Strict-Transport-Security"] = strictTransport
	}
	if t.principal != nil && t.principal.Kind != policy.Anonymous && h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
}

// hasName reports whether a host, lower case and without port, is a name of the
// DNS and not localhost or an address.
func hasName(host string) bool {
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.Contains(host, ":") {
		return false
	}
	top := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(top, "0123456789") != "" // no top-level domain is a number
}
