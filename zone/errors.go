package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors bounds what one bad map can make us keep and print.
const maxErrors = 500

// Error is one fault of a map.
type Error struct {
	Pos  Pos
	Text string // what is wrong; never a secret
	Mend string // what to write instead
}

func (e Error) Error() string {
	if e.Mend == "" {
		return e.Pos.String() + ": " + e.Text
	}
	return e.Pos.String() + ": " + e.Text + "; " + e.Mend
}

// Errors are all faults of a map, in the order of their places.
type Errors struct {
	List []Error
	More int // faults beyond the first 500, counted and not kept
}

func (e *Errors) Error() string {
	var b strings.Builder
	for i, one := range e.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more errors", e.More)
	}
	return b.String()
}

// Unwrap gives the single errors to errors.Is and errors.As.
func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, one := range e.List {
		list[i] = one
	}
	return list
}

// String returns file:line:column, the form that editors jump to.
func (p Pos) String() string {
	if p.File == "" && p.Line == 0 {
		return "-"
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// fault is what a scalar's parser finds wrong; the reader adds the place.
type fault struct{ text, mend string }

func (f *fault) Error() string { return f.text + "; " + f.mend }

func wrong(mend, text string, args ...any) error {
	return &fault{fmt.Sprintf(text, args...), mend}
}

// quote prints a value of the map in an error. What may carry a login or a
// token (an @ with a colon, a url with a query) is left out.
func quote(s string) string {
	const most = 60
	if strings.Contains(s, "@") && strings.Contains(s, ":") || strings.Contains(s, "://") && strings.ContainsAny(s, "?#") {
		return "the value (not shown, it may hold a secret)"
	}
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

// suggest returns "did you mean X?" for the closest of the known words, or the
// words themselves when none is close.
func suggest(got string, known []string) string {
	const most = 1000 // words that are compared; a map may know ten thousand routes
	best, distance := "", 3
	for _, k := range known[:min(len(known), most)] {
		if d := edits(got, k); d < distance && d <= (len(k)+1)/3 { // half of a short word is another word
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %s?", best)
	case len(known) == 0:
		return ""
	default:
		sorted := slices.Sorted(slices.Values(known))
		return "known: " + strings.Join(sorted[:min(len(sorted), 40)], ", ")
	}
}

// edits is the number of letters to insert, delete, replace or swap with their
// neighbour to make b of a (optimal string alignment); 99 when the words are long.
func edits(a, b string) int {
	const most = 64
	if len(a) > most || len(b) > most {
		return 99
	}
	var two, one, row [most + 1]int // the rows i-2, i-1 and i of the table
	for j := range len(b) + 1 {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}

// byPlace orders faults and notices: files in the order in which they were read.
func byPlace(files []string) func(a, b Pos) int {
	return func(a, b Pos) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	}
}
