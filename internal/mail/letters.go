package mail

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net"
	"net/url"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/zone"
)

const (
	maxText = 300  // characters of a value that is text
	maxLink = 2000 // bytes
)

// Letters are the templates, with those of the theme in their place. Safe for
// concurrent use.
type Letters struct {
	zone string
	base string
	all  map[string]*template // by kind.language
}

// template is one letter in one language.
type template struct {
	subject, text *texttemplate.Template
	html          *htmltemplate.Template
}

// OpenLetters reads the templates. base is where the zone's pages are
// (https://host[:port]); empty: the first host of identity's listener. The
// folder letters of the zone's theme may replace each file by one of its name;
// one that cannot be used is an error that names it.
func OpenLetters(z *zone.Zone, base string) (*Letters, error) {
	if base == "" {
		base = baseOf(z)
	}
	if u, err := url.Parse(base); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != base {
		return nil, errors.New("mail: the base of links is not like https://shop.example")
	}
	l := &Letters{zone: z.Name, base: base, all: map[string]*template{}}
	files, err := readTemplates(z.Identity.Theme)
	if err != nil {
		return nil, err
	}
	for _, language := range Languages() {
		for _, kind := range Kinds() {
			need := needs()[kind]
			t, err := files.parse(kind, language)
			if err != nil {
				return nil, err
			}
			l.all[kind+"."+language] = t
			for _, full := range []bool{true, false} {
				if _, err := l.Compose(kind, language, l.sample(need, full)); err != nil {
					return nil, err
				}
			}
		}
	}
	return l, nil
}

// baseOf is where the listener of identity is reached from outside.
func baseOf(z *zone.Zone) string {
	host, port := z.Name, ""
	if l := z.Listener(z.Identity.Listener); l != nil {
		if len(l.Hosts) > 0 {
			host = l.Hosts[0]
		}
		_, port, _ = net.SplitHostPort(l.Address)
	}
	if port != "" && port != "443" {
		return "https://" + net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "https://" + host
}

// sample is data for a first try of a letter: full, or without what may be empty.
func (l *Letters) sample(n need, full bool) map[string]string {
	data := map[string]string{}
	for _, key := range n {
		name, optional := strings.CutSuffix(key, "?")
		switch {
		case optional && !full:
			data[name] = ""
		case isLink(name):
			data[name] = l.base + "/auth/login"
		case isTime(name):
			data[name] = "2026-01-02T15:04:05Z"
		default:
			data[name] = "X"
		}
	}
	return data
}

func isLink(key string) bool { return key == "link" || key == "recover" }
func isTime(key string) bool { return key == "at" || key == "expires" || key == "due" }

// Compose writes a letter of one of Kinds, without its address. A language there
// are no templates for gets English. What the kind needs must be there: links
// lead to the zone, times are RFC 3339. Other texts are cut and made one line.
func (l *Letters) Compose(kind, language string, data map[string]string) (Letter, error) {
	need, known := needs()[kind]
	if !known {
		return Letter{}, fmt.Errorf("mail: there is no letter %q", kind)
	}
	language = languageOf(language)
	t := l.all[kind+"."+language]
	values := map[string]string{"zone": l.zone, "base": l.base, "language": language}
	for _, key := range need {
		name, optional := strings.CutSuffix(key, "?")
		value, there := data[name]
		if !there || value == "" && !optional {
			return Letter{}, fmt.Errorf("mail: letter %s: %s is missing", kind, name)
		}
		var err error
		if values[name], err = l.value(name, value); err != nil {
			return Letter{}, fmt.Errorf("mail: letter %s: %w", kind, err)
		}
	}
	var out bytes.Buffer
	if err := t.subject.Execute(&out, values); err != nil {
		return Letter{}, fmt.Errorf("mail: %w", err)
	}
	letter := Letter{Subject: oneLine(out.String(), maxSubject)}
	values["subject"] = letter.Subject
	out.Reset()
	if err := t.text.Execute(&out, values); err != nil {
		return Letter{}, fmt.Errorf("mail: %w", err)
	}
	letter.Text = out.String()
	out.Reset()
	if err := t.html.Execute(&out, values); err != nil {
		return Letter{}, fmt.Errorf("mail: %w", err)
	}
	letter.HTML = out.String()
	return letter, nil
}

// value checks one value of a letter's data. No error shows it.
func (l *Letters) value(name, value string) (string, error) {
	switch {
	case isLink(name):
		if u, err := url.Parse(value); err != nil || len(value) > maxLink || !strings.HasPrefix(value, l.base+"/") || u.Scheme+"://"+u.Host != l.base ||
			strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", fmt.Errorf("%s does not lead to %s/", name, l.base)
		}
	case isTime(name):
		if _, err := time.Parse(time.RFC3339, value); err != nil {
			return "", fmt.Errorf("%s is not a time such as 2026-01-02T15:04:05Z", name)
		}
	default:
		return oneLine(value, maxText), nil
	}
	return value, nil
}

// oneLine makes a text one line of so many characters: who chose it cannot
// write a letter of their own with it.
func oneLine(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	}), " ")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// languageOf is the language of our templates that fits a tag best.
func languageOf(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if list := Languages(); !slices.Contains(list, primary) {
		return list[0]
	}
	return primary
}
