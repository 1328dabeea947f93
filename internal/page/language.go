package page

import (
	"context"
	"net/http"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// catalogue holds the texts of all languages.
type catalogue struct {
	tags       []language.Tag // the first is English, which has every text
	matcher    language.Matcher
	localizers map[language.Tag]*i18n.Localizer
}

func newCatalogue(files themeFiles) (*catalogue, error) {
	bundle, err := loadMessages(files)
	if err != nil {
		return nil, err
	}
	c := &catalogue{tags: bundle.LanguageTags(), localizers: make(map[language.Tag]*i18n.Localizer)}
	c.matcher = language.NewMatcher(c.tags)
	for _, tag := range c.tags {
		c.localizers[tag] = i18n.NewLocalizer(bundle, tag.String())
	}
	return c, nil
}

// text returns a message in a language, else in English.
func (c *catalogue) text(tag language.Tag, key string, count any, data map[string]any) (string, error) {
	text, err := c.localizers[tag].Localize(&i18n.LocalizeConfig{MessageID: key, TemplateData: data, PluralCount: count})
	if text != "" {
		err = nil // English, or the form `other`: a theme's language need not be whole
	}
	return text, err
}

type languageKey struct{}

// WithLanguage returns a context that carries the language of an account, by its
// tag (BCP 47). An empty or unknown one leaves the choice to the browser.
func WithLanguage(ctx context.Context, tag string) context.Context {
	return context.WithValue(ctx, languageKey{}, tag)
}

// acceptMax bounds what is read of Accept-Language.
const acceptMax = 200

// language chooses the language of an answer: the account's, else the browser's.
func (c *catalogue) language(r *http.Request) language.Tag {
	var wanted []language.Tag
	if own, _ := r.Context().Value(languageKey{}).(string); own != "" {
		if tag, err := language.Parse(own); err == nil {
			wanted = append(wanted, tag)
		}
	}
	if accept := r.Header.Get("Accept-Language"); accept != "" && len(accept) <= acceptMax {
		tags, _, err := language.ParseAcceptLanguage(accept)
		if err == nil {
			wanted = append(wanted, tags...)
		}
	}
	_, i, _ := c.matcher.Match(wanted...)
	return c.tags[i]
}

// Languages returns the tags of the languages that pages come in.
func (p *Pages) Languages() []string {
	list := make([]string, 0, len(p.words.tags))
	for _, tag := range p.words.tags {
		list = append(list, tag.String())
	}
	return list
}

// Language returns the tag of the language in which a request is answered: for a
// letter that the request has sent.
func (p *Pages) Language(r *http.Request) string { return p.words.language(r).String() }

// Locales are the languages that an account can choose from; chosen is its tag,
// empty for what the browser says.
func (p *Pages) Locales(r *http.Request, chosen string) []Choice {
	browser, err := p.words.text(p.words.language(r), "locale.browser", nil, nil)
	if err != nil {
		browser = "-"
	}
	list := []Choice{{Title: browser, Chosen: chosen == ""}}
	for _, tag := range p.words.tags {
		name, err := p.words.text(tag, "lang", nil, nil)
		if err != nil {
			name = tag.String()
		}
		list = append(list, Choice{Value: tag.String(), Title: name, Chosen: chosen == tag.String()})
	}
	return list
}
