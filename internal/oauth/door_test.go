package oauth_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/internal/oauth"
)

// TestDoor holds what is refused before anything is looked up.
func TestDoor(t *testing.T) {
	w := newWorld(t)
	const form = "application/x-www-form-urlencoded"
	ok := "grant_type=client_credentials&client_id=batch&client_secret=" + url.QueryEscape(secret)
	for name, c := range map[string]struct {
		body   string
		kind   []string
		change func(*http.Request)
		status int
		code   string
	}{
		"as it should be":       {ok, []string{form}, nil, 200, ""},
		"with a charset":        {ok, []string{form + "; charset=utf-8"}, nil, 200, ""},
		"JSON":                  {`{"grant_type":"client_credentials"}`, []string{"application/json"}, nil, 415, "invalid_request"},
		"no type":               {ok, nil, nil, 415, "invalid_request"},
		"two types":             {ok, []string{form, "application/json"}, nil, 415, "invalid_request"},
		"multipart":             {ok, []string{"multipart/form-data; boundary=x"}, nil, 415, "invalid_request"},
		"a huge body":           {ok + "&x=" + strings.Repeat("a", 70<<10), []string{form}, nil, 413, "invalid_request"},
		"many parameters":       {ok + strings.Repeat("&a=", 10) + manyParams(), []string{form}, nil, 400, "invalid_request"},
		"a parameter twice":     {ok + "&grant_type=client_credentials", []string{form}, nil, 400, "invalid_request"},
		"twice, once empty":     {ok + "&scope=&scope=orders.read", []string{form}, nil, 400, "invalid_request"},
		"a broken escape":       {ok + "&scope=%zz", []string{form}, nil, 400, "invalid_request"},
		"not UTF-8":             {ok + "&scope=%ff", []string{form}, nil, 400, "invalid_request"},
		"a control character":   {ok + "&scope=a%00b", []string{form}, nil, 400, "invalid_request"},
		"a semicolon":           {ok + ";scope=admin", []string{form}, nil, 400, "invalid_request"},
		"an empty parameter":    {ok + "&scope=", []string{form}, nil, 200, ""},
		"a long scope":          {ok + "&scope=" + strings.Repeat("a", 3000), []string{form}, nil, 400, "invalid_request"},
		"a quoted scope":        {ok + "&scope=%22orders.read%22", []string{form}, nil, 400, "invalid_scope"},
		"no grant type":         {strings.TrimPrefix(ok, "grant_type=client_credentials&"), []string{form}, nil, 400, "invalid_request"},
		"in the query":          {"", []string{form}, func(r *http.Request) { r.URL.RawQuery = ok }, 400, "invalid_request"},
		"two ways":              {ok, []string{form}, func(r *http.Request) { r.SetBasicAuth("batch", secret) }, 400, "invalid_request"},
		"two clients":           {"grant_type=client_credentials&client_id=spa", []string{form}, func(r *http.Request) { r.SetBasicAuth("batch", url.QueryEscape(secret)) }, 400, "invalid_request"},
		"a bearer":              {ok, []string{form}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "invalid_client"},
		"two headers":           {ok, []string{form}, func(r *http.Request) { r.Header["Authorization"] = []string{"Basic x", "Basic y"} }, 400, "invalid_request"},
		"broken base64":         {ok, []string{form}, func(r *http.Request) { r.Header.Set("Authorization", "Basic !!") }, 401, "invalid_client"},
		"an assertion's type":   {"grant_type=client_credentials&client_assertion_type=x&client_assertion=y", []string{form}, nil, 401, "invalid_client"},
		"a public client hides": {"grant_type=refresh_token&refresh_token=x&client_id=spa&client_secret=x", []string{form}, nil, 401, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", issuer+"/oauth/token", strings.NewReader(c.body))
			r.Header["Content-Type"] = c.kind
			if c.change != nil {
				c.change(r)
			}
			a := answer{ResponseRecorder: httptest.NewRecorder()}
			w.mux.ServeHTTP(a, r)
			a.decode()
			a.want(t, c.status, c.code)
			if c.code != "" && a.Header().Get("Sallyport-Reason") == "" {
				t.Error("no reason for the record")
			}
		})
	}
	if a := w.post("/oauth/token?client_secret=x", url.Values{"grant_type": {"client_credentials"}}, basic("batch", secret)); a.Code != 200 {
		t.Errorf("a query beside: %d %s", a.Code, a.Body) // it is not read
	}
}

func manyParams() string {
	var b strings.Builder
	for i := range 70 {
		b.WriteString("&p" + strings.Repeat("x", i) + "=1")
	}
	return b.String()
}

// TestBasicEncoding: clients encode what they join (RFC 6749 section 2.3.1).
func TestBasicEncoding(t *testing.T) {
	w := newWorld(t)
	for text, good := range map[string]bool{
		"web-app:" + url.QueryEscape(secret):      true,
		"web%2Dapp:" + url.QueryEscape(secret):    true,
		"web%2dapp:" + url.QueryEscape(secret):    true,
		"web%2Dapp:" + url.QueryEscape("x"):       false,
		"web%zz:" + url.QueryEscape(secret):       false,
		"web-app%00:" + url.QueryEscape(secret):   false,
		"web-app":                                 false,
		":" + url.QueryEscape(secret):             false,
		"web-app:" + url.QueryEscape(secret) + "": true,
	} {
		a := w.post("/oauth/introspect", url.Values{"token": {"x"}}, header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text))))
		if (a.Code == 200) != good {
			t.Errorf("%q: %d %s", text, a.Code, a.Body)
		}
	}
}

// TestCrossOrigin: pages of public clients may ask, others may not.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	for path, origins := range map[string]map[string]string{
		"/oauth/token":                      {"https://spa.example": "https://spa.example", "https://client.example": "", "https://evil.example": "", "null": "", "": "", "http://spa.example": ""},
		"/oauth/userinfo":                   {"https://spa.example": "https://spa.example", "https://evil.example": ""},
		"/.well-known/jwks.json":            {"https://evil.example": "*"},
		"/.well-known/openid-configuration": {"https://evil.example": "*"},
	} {
		for origin, want := range origins {
			r := httptest.NewRequest("OPTIONS", issuer+path, nil)
			r.Header.Set("Access-Control-Request-Method", "POST")
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			a := httptest.NewRecorder()
			w.mux.ServeHTTP(a, r)
			h := a.Header()
			if got := h.Get("Access-Control-Allow-Origin"); a.Code != 204 || got != want || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %d %q, want %q", path, origin, a.Code, got, want)
			}
		}
	}
	a := w.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {"spa"}}, header("Origin", "https://spa.example"))
	if a.Header().Get("Access-Control-Allow-Origin") != "https://spa.example" || !strings.Contains(a.Header().Get("Access-Control-Expose-Headers"), "DPoP-Nonce") {
		t.Errorf("answer %v", a.Header())
	}
}

// TestPosted: what is posted to the authorization and logout endpoints goes on
// with GET, where the browser sends its session.
func TestPosted(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	v := authorization("web-app", callback, "openid")
	r := httptest.NewRequest("POST", issuer+"/oauth/authorize", strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	a := b.do(r)
	to := leads(t, a)
	if to.Path != "/oauth/authorize" || to.Host != "" {
		t.Fatalf("%d %s", a.Code, to)
	}
	if q := leads(t, b.get(to.RequestURI())).Query(); q.Get("code") == "" {
		t.Errorf("no code: %v", q)
	}
	r = httptest.NewRequest("POST", issuer+"/oauth/logout", strings.NewReader("client_id=web-app"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if to := leads(t, b.do(r)); to.String() != "/oauth/logout?client_id=web-app" {
		t.Errorf("to %s", to)
	}
	for _, path := range []string{"/oauth/logout", "/oauth/consent"} {
		r := httptest.NewRequest("POST", issuer+path, strings.NewReader("flow="+strings.Repeat("A", 43)+"&decision=allow"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if a := b.do(r); a.Code != 403 {
			t.Errorf("%s from another site: %d", path, a.Code)
		}
	}
}

// TestTrapPushed is T8: what stands beside a request_uri is not looked at, and no
// error leads to a place of nobody's choosing.
func TestTrapPushed(t *testing.T) {
	w := newWorld(t)
	push := func() string {
		return w.post("/oauth/par", authorization("web-app", callback, "openid"), basic("web-app", secret)).want(t, 201, "").text("request_uri")
	}
	for name, more := range map[string]url.Values{
		"a bad response type": {"response_type": {"token"}},
		"another redirect":    {"redirect_uri": {"https://evil.example/"}},
		"another scope":       {"scope": {"orders.write"}},
		"a bad mode":          {"response_mode": {"fragment"}},
	} {
		q := with(url.Values{"client_id": {"web-app"}, "request_uri": {push()}}, more)
		to := leads(t, w.browser().get("/oauth/authorize?"+q.Encode()))
		if !strings.HasPrefix(to.String(), callback+"?") || to.Query().Get("code") == "" {
			t.Errorf("%s: %s", name, to)
		}
	}
	for name, q := range map[string]url.Values{
		"another client": {"client_id": {"spa"}, "request_uri": {push()}},
		"an unknown one": {"client_id": {"web-app"}, "request_uri": {"urn:ietf:params:oauth:request_uri:" + strings.Repeat("A", 43)}},
		"an empty one":   {"client_id": {"web-app"}, "request_uri": {"urn:ietf:params:oauth:request_uri:"}},
	} {
		if a := w.browser().get("/oauth/authorize?" + q.Encode()); a.Code < 400 {
			t.Errorf("%s: %d %s", name, a.Code, leads(t, a))
		}
	}
	for name, v := range map[string]url.Values{
		"another redirect": authorization("web-app", "https://evil.example/", "openid"), "in capitals": authorization("web-app", "HTTPS://client.example/cb", "openid"), // T6
		"a fragment": authorization("web-app", callback+"#", "openid"), "pushed twice": authorization("web-app", callback, "openid", "request_uri", "urn:x"),
		"no challenge": with(authorization("web-app", callback, "openid"), url.Values{"code_challenge": {"x"}}), "a request object": authorization("web-app", callback, "openid", "request", "x"),
	} {
		if a := w.post("/oauth/par", v, basic("web-app", secret)); a.Code != 400 {
			t.Errorf("pushed with %s: %d %s", name, a.Code, a.Body)
		}
	}
	w.post("/oauth/par", authorization("web-app", callback, "openid")).want(t, 401, "invalid_client")
	w.post("/oauth/par", authorization("spa", "https://spa.example/cb", "openid")).want(t, 201, "")
}

// FuzzForm: no query or body has the door fall over, and what it takes says each
// thing once.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"", "a=b", "a=b&a=c", "%zz", "a=%ff", "resource=a&resource=b", "client_id=%00", "a;b", "code_challenge=" + challenge(verifier), strings.Repeat("a=", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := oauth.ParseForm(text)
		if err != nil {
			return
		}
		for name, values := range got {
			if len(values) != 1 && name != "resource" && name != "audience" {
				t.Errorf("%q is there %d times", name, len(values))
			}
		}
		_ = oauth.CheckAuthorization(got)
	})
}

// FuzzBasic: what it reads has no control characters and a client id that can be one.
func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"Basic eDp5", "basic eDp5", "Basic", "Basic !!", "Bearer x", "Basic OnkK", "Basic " + base64.StdEncoding.EncodeToString([]byte("a%3Ab:c"))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, err := oauth.ParseBasic(text)
		if err == nil && (id == "" || strings.ContainsAny(id, ":\x00\r\n") || strings.ContainsAny(secret, "\x00\r\n")) {
			t.Errorf("%q %q", id, secret)
		}
	})
}

// FuzzRedirect: what passes is one of the registered, but for the port.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", "http://127.0.0.1:1@evil/cb", "http://127.0.0.1:1:2/cb", "http://127.0.0.1:/cb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !oauth.SameButPort("http://127.0.0.1/cb", text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() != "127.0.0.1" || u.Path != "/cb" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Port() == "" {
			t.Errorf("%q passes", text)
		}
	})
}
