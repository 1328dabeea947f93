package zone

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// oracle answers as http.ServeMux does; ok is false when it refuses the routes.
func oracle(routes []*Route, method, path string) (answer string, code int, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.HandleFunc(rt.Pattern(), func(_ http.ResponseWriter, r *http.Request) {
			var v Values
			segments, err := parsePath(rt.Path)
			if err != nil {
				panic(err)
			}
			for _, s := range segments {
				if s.kind != literal && s.text != "" {
					v = append(v, Value{s.text, r.PathValue(s.text)})
				}
			}
			answer = show(rt, Matched, v)
		})
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || u.EscapedPath() != path {
		return "", 0, false
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, &http.Request{Method: method, URL: u, Host: "x", RequestURI: path})
	return answer, w.Code, true
}

func FuzzMatchServeMux(f *testing.F) {
	for _, routes := range []string{
		"GET /\nGET /{$}\nPOST /a", "GET /a/b/z\nGET /a/{x}/c\nGET /a/", "HEAD /{x}\nGET /{x...}\nDELETE /a/{b}/{c}/{d...}",
		"GET /a%2Fb/{x}\nGET /a/{x}\nPUT /%61/{x}", "GET /{x}/b\nGET /a/{y}", "GET /a/{$}\nGET /a\nGET /a/{b}/{$}",
	} {
		for _, path := range []string{"/", "/a", "/a/", "/a/b/c", "/a/b/", "/a%2Fb/c", "/%61/%2F", "/a/%2e%2e", "/a//b", "/a/b/c/d/e"} {
			f.Add(routes, uint8(0), path)
			f.Add(routes, uint8(1), path)
		}
	}
	methods := []string{"GET", "HEAD", "POST", "DELETE", "PUT"}
	f.Fuzz(func(t *testing.T, text string, n uint8, path string) {
		lines := strings.Split(text, "\n")
		if len(lines) > 12 || len(path) > 200 {
			return // no input of this test
		}
		routes := routesOf(lines...)
		for _, rt := range routes {
			if !slices.Contains(methods, rt.Method) || !strings.HasPrefix(rt.Path, "/") || strings.ContainsAny(rt.Path, " \t") {
				return // no input of this test
			}
			rt.EncodedSlash = true
		}
		method := methods[int(n)%len(methods)]
		m, err := NewMatcher(routes)
		want, code, ok := oracle(routes, method, path)
		if err != nil {
			if _, conflict := errors.AsType[*ConflictError](err); conflict && ok {
				t.Fatalf("%q: %v, but ServeMux takes them", lines, err)
			}
			return // stricter about paths that can never match
		}
		if !ok {
			if u, err := url.ParseRequestURI(path); err == nil && u.EscapedPath() == path {
				t.Fatalf("%q taken, but ServeMux refuses them", lines)
			}
			return
		}
		var v Values
		rt, found := m.Match(method, path, &v)
		got := show(rt, found, v)
		if _, clean := inspect(path); !clean {
			if found != NotFound {
				t.Fatalf("%q: %s %s = %s, want NotFound for a path that is not clean", lines, method, path, got)
			}
			return
		}
		switch {
		case code == http.StatusTemporaryRedirect:
			if found == Matched {
				t.Fatalf("%q: %s %s = %s, ServeMux redirects", lines, method, path, got)
			}
		case code == http.StatusMethodNotAllowed, code == http.StatusNotFound:
			// Its Allow also counts what it would redirect to, so each method is asked alone.
			var allow []string
			for _, method := range methods {
				if _, code, _ := oracle(routes, method, path); code == http.StatusOK {
					allow = append(allow, method)
				}
			}
			slices.Sort(allow)
			if (found == WrongMethod) != (len(allow) > 0) || found == Matched || !slices.Equal(m.Methods(path), allow) {
				t.Fatalf("%q: %s %s = %s, methods %q; ServeMux takes %q", lines, method, path, got, m.Methods(path), allow)
			}
		case got != want:
			t.Fatalf("%q: %s %s = %s, ServeMux finds %s", lines, method, path, got, want)
		}
		for _, rt := range routes {
			rt.EncodedSlash = false
		}
		rt, found = m.Match(method, path, &v)
		if strings.Contains(strings.ToLower(path), "%2f") {
			if found != NotFound {
				t.Fatalf("%q: %s %s = %v, want NotFound without EncodedSlash", lines, method, path, rt)
			}
		} else if now := show(rt, found, v); now != got {
			t.Fatalf("%q: %s %s = %s with EncodedSlash, %s without", lines, method, path, got, now)
		}
	})
}
