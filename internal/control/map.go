package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
)

// maxWait is the longest that an answer is held, in seconds: well below every
// time-out on the way.
const maxWait = 10

// slice answers with what the peer's guard may know of the map. With `Prefer:
// wait=SECONDS` (RFC 7240 section 4.3) and the tag of what the guard has in
// If-None-Match, the answer is held until there is another one, and is 304 when
// there is none.
func (c *Control) slice(w http.ResponseWriter, r *http.Request) {
	name, err := c.peer(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if name != r.PathValue("name") { // also where there is no such service: nobody learns which there are
		c.refuse(w, r, problem.New(problem.InsidePeer, nil))
		return
	}
	have, held := r.Header.Get("If-None-Match"), newHold(r)
	defer held.end()
	for {
		m := c.current.Load()
		body, tag, err := sliceOf(m, name)
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		c.heard.note(name, c.Clock(), have == tag)
		w.Header().Set("ETag", tag)
		if have != tag {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
			return
		}
		if !c.wait(r, m, held) { // another map may say the same to this service
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
}

// sliceOf returns the part of a service and its tag. The tag is of the bytes, not
// of the map's revision: another version of this program may say other things of
// the same map.
func sliceOf(m *mapped, name string) (body []byte, tag string, err error) {
	s, ok := m.zone.Slice(name)
	if !ok { // the gateway has none
		return nil, "", problem.New(problem.RouteUnknown, nil)
	}
	if body, err = json.Marshal(s); err != nil {
		return nil, "", problem.New(problem.InternalError, err)
	}
	sum := sha256.Sum256(body)
	return body, `"` + hex.EncodeToString(sum[:16]) + `"`, nil
}

// hold is how long a request would have its answer held.
type hold struct{ timer *time.Timer }

func newHold(r *http.Request) hold {
	if wait := preferredWait(r.Header.Values("Prefer")); wait > 0 {
		return hold{time.NewTimer(wait)}
	}
	return hold{}
}

func (h hold) end() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// wait reports true when another map is in force, false when the time of the
// hold is over.
func (c *Control) wait(r *http.Request, m *mapped, h hold) bool {
	if h.timer == nil {
		return false
	}
	select {
	case <-m.over:
		return true
	case <-h.timer.C:
	case <-c.end:
	case <-r.Context().Done():
	}
	return false
}

func preferredWait(fields []string) time.Duration {
	for _, field := range fields {
		for preference := range strings.SplitSeq(field, ",") {
			text, ok := strings.CutPrefix(strings.TrimSpace(preference), "wait=")
			if n, err := strconv.ParseUint(text, 10, 16); ok && err == nil {
				return time.Duration(min(n, maxWait)) * time.Second
			}
		}
	}
	return 0
}

// jwks answers with the keys of the inside tokens.
func (c *Control) jwks(w http.ResponseWriter, r *http.Request) {
	if _, err := c.peer(r); err != nil {
		c.refuse(w, r, err)
		return
	}
	keys, err := c.Keys.PublicKeys(r.Context())
	var body []byte
	if err == nil {
		body, err = token.MarshalJWKS(keys)
	}
	if err != nil {
		c.refuse(w, r, problem.New(problem.TokenUnavailable, err))
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(body)
}

// token mints an inside token of the peer itself: it acts for nobody else.
func (c *Control) token(w http.ResponseWriter, r *http.Request) {
	name, err := c.peer(r)
	if err == nil && name == svid.GatewayName { // it has a minter of its own, and speaks for clients only
		err = problem.New(problem.InsidePeer, nil)
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	peer, _ := svid.PeerFrom(r.Context())
	t, err := c.Minter.Mint(r.Context(), token.Subject{Subject: peer.ID.String(), Workload: peer.ID.String(), Method: token.MethodSVID})
	if err != nil {
		c.refuse(w, r, problem.New(problem.TokenUnavailable, err))
		return
	}
	writeJSON(w, struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}{t.Value, t.Expires.UTC()})
}

// heard is when a guard of each service last asked for its part of the map.
type heard struct {
	mu sync.Mutex
	by map[string]asked // guarded by mu; of services of this zone, or of maps before
}

type asked struct {
	at      time.Time
	current bool // it had the part that is in force
}

func (h *heard) note(service string, at time.Time, current bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = make(map[string]asked)
	}
	h.by[service] = asked{at, current}
}

// Heard says when a guard of a service last asked for its part of the map, and
// whether it had then the one that is in force; false when none has yet. Of
// several replicas it is the last one that asked.
func (c *Control) Heard(service string) (at time.Time, current, ok bool) {
	c.heard.mu.Lock()
	defer c.heard.mu.Unlock()
	a, ok := c.heard.by[service]
	return a.at, a.current, ok
}
