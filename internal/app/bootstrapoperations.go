package app

import (
	"context"
	"net/http"
)

// Bootstrap is the answer of POST /v1/bootstrap: where the first administrator is
// made, once.
type Bootstrap struct {
	URL     string `json:"url"` // holds the token, which is told this once
	Expires string `json:"expires_at"`
}

// bootstrap makes the token of the first administrator; the one before ends.
func (a *administration) bootstrap(ctx context.Context, _ *http.Request) (any, error) {
	token, expires, err := a.identity().Bootstrap(ctx)
	if err != nil {
		return nil, err
	}
	return Bootstrap{URL: a.identity().BootstrapURL(token), Expires: stamp(expires)}, nil
}
