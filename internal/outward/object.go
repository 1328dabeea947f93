package outward

import (
	"errors"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// Object is an object of JSON: a document, a header, the claims of a token.
type Object map[string]any

// ParseObject reads an object. The decoder takes names as they are written and
// refuses duplicates at any depth (RFC 8725 section 2.3).
func ParseObject(data []byte) (Object, error) {
	var o Object
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("no object")
	}
	return o, nil
}

// Text returns a member that is a text, else the empty one.
func (o Object) Text(name string) string {
	s, _ := o[name].(string)
	return s
}

// Has says whether there is a member of a name.
func (o Object) Has(name string) bool {
	_, there := o[name]
	return there
}

// Texts returns the texts of a member that is a list.
func (o Object) Texts(name string) []string {
	list, _ := o[name].([]any)
	var texts []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

const maxTime = 253402300799 // the last second of the year 9999: no clock of ours goes on

// Moment returns a NumericDate (RFC 7519 section 2).
func (o Object) Moment(name string) (time.Time, bool) {
	n, ok := o[name].(float64)
	if !ok || !(n > 0 && n <= maxTime) {
		return time.Time{}, false
	}
	whole, part := math.Modf(n)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
}
