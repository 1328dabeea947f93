package zone

import "regexp"

func paramsType() typ[[]Param] {
	values := paramType()
	return object("params", "the type of each value by its name",
		&each[[]Param, string, Param]{paramName(), values, "type of the path or query value of this name", func(all *[]Param, name string, _ Pos, p Param) {
			p.Name = name
			*all = append(*all, p)
		}})
}

func paramName() typ[string] {
	return matching("param name", "letters, digits and . _ - [ ]", `^[A-Za-z_][A-Za-z0-9._\[\]-]*$`, 100)
}

func paramType() typ[Param] {
	words := list(text())
	const doc = "uuid, int, date, a list of values, or a regular expression (RE2)"
	one := scalar("param", doc, `^.+$`, func(s string) (Param, error) {
		for _, w := range paramWords() {
			if w.text == s {
				return Param{Kind: w.value}, nil
			}
		}
		if regexp.QuoteMeta(s) == s { // a constant is more likely a misspelt type
			return Param{}, wrong(suggest(s, []string{"uuid", "int", "date"})+" (one constant is written as a list)", "%s is no type of a value", quote(s))
		}
		_, alone := regexp.Compile(s) // a)|(b compiles between the anchors, and escapes them
		if _, err := regexp.Compile("^(?:" + s + ")$"); err != nil || alone != nil || len(s) > 500 {
			return Param{}, wrong("see the syntax of RE2, as in Go's package regexp", "%s does not compile as a regular expression", quote(s))
		}
		return Param{Kind: ParamRegexp, Regexp: s}, nil
	})
	t := typ[Param]{form: form{name: "param", doc: doc, parts: []form{one.form}}}
	t.schema = func(defs map[string]any) map[string]any {
		return map[string]any{"anyOf": []any{one.in(defs), words.in(defs)}}
	}
	t.read = func(r *reader, w written) (Param, bool) {
		if !isList(w) {
			return one.read(r, w)
		}
		values, ok := words.read(r, w)
		return Param{Kind: ParamEnum, Enum: values}, ok
	}
	return t
}
