package page

import (
	"errors"
	"net/http"
	"time"

	"golang.org/x/text/language"
)

// frame is what a template sees: the view as .Page, what stands around it, and
// the texts in the visitor's language. It serves one answer.
type frame struct {
	Page    View
	Refusal *Refusal
	Zone    string
	Lang    string
	User    string // who is logged in; empty: nobody, or it does not matter here

	pages   *Pages
	tag     language.Tag
	now     time.Time
	focused bool            // an input has the focus
	inputs  map[string]bool // the inputs of the page; nil: not gone through
}

func (p *Pages) frame(r *http.Request, v View, refusal *Refusal) *frame {
	tag := p.words.language(r)
	f := &frame{Page: v, Zone: p.zone, Lang: tag.String(), pages: p, tag: tag, now: p.clock()}
	f.User, _ = r.Context().Value(userKey{}).(string)
	if refusal != nil {
		f.Refusal = refusal.on(v)
	}
	if _, ok := v.(Account); ok {
		f.focused = refusal == nil // nothing there waits to be filled in
	}
	return f
}

// Asset is the address of a file of ours.
func (f *frame) Asset(name string) string { return f.pages.address(name) }

// Dir is the direction in which the language is written.
func (f *frame) Dir() string {
	switch script, _ := f.tag.Script(); script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm":
		return "rtl"
	}
	return "ltr"
}

// Next adds the way back to a path of ours.
func (f *frame) Next(path, next string) string { return withNext(path, LocalPath(next, "")) }

// Wide says whether the page needs room.
func (f *frame) Wide() bool { _, ok := f.Page.(Account); return ok }

// T is the text of a key. Pairs are the names and values that it speaks of.
func (f *frame) T(key string, pairs ...any) (string, error) {
	data, err := named(pairs)
	if err != nil {
		return "", err
	}
	return f.pages.words.text(f.tag, key, nil, data)
}

// N is the text of a key for a number of things, by the plural rules of the
// language; the text has the number as .N.
func (f *frame) N(key string, n int, pairs ...any) (string, error) {
	data, err := named(append(pairs, "N", n))
	if err != nil {
		return "", err
	}
	return f.pages.words.text(f.tag, key, n, data)
}

// Say is the text of a key that comes from elsewhere; one that is not known is
// shown as it is.
func (f *frame) Say(key string) string {
	text, err := f.T(key)
	if err != nil {
		return key
	}
	return text
}

// Or is the text of the first key that there is.
func (f *frame) Or(keys ...string) (string, error) {
	for _, key := range keys {
		if text, err := f.T(key); err == nil {
			return text, nil
		}
	}
	return "", errors.New("no text for any of the keys")
}

func named(pairs []any) (map[string]any, error) {
	data := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok || i+1 == len(pairs) {
			return nil, errors.New("the values of a text come as pairs of name and value")
		}
		data[name] = pairs[i+1]
	}
	return data, nil
}
