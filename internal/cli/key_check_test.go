package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/svid"
)

const goodKey = "spk_abcdefghijkl_00000000000000000000000000000000000000000004c2zqP"

func TestRecognise(t *testing.T) {
	zeroes := strings.Repeat("A", 43)
	join := svid.JoinToken{ID: [16]byte{1}, Secret: [32]byte{2}, Root: [32]byte{3}}
	for _, c := range []struct {
		text, kind, id string
		err            error
	}{
		{goodKey, kindKey, "abcdefghijkl", nil},
		{"sps_" + zeroes, kindSession, "", nil},
		{"spa_" + zeroes, kindAccess, "", nil},
		{"spr_" + zeroes, kindRefresh, "", nil},
		{"spr_" + strings.Repeat("_", 42) + "8", kindRefresh, "", nil},
		{join.String(), kindJoin, hex.EncodeToString(join.ID[:]), nil},
		{goodKey[:65] + "Q", "", "", errChecksum},
		{goodKey[:65], "", "", errChecksum},
		{goodKey + "0", "", "", errChecksum},
		{strings.Replace(goodKey, "abc", "abd", 1), "", "", errChecksum},
		{"sps_" + zeroes[1:], "", "", errCut},
		{"sps_" + zeroes[1:] + "B", "", "", errCut}, // bits beyond the 256
		{"sps_" + zeroes[1:] + "+", "", "", errCut},
		{"sps", "", "", errCut},
		{join.String()[:100], "", "", errCut},
		{"spx_" + zeroes, "", "", errNotOurs},
		{"SPS_" + zeroes, "", "", errNotOurs},
		{zeroes, "", "", errNotOurs},
		{"", "", "", errNotOurs},
	} {
		got, err := recognise(c.text)
		if got.Kind != c.kind || got.ID != c.id || err != c.err || got.WellFormed != (c.err == nil) {
			t.Errorf("recognise(%q) = %+v, %v, want %q, %q, %v", c.text, got, err, c.kind, c.id, c.err)
		}
	}
}

// TestKeyCheckSendsNoKey: the zone is told the hash, and nothing that opens.
func TestKeyCheckSendsNoKey(t *testing.T) {
	var asked string
	state := "live"
	data := fakeZone(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.Path + " " + string(body)
		fmt.Fprintf(w, `{"state":%q,"id":"abcdefghijkl","name":"partner"}`, state)
	})
	hash := apikey.Hash(goodKey)
	for want, code := range map[string]int{"live": exitDone, "expired": exitNo, "revoked": exitNo, "unknown": exitNo} {
		state = want
		var out, errs bytes.Buffer
		got := Main([]string{"key", "check", "-", "--data", data, "--format", "json"}, strings.NewReader(goodKey+"\n"), &out, &errs)
		var answer recognised
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil || answer.Zone == nil || answer.Zone.State != want || got != code {
			t.Errorf("%s: exit code %d, %s%s (%v), want %d", want, got, &out, &errs, err, code)
		}
		if !strings.Contains(asked, hex.EncodeToString(hash[:])) || strings.Contains(asked, goodKey[17:40]) {
			t.Errorf("the zone was asked %s", asked)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add(goodKey)
	f.Add("sps_" + strings.Repeat("A", 43))
	f.Add(svid.JoinToken{ID: [16]byte{1}, Secret: [32]byte{2}, Root: [32]byte{3}}.String())
	f.Add("spk")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := recognise(text)
		if (err == nil) != got.WellFormed || (err == nil) != (got.Kind != "") {
			t.Errorf("recognise(%q) = %+v, %v", text, got, err)
		}
		if err == nil && (len(text) < 47 || strings.ContainsAny(text, " \n\x00")) {
			t.Errorf("recognise(%q): %+v", text, got)
		}
		var out bytes.Buffer
		if e := (&env{ctx: context.Background(), stdin: strings.NewReader(text), stdout: &out, stderr: io.Discard}); err != nil {
			if runErr := (&keyCheckCmd{Text: "-"}).Run(e); runErr == nil || len(text) > 20 && strings.Contains(runErr.Error(), text) {
				t.Errorf("key check of %q: %v", text, runErr)
			}
		}
	})
}
