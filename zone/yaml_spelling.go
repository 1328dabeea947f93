package zone

import (
	"strings"

	"github.com/goccy/go-yaml/token"
)

// maxText bounds a key or value in bytes, above what any type of the grammar
// takes. Every key is part of the path of what stands below it: without a bound
// a file of 1 MiB would need gigabytes.
const maxText = 1000

// spelled refuses what the YAML library reads although YAML forbids it, or
// reads otherwise than YAML says: another reader would find another map.
func (r *reader) spelled(file string, tokens token.Tokens) bool {
	before := len(r.errors)
	var open []token.Type // the brackets around a token
	for _, t := range tokens {
		if text, mend := misspelling(t, len(open) > 0); text != "" {
			r.fail(posOf(file, t), text, mend)
		}
		switch t.Type {
		case token.MappingStartType:
			open = append(open, token.MappingEndType)
		case token.SequenceStartType:
			open = append(open, token.SequenceEndType)
		case token.MappingEndType, token.SequenceEndType:
			last := len(open) - 1
			if last < 0 || open[last] != t.Type {
				r.fail(posOf(file, t), "this bracket closes none", "mind the pairs of [ ] and { }")
				return false
			}
			open = open[:last]
		}
	}
	return len(r.errors) == before
}

// misspelling says what is wrong with one token, within brackets or not.
func misspelling(t *token.Token, brackets bool) (text, mend string) {
	switch {
	case t.Type == token.CommentType:
	case len(t.Value) > maxText:
		return "a text of more than 1000 bytes", "write less"
	case strings.Contains(t.Origin, "\t"): // the library drops it, and loses count of the columns
		return "a tab within or behind a text", "write spaces; tabs may stand in comments only"
	case strings.Contains(strings.TrimSpace(t.Origin), "\n"): // as for block texts; a forgotten colon or dash would end up in it
		return "a text of several lines", "write the value on one line"
	case brackets && isPlain(t) && (strings.ContainsAny(t.Value, "[]") || strings.ContainsAny(t.Value, "{}") && !routeHead.MatchString(t.Value)):
		return "a bracket within a text", "mind the pairs of [ ] and { }, or put the text in quotes when the bracket belongs to it"
	case brackets && isPlain(t) && strings.HasSuffix(t.Value, ":"):
		return "a colon at the end of a text within brackets", "put the text in quotes, or write `key: value`"
	case t.Type == token.SequenceEntryType && brackets:
		return "a dash within brackets", "separate the entries with commas"
	case t.Type == token.CollectEntryType && opens(t.Prev):
		return "a comma without an entry before it", "remove it"
	case t.Type == token.MappingValueType && t.Prev != nil && t.Prev.Position.Line != t.Position.Line:
		return "a colon on another line than its key", "write `key: value`"
	case t.Type == token.MappingValueType && t.Next != nil && !isQuoted(t.Prev) && touch(token.Tokens{t, t.Next}):
		return "a colon without a space behind it", "write `key: value`, or put the text in quotes when : belongs to it"
	}
	return "", ""
}

// opens says whether an entry is due behind a token.
func opens(t *token.Token) bool {
	return t == nil || t.Type == token.MappingStartType || t.Type == token.SequenceStartType || t.Type == token.CollectEntryType
}

func isQuoted(t *token.Token) bool {
	return t != nil && (t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType)
}

// deceives says whether a character makes a line look other than it is read: a
// line break of some readers, or one that turns the direction of the text.
func deceives(c rune) bool {
	return c >= 0x80 && c <= 0x9F || c == 0x2028 || c == 0x2029 || c >= 0x202A && c <= 0x202E || c >= 0x2066 && c <= 0x2069 || c == 0xFEFF
}

// trimLines returns the text without white space at the ends of its lines, which
// has no meaning in YAML: the YAML library loses count of lines and columns there.
func trimLines(data []byte) string {
	var b strings.Builder
	b.Grow(len(data))
	for line := range strings.Lines(string(data)) {
		text, ended := strings.CutSuffix(line, "\n")
		b.WriteString(strings.TrimRight(text, " \t\r"))
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
