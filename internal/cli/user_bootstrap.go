package cli

import (
	"fmt"
	"io"

	"sallyport.dev/internal/app"
)

type userBootstrapCmd struct {
	output
	dataFlag
}

func (c *userBootstrapCmd) Run(e *env) error {
	var made app.Bootstrap
	if err := c.client().do(e.ctx, "POST", "/v1/bootstrap", nil, &made); err != nil {
		return err
	}
	return c.print(e, made, func(w io.Writer) {
		fmt.Fprintf(w, "%s\nOpen it in a browser until %s; it works once.\n", made.URL, made.Expires)
	})
}
