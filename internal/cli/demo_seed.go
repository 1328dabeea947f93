package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev/internal/app"
)

// demoUsers are the people of the shop. They share one password, made anew for each run.
var demoUsers = []app.NewUser{
	{Email: "alice@shop.example", Roles: []string{}},
	{Email: "bob@shop.example", Roles: []string{}},
	{Email: "carol@shop.example", Roles: []string{"merchant", "support"}},
}

// seed adds the users and the partner's key; in a kept folder they are there already.
func (d *demo) seed(ctx context.Context) error {
	admin := dataFlag{Data: d.data}.client()
	for _, u := range demoUsers {
		u.Password = d.password
		err := admin.do(ctx, "POST", "/v1/users", u, nil)
		var refused *refusal
		if errors.As(err, &refused) && refused.status == http.StatusConflict { // it exists: give it this run's password
			err = dataFlag{Data: d.data}.onUser(&env{ctx: ctx}, "PUT", u.Email, "/password", app.NewPassword{Password: d.password})
		}
		if err != nil {
			return fmt.Errorf("seed %s: %w", u.Email, err)
		}
	}
	var key app.CreatedKey
	name := "partner-" + strings.ToLower(rand.Text()[:6])
	if err := admin.do(ctx, "POST", "/v1/keys", app.NewKey{Name: name, Scopes: []string{"payments.notify"}}, &key); err != nil {
		return fmt.Errorf("seed the partner's key: %w", err)
	}
	d.key = key.Key
	return nil
}
