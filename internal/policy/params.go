package policy

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Params are the declared types of a route's path and query values, compiled.
// They are immutable. The nil *Params takes every value.
type Params struct {
	params []param
}

type param struct {
	name string
	is   func(string) bool
}

// CompileParams compiles the declared parameters of a route. It returns an
// error for a type that it does not know or that could take no value, and for a
// name that is empty or there twice.
func CompileParams(declared []zone.Param) (*Params, error) {
	ps := &Params{params: make([]param, 0, len(declared))}
	for _, d := range declared {
		is, err := typeOf(d)
		if err != nil {
			return nil, fmt.Errorf("param %q: %w", d.Name, err)
		}
		if d.Name == "" || slices.ContainsFunc(ps.params, func(p param) bool { return p.name == d.Name }) {
			return nil, fmt.Errorf("param %q: the name is empty or there twice", d.Name)
		}
		ps.params = append(ps.params, param{d.Name, is})
	}
	return ps, nil
}

// Empty says that no parameter is declared: the query need not be read.
func (ps *Params) Empty() bool { return ps == nil || len(ps.params) == 0 }

// Check returns RequestParam when a value that is there is not of its declared
// type: a path value, or any one of a repeated query value. Values of other
// names pass, and so does a declared query name that is not there.
func (ps *Params) Check(path *zone.Values, query url.Values) problem.Reason {
	if ps == nil {
		return problem.OK
	}
	for i := range ps.params {
		p := &ps.params[i]
		if path != nil {
			for j := range *path {
				if v := &(*path)[j]; v.Name == p.name && !p.is(v.Value) {
					return problem.RequestParam
				}
			}
		}
		for _, v := range query[p.name] {
			if !p.is(v) {
				return problem.RequestParam
			}
		}
	}
	return problem.OK
}

func typeOf(d zone.Param) (func(string) bool, error) {
	switch d.Kind {
	case zone.ParamUUID:
		return isUUID, nil
	case zone.ParamInt:
		return isInt, nil
	case zone.ParamDate:
		return isDate, nil
	case zone.ParamEnum:
		if len(d.Enum) == 0 {
			return nil, errors.New("enum without a value")
		}
		return func(s string) bool { return slices.Contains(d.Enum, s) }, nil
	case zone.ParamRegexp:
		// Compiled alone first: a pattern such as `a)|(b` must not break out of the anchors.
		if _, err := regexp.Compile(d.Regexp); err != nil {
			return nil, err
		}
		re, err := regexp.Compile(`\A(?:` + d.Regexp + `)\z`)
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	default:
		return nil, fmt.Errorf("type %d is not known", d.Kind)
	}
}

// isUUID takes the text of RFC 9562 section 4 in either case, of any version.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

// isInt takes a decimal that fits in 64 bits, in its one shortest form.
func isInt(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return false
	}
	var buf [20]byte
	return string(strconv.AppendInt(buf[:0], n, 10)) == s
}

// isDate takes a full-date of RFC 3339 section 5.6 that is in the calendar.
func isDate(s string) bool {
	if len(s) != len(time.DateOnly) {
		return false
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
