package zone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
)

// The bounds of an OpenAPI document.
const (
	maxOpenAPI    = 4 << 20 // bytes
	maxOperations = 2000
)

// FromOpenAPI reads an OpenAPI 3 document, JSON or YAML, and returns a starter
// map for a zone of the given name with its operations as routes. An operation
// is for `user` unless it says `security: []` itself, which makes it anonymous.
// What a route cannot express is left out and stands in a comment: it is denied.
func FromOpenAPI(doc []byte, name string) ([]byte, error) {
	root, err := readOpenAPI(doc)
	if err != nil {
		return nil, err
	}
	version, _ := root["openapi"].(string)
	switch {
	case root["swagger"] != nil:
		return nil, errors.New("this is Swagger 2; convert it to OpenAPI 3 first")
	case !strings.HasPrefix(version, "3."):
		return nil, fmt.Errorf("`openapi: 3.x` is missing: this is no OpenAPI 3 document")
	}
	paths, ok := root["paths"].(map[string]any)
	if !ok || len(paths) == 0 {
		return nil, errors.New("the document has no paths")
	}
	base, err := basePath(root)
	if err != nil {
		return nil, err
	}
	title := ""
	if info, ok := root["info"].(map[string]any); ok {
		title, _ = info["title"].(string)
	}
	c := conversion{mux: http.NewServeMux()}
	for _, path := range sortedKeys(paths) {
		item, ok := paths[path].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("path %s is not a mapping", quote(path))
		}
		c.path(base, path, item)
	}
	if c.count > maxOperations {
		return nil, fmt.Errorf("the document has more than %d operations; split it", maxOperations)
	}
	if c.routes == 0 {
		return nil, errors.New("the document has no operation that can be a route")
	}
	return starter(name, slug(title), c.text.String()), nil
}

// readOpenAPI reads a document into maps, lists and scalars.
func readOpenAPI(doc []byte) (root map[string]any, err error) {
	if len(doc) > maxOpenAPI {
		return nil, errors.New("the document is larger than 4 MiB")
	}
	if bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) && json.Valid(doc) {
		err = json.Unmarshal(doc, &root)
		return root, err
	}
	defer func() {
		if p := recover(); p != nil { // a fault of the YAML library must not become ours
			root, err = nil, errors.New("the document cannot be read as YAML")
		}
	}()
	r := newReader()
	if i := invalid(doc); i >= 0 {
		return nil, fmt.Errorf("%s: the document is not plain UTF-8 text", placeOf("line", doc, i))
	}
	if !r.plain("line", lexer.Tokenize(trimLines(doc)), yamlBounds{tokens: 4 * maxTokens, blocks: true}) {
		return nil, fmt.Errorf("the document cannot be read: %w", r.err())
	}
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			at := ""
			if t := syntax.GetToken(); t != nil {
				at = posOf("line", t).String() + ": "
			}
			return nil, fmt.Errorf("%snot YAML: %s", at, syntax.GetMessage())
		}
		return nil, errors.New("the document is neither JSON nor YAML")
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the document is not a mapping")
	}
	return root, nil
}

// basePath is the path of the first server: what every operation starts with.
func basePath(root map[string]any) (string, error) {
	servers, _ := root["servers"].([]any)
	if len(servers) == 0 {
		return "", nil
	}
	first, _ := servers[0].(map[string]any)
	text, _ := first["url"].(string)
	u, err := url.Parse(text)
	if err != nil || strings.Contains(u.Path, "{") {
		return "", fmt.Errorf("the url of the first server, %s, has no fixed path; write it out", quote(text))
	}
	return strings.TrimRight(u.Path, "/"), nil
}

// conversion makes routes of the operations of a document.
type conversion struct {
	mux    *http.ServeMux // finds conflicts
	text   strings.Builder
	count  int // operations seen
	routes int // of which became routes
}

func (c *conversion) path(base, path string, item map[string]any) {
	for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"} {
		op, ok := item[method].(map[string]any)
		if !ok || method == "head" && item["get"] != nil { // HEAD follows GET
			continue
		}
		if c.count++; c.count > maxOperations {
			return
		}
		original := strings.ToUpper(method) + " " + base + path
		pattern, rename := muxPath(base + path)
		rt := &Route{Method: strings.ToUpper(method), Path: pattern}
		if _, err := parseOperation(rt.Pattern()); err != nil {
			c.leaveOut(original, err)
		} else if reserved(pattern) {
			c.leaveOut(original, errors.New("the path belongs to the account service"))
		} else if why := register(c.mux, rt); why != "" {
			c.leaveOut(original, errors.New("it conflicts with another route"))
		} else {
			c.routes++
			fmt.Fprintf(&c.text, "      %s: %s\n", yamlKey(rt.Pattern()), routeText(op, paramsOf(rename, item, op)))
		}
	}
}

func (c *conversion) leaveOut(operation string, why error) {
	if f, ok := errors.AsType[*fault](why); ok {
		why = errors.New(f.text)
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, operation+": "+why.Error())
	fmt.Fprintf(&c.text, "      # left out: %s\n", text)
}

var (
	templated = regexp.MustCompile(`^\{([^{}]+)\}$`)
	notWord   = regexp.MustCompile(`[^A-Za-z0-9_]+`)
	notSlug   = regexp.MustCompile(`[^a-z0-9]+`)
	plainOp   = regexp.MustCompile(`^[A-Z]+ [A-Za-z0-9/{}._$~-]+$`)
)

// muxPath writes a path template in the syntax of ServeMux. The second value
// gives the wildcard of each template name.
func muxPath(path string) (string, map[string]string) {
	rename := map[string]string{}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if m := templated.FindStringSubmatch(s); m != nil {
			name := strings.Trim(notWord.ReplaceAllString(m[1], "_"), "_")
			if name == "" || name[0] >= '0' && name[0] <= '9' {
				name = "p" + name
			}
			rename[m[1]] = name
			segments[i] = "{" + name + "}"
		}
	}
	if last := len(segments) - 1; last > 0 && segments[last] == "" {
		segments[last] = "{$}" // exact in OpenAPI, a subtree in ServeMux
	}
	return strings.Join(segments, "/"), rename
}

// routeText is the value of a route: for users, unless the operation itself
// says that it needs no security.
func routeText(op map[string]any, params string) string {
	allow := "user"
	if list, ok := op["security"].([]any); ok && len(list) == 0 {
		allow = "anonymous"
	}
	if params == "" {
		return allow
	}
	return "{allow: " + allow + ", params: {" + params + "}}"
}

// paramsOf returns the types of the path parameters that the map knows too.
func paramsOf(rename map[string]string, item, op map[string]any) string {
	types := map[string]string{}
	shared, _ := item["parameters"].([]any)
	own, _ := op["parameters"].([]any)
	for _, p := range slices.Concat(shared, own) { // the operation's own win
		param, _ := p.(map[string]any)
		schema, _ := param["schema"].(map[string]any)
		name, _ := param["name"].(string)
		wildcard := rename[name]
		if param["in"] != "path" || wildcard == "" {
			continue
		}
		delete(types, wildcard)
		switch {
		case schema["format"] == "uuid":
			types[wildcard] = "uuid"
		case schema["format"] == "date":
			types[wildcard] = "date"
		case schema["type"] == "integer":
			types[wildcard] = "int"
		}
	}
	var list []string
	for _, name := range sortedKeys(types) {
		list = append(list, name+": "+types[name])
	}
	return strings.Join(list, ", ")
}

// slug makes a name of a service from a title.
func slug(title string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(title), "-"), "-")
	s = strings.TrimLeft(s, "0123456789-")
	if s = strings.TrimRight(s[:min(len(s), 63)], "-"); s == "" || s == "gateway" || s == "control" {
		return "api"
	}
	return s
}

func yamlKey(op string) string {
	if plainOp.MatchString(op) {
		return op
	}
	return strconv.Quote(op)
}
