package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// replicas is the memory of signed requests that the replicas of a service
// share, kept by control: a request that one of them accepted is a replay at all
// others (control SV-10). It is asked for what changes something; a safe method
// is judged by this process's own memory alone, and costs no round trip.
type replicas struct{ control *control }

var _ Replays = replicas{}

// Once asks control, which must answer: a question that fails is a refusal.
func (r replicas) Once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	switch ctx.Value(judgedMethod{}) {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true, nil
	}
	return r.control.once(ctx, key, ttl)
}

// judgedMethod finds the method of the request whose signature is judged.
type judgedMethod struct{}

// once asks whether a key is new to all replicas of the service.
func (c *control) once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	body, err := json.Marshal(struct {
		Key  string `json:"key"`
		Life int64  `json:"life_s"`
	}{key, seconds})
	if err != nil {
		return false, err
	}
	a, err := c.ask(ctx, http.MethodPost, "/v1/once", maxOnce, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return false, err
	}
	var got struct {
		First bool `json:"first"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		return false, fmt.Errorf("read the answer to POST /v1/once: %w", err)
	}
	return got.First, nil
}

const maxOnce = 1 << 10 // bytes of the answer
