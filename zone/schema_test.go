package zone

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("map.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("map.json")
}

// plainTree returns what a YAML file holds, as an editor sees it.
func plainTree(t *testing.T, data []byte) any {
	t.Helper()
	r := newReader()
	root := r.document("map", data)
	if err := r.err(); err != nil {
		t.Fatal(err)
	}
	var tree func(n ast.Node) any
	tree = func(n ast.Node) any {
		switch n := n.(type) {
		case *ast.MappingNode:
			m := map[string]any{}
			for _, v := range n.Values {
				m[startOf(v.Key).Value] = tree(v.Value)
			}
			return m
		case *ast.SequenceNode:
			list := []any{}
			for _, v := range n.Values {
				list = append(list, tree(v))
			}
			return list
		case *ast.IntegerNode:
			return json.Number(n.Token.Value)
		case *ast.BoolNode:
			return n.Value
		case *ast.NullNode:
			return nil
		default:
			return n.GetToken().Value
		}
	}
	return tree(root)
}

func TestSchemaTakesGoodMaps(t *testing.T) {
	schema := compiledSchema(t)
	tried := 0
	for _, file := range archives(t) {
		if !strings.Contains(file, "good_") {
			continue
		}
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plainTree(t, archive.Files[0].Data)); err != nil {
			t.Errorf("%s: %v, want valid", file, err)
		}
		tried++
	}
	linkLocal := []byte("zone: a.example\nlisteners: {public: {address: '[fe80::1%eth-0]:8443'}}\n")
	if _, err := Parse("map", linkLocal); err != nil {
		t.Errorf("link-local address: %v, want none", err)
	}
	if err := schema.Validate(plainTree(t, linkLocal)); err != nil {
		t.Errorf("link-local address: %v, want valid", err)
	}
	if err := schema.Validate(plainTree(t, Starter("shop.example"))); err != nil {
		t.Errorf("starter: %v, want valid", err)
	}
	if tried < 5 {
		t.Errorf("%d good maps tried, want more", tried)
	}
}

func TestSchemaRefusesBadMaps(t *testing.T) {
	schema := compiledSchema(t)
	const head = "zone: shop.example\n"
	for name, text := range map[string]string{
		"no zone":            "services: {}\n",
		"unknown key":        head + "servces: {}\n",
		"number as text":     "zone: 12\n",
		"capitals":           "zone: Shop.example\n",
		"unknown listener":   head + "listeners: {public: {address: ':8443', adress: x}}\n",
		"no address":         head + "listeners: {public: {}}\n",
		"admin with hosts":   head + "listeners: {admin: {address: ':8443', hosts: [a]}}\n",
		"bad certificate":    head + "listeners: {public: {address: ':8443', certificate: acmee}}\n",
		"half certificate":   head + "listeners: {public: {address: ':8443', certificate: {cert: a}}}\n",
		"bad duration":       head + "staleness: 5m\n",
		"bad size":           head + "journal: {size: 10GB}\n",
		"bad rate":           head + "traffic: {windows: {a: 30}}\n",
		"service name":       head + "services: {Orders: {upstream: 'unix:/run/x'}}\n",
		"no upstream":        head + "services: {orders: {}}\n",
		"upstream path":      head + "services: {orders: {upstream: 'http://127.0.0.1:1/x'}}\n",
		"upstream login":     head + "services: {orders: {upstream: 'http://a:b@127.0.0.1:1'}}\n",
		"text for boolean":   head + "services: {orders: {upstream: 'unix:/run/x', embedded: 'yes'}}\n",
		"route without /":    head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET a: user}}}\n",
		"route method":       head + "services: {orders: {upstream: 'unix:/run/x', routes: {get /a: user}}}\n",
		"kind of caller":     head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET /a: usr}}}\n",
		"no allow":           head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET /a: {mfa: true}}}}\n",
		"nobody":             head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET /a: []}}}\n",
		"twice":              head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET /a: [user, user]}}}\n",
		"owner":              head + "services: {orders: {upstream: 'unix:/run/x', routes: {GET /a: {allow: user, owner: me}}}}\n",
		"call":               head + "services: {orders: {upstream: 'unix:/run/x', calls: {a: /x}}}\n",
		"secret in clear":    head + "store: {postgres: 'postgres://a:b@c/d'}\n",
		"two secrets":        head + "store: {postgres: {file: a, env: B}}\n",
		"no secret":          head + "store: {postgres: {}}\n",
		"two sinks":          head + "export: [{jsonl: a, otlp: 'https://a'}]\n",
		"layer out of range": head + "services: {orders: {upstream: 'unix:/run/x', layer: 100}}\n",
		"other version":      "version: 2\n" + head,
	} {
		if err := schema.Validate(plainTree(t, []byte(text))); err == nil {
			t.Errorf("%s: the schema takes\n%s", name, text)
		}
		if _, err := Parse("map", []byte(text)); err == nil {
			t.Errorf("%s: the parser takes\n%s", name, text)
		}
	}
}

// TestSchemaNames makes sure that a name of the schema means one type.
func TestSchemaNames(t *testing.T) {
	seen := map[string]string{}
	var visit func(f form)
	visit = func(f form) {
		if f.shared {
			text, err := json.Marshal(f.schema(map[string]any{}))
			if err != nil {
				t.Fatal(err)
			}
			if other, known := seen[f.name]; known && other != string(text) {
				t.Errorf("two types have the name %q:\n%s\n%s", f.name, other, text)
			}
			seen[f.name] = string(text)
		}
		for _, p := range f.parts {
			visit(p)
		}
		for _, k := range f.keys {
			if k.any != nil {
				visit(*k.any)
			}
			visit(k.form)
		}
	}
	visit(mapType().form)
	if len(seen) < 40 {
		t.Errorf("%d types seen, want more", len(seen))
	}
}

// TestReference finds every key of the table on the page, and no table broken
// by a text in it.
func TestReference(t *testing.T) {
	page := Reference()
	walkKeys("", mapType().form, "", func(key string, k keyForm, _ string) {
		if k.name != "" && k.name != "file" && k.name != "env" && !strings.Contains(page, "| `"+k.name+"` | ") {
			t.Errorf("%s is not on the page", key)
		}
		if k.doc == "" || strings.HasSuffix(k.doc, ".") {
			t.Errorf("%s: doc %q, want words without a full stop", key, k.doc)
		}
	})
	columns := 0
	for line := range strings.Lines(page) {
		cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		if columns == 0 {
			columns = cells
		}
		if cells != columns {
			t.Errorf("a row has %d bars, its table %d: %s", cells, columns, line)
		}
	}
	for _, value := range []string{"secret", "duration", "size", "rate", "operation", "owner", "boolean", "upstream"} {
		if !strings.Contains(page, "\n| "+value+" | ") {
			t.Errorf("the page does not say how a %s is written", value)
		}
	}
}
