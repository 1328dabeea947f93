package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/app"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/svid"
)

type keyCheckCmd struct {
	output
	Data string `help:"The data folder of a running zone, which is asked how it stands with an API key. Its hash is sent, not the key." type:"path" placeholder:"DIR"`
	Text string `arg:"" name:"string" help:"The text, or - to read it from standard input: an argument shows in the list of processes and in the shell's history."`
}

// maxCredential bounds a text on standard input.
const maxCredential = 4096

// recognised is what is known of a text.
type recognised struct {
	WellFormed bool            `json:"well_formed"`
	Kind       string          `json:"kind,omitempty"`
	ID         string          `json:"id,omitempty"` // public: it may be told to anybody
	Zone       *app.CheckedKey `json:"zone,omitempty"`
}

func (c *keyCheckCmd) Run(e *env) error {
	text := c.Text
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(e.stdin, maxCredential+1))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		text = string(b)
	}
	text = strings.TrimSpace(text)
	found, malformed := recognise(text)
	if malformed == nil && c.Data != "" {
		if found.Kind != kindKey {
			return usage(fmt.Errorf("the zone tells of API keys only, and this is the form of: %s", found.Kind))
		}
		hash := apikey.Hash(text)
		found.Zone = &app.CheckedKey{}
		if err := (dataFlag{c.Data}).client().do(e.ctx, "POST", "/v1/key-check", app.CheckKey{Hash: hex.EncodeToString(hash[:])}, found.Zone); err != nil {
			return err
		}
	}
	if malformed == nil || c.Format == "json" {
		if err := c.print(e, found, func(w io.Writer) { found.write(w) }); err != nil {
			return err
		}
	}
	switch {
	case malformed != nil:
		return no(malformed)
	case found.Zone != nil && found.Zone.State != "live":
		return no(nil)
	}
	return nil
}

func (c recognised) write(w io.Writer) {
	fmt.Fprintf(w, "kind\t%s\n", c.Kind)
	if c.ID != "" {
		fmt.Fprintf(w, "id\t%s\n", c.ID)
	}
	if z := c.Zone; z != nil {
		fmt.Fprintf(w, "state\t%s\n", z.State)
		if z.ID != "" {
			fmt.Fprintf(w, "name\t%s\nowner\t%s\n", z.Name, ownerOf(z.Owner))
		}
		if z.Expires != "" {
			fmt.Fprintf(w, "ends\t%s\n", z.Expires)
		}
	}
}

// The kinds of credentials.
const (
	kindKey     = "API key"
	kindSession = "session"
	kindAccess  = "access token"
	kindRefresh = "refresh token"
	kindJoin    = "join token"
)

var (
	errNotOurs  = errors.New("no credential of Sallyport: those begin with spk_, sps_, spa_, spr_ or spj_")
	errChecksum = errors.New("no API key: it begins as one, but its length, letters or checksum are not of one; it was mistyped, cut off or made up")
	errCut      = errors.New("no credential of Sallyport: it begins as one, but its length or letters are not of one; it was cut off or made up")
)

// recognise tells what a text is by its form alone. Its errors never show it.
func recognise(text string) (recognised, error) {
	prefix, rest, _ := strings.Cut(text, "_")
	var found recognised
	switch prefix + "_" {
	case apikey.Prefix:
		id, ok := apikey.Parse(text)
		if !ok {
			return recognised{}, errChecksum
		}
		found = recognised{Kind: kindKey, ID: id}
	case session.Prefix:
		found.Kind = kindSession
	case "spa_":
		found.Kind = kindAccess
	case "spr_":
		found.Kind = kindRefresh
	case svid.JoinPrefix:
		token, err := svid.ParseJoinToken(text)
		if err != nil {
			return recognised{}, errCut
		}
		found = recognised{Kind: kindJoin, ID: hex.EncodeToString(token.ID[:])}
	default:
		return recognised{}, errNotOurs
	}
	if found.ID == "" && !session.WellFormed(session.Prefix+rest) { // these three have one form
		return recognised{}, errCut
	}
	found.WellFormed = true
	return found, nil
}
