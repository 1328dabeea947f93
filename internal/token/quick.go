package token

import (
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// Claims have one spelling as a minter writes them: these members in this order,
// nothing between them, and mostly no character that JSON spells in two ways.
// What has this very form is read and written here; all else, which may be as
// valid, is the library's. Each request of a route with `proof: signature` has a
// token of its own, and the library takes ten times as long for it.

// marshal returns the claims as JSON.
func (c *Claims) marshal() ([]byte, error) {
	if !c.plain() {
		return json.Marshal(c)
	}
	b := make([]byte, 0, 512)
	b = append(append(b, `{"iss":"`...), c.Issuer...)
	b = strconv.AppendInt(append(b, `","iat":`...), c.IssuedAt, 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.Expires, 10)
	b = append(append(b, `,"aud":"`...), c.Audience...)
	b = append(append(b, `","txn":"`...), c.Transaction...)
	b = append(append(b, `","sub":"`...), c.Subject...)
	b = append(b, `","scope":"`...)
	for i, t := range c.Scope {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, t...)
	}
	b = append(b, `","tctx":{"roles":[`...)
	for i, r := range c.Context.Roles {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), r...), '"')
	}
	b = strconv.AppendInt(append(b, `],"level":`...), int64(c.Context.Level), 10)
	b = append(append(b, `,"client":"`...), c.Context.Client...)
	b = append(append(b, `"},"rctx":{"listener":"`...), c.Requester.Listener...)
	b = append(append(b, `","method":"`...), c.Requester.Method...)
	b = append(append(b, `"},"req_wl":"`...), c.Workload...)
	return append(b, `"}`...), nil
}

// plain says whether every text of the claims is spelled in JSON as it is.
func (c *Claims) plain() bool {
	for _, s := range [...]string{c.Issuer, c.Audience, c.Transaction, c.Subject, c.Context.Client, c.Requester.Listener, c.Requester.Method, c.Workload} {
		if !plainText(s) {
			return false
		}
	}
	for _, t := range c.Scope {
		if !validScopeToken(t) || !plainText(t) {
			return false
		}
	}
	for _, r := range c.Context.Roles {
		if !plainText(r) {
			return false
		}
	}
	return c.Context.Roles != nil // which would be null
}

// plainText says whether s is visible ASCII and blanks that no writer of JSON
// escapes; Go's escapes what would be markup in HTML.
func plainText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// quickClaims reads claims of the one form; nil when they have another. The
// claims hold the text of the payload.
func quickClaims(payload []byte) *Claims {
	r := quick{rest: string(payload)}
	c := new(Claims)
	r.text(&c.Issuer, `{"iss":"`)
	r.number(&c.IssuedAt, `","iat":`)
	r.number(&c.Expires, `,"exp":`)
	r.text(&c.Audience, `,"aud":"`)
	r.text(&c.Transaction, `","txn":"`)
	r.text(&c.Subject, `","sub":"`)
	var scope string
	r.text(&scope, `","scope":"`)
	r.roles(&c.Context.Roles, `","tctx":{"roles":[`)
	var level int64
	r.number(&level, `],"level":`)
	r.text(&c.Context.Client, `,"client":"`)
	r.text(&c.Requester.Listener, `"},"rctx":{"listener":"`)
	r.text(&c.Requester.Method, `","method":"`)
	r.text(&c.Workload, `"},"req_wl":"`)
	r.literal(`"}`)
	if r.other || r.rest != "" {
		return nil
	}
	if c.Context.Level = int(level); int64(c.Context.Level) != level {
		return nil
	}
	if scope != "" {
		c.Scope = strings.Split(scope, " ")
		for _, t := range c.Scope {
			if !validScopeToken(t) {
				return nil
			}
		}
	}
	return c
}

// quick is a text that is read from its beginning.
type quick struct {
	rest  string
	other bool // it has another form
}

func (q *quick) literal(s string) bool {
	rest, ok := strings.CutPrefix(q.rest, s)
	q.rest, q.other = rest, q.other || !ok
	return !q.other
}

// text reads a string up to its closing quote.
func (q *quick) text(to *string, before string) {
	if !q.literal(before) {
		return
	}
	for i := range len(q.rest) {
		switch c := q.rest[i]; {
		case c == '"':
			*to, q.rest = q.rest[:i], q.rest[i:]
			return
		case c < ' ', c > '~', c == '\\':
			q.other = true
			return
		}
	}
	q.other = true
}

// number reads a whole number that is not negative.
func (q *quick) number(to *int64, before string) {
	if !q.literal(before) {
		return
	}
	n := 0
	for n < len(q.rest) && '0' <= q.rest[n] && q.rest[n] <= '9' {
		*to = *to*10 + int64(q.rest[n]-'0')
		if n++; n > maxDigits {
			q.other = true
			return
		}
	}
	if n == 0 || n > 1 && q.rest[0] == '0' {
		q.other = true
		return
	}
	q.rest = q.rest[n:]
}

// maxDigits is what fits any int64, and is more than a clock shows.
const maxDigits = 15

// roles reads the members of an array of strings.
func (q *quick) roles(to *[]string, before string) {
	if !q.literal(before) {
		return
	}
	*to = []string{}
	for q.rest != "" && q.rest[0] != ']' && !q.other {
		open := `"`
		if len(*to) > 0 {
			open = `,"`
		}
		var role string
		q.text(&role, open)
		q.literal(`"`)
		*to = append(*to, role)
	}
}
