package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed messages
var messages embed.FS

// ownKeys is how keys begin that a theme adds for templates of its own.
const ownKeys = "theme."

// mention is a value that a text speaks of, the only thing a text may hold
// besides itself.
var mention = regexp.MustCompile(`\{\{\.([A-Za-z]+)\}\}`)

// loadMessages reads the texts of all languages: ours, then the theme's.
func loadMessages(files themeFiles) (*i18n.Bundle, error) {
	bundle := i18n.NewBundle(language.English)
	bundle.RegisterUnmarshalFunc("json", json.Unmarshal)
	english := map[string][]string{} // by key: what its text mentions
	ours, err := messages.ReadDir("messages")
	if err != nil {
		return nil, err
	}
	add := func(tag string, text []byte) error {
		if parsed, err := language.Parse(tag); err != nil || parsed.String() != tag {
			return fmt.Errorf("%q is not a language tag (BCP 47) in its usual form, such as fr or pt-BR", tag)
		}
		if err := checkMessages(text, tag == "en" && len(english) == 0, english); err != nil {
			return err
		}
		_, err := bundle.ParseMessageFileBytes(text, tag+".json")
		return err
	}
	names := []string{"en.json"} // first: the others are held against it
	for _, f := range ours {
		if f.Name() != "en.json" {
			names = append(names, f.Name())
		}
	}
	for _, name := range names {
		text, err := messages.ReadFile("messages/" + name)
		if err == nil {
			err = add(strings.TrimSuffix(name, ".json"), text)
		}
		if err != nil {
			return nil, fmt.Errorf("messages/%s: %w", name, err)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(files.messages)) {
		if err := add(tag, files.messages[tag]); err != nil {
			return nil, fmt.Errorf("theme %s: %w", path.Join(files.folder, "messages", tag+".json"), err)
		}
	}
	return bundle, nil
}

// checkMessages reads a file of texts: each is a text, or one text for each
// plural form that the language has. English defines the keys and what their
// texts may mention.
func checkMessages(file []byte, defines bool, english map[string][]string) error {
	var texts map[string]json.RawMessage
	if err := json.Unmarshal(file, &texts); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		forms := map[string]string{}
		var one string
		if json.Unmarshal(texts[key], &one) == nil {
			forms["other"] = one
		} else if err := json.Unmarshal(texts[key], &forms); err != nil {
			return fmt.Errorf("%s: want a text, or a text for each plural form", key)
		}
		if forms["other"] == "" {
			return fmt.Errorf("%s: the text is empty or has no form `other`", key)
		}
		allowed, known := english[key]
		if !known && !defines && !strings.HasPrefix(key, ownKeys) {
			return fmt.Errorf("%s: there is no text of this key; keys of a theme's own begin with %s", key, ownKeys)
		}
		for form, text := range forms {
			if !slices.Contains([]string{"zero", "one", "two", "few", "many", "other"}, form) {
				return fmt.Errorf("%s: %q is no plural form", key, form)
			}
			for _, m := range mention.FindAllStringSubmatch(text, -1) {
				if defines {
					english[key] = append(english[key], m[1])
				} else if known && !slices.Contains(allowed, m[1]) {
					return fmt.Errorf("%s: {{.%s}} is not known here; it may mention %q", key, m[1], allowed)
				}
			}
			if rest := mention.ReplaceAllString(text, ""); strings.Contains(rest, "{{") {
				return fmt.Errorf("%s: a text may hold {{.Name}} and nothing else in braces", key)
			}
		}
		if defines && english[key] == nil {
			english[key] = []string{}
		}
	}
	return nil
}
