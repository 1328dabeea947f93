package journal

import (
	"strings"
	"testing"
)

func TestHeadText(t *testing.T) {
	for _, want := range []Head{{}, {Segment: 7, Sequence: 12345, Chain: Chain{1, 2, 3}}, {Segment: 1<<63 - 1, Sequence: 1<<63 - 1}} {
		text, err := want.MarshalText()
		var got Head
		if err == nil {
			err = got.UnmarshalText(text)
		}
		if err != nil || got != want {
			t.Errorf("%s read as %+v, %v; want %+v", text, got, err, want)
		}
	}
	good, _ := Head{Segment: 7, Sequence: 12345}.MarshalText()
	for i := range good {
		bad := []byte(string(good))
		bad[i] ^= 1
		var h Head
		if err := h.UnmarshalText(bad); err == nil {
			t.Errorf("a flip of byte %d is read as %+v", i, h)
		}
	}
	for _, bad := range []string{"", "x", string(good) + " ", string(good) + "\n", string(good[:len(good)-1]), strings.ToUpper(string(good))} {
		var h Head
		if err := h.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, h)
		}
	}
}

func FuzzHead(f *testing.F) {
	good, _ := Head{Segment: 7, Sequence: 12345, Chain: Chain{9}}.MarshalText()
	f.Add(string(good))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var h Head
		if h.UnmarshalText([]byte(text)) != nil {
			return
		}
		if again, _ := h.MarshalText(); string(again) != text {
			t.Errorf("%q is read as what is written %q", text, again)
		}
	})
}
