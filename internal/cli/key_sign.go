package cli

import (
	"fmt"
	"io"
	"os"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/app"
)

type keySignCmd struct {
	output
	dataFlag
	Key     string    `arg:"" help:"Name or id of the API key."`
	Ed25519 string    `name:"ed25519" help:"A file with an Ed25519 public key as PEM, JWK or base64; - for standard input." placeholder:"FILE" xor:"kind" required:""`
	HMAC    bool      `name:"hmac" help:"Make a secret for HMAC-SHA256: 32 bytes, printed once in base64." xor:"kind" required:""`
	Expires *lifetime `help:"The signing key's life, such as 90d; without it, that of the API key." placeholder:"DURATION"`
}

func (c *keySignCmd) Run(e *env) error {
	path, err := keyPath(c.Key, "/signing")
	if err != nil {
		return err
	}
	in := app.NewSigningKey{Algorithm: string(apikey.HMACSHA256)}
	if !c.HMAC {
		in.Algorithm = string(apikey.Ed25519)
		if in.Public, err = c.read(e); err != nil {
			return err
		}
	}
	if c.Expires != nil {
		in.Life = c.Expires.String()
	}
	var made app.CreatedSigningKey
	if err := c.client().do(e.ctx, "POST", path, in, &made); err != nil {
		return err
	}
	return c.print(e, made, func(w io.Writer) {
		if made.Secret == "" {
			fmt.Fprintln(w, made.ID)
			return
		}
		fmt.Fprintf(w, "%s\t%s\n", made.ID, made.Secret)
	})
}

// read returns the text of a public key, which is looked at here already: a
// private key that was named by mistake goes no further.
func (c *keySignCmd) read(e *env) (string, error) {
	in, name := e.stdin, "standard input"
	if c.Ed25519 != "-" {
		f, err := os.Open(c.Ed25519)
		if err != nil {
			return "", fmt.Errorf("public key: %w", err)
		}
		defer f.Close()
		in, name = f, c.Ed25519
	}
	b, err := io.ReadAll(io.LimitReader(in, maxCredential+1))
	if err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	if _, err := apikey.ParsePublicKey(string(b)); err != nil {
		return "", usage(fmt.Errorf("public key %s: %w", name, err))
	}
	return string(b), nil
}

type keyUnsignCmd struct {
	dataFlag
	Key string `arg:"" help:"Name or id of the API key."`
	ID  string `arg:"" help:"The signing key's id, as sign printed it."`
}

func (c *keyUnsignCmd) Run(e *env) error {
	id, err := segment("signing key", c.ID)
	if err != nil {
		return err
	}
	path, err := keyPath(c.Key, "/signing/"+id)
	if err != nil {
		return err
	}
	return c.client().do(e.ctx, "DELETE", path, nil, nil)
}
