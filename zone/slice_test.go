package zone

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sliceZone is a resolved zone that says something in every member of a slice.
func sliceZone() *Zone {
	orders := &Service{
		Name: "orders", Embedded: true, Health: "/healthz",
		Upstreams: []Upstream{{Scheme: "https", Network: "tcp", Address: "127.0.0.1:9002"}},
		Routes: []*Route{
			{Listener: "public", Method: "GET", Path: "/orders/{id}", Allow: AllowUser, Owner: Owner{OwnerResponse, "/customer"},
				Params: []Param{{Name: "id", Kind: ParamUUID}, {Name: "lang", Kind: ParamEnum, Enum: []string{"de", "en"}}, {Name: "sku", Kind: ParamRegexp, Regexp: "[A-Z]+"}}},
			{Listener: "public", Method: "DELETE", Path: "/orders/{id}", Allow: AllowUser | AllowKey, Roles: []string{"support"},
				Scopes: []string{"orders.write"}, NotEnforced: []string{"mfa"}},
			{Listener: "public", Method: "GET", Path: "/files/{name}", Allow: AllowAnonymous | AllowService, Owner: Owner{OwnerPath, "name"},
				EncodedSlash: true, Stream: StreamSSE},
		},
		Calls: []Call{
			{Service: "accounts", Method: "GET", Path: "/accounts/{id}"},
			{Service: "accounts", Method: "POST", Path: "/accounts", AsService: true},
		},
	}
	accounts := &Service{
		Name:      "accounts",
		Upstreams: []Upstream{{Scheme: "http", Network: "unix", Address: "/run/accounts.sock"}, {Scheme: "http", Network: "tcp", Address: "127.0.0.1:9003"}},
		Routes: []*Route{
			{Method: "GET", Path: "/accounts/{id}", Allow: AllowService, EncodedSlash: true, Proof: ProofSignature, Stream: StreamSSE},
			{Method: "POST", Path: "/accounts", Allow: AllowService},
		},
		Calls: []Call{{Service: "orders", Method: "GET", Path: "/orders/{id}"}},
	}
	return &Zone{
		Name: "shop.example", Revision: "c0ffee", Staleness: 5 * time.Minute,
		Listeners: []*Listener{{Name: "public", Limits: Limits{Body: 1 << 20}}},
		Services:  []*Service{accounts, orders},
	}
}

func TestSliceGolden(t *testing.T) {
	s, ok := sliceZone().Slice("orders")
	if !ok {
		t.Fatal("no slice of orders")
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const file = "testdata/slice_orders.json"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("slice of orders:\n%s\nwant %s:\n%s", got, file, want)
	}
	back, err := ParseSlice(want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, s) {
		t.Errorf("read back:\n%+v\nwant\n%+v", back, s)
	}
}

func TestSliceRoundTrip(t *testing.T) {
	z := sliceZone()
	for _, svc := range z.Services {
		s, ok := z.Slice(svc.Name)
		if !ok {
			t.Fatalf("no slice of %s", svc.Name)
		}
		for i, rt := range svc.Routes {
			got := s.Routes[i].Route()
			if !reflect.DeepEqual(got, rt) {
				t.Errorf("%s %s:\n%+v\nwant\n%+v", svc.Name, rt.Pattern(), got, rt)
			}
		}
	}
	if s, ok := z.Slice("nobody"); ok || s != nil {
		t.Errorf("Slice(nobody) = %v, %v", s, ok)
	}
}

func TestSliceCallers(t *testing.T) {
	z := sliceZone()
	s, _ := z.Slice("accounts")
	if got := s.Routes[0].Callers; !slices.Equal(got, []string{"orders"}) {
		t.Errorf("callers of GET /accounts/{id} = %q, want orders", got)
	}
	if got := s.Routes[0].ServiceCallers; len(got) != 0 {
		t.Errorf("service callers of GET /accounts/{id} = %q, want none: the call passes on the token in hand", got)
	}
	if got := s.Routes[1].ServiceCallers; !slices.Equal(got, []string{"orders"}) {
		t.Errorf("service callers of POST /accounts = %q, want orders", got)
	}
	if got := s.Routes[1].Callers; len(got) != 0 {
		t.Errorf("callers of POST /accounts = %q: a call `as: service` does not carry a user", got)
	}
}

// TestSliceCallDoors: who has an inner door is called there and never in plain.
func TestSliceCallDoors(t *testing.T) {
	plain := []Upstream{{Scheme: "http", Network: "tcp", Address: "127.0.0.1:1"}, {Scheme: "http", Network: "unix", Address: "/run/a"}}
	for _, tt := range []struct {
		name   string
		callee Service
		inner  bool
		want   []SliceUpstream
	}{
		{"none", Service{Upstreams: plain}, false, []SliceUpstream{{"http", "tcp", "127.0.0.1:1"}, {"http", "unix", "/run/a"}}},
		{"sidecar", Service{Upstreams: plain, Sidecar: "10.0.0.1:9502"}, true, []SliceUpstream{{"https", "tcp", "10.0.0.1:9502"}}},
		{"embedded", Service{Upstreams: append(plain, Upstream{Scheme: "https", Network: "tcp", Address: "10.0.0.1:2"}), Embedded: true}, true,
			[]SliceUpstream{{"https", "unix", "/run/a"}, {"https", "tcp", "10.0.0.1:2"}}},
		{"embedded, plain only", Service{Upstreams: plain[:1], Embedded: true}, true, []SliceUpstream{}},
	} {
		callee := tt.callee
		callee.Name = "b"
		callee.Routes = []*Route{{Method: "POST", Path: "/b", Listener: "public", Proof: ProofChannel, Stream: StreamSSE}}
		z := &Zone{Name: "z", Listeners: []*Listener{{Name: "public", Limits: Limits{Body: 7}}}, Services: []*Service{
			{Name: "a", Calls: []Call{{Service: "b", Method: "POST", Path: "/b"}}}, &callee,
		}}
		s, _ := z.Slice("a")
		got := s.Calls[0]
		if got.InnerDoor != tt.inner || !reflect.DeepEqual(got.Upstreams, tt.want) {
			t.Errorf("%s: inner door %v, upstreams %v; want %v, %v", tt.name, got.InnerDoor, got.Upstreams, tt.inner, tt.want)
		}
		if got.Proof != "channel" || got.Stream != "sse" || got.BodyLimit != 7 {
			t.Errorf("%s: the call does not say what the route says: %+v", tt.name, got)
		}
	}
}

func TestSliceCallRefusesUnknownWords(t *testing.T) {
	for _, tt := range []struct{ call, want string }{
		{`{"method":"GET","path":"/","proof":"signature","stream":"sse"}`, ""},
		{`{"method":"GET","path":"/","newer":1}`, ""},
		{`{"method":"GET","path":"/","proof":"quantum"}`, "proof: quantum"},
		{`{"method":"GET","path":"/","stream":"webtransport"}`, "stream: webtransport"},
		{`{"method":"GET","path":"/","critical":["shiny"]}`, "critical: shiny"},
	} {
		var sc SliceCall
		if err := json.Unmarshal([]byte(tt.call), &sc); err != nil {
			t.Fatalf("%s: %v", tt.call, err)
		}
		if got := strings.Join(sc.Route().NotEnforced, ","); got != tt.want {
			t.Errorf("%s: not enforced %q, want %q", tt.call, got, tt.want)
		}
	}
}

// TestSliceStepUp: what a login must be travels, and to no guard that would pass
// over it.
func TestSliceStepUp(t *testing.T) {
	for _, rt := range []Route{{}, {MFA: true}, {MaxAge: time.Minute}, {MFA: true, MaxAge: time.Hour}} {
		z := sliceZone()
		routes := z.Service("accounts").Routes
		routes[0].MFA, routes[0].MaxAge = rt.MFA, rt.MaxAge
		s, _ := z.Slice("accounts")
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParseSlice(data)
		if err != nil {
			t.Fatal(err)
		}
		sr := read.Routes[0]
		if got := sr.Route(); got.MFA != rt.MFA || got.MaxAge != rt.MaxAge || len(got.NotEnforced) > 0 {
			t.Errorf("%+v arrives as mfa %v, max_age %v, not enforced %q", rt, got.MFA, got.MaxAge, got.NotEnforced)
		}
		if slices.Contains(sr.Critical, "mfa") != rt.MFA || slices.Contains(sr.Critical, "max_age") != (rt.MaxAge > 0) {
			t.Errorf("%+v: critical %q", rt, sr.Critical)
		}
	}
}

func TestSliceRefusesUnknownWords(t *testing.T) {
	for _, tt := range []struct{ name, route, want string }{
		{"known", `{"allow":["user"],"owner":{"kind":"code"},"params":[{"name":"a","kind":"int"}],"proof":"mac","stream":"sse"}`, ""},
		{"bare", `{}`, ""},
		{"unknown member", `{"allow":["user"],"shiny":true}`, ""},
		{"allow", `{"allow":["user","robot"]}`, "allow: robot"},
		{"owner", `{"allow":["user"],"owner":{"kind":"body","arg":"/x"}}`, "owner: body"},
		{"empty owner", `{"allow":["user"],"owner":{}}`, "owner: "},
		{"param", `{"allow":["user"],"params":[{"name":"a","kind":"ipv6"}]}`, "params: ipv6"},
		{"proof", `{"allow":["user"],"proof":"quantum"}`, "proof: quantum"},
		{"stream", `{"allow":["user"],"stream":"webtransport"}`, "stream: webtransport"},
		{"critical", `{"allow":["user"],"critical":["shiny"],"shiny":true}`, "critical: shiny"},
		{"not enforced", `{"allow":["user"],"not_enforced":["mfa"]}`, "mfa"},
	} {
		var sr SliceRoute
		if err := json.Unmarshal([]byte(tt.route), &sr); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := strings.Join(sr.Route().NotEnforced, ","); got != tt.want {
			t.Errorf("%s: %s: not enforced %q, want %q", tt.name, tt.route, got, tt.want)
		}
	}
	if got := (&SliceRoute{}).Route().Allow; got != 0 {
		t.Errorf("a route without allow takes %v", got)
	}
}

func TestParseSliceRefuses(t *testing.T) {
	const good = `{"version":1,"zone":"z","issuer":"https://z","service":"s","newer":{"a":1}}`
	if _, err := ParseSlice([]byte(good)); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for _, text := range []string{
		``, `null`, `{}`, `[]`, good + `x`,
		strings.Replace(good, `"version":1`, `"version":2`, 1),
		strings.Replace(good, `"zone":"z"`, `"zone":""`, 1),
		strings.Replace(good, `"issuer":"https://z",`, ``, 1),
		strings.Replace(good, `"service":"s"`, `"service":7`, 1),
	} {
		if s, err := ParseSlice([]byte(text)); err == nil {
			t.Errorf("ParseSlice(%s) = %+v, want an error", text, s)
		}
	}
}
