package zone

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of one file. The YAML library recurses with depth and is quadratic
// in the keys of one mapping, so both are bounded before it parses.
const (
	maxFile   = 1 << 20 // bytes
	maxTokens = 100_000
	maxDepth  = 32
)

// document returns the mapping at the root of a file, nil when there is an
// error. It takes the part of YAML that has one reading: one document of
// mappings, lists and scalars.
func (r *reader) document(file string, data []byte) (root ast.Node) {
	at := func(offset int) Pos { return placeOf(file, data, offset) }
	if len(data) > maxFile {
		r.fail(at(0), "the file is larger than 1 MiB", "spread the services over several files with include")
		return nil
	}
	data = []byte(strings.TrimPrefix(string(data), "\uFEFF"))
	if i := invalid(data); i >= 0 {
		r.fail(at(i), "the file is not plain UTF-8 text", "save it as UTF-8 without control characters")
		return nil
	}
	if i := strings.IndexFunc(string(data), deceives); i >= 0 {
		r.fail(at(i), "a character that turns or breaks the line unseen", "remove it")
		return nil
	}
	defer func() {
		if p := recover(); p != nil { // a fault of the YAML library must not become ours
			r.fail(at(0), "the file cannot be read as YAML", "simplify it: mappings, lists and words are all that a map needs")
			root = nil
		}
	}()
	tokens := join(lexer.Tokenize(trimLines(data)))
	if !r.plain(file, tokens, yamlBounds{tokens: maxTokens}) || !r.spelled(file, tokens) {
		return nil
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are told with both places by the reader
	if err != nil {
		pos, text := at(0), "it does not parse"
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			text = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil {
				pos = posOf(file, t)
			}
		}
		r.fail(pos, "not YAML: "+text, "mind indentation, quotes and brackets")
		return nil
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		r.fail(at(0), "the file is empty", "the smallest map is `zone: NAME`")
		return nil
	}
	return parsed.Docs[0].Body
}

// yamlBounds are what plain lets pass.
type yamlBounds struct {
	tokens int
	blocks bool // block texts, which a map has no use for
}

// plain refuses what makes a text ambiguous or expensive to read.
func (r *reader) plain(file string, tokens token.Tokens, bounds yamlBounds) bool {
	before := len(r.errors)
	if len(tokens) > bounds.tokens {
		r.fail(posOf(file, tokens[bounds.tokens]), "the file is too long", "spread the services over several files with include")
		return false
	}
	brackets, dashes, line := 0, 0, 0 // open brackets; dashes of one line
	var begun, ended bool             // the document
	for _, t := range tokens {
		switch t.Type {
		case token.CommentType, token.DirectiveType:
		case token.DocumentEndType:
			ended = true
		default:
			if ended || begun && t.Type == token.DocumentHeaderType {
				r.fail(posOf(file, t), "several documents in one file", "keep one; more services go into files named by include")
				return false
			}
			begun = true
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType:
			if t.Position.Line != line {
				line, dashes = t.Position.Line, 0
			}
			dashes++
		}
		if brackets > maxDepth || dashes > maxDepth || t.Position.IndentNum > 8*maxDepth {
			r.fail(posOf(file, t), "too deeply nested", "a map has at most 10 levels")
			return false
		}
		if text, mend := refusal(t, bounds.blocks); text != "" {
			r.fail(posOf(file, t), text, mend)
			if t.Type == token.DirectiveType {
				return false // what follows depends on it
			}
		}
	}
	return len(r.errors) == before
}

// refusal says why a token has no place in a map.
func refusal(t *token.Token, blocks bool) (text, mend string) {
	switch t.Type {
	case token.AnchorType, token.AliasType:
		return "anchors and aliases (& and *) are refused: they make one place say what stands at another",
			"write it out, or put the text in quotes when & or * belongs to it"
	case token.MergeKeyType:
		return "merge keys (<<) are refused", "write the keys out"
	case token.TagType:
		return "tags (!) are refused", "put the text in quotes when ! belongs to it"
	case token.MappingKeyType:
		return "keys with ? are refused", "write `key: value`"
	case token.DirectiveType:
		return "directives (%) are refused", "remove the line, or put the text in quotes when % belongs to it"
	case token.LiteralType, token.FoldedType:
		if !blocks {
			return "block texts (| and >) are refused", "write the value on one line"
		}
	case token.StringType:
		if !blocks && strings.Contains(t.Value, ": ") { // the library takes {a: b: c} for a text
			return "a colon and a space within a text", "put the text in quotes"
		}
	}
	return "", ""
}

var (
	routeHead = regexp.MustCompile(`^[A-Za-z]+ +/[^\s]*$`)
	routeTail = regexp.MustCompile(`^[^\s,]+$`)
)

// join puts together the texts within brackets that the YAML library takes
// apart. No text changes a meaning that it has in YAML.
//
//   - http://10.0.0.1:9001 is one text (YAML 1.2.2 section 7.3.3: a colon ends a
//     plain text only before a space or bracket).
//   - GET /accounts/{id} is no YAML within brackets, for { ends a plain text
//     there; a text that starts like a route keeps the wildcards that touch it.
func join(tokens token.Tokens) token.Tokens {
	joined := tokens[:0:0]
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		for more := isPlain(t); more; {
			next := tokens[i:]
			switch {
			case len(next) > 2 && next[1].Type == token.MappingValueType && isPlain(next[2]) && touch(next[:3]):
				t.Type, t.Value, t.Origin = token.StringType, t.Value+":"+next[2].Value, t.Origin+":"+next[2].Origin
				i += 2
			case len(next) > 3 && routeHead.MatchString(t.Value) && next[1].Type == token.MappingStartType &&
				next[2].Type == token.StringType && next[3].Type == token.MappingEndType && touch(next[:4]):
				t.Value += "{" + next[2].Value + "}"
				i += 3
			case len(next) > 1 && next[0].Type == token.MappingEndType && next[1].Type == token.StringType &&
				routeTail.MatchString(next[1].Value) && touch(next[:2]):
				t.Value += next[1].Value
				i++
			default:
				more = false
			}
		}
		joined = append(joined, t)
	}
	for i, t := range joined {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev, joined[i-1].Next = joined[i-1], t
		}
	}
	return joined
}

// isPlain says whether a token is text without quotes.
func isPlain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType:
		return true
	}
	return false
}

// touch says whether each token starts where the one before it ends.
func touch(tokens token.Tokens) bool {
	for i, b := range tokens[1:] {
		a := tokens[i]
		if a.Position.Line != b.Position.Line || a.Position.Column+utf8.RuneCountInString(a.Value) != b.Position.Column {
			return false
		}
	}
	return true
}

// invalid returns the offset of the first byte that is not text, -1 for none. A
// carriage return alone is none: it ends a line for YAML and for few others, so
// what stands behind it would be read and not be seen.
func invalid(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1, c == 0x7F, c < ' ' && c != '\n' && c != '\r' && c != '\t',
			c == '\r' && (i+1 == len(data) || data[i+1] != '\n'):
			return i
		}
		i += size
	}
	return -1
}

func posOf(file string, t *token.Token) Pos {
	return Pos{File: file, Line: max(t.Position.Line, 1), Column: max(t.Position.Column, 1)}
}

// placeOf returns the place of a byte of a file.
func placeOf(file string, data []byte, offset int) Pos {
	before := string(data[:min(offset, len(data))])
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return Pos{File: file, Line: strings.Count(before, "\n") + 1, Column: utf8.RuneCountInString(line) + 1}
}

// pathOf returns the path of a key below another: services.orders, routes["GET /"].
func pathOf(parent, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return fmt.Sprintf("%s[%q]", parent, key)
	case parent == "":
		return key
	default:
		return parent + "." + key
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
