package control

import (
	"net/http"
	"time"

	"sallyport.dev/internal/problem"
)

// The bounds on what may be noted as used.
const (
	maxOnceKey  = 256 // bytes
	maxOnceLife = 10 * time.Minute
)

// OnceRequest asks whether a key of the peer is seen for the first time.
type OnceRequest struct {
	Key  string `json:"key"`
	Life int64  `json:"life_s"` // how long it is remembered, in seconds
}

// OnceAnswer answers it.
type OnceAnswer struct {
	First bool `json:"first"`
}

// once notes a key for all replicas of a service: of any number that ask, one is
// told that it was the first. Keys of different services never meet.
func (c *Control) once(w http.ResponseWriter, r *http.Request) {
	name, err := c.peer(r)
	var in OnceRequest
	if err == nil {
		err = decode(r.Body, &in)
	}
	life := time.Duration(in.Life) * time.Second
	if err == nil && (in.Key == "" || len(in.Key) > maxOnceKey || life <= 0 || life > maxOnceLife) {
		err = problem.WithDetail(problem.RequestMalformed, "a key of up to 256 bytes and a life of up to 600 s are needed")
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	used := c.current.Load().used[name]
	if used == nil { // the gateway accepts no signed requests, and a service without an inner door neither
		c.refuse(w, r, problem.New(problem.InsidePeer, nil))
		return
	}
	first, err := used.SetNX(r.Context(), in.Key, life)
	if err != nil {
		c.refuse(w, r, problem.New(problem.ProofUnavailable, err))
		return
	}
	writeJSON(w, OnceAnswer{First: first})
}
