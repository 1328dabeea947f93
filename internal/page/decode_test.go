package page

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

var testShape = Shape{Required: []string{"email", "password"}, Optional: []string{"next"}, Lists: []string{"scopes"}, Raw: []string{"response"}, Flags: []string{"remember"}}

func TestDecodeJSON(t *testing.T) {
	const good = `{"email":"a@b","password":"p"}`
	for _, c := range []struct{ name, body, want string }{
		{"good", good, ""},
		{"white space", " {\n\"password\" : \"p\" , \"email\":\"a@b\" } \t", ""},
		{"all fields", `{"email":"a@b","password":"p","next":"/x","remember":true}`, ""},
		{"escapes", `{"\u0065mail":"a@b","password":"\u0070"}`, ""},
		{"flag false", `{"email":"a@b","password":"p","remember":false}`, ""},
		{"empty text", `{"email":"","password":""}`, ""},
		{"nothing", ``, "the body is not JSON"},
		{"empty object", `{}`, "email: required"},
		{"missing", `{"email":"a@b"}`, "password: required"},
		{"unknown", `{"email":"a@b","password":"p","admin":true}`, "unknown field admin"},
		{"unknown and odd", `{"email":"a@b","password":"p","<b>":"x"}`, "unknown field"},
		{"other case", `{"Email":"a@b","password":"p"}`, "unknown field"},
		{"twice", `{"email":"a@b","email":"c@d","password":"p"}`, "email: given twice"},
		{"twice by escape", `{"email":"a@b","\u0065mail":"c@d","password":"p"}`, "email: given twice"},
		{"flag twice", `{"email":"a@b","password":"p","remember":false,"remember":true}`, "remember: given twice"},
		{"number", `{"email":1,"password":"p"}`, "email: want text"},
		{"null", `{"email":null,"password":"p"}`, "email: want text"},
		{"object", `{"email":{"$ne":""},"password":"p"}`, "email: want text"},
		{"array", `{"email":["a@b"],"password":"p"}`, "email: want text"},
		{"bool as text", `{"email":true,"password":"p"}`, "email: want text"},
		{"text as flag", `{"email":"a@b","password":"p","remember":"true"}`, "remember: want true or false"},
		{"number as flag", `{"email":"a@b","password":"p","remember":1}`, "remember: want true or false"},
		{"trailing object", good + good, "the body is not JSON"},
		{"trailing text", good + "x", "the body is not JSON"},
		{"trailing NUL", good + "\x00", "the body is not JSON"},
		{"top array", `[` + good + `]`, "the body is not a JSON object"},
		{"top string", `"x"`, "the body is not a JSON object"},
		{"top null", `null`, "the body is not a JSON object"},
		{"comment", `{"email":"a@b",/**/"password":"p"}`, "the body is not JSON"},
		{"last comma", `{"email":"a@b","password":"p",}`, "the body is not JSON"},
		{"single quotes", `{'email':'a@b'}`, "the body is not JSON"},
		{"BOM", "\ufeff" + good, "the body is not JSON"},
		{"not UTF-8", "{\"email\":\"a@b\",\"password\":\"\xff\"}", "the body is not JSON"},
		{"lone surrogate", `{"email":"a@b","password":"x\ud800"}`, "password: not UTF-8"},
		{"raw", `{"email":"a","password":"p","response":{"a":[{"b":1},"x",null],"c":{"a":true}}}`, ""},
		{"raw as text", `{"email":"a","password":"p","response":"{}"}`, "response: want an object"},
		{"raw as list", `{"email":"a","password":"p","response":[{}]}`, "response: want an object"},
		{"raw with a name twice", `{"email":"a","password":"p","response":{"a":1,"a":2}}`, "response: a name is given twice"},
		{"raw with a name twice in other case", `{"email":"a","password":"p","response":{"rawId":1,"rawid":2}}`, "response: a name is given twice"},
		{"raw with a name twice inside", `{"email":"a","password":"p","response":{"x":[{"a":1,"\u0061":2}]}}`, "response: a name is given twice"},
		{"raw with a lone surrogate", `{"email":"a","password":"p","response":{"x":"\ud800"}}`, "response: not UTF-8"},
		{"raw, deep", `{"email":"a","password":"p","response":{"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}}`, ""},
		{"raw, too deep", `{"email":"a","password":"p","response":{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}}`, "response: too deep"},
		{"raw, objects too deep", `{"email":"a","password":"p","response":` + strings.Repeat(`{"x":`, 17) + "1" + strings.Repeat("}", 17) + `}`, "response: too deep"},
		{"raw twice", `{"email":"a","password":"p","response":{},"response":{}}`, "response: given twice"},
		{"object in a text", `{"email":{},"password":"p"}`, "email: want text"},
		{"list", `{"email":"a","password":"p","scopes":["a","b:c"]}`, ""},
		{"list of nothing", `{"email":"a","password":"p","scopes":[]}`, ""},
		{"list of numbers", `{"email":"a","password":"p","scopes":[1]}`, "scopes: want a list of texts"},
		{"list as text", `{"email":"a","password":"p","scopes":"a b"}`, "scopes: want a list of texts"},
		{"list with an empty text", `{"email":"a","password":"p","scopes":[""]}`, "scopes: an element is empty or not text"},
		{"list with NUL", `{"email":"a","password":"p","scopes":["a\u0000b"]}`, "scopes: an element is empty or not text"},
		{"long list", `{"email":"a","password":"p","scopes":["a"` + strings.Repeat(`,"a"`, listMax) + `]}`, "scopes: too many"},
		{"deep", `{"email":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"password":"p"}`, "email: want text"},
	} {
		v, err := testShape.fromJSON([]byte(c.body))
		if got := detailOf(err); got != c.want || (err != nil && problem.ReasonOf(err) != problem.AccountInvalid) {
			t.Errorf("%s: fromJSON(%.80q) = %v, %v, want %q", c.name, c.body, v, err, c.want)
		}
		if err == nil && c.body == good && (v["email"] != "a@b" || v["password"] != "p") {
			t.Errorf("%s: fromJSON(%q) = %v", c.name, c.body, v)
		}
	}
}

func TestDecodeForm(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"good", "email=a%40b&password=p", ""},
		{"all fields", "email=a%40b&password=p&next=%2Fx&remember=on", ""},
		{"empty text", "email=&password=", ""},
		{"nothing", "", "email: required"},
		{"missing", "password=p", "email: required"},
		{"unknown", "email=a&password=p&admin=1", "unknown field admin"},
		{"unknown and odd", "email=a&password=p&%3Cb%3E=1", "unknown field"},
		{"other case", "Email=a&email=a&password=p", "unknown field"},
		{"twice", "email=a&email=b&password=p", "email: given twice"},
		{"twice and unknown", "x=a&x=b&email=a&password=p", "unknown field x"},
		{"flag off", "email=a&password=p&remember=off", "remember: want true or false"},
		{"flag empty", "email=a&password=p&remember=", "remember: want true or false"},
		{"flag twice", "email=a&password=p&remember=on&remember=on", "remember: given twice"},
		{"raw", "email=a&password=p&response=%7B%22a%22%3A1%7D", ""},
		{"raw that is not JSON", "email=a&password=p&response=x", "response: want an object"},
		{"raw that is no object", "email=a&password=p&response=%5B%5D", "response: want an object"},
		{"raw with a name twice", "email=a&password=p&response=%7B%22a%22%3A1%2C%22a%22%3A1%7D", "response: a name is given twice"},
		{"list", "email=a&password=p&scopes=a&scopes=b", ""},
		{"list with an empty text", "email=a&password=p&scopes=", "scopes: an element is empty or not text"},
		{"semicolon", "email=a;password=p", "the body is not a form"},
		{"bad escape", "email=%zz&password=p", "the body is not a form"},
		{"not UTF-8", "email=a&password=%ff", "password: not UTF-8"},
		{"overlong", "email=a&password=%c0%af", "password: not UTF-8"},
	} {
		v, err := testShape.fromForm([]byte(c.body))
		if got := detailOf(err); got != c.want || (err != nil && problem.ReasonOf(err) != problem.AccountInvalid) {
			t.Errorf("%s: fromForm(%q) = %v, %v, want %q", c.name, c.body, v, err, c.want)
		}
	}
}

func TestDecodeRequest(t *testing.T) {
	const body = `{"email":"a@b","password":"p"}`
	for _, c := range []struct {
		name, kind, encoding, body string
		want                       problem.Reason
	}{
		{"JSON", "application/json", "", body, problem.OK},
		{"JSON with charset", "application/json; charset=UTF-8", "", body, problem.OK},
		{"form", "application/x-www-form-urlencoded", "", "email=a&password=p", problem.OK},
		{"none", "", "", body, problem.RequestContent},
		{"text", "text/plain", "", body, problem.RequestContent},
		{"JSON of a kind", "application/vnd.api+json", "", body, problem.RequestContent},
		{"multipart", "multipart/form-data; boundary=x", "", body, problem.RequestContent},
		{"other charset", "application/json; charset=utf-16", "", body, problem.RequestContent},
		{"other parameter", "application/json; x=y", "", body, problem.RequestContent},
		{"broken", "application/json; charset", "", body, problem.RequestContent},
		{"gzip", "application/json", "gzip", body, problem.RequestContent},
		{"4 KiB", "application/json", "", body + strings.Repeat(" ", BodyMax-len(body)), problem.OK},
		{"4 KiB and 1", "application/json", "", body + strings.Repeat(" ", BodyMax-len(body)+1), problem.RequestBodyTooLarge},
		{"form as JSON", "application/json", "", "email=a&password=p", problem.AccountInvalid},
		{"JSON as form", "application/x-www-form-urlencoded", "", body, problem.AccountInvalid},
	} {
		for _, length := range []bool{true, false} {
			r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(c.body))
			if !length {
				r.ContentLength = -1
			}
			r.Header.Set("Content-Type", c.kind)
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
			_, _, err := Decode(r, testShape, testShape)
			if got := problem.ReasonOf(err); got != c.want {
				t.Errorf("%s, length told %v: %v, want %v", c.name, length, err, c.want)
			}
		}
	}
	r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(body))
	r.Header["Content-Type"] = []string{"application/json", "text/plain"}
	if _, _, err := Decode(r, testShape, testShape); problem.ReasonOf(err) != problem.RequestContent {
		t.Errorf("two content types: %v, want request.content", err)
	}
}

// FuzzDecodeJSON compares with encoding/json: what is taken says the same there.
func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"email":"a@b","password":"p"}`))
	f.Add([]byte(`{"email":"a@b","password":"p","remember":true,"next":"\/x"}`))
	f.Add([]byte(`{"email":"a@b","email":"c@d","password":"p"}`))
	f.Add([]byte(`{"email":"\ud83d\ude00","password":null}`))
	f.Add([]byte(`{"email":"","password":"","response":{"id":"x","response":{"a":[]}},"scopes":["a"]}`))
	f.Add([]byte(`[{}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := testShape.fromJSON(body)
		if err != nil {
			if problem.ReasonOf(err) != problem.AccountInvalid || detailOf(err) == "" {
				t.Errorf("fromJSON(%q): %v, want account.invalid with a detail", body, err)
			}
			return
		}
		var want map[string]any
		if err := json.Unmarshal(body, &want); err != nil || len(want) != len(v) {
			t.Fatalf("fromJSON(%q) = %v; encoding/json: %v, %v", body, v, want, err)
		}
		for name, got := range v {
			if list, ok := want[name].([]any); ok {
				if len(list) != len(v.List(name)) {
					t.Errorf("fromJSON(%q): %s = %q, want %v", body, name, got, list)
				}
			} else if _, ok := want[name].(map[string]any); ok {
				if !json.Valid(v.Raw(name)) {
					t.Errorf("fromJSON(%q): %s = %q, want JSON", body, name, got)
				}
			} else if b, ok := want[name].(bool); ok {
				if b != (got == "true") {
					t.Errorf("fromJSON(%q): %s = %q, want %v", body, name, got, b)
				}
			} else if want[name] != got {
				t.Errorf("fromJSON(%q): %s = %q, want %q", body, name, got, want[name])
			}
		}
	})
}

func FuzzDecodeForm(f *testing.F) {
	f.Add([]byte("email=a%40b&password=p+q&remember=on"))
	f.Add([]byte("email=a&email=b&password="))
	f.Add([]byte("email=a&password=b&response=%7B%7D&scopes=a&scopes=b"))
	f.Add([]byte("%00=1&&=&email"))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := testShape.fromForm(body)
		if err != nil {
			if problem.ReasonOf(err) != problem.AccountInvalid || detailOf(err) == "" {
				t.Errorf("fromForm(%q): %v, want account.invalid with a detail", body, err)
			}
			return
		}
		want, err := url.ParseQuery(string(body))
		if err != nil || len(want) != len(v) {
			t.Fatalf("fromForm(%q) = %v, want %v (%v)", body, v, want, err)
		}
		for name, got := range v {
			if name != "remember" && name != "scopes" && (len(want[name]) != 1 || want[name][0] != got) {
				t.Errorf("fromForm(%q): %s = %q, want %q", body, name, got, want[name])
			}
		}
	})
}

// detailOf returns the public detail of an error; "" for nil.
func detailOf(err error) string {
	if err == nil {
		return ""
	}
	w := httptest.NewRecorder()
	problem.WriteError(w, err, "")
	var doc problem.Document
	_ = json.Unmarshal(w.Body.Bytes(), &doc)
	return doc.Detail
}
