package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// limitStage takes one from the rates that the map declares: the listener's,
// then the route's, each per principal, else per client address. The answer
// tells what is left (draft-ietf-httpapi-ratelimit-headers-10).
func limitStage(g *Gateway, t *trip) problem.Reason {
	byListener, byRoute := t.listener.policyFor != "", t.route.policyFor != ""
	if !byListener && !byRoute {
		return problem.OK
	}
	who := limitSubject(t.principal, t.Client)
	if byListener {
		reason := g.take(t, t.listener.limitKey+who, "listener", t.listener.policyFor, t.listener.Limits.Rate)
		if reason != problem.OK {
			return reason
		}
	}
	if byRoute {
		return g.take(t, t.route.limitKey+who, "route", t.route.policyFor, t.route.Limit)
	}
	return problem.OK
}

// take takes one from a rate. A limiter that is down stops the request: a limit
// that is not counted is none.
func (g *Gateway) take(t *trip, key, name, policyFor string, rate zone.Rate) problem.Reason {
	got, err := g.limiter.Take(t.r.Context(), key, rate, t.start)
	if err != nil {
		return t.failed(err, problem.LimitUnavailable)
	}
	t.extra["Ratelimit-Policy"] = append(t.extra["Ratelimit-Policy"], policyFor)
	t.extra["Ratelimit"] = append(t.extra["Ratelimit"],
		`"`+name+`";r=`+strconv.Itoa(max(0, got.Remaining))+`;t=`+wholeSeconds(got.Reset))
	if !got.Allowed {
		t.retryAfter(got.Reset)
		return problem.LimitRate
	}
	return problem.OK
}

// policyItem is the RateLimit-Policy item of a rate: quota and window in
// seconds. It is empty for no rate.
func policyItem(name string, rate zone.Rate) string {
	if rate.Count <= 0 || rate.Window <= 0 {
		return ""
	}
	return `"` + name + `";q=` + strconv.Itoa(rate.Count) + `;w=` + wholeSeconds(rate.Window)
}

// limitName is the prefix of a rate's keys: as long for every route, because
// keys are bounded.
func limitName(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return kind + ":" + hex.EncodeToString(sum[:12]) + ":"
}

// limitSubject is by whom a rate is counted: the principal, else the client. A
// principal cannot take the place of an address, or of one that is cut.
func limitSubject(p *policy.Principal, client netip.Addr) string {
	const most = 128
	switch {
	case p.Kind == policy.Anonymous:
		return "a:" + boundAddress(client).String()
	case len(p.Subject) > most:
		return limitName("h", p.Subject)
	}
	return "s:" + p.Subject
}

// wholeSeconds rounds up, to one at least: nobody comes back too early.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
