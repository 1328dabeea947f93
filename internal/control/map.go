package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
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
	s, ok := c.Zone.Slice(name)
	if !ok { // the gateway has none
		c.refuse(w, r, problem.New(problem.RouteUnknown, nil))
		return
	}
	body, err := json.Marshal(s)
	if err != nil {
		c.refuse(w, r, problem.New(problem.InternalError, err))
		return
	}
	// Of the bytes, not of the map's revision: another version of this program may
	// say other things of the same map.
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		c.hold(r)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// hold waits as long as the request prefers. The map of a process does not
// change yet; a reload will end the wait.
func (c *Control) hold(r *http.Request) {
	wait := preferredWait(r.Header.Values("Prefer"))
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.end:
	case <-r.Context().Done():
	}
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
