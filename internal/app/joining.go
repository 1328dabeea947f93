package app

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"

	"sallyport.dev/internal/join"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// joining is the administration of join tokens.
type joining struct {
	tokens *join.Tokens
	zone   func() *zone.Zone // the map in force
	root   *x509.Certificate
}

func (j *joining) routes(a *adminSocket) {
	a.handle("POST /v1/join", j.create)
	a.handle("GET /v1/join", j.list)
	a.handle("DELETE /v1/join/{token}", j.revoke)
}

var errNoInnerDoor = problem.WithDetail(problem.AdminInvalid, "the service has neither `sidecar` nor `embedded` in the map: nothing of it can join")

// create makes a join token for a service with an inner door.
func (j *joining) create(ctx context.Context, r *http.Request) (any, error) {
	var in NewJoin
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	svc := j.zone().Service(in.Service)
	switch {
	case svc == nil:
		return nil, problem.WithDetail(problem.AdminUnknown, fmt.Sprintf("the map has no service %q", in.Service))
	case !svc.InnerDoor():
		return nil, errNoInnerDoor
	}
	made, secret, err := j.tokens.Create(ctx, svc.Name)
	if err != nil {
		return nil, err
	}
	t := svid.JoinToken{ID: made.ID, Secret: secret, Root: sha256.Sum256(j.root.Raw)}
	return CreatedJoin{ID: made.ID.String(), Token: t.String(), Expires: stamp(made.Expires)}, nil
}

func (j *joining) list(ctx context.Context, _ *http.Request) (any, error) {
	list := []Join{}
	tokens, err := j.tokens.List(ctx)
	for _, t := range tokens {
		list = append(list, Join{ID: t.ID.String(), Service: t.Service, Created: stamp(t.Created), Expires: stamp(t.Expires), Spent: stamp(t.Spent), Tries: t.Tries})
	}
	return list, err
}

func (j *joining) revoke(ctx context.Context, r *http.Request) (any, error) {
	id, err := join.ParseID(r.PathValue("token"))
	if err != nil {
		return nil, err
	}
	return nil, j.tokens.Revoke(ctx, id)
}
