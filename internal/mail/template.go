package mail

import (
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"
)

// A letter is made of four files: its own text and HTML, the frame around it
// that all share, and the parts that all of a language share. The text begins
// with a line `Subject: ...` and an empty one.
const subjectLine = "Subject: "

// strict makes a key that is not there an error.
const strict = "missingkey=error"

// parse puts a letter together.
func (f templates) parse(kind, language string) (*template, error) {
	text, html := f[kind+"."+language+".txt.tmpl"], f[kind+"."+language+".html.tmpl"]
	t := &template{}
	first, body, found := strings.Cut(strings.ReplaceAll(text.text, "\r\n", "\n"), "\n\n")
	subject, there := strings.CutPrefix(first, subjectLine)
	if !found || !there || strings.Contains(first, "\n") {
		return nil, fmt.Errorf("mail: %s: begin it with a line `%s...` and an empty line", text.file, subjectLine)
	}
	funcs := map[string]any{"date": func(at string) (string, error) { return date(at, language) }}

	var err error
	if t.subject, err = texttemplate.New(text.file).Option(strict).Funcs(funcs).Parse(subject); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	frame, frameHTML := f["frame.txt.tmpl"], f["frame.html.tmpl"]
	parts, partsHTML := f["parts."+language+".txt.tmpl"], f["parts."+language+".html.tmpl"]

	// Templates are named after their files, so that errors name these.
	t.text = texttemplate.New("").Option(strict).Funcs(funcs)
	for _, part := range []source{frame, parts, {body, text.file}} {
		parsed, err := t.text.New(part.file).Parse(part.text)
		if err == nil && part.file == text.file {
			_, err = t.text.AddParseTree(letterName, parsed.Tree)
		}
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
	}
	t.html = htmltemplate.New("").Option(strict).Funcs(funcs)
	for _, part := range []source{frameHTML, partsHTML, html} {
		parsed, err := t.html.New(part.file).Parse(part.text)
		if err == nil && part.file == html.file {
			_, err = t.html.AddParseTree(letterName, parsed.Tree)
		}
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
	}
	for _, name := range []string{"footer", "event", "guess"} {
		if t.text.Lookup(name) == nil {
			return nil, fmt.Errorf("mail: %s: it defines no template %q", parts.file, name)
		}
		if t.html.Lookup(name) == nil {
			return nil, fmt.Errorf("mail: %s: it defines no template %q", partsHTML.file, name)
		}
	}
	t.text, t.html = t.text.Lookup(frame.file), t.html.Lookup(frameHTML.file)
	return t, nil
}

// letterName is what the frame calls the letter inside.
const letterName = "letter"

// date writes a time as people of a language do, in UTC: the reader's zone is
// not known.
func date(at, language string) (string, error) {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return "", fmt.Errorf("not a time: %w", err)
	}
	t = t.UTC()
	if language == "de" {
		months := []string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}
		return fmt.Sprintf("%d. %s %d, %s Uhr (UTC)", t.Day(), months[t.Month()-1], t.Year(), t.Format("15:04")), nil
	}
	return t.Format("2 January 2006, 15:04 (UTC)"), nil
}
