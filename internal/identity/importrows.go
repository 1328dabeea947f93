package identity

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The forms of a file of users.
const (
	ImportCSV  = "csv"  // a line of column names, then a line each
	ImportJSON = "json" // an object a line
)

// The bounds of a file of users.
const (
	importRows = 250_000
	importLine = 16 << 10 // bytes
	importHash = 1 << 10  // bytes of a password hash
)

// importColumns are the columns that a file may have.
var importColumns = []string{"email", "password", "name", "roles", "verified", "created"}

// importRow is a row as it was read.
type importRow struct {
	line   int
	fields map[string]string
	fault  string // why it cannot be read; empty: it can
}

// errImport is a fault of the file as a whole, told as it is.
type errImport struct{ text string }

func (e errImport) Error() string { return e.text }

// readImport calls yield with each row of a file until it says no more.
func readImport(r io.Reader, format string, yield func(importRow) error) error {
	br := bufio.NewReaderSize(r, importLine)
	if b, _ := br.Peek(3); bytes.Equal(b, []byte("\uFEFF")) { // which some editors write
		_, _ = br.Discard(3)
	}
	switch format {
	case ImportCSV:
		return readImportCSV(br, yield)
	case ImportJSON:
		return readImportJSON(br, yield)
	}
	return errImport{"the format is csv or json"}
}

func readImportCSV(r io.Reader, yield func(importRow) error) error {
	lines := csv.NewReader(&boundedLines{r: r})
	lines.ReuseRecord = true
	names, err := lines.Read()
	if errors.Is(err, io.EOF) {
		return errImport{"the file is empty: its first line names the columns"}
	}
	if err != nil {
		return csvFault(err)
	}
	names = slices.Clone(names)
	for i, n := range names {
		names[i] = strings.ToLower(strings.TrimSpace(n))
		if !slices.Contains(importColumns, names[i]) {
			return errImport{fmt.Sprintf("line 1: there is no column %.40q; the columns are %s", n, strings.Join(importColumns, ", "))}
		}
		if slices.Contains(names[:i], names[i]) {
			return errImport{fmt.Sprintf("line 1: the column %s stands twice", names[i])}
		}
	}
	if !slices.Contains(names, "email") {
		return errImport{"line 1: there is no column email"}
	}
	lines.FieldsPerRecord = -1
	for {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvFault(err)
		}
		line, _ := lines.FieldPos(0)
		row := importRow{line: line, fields: map[string]string{}}
		if len(record) != len(names) {
			row.fault = fmt.Sprintf("%d fields, where line 1 names %d", len(record), len(names))
		} else {
			for i, n := range names {
				row.fields[n] = record[i]
			}
		}
		if err := yield(row); err != nil {
			return err
		}
	}
}

// csvFault tells where a file is no CSV. Such an error holds no text of the file.
func csvFault(err error) error {
	var fault *csv.ParseError
	if errors.As(err, &fault) {
		return errImport{fmt.Sprintf("line %d: %v", fault.Line, fault.Err)}
	}
	return err
}

// boundedLines refuses a file with a line that is longer than a row can be: CSV
// would read it whole.
type boundedLines struct {
	r io.Reader
	n int
}

func (b *boundedLines) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	for rest := p[:n]; ; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			b.n += len(rest)
			break
		}
		if b.n+end > importLine {
			b.n += end
			break
		}
		b.n, rest = 0, rest[end+1:]
	}
	if b.n > importLine {
		return 0, errImport{fmt.Sprintf("a line is longer than %d bytes", importLine)}
	}
	return n, err
}

func readImportJSON(r *bufio.Reader, yield func(importRow) error) error {
	for line := 1; ; line++ {
		text, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return errImport{fmt.Sprintf("line %d: longer than %d bytes", line, importLine)}
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			row := importRow{line: line}
			row.fields, row.fault = importObject(text)
			if err := yield(row); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// importObject reads one object: texts, a list of roles, verified as a truth.
func importObject(text []byte) (map[string]string, string) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, "not JSON"
	}
	d := json.NewDecoder(bytes.NewReader(text)) // by tokens: Unmarshal would take a repeated name
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, "not a JSON object"
	}
	fields := map[string]string{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		if err != nil || !slices.Contains(importColumns, name) {
			return nil, fmt.Sprintf("there is no member %.40q; the members are %s", name, strings.Join(importColumns, ", "))
		}
		if _, twice := fields[name]; twice {
			return nil, name + " stands twice"
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, "not JSON"
		}
		switch v := value.(type) {
		case string:
			if name == "verified" || name == "roles" {
				return nil, name + ": want " + map[string]string{"verified": "true or false", "roles": "a list"}[name]
			}
			fields[name] = v
		case bool:
			if name != "verified" {
				return nil, name + ": want text"
			}
			fields[name] = fmt.Sprint(v)
		case []any:
			if name != "roles" {
				return nil, name + ": want text"
			}
			var roles []string
			for _, e := range v {
				role, ok := e.(string)
				if !ok || strings.ContainsAny(role, " \t\r\n") {
					return nil, "roles: want names"
				}
				roles = append(roles, role)
			}
			fields[name] = strings.Join(roles, " ")
		case nil:
			fields[name] = ""
		default:
			return nil, name + ": want text"
		}
	}
	return fields, ""
}

// importTruth reads verified.
func importTruth(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "", "false", "no", "0":
		return false, nil
	case "true", "yes", "1":
		return true, nil
	}
	return false, errors.New("verified: want true or false")
}

// importTime reads created.
func importTime(text string, now time.Time) (time.Time, error) {
	if text = strings.TrimSpace(text); text == "" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			if at.After(now) || at.Year() < 1970 {
				return time.Time{}, errors.New("created: not a time between 1970 and now")
			}
			return at, nil
		}
	}
	return time.Time{}, errors.New("created: want a time such as 2026-01-02T15:04:05Z")
}
