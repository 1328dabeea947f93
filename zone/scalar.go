package zone

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scalar is a type of texts. doc completes "write ..."; pattern is the regular
// expression that editors check; parse returns a fault, or errNo.
func scalar[V any](name, doc, pattern string, parse func(string) (V, error)) typ[V] {
	return single(name, doc, map[string]any{"type": "string", "pattern": pattern}, parse)
}

// errNo is what a parser returns when there is nothing to say beyond how the
// type is written.
var errNo = errors.New("of another form")

// single is a type of single values. Its schema says whether YAML must take
// them for text: 30 is a number, 30min and "30" are text.
func single[V any](name, doc string, schema map[string]any, parse func(string) (V, error)) typ[V] {
	t := typ[V]{form: form{name: name, doc: doc, shared: true}}
	t.schema = func(map[string]any) map[string]any { return schema }
	t.parse = func(text string) (V, error) {
		v, err := parse(text)
		if err == errNo {
			err = wrong("write "+doc, "%s is no %s", quote(text), name)
		}
		return v, err
	}
	t.read = func(r *reader, w written) (v V, ok bool) {
		text, isText, ok := r.scalar(w, doc)
		if !ok {
			return v, false
		}
		v, err := t.parse(text)
		switch number := schema["type"] == "integer" || schema["type"] == "boolean"; {
		case err != nil:
		case !isText && !number:
			err = wrong("put it in quotes", "%s reads as a number or a truth value", quote(text))
		case isText && number:
			err = wrong("write it without quotes", "%s reads as text", quote(text))
		}
		if err != nil {
			r.failFault(w.pos(), nameOf(w.path), err)
		}
		return v, err == nil
	}
	return t
}

// oneOf is an enumeration.
func oneOf[V any](name string, words []word[V]) typ[V] {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.text
	}
	t := single(name, strings.Join(texts, ", "), map[string]any{"enum": texts}, func(text string) (v V, err error) {
		for _, w := range words {
			if w.text == text {
				return w.value, nil
			}
		}
		return v, wrong(suggest(text, texts), "%s is no %s", quote(text), name)
	})
	t.shared = false
	return t
}

// plainWords are the words of an enumeration that stand for themselves.
func plainWords(texts ...string) []word[string] {
	words := make([]word[string], len(texts))
	for i, t := range texts {
		words[i] = word[string]{t, t}
	}
	return words
}

func boolean() typ[bool] {
	t := single("boolean", "true or false", map[string]any{"type": "boolean"}, func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, errNo
		}
		return text == "true", nil
	})
	t.shared = false
	return t
}

func integer(low, high int) typ[int] {
	between := strconv.Itoa(low) + " to " + strconv.Itoa(high)
	doc := "a whole number from " + between
	if low == high {
		between = strconv.Itoa(low)
		doc = between
	}
	schema := map[string]any{"type": "integer", "minimum": low, "maximum": high}
	t := single(between, doc, schema, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || strconv.Itoa(n) != text || n < low || n > high {
			return 0, wrong("write "+doc, "%s is no such number", quote(text))
		}
		return n, nil
	})
	t.shared = false
	return t
}

// matching is a text of one form, of at most so many characters.
func matching(name, doc, pattern string, most int) typ[string] {
	form := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) }) // most types of a map are not used
	schema := map[string]any{"type": "string", "pattern": pattern, "maxLength": most}
	return single(name, doc+", at most "+strconv.Itoa(most)+" characters", schema, func(s string) (string, error) {
		if len(s) > most || !form().MatchString(s) {
			return "", errNo
		}
		return s, nil
	})
}

// text is free text on one line.
func text() typ[string] {
	t := matching("text", "text on one line", `^[^\x00-\x1f\x7f]+$`, 500)
	t.shared = false
	return t
}

func name() typ[string] {
	return matching("name", "lower-case letters, digits and hyphens, a letter first", `^[a-z][a-z0-9-]*$`, 63)
}

type unit struct {
	name string
	size int64
}

func durationUnits() []unit {
	return []unit{
		{"d", int64(24 * time.Hour)}, {"h", int64(time.Hour)}, {"min", int64(time.Minute)},
		{"s", int64(time.Second)}, {"ms", int64(time.Millisecond)},
	}
}

func sizeUnits() []unit {
	return []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// The longest duration is ten years: what is meant to last longer has no end.
const maxDuration = 3650 * 24 * time.Hour

func duration() typ[time.Duration] {
	return scalar("duration", "an integer and ms, s, min, h or d, such as 30min", `^[1-9][0-9]{0,9}(ms|s|min|h|d)$`, parseDuration)
}

func parseDuration(s string) (time.Duration, error) {
	n, err := measure(s, durationUnits())
	if err == nil && time.Duration(n) > maxDuration {
		err = wrong("write at most 3650d", "%s is too long", quote(s))
	}
	return time.Duration(n), err
}

func size() typ[int64] {
	return scalar("size", "an integer and B, KiB, MiB or GiB, such as 5MiB", `^[1-9][0-9]{0,9}(B|KiB|MiB|GiB)$`, func(s string) (int64, error) {
		return measure(s, sizeUnits())
	})
}

func throughput() typ[int64] {
	return scalar("throughput", "a size per second, such as 1KiB/s", `^[1-9][0-9]{0,9}(B|KiB|MiB|GiB)/s$`, func(s string) (int64, error) {
		amount, ok := strings.CutSuffix(s, "/s")
		if !ok {
			return 0, errNo
		}
		return measure(amount, sizeUnits())
	})
}

func rate() typ[Rate] {
	return scalar("rate", "COUNT/UNIT or COUNT/N UNIT without a space, such as 30/min or 2000/4h",
		`^[1-9][0-9]{0,8}/([1-9][0-9]{0,9})?(ms|s|min|h|d)$`, parseRate)
}

func parseRate(s string) (Rate, error) {
	count, window, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 999_999_999 || strconv.Itoa(n) != count {
		return Rate{}, errNo
	}
	if window != "" && (window[0] < '0' || window[0] > '9') {
		window = "1" + window
	}
	d, err := parseDuration(window)
	return Rate{n, d}, err
}

// measure reads an integer and a unit.
func measure(s string, units []unit) (int64, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil || n < 1 || s[0] == '0' {
		return 0, errNo
	}
	for _, u := range units {
		if u.name == s[digits:] {
			if n > math.MaxInt64/u.size {
				return 0, wrong("write less", "%s is too large", quote(s))
			}
			return n * u.size, nil
		}
	}
	return 0, errNo
}

// format writes n in the largest unit that is exact.
func format(n int64, units []unit) string {
	for _, u := range units {
		if n%u.size == 0 && n != 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + units[len(units)-1].name
}
