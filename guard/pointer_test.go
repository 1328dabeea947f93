package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParsePointer(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want pointer
		bad  bool
	}{
		{"", pointer{}, false},
		{"/", pointer{""}, false},
		{"/customer", pointer{"customer"}, false},
		{"/a/0/b", pointer{"a", "0", "b"}, false},
		{"/a~1b/m~0n", pointer{"a/b", "m~n"}, false},
		{"/~01", pointer{"~1"}, false},
		{"customer", nil, true},
		{"/~", nil, true},
		{"/~2", nil, true},
	} {
		got, err := parsePointer(tt.in)
		if (err != nil) != tt.bad || !slices.Equal(got, tt.want) {
			t.Errorf("parsePointer(%q) = %q, %v; want %q, error %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

func TestValueAt(t *testing.T) {
	many := func(last string) string {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		return `{` + b.String() + `"customer":"u1",` + last + `}`
	}
	for _, tt := range []struct {
		doc, pointer, want string
		err                error
	}{
		{`{"customer":"u1"}`, "/customer", "u1", nil},
		{" \n{ \"a\" : [ {\"b\":1}, {\"customer\" : \"u1\" } ] }\t", "/a/1/customer", "u1", nil},
		{`{"customer":42}`, "/customer", "42", nil},
		{`{"customer":-4.50e1}`, "/customer", "-4.50e1", nil},
		{`"u1"`, "", "u1", nil},
		{`["u0","u1"]`, "/1", "u1", nil},
		{`{"a/b":"u1"}`, "/a~1b", "u1", nil},
		{`{"":"u1"}`, "/", "u1", nil},
		{`{"customer":"u\u0031"}`, "/customer", "u1", nil},
		{`{"c\u0075stomer":"u1"}`, "/customer", "u1", nil},
		{`{"customer":""}`, "/customer", "", nil},
		{`{"a":{"x":1},"b":{"x":2},"customer":"u1"}`, "/customer", "u1", nil},
		{many(`"z":1`), "/customer", "u1", nil},
		{`{"x":"a\\","customer":"u1"}`, "/customer", "u1", nil},

		{`{"customer":"u1","customer":"u1"}`, "/customer", "", errDuplicate},
		{`{"customer":"u1","c\u0075stomer":"u2"}`, "/customer", "", errDuplicate},
		{`{"customer":"u1","x":{"a":1,"a":2}}`, "/customer", "", errDuplicate},
		{`{"customer":"u1","x":[{"a":1},{"a":1,"b":[],"a":2}]}`, "/customer", "", errDuplicate},
		{many(`"m7":1`), "/customer", "", errDuplicate},
		{many(`"customer":"u1"`), "/customer", "", errDuplicate},

		{`{"Customer":"u1"}`, "/customer", "", errNoOwner},
		{`{"customer":null}`, "/customer", "", errNoOwner},
		{`{"customer":true}`, "/customer", "", errNoOwner},
		{`{"customer":["u1"]}`, "/customer", "", errNoOwner},
		{`{"customer":{"id":"u1"}}`, "/customer", "", errNoOwner},
		{`{"a":{"customer":"u1"}}`, "/customer", "", errNoOwner},
		{`["u1"]`, "/00", "", errNoOwner},
		{`["u1"]`, "/-", "", errNoOwner},
		{`["u1"]`, "/", "", errNoOwner},
		{`[]`, "/0", "", errNoOwner},
		{`{}`, "", "", errNoOwner},

		{``, "/customer", "", errNotJSON},
		{`{"customer":"u1"`, "/customer", "", errNotJSON},
		{`{"customer":"u1"}{"customer":"u2"}`, "/customer", "", errNotJSON},
		{`{"customer":"u1"},`, "/customer", "", errNotJSON},
		{"\ufeff" + `{"customer":"u1"}`, "/customer", "", errNotJSON},
		{`{"customer":"u1` + "\xff" + `"}`, "/customer", "", errNotJSON},
		{`{customer:"u1"}`, "/customer", "", errNotJSON},
		{strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), "/0", "", errNoOwner},
		{strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "/0", "", errDepth},
	} {
		p, err := parsePointer(tt.pointer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := valueAt([]byte(tt.doc), p)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("valueAt(%s, %q) = %q, %v; want %q, %v", tt.doc, tt.pointer, got, err, tt.want, tt.err)
		}
	}
}

// oracle reads the same with encoding/json's decoder, token by token.
func oracle(dec *json.Decoder, p pointer, at bool, depth int) (owner string, found bool, err error) {
	tok, err := dec.Token()
	if err != nil {
		return "", false, err
	}
	here := at && len(p) == 0
	switch tok := tok.(type) {
	case json.Delim:
		if depth++; depth > maxDepth {
			return "", false, errDepth
		}
		seen := map[string]bool{}
		for i := 0; dec.More(); i++ {
			name := strconv.Itoa(i)
			if tok == '{' {
				key, err := dec.Token()
				if err != nil {
					return "", false, err
				}
				name = key.(string)
				if seen[name] {
					return "", false, errDuplicate
				}
				seen[name] = true
			}
			next, leads := pointer(nil), at && len(p) > 0 && p[0] == name
			if leads {
				next = p[1:]
			}
			o, f, err := oracle(dec, next, leads, depth)
			if err != nil {
				return "", false, err
			}
			if f {
				owner, found = o, true
			}
		}
		_, err = dec.Token()
		return owner, found, err
	case string:
		return tok, here, nil
	case json.Number:
		return tok.String(), here, nil
	default:
		return "", false, nil
	}
}

func FuzzValueAt(f *testing.F) {
	for _, doc := range []string{
		`{"customer":"u1"}`, `{"a":[{"customer":42},null,true]}`, `{"customer":"u1","c\u0075stomer":"u2"}`, `[1,[2,[3]]]`,
		`"\ud800"`, `{"\ud800":1,"\ud801":2}`, `{"a":"\\\"","b":{}}`, "{\"a\":\"\xff\"}", `{} {}`, ``, `-0.0e+1`,
	} {
		f.Add([]byte(doc), "/customer")
		f.Add([]byte(doc), "/a/0/customer")
		f.Add([]byte(doc), "")
	}
	f.Fuzz(func(t *testing.T, doc []byte, text string) {
		p, err := parsePointer(text)
		if err != nil {
			return // no input of this test
		}
		got, err := valueAt(doc, p)
		if errors.Is(err, errNotJSON) {
			return // stricter: checked by the table
		}
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		want, found, wantErr := oracle(dec, p, true, 0)
		if wantErr == nil {
			if _, err := dec.Token(); err != io.EOF {
				wantErr = errNotJSON
			} else if !found {
				wantErr = errNoOwner
			}
		}
		if wantErr != nil {
			want = ""
		}
		if got != want || !errors.Is(err, wantErr) {
			t.Fatalf("valueAt(%q, %q) = %q, %v; the oracle reads %q, %v", doc, text, got, err, want, wantErr)
		}
	})
}

func BenchmarkValueAt(b *testing.B) {
	doc := []byte(`{"id":"0190163d-8694-739b-aea5-966c26f8ad91","customer":"usr_4f2a","lines":[` +
		strings.Repeat(`{"sku":"ABC-1","count":2,"price":{"amount":1999,"currency":"EUR"}},`, 9) + `{"sku":"Z"}],"total":"179.91"}`)
	p := pointer{"customer"}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := valueAt(doc, p); err != nil {
			b.Fatal(err)
		}
	}
}
