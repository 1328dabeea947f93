package broker

import (
	"errors"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// claims is an object of JSON. The decoder takes names as they are written and
// refuses duplicates.
type claims map[string]any

func parseClaims(data []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	if c == nil {
		return nil, errors.New("no object")
	}
	return c, nil
}

// text returns a member that is a text, else the empty one.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

func (c claims) has(name string) bool {
	_, there := c[name]
	return there
}

// texts returns the texts of a member that is a list.
func (c claims) texts(name string) []string {
	list, _ := c[name].([]any)
	var texts []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// truth is a boolean, or its name: there are providers that write "true".
func (c claims) truth(name string) bool {
	return c[name] == true || c[name] == "true"
}

const maxTime = 253402300799 // the last second of the year 9999

// moment returns a NumericDate (RFC 7519 section 2).
func (c claims) moment(name string) (time.Time, bool) {
	n, ok := c[name].(float64)
	if !ok || !(n > 0 && n <= maxTime) {
		return time.Time{}, false
	}
	whole, part := math.Modf(n)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
}
