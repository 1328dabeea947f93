package zone

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Schema returns the JSON Schema (draft 2020-12) of the map, for editors. It is
// made of the table of keys with which maps are read; what depends on two keys
// (names, conflicts of routes) only Load finds.
func Schema() ([]byte, error) {
	defs := map[string]any{}
	root := mapType().schema(defs)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Sallyport zone map"
	root["$defs"] = defs
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of the map: %w", err)
	}
	return data, nil
}

// in returns the schema of the form as it is used within another: a reference
// when the form has a name of its own.
func (f form) in(defs map[string]any) map[string]any {
	if !f.shared {
		return f.schema(defs)
	}
	name := strings.ReplaceAll(f.name, " ", "-")
	if _, known := defs[name]; !known {
		defs[name] = f.schema(defs)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func objectSchema(keys []keyForm, defs map[string]any) map[string]any {
	s := map[string]any{"type": "object", "additionalProperties": false}
	properties, required := map[string]any{}, []string{}
	for _, k := range keys {
		value := map[string]any{"description": k.text()}
		for name, part := range k.form.in(defs) {
			value[name] = part
		}
		if k.any != nil {
			s["propertyNames"], s["additionalProperties"] = k.any.in(defs), value
			continue
		}
		properties[k.name] = value
		if k.must {
			required = append(required, k.name)
		}
	}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// text is what an editor shows for a key.
func (k keyForm) text() string {
	text := k.doc
	if k.normal != "" {
		text += ". Default: " + k.normal
	}
	if k.later != "" {
		text += ". Not enforced yet: " + k.later
	}
	return strings.ReplaceAll(text, "`", "")
}

// Reference returns the reference page of the map in Markdown: every key with
// its type, default and meaning, and what this version does not enforce.
func Reference() string {
	var b strings.Builder
	b.WriteString("# The zone map\n\nGenerated from the table of keys that the parser reads with.\n\n" +
		"Keys that are marked *not yet* are read and checked; `sallyport check` lists what declaring them means.\n")
	values := map[string]form{}
	section(&b, "", mapType().form, values)
	b.WriteString("\n## Values\n\n| type | written as |\n|---|---|\n")
	for _, name := range sortedKeys(values) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, cell(values[name].doc))
	}
	return b.String()
}

// section prints the keys of a mapping, then the mappings below it. values
// collects the types of single values.
func section(b *strings.Builder, path string, f form, values map[string]form) {
	title := path
	if path == "" {
		title = "The map"
	}
	fmt.Fprintf(b, "\n## %s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title)
	for _, k := range f.keys {
		name, normal := "`"+k.name+"`", k.normal
		if k.any != nil {
			name = placeholder(k)
			note(k.any, values)
		}
		if k.must {
			normal = "required"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s%s |\n", name, cell(k.form.name), cell(normal), cell(k.doc), k.mark())
		note(&k.form, values)
	}
	for _, k := range f.keys {
		if len(k.form.keys) == 0 || k.form.leaf {
			continue
		}
		below := k.name
		if k.any != nil {
			below = placeholder(k)
		}
		if path != "" {
			below = path + "." + below
		}
		section(b, below, k.form, values)
	}
}

func (k keyForm) mark() string {
	if k.later == "" {
		return ""
	}
	return ". *Not yet (" + k.effect.String() + "): " + cell(k.later) + ".*"
}

// placeholder stands for a name that the user chooses.
func placeholder(k keyForm) string {
	if k.any.name == operationType().name {
		return `"METHOD /path"`
	}
	return "NAME"
}

// note collects the types of single values of which a form is made.
func note(f *form, values map[string]form) {
	if f.leaf || len(f.keys) == 0 && len(f.parts) == 0 {
		values[f.name] = *f
	}
	for i := range f.parts {
		note(&f.parts[i], values)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
