package policy

import (
	"net/url"
	"regexp"
	"strconv"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func compile(t testing.TB, declared ...zone.Param) *Params {
	t.Helper()
	ps, err := CompileParams(declared)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestParamTypes(t *testing.T) {
	re := zone.Param{Kind: zone.ParamRegexp, Regexp: "[a-z]+|[0-9]"}
	enum := zone.Param{Kind: zone.ParamEnum, Enum: []string{"de", "en"}}
	for _, tt := range []struct {
		param     zone.Param
		good, bad []string
	}{
		{zone.Param{Kind: zone.ParamUUID},
			[]string{"0190163d-8694-739b-aea5-966c26f8ad91", "0190163D-8694-739B-AEA5-966C26F8AD91", "00000000-0000-0000-0000-000000000000"},
			[]string{"", "7", "0190163d8694739baea5966c26f8ad91", "{190163d-8694-739b-aea5-966c26f8ad9}", "0190163d-8694-739b-aea5-966c26f8ad9g", "0190163d-8694-739b-aea5-966c26f8ad91\n"}},
		{zone.Param{Kind: zone.ParamInt},
			[]string{"0", "7", "-7", "9223372036854775807", "-9223372036854775808"},
			[]string{"", "+7", "07", "-0", " 7", "7 ", "7.0", "1e3", "0x7", "1_000", "9223372036854775808", "٧"}},
		{zone.Param{Kind: zone.ParamDate},
			[]string{"2026-11-22", "2024-02-29", "0000-01-01"},
			[]string{"", "2026-02-29", "2026-13-01", "2026-1-1", "22.11.2026", "2026-11-22T00:00:00Z", "20261122"}},
		{enum, []string{"de", "en"}, []string{"", "De", "fr", "de,en", "de "}},
		{re, []string{"abc", "7"}, []string{"", "abc7", "77", "abc\n", "A"}},
		{zone.Param{Kind: zone.ParamRegexp, Regexp: ""}, []string{""}, []string{"a"}},
	} {
		tt.param.Name = "v"
		ps := compile(t, tt.param)
		for _, in := range append(tt.good, tt.bad...) {
			want := problem.RequestParam
			for _, g := range tt.good {
				if g == in {
					want = problem.OK
				}
			}
			if got := ps.Check(&zone.Values{{Name: "v", Value: in}}, nil); got != want {
				t.Errorf("%+v path %q = %v, want %v", tt.param, in, got, want)
			}
			if got := ps.Check(nil, url.Values{"v": {tt.good[0], in}}); got != want {
				t.Errorf("%+v query %q = %v, want %v", tt.param, in, got, want)
			}
		}
	}
}

func TestParamsNames(t *testing.T) {
	ps := compile(t, zone.Param{Name: "id", Kind: zone.ParamInt}, zone.Param{Name: "lang", Kind: zone.ParamEnum, Enum: []string{"de"}})
	for _, tt := range []struct {
		name  string
		path  zone.Values
		query string
		want  problem.Reason
	}{
		{"all good", zone.Values{{Name: "id", Value: "1"}}, "lang=de", problem.OK},
		{"a declared query name may be missing", zone.Values{{Name: "id", Value: "1"}}, "", problem.OK},
		{"undeclared names pass", zone.Values{{Name: "id", Value: "1"}, {Name: "other", Value: "x"}}, "page=x", problem.OK},
		{"path", zone.Values{{Name: "id", Value: "x"}}, "lang=de", problem.RequestParam},
		{"query", zone.Values{{Name: "id", Value: "1"}}, "lang=fr", problem.RequestParam},
		{"the second of two", zone.Values{{Name: "id", Value: "1"}}, "lang=de&lang=fr", problem.RequestParam},
		{"empty", zone.Values{{Name: "id", Value: "1"}}, "lang=", problem.RequestParam},
		{"without equals sign", zone.Values{{Name: "id", Value: "1"}}, "lang", problem.RequestParam},
		{"encoded name", zone.Values{{Name: "id", Value: "1"}}, "%6Cang=fr", problem.RequestParam},
		{"the path's name in the query as well", zone.Values{{Name: "id", Value: "1"}}, "id=x", problem.RequestParam},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := ps.Check(&tt.path, query); got != tt.want {
			t.Errorf("%s: Check(%v, %q) = %v, want %v", tt.name, tt.path, tt.query, got, tt.want)
		}
	}
	if got := (*Params)(nil).Check(&zone.Values{{Name: "id", Value: "x"}}, nil); got != problem.OK {
		t.Errorf("nil.Check = %v, want ok", got)
	}
	if !(*Params)(nil).Empty() || !compile(t).Empty() || ps.Empty() {
		t.Error("Empty is wrong")
	}
}

func TestCompileParamsRefuses(t *testing.T) {
	for _, declared := range [][]zone.Param{
		{{Name: "", Kind: zone.ParamInt}},
		{{Name: "a", Kind: zone.ParamInt}, {Name: "a", Kind: zone.ParamUUID}},
		{{Name: "a", Kind: zone.ParamEnum}},
		{{Name: "a", Kind: zone.ParamRegexp, Regexp: "("}},
		{{Name: "a", Kind: zone.ParamRegexp, Regexp: "a)|(?:b"}},
		{{Name: "a", Kind: 200}},
	} {
		if ps, err := CompileParams(declared); err == nil {
			t.Errorf("CompileParams(%+v) = %+v, want an error", declared, ps)
		}
	}
}

// FuzzParams holds every type against an independent reading of it.
func FuzzParams(f *testing.F) {
	for _, s := range []string{"", "7", "-0", "0190163d-8694-739b-aea5-966c26f8ad91", "2026-02-29", "de", "abc\n", "\x00"} {
		f.Add(s)
	}
	uuid := regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	oracles := []struct {
		params *Params
		is     func(string) bool
	}{
		{compile(f, zone.Param{Name: "v", Kind: zone.ParamUUID}), uuid.MatchString},
		{compile(f, zone.Param{Name: "v", Kind: zone.ParamInt}), func(s string) bool {
			n, err := strconv.Atoi(s)
			return err == nil && strconv.Itoa(n) == s
		}},
		{compile(f, zone.Param{Name: "v", Kind: zone.ParamDate}), func(s string) bool {
			d, err := time.Parse(time.DateOnly, s)
			return err == nil && d.Format(time.DateOnly) == s
		}},
		{compile(f, zone.Param{Name: "v", Kind: zone.ParamRegexp, Regexp: "[a-z]{1,3}"}), func(s string) bool {
			for _, c := range s {
				if c < 'a' || c > 'z' {
					return false
				}
			}
			return len(s) >= 1 && len(s) <= 3
		}},
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, o := range oracles {
			got := o.params.Check(&zone.Values{{Name: "v", Value: s}}, nil) == problem.OK
			if got != o.is(s) {
				t.Errorf("type %d takes %q: %v, want %v", i, s, got, o.is(s))
			}
			query, err := url.ParseQuery(url.Values{"v": {s}}.Encode())
			if err != nil || (o.params.Check(nil, query) == problem.OK) != got {
				t.Errorf("type %d: query value %q is judged otherwise than the path value", i, s)
			}
		}
	})
}
