package page

import (
	"fmt"
	"maps"
	"slices"
)

// kind is how an input of a sort is written: what the browser fills in, which
// keyboard a phone shows. Its label is the text label.KIND.
type kind struct {
	Type, Autocomplete, Mode, Capital, Pattern string
	Max                                        int
	Optional, ReadOnly, Spell, Hint            bool
}

// kinds are the sorts of inputs. Autocomplete as in the HTML Standard, section
// 4.10.18.7.1: password programs and phones go by it.
var kinds = map[string]kind{
	"login":        {Type: "email", Autocomplete: "username", Mode: "email", Capital: "none", Max: 254},
	"passkey":      {Type: "email", Autocomplete: "username webauthn", Mode: "email", Capital: "none", Max: 254},
	"email":        {Type: "email", Autocomplete: "email", Mode: "email", Capital: "none", Max: 254},
	"account":      {Type: "email", Autocomplete: "username", ReadOnly: true},
	"password":     {Type: "password", Autocomplete: "current-password"},
	"current":      {Type: "password", Autocomplete: "current-password"},
	"new-password": {Type: "password", Autocomplete: "new-password"},
	"totp":         {Type: "text", Autocomplete: "one-time-code", Mode: "numeric", Capital: "none", Pattern: "[0-9 ]*", Max: 12},
	"recovery":     {Type: "text", Autocomplete: "off", Capital: "none", Max: 40},
	"user-code":    {Type: "text", Autocomplete: "off", Capital: "characters", Max: 20, Hint: true},
	"name":         {Type: "text", Autocomplete: "name", Capital: "words", Max: 100, Optional: true, Spell: true},
	"factor-name":  {Type: "text", Autocomplete: "off", Max: 64, Optional: true, Spell: true, Hint: true},
	"rename":       {Type: "text", Autocomplete: "off", Max: 64, Spell: true},
	"key-name":     {Type: "text", Autocomplete: "off", Max: 63, Spell: true, Hint: true},
	"days":         {Type: "text", Autocomplete: "off", Mode: "numeric", Pattern: "[0-9]*", Max: 4, Hint: true, Optional: true},
	"public-key":   {Type: "text", Autocomplete: "off", Capital: "none", Max: 200, Hint: true},
	"token":        {Type: "text", Autocomplete: "off", Capital: "none", Max: 100},
}

// input is one input of a form with its label, hint and error.
type input struct {
	kind
	*frame
	Kind, ID, Name, Value string
	Min                   int
	Wrong, Focus          bool
}

// Input is an input whose id is its name. Templates hand it to "field".
func (f *frame) Input(name, sort, value string) (input, error) {
	return f.InputAs(name, name, sort, value)
}

// InputAs is an input with an id of its own, where a page has several of a name.
func (f *frame) InputAs(id, name, sort, value string) (input, error) {
	k, ok := kinds[sort]
	if !ok {
		return input{}, fmt.Errorf("no kind of input %q: want one of %q", sort, slices.Sorted(maps.Keys(kinds)))
	}
	if f.inputs != nil {
		f.inputs[id] = true
	}
	in := input{kind: k, frame: f, Kind: sort, ID: id, Name: name, Value: value}
	in.Wrong = f.Refusal != nil && f.Refusal.Field == id
	in.Focus = f.takeFocus(in)
	return in, nil
}

// NewPassword is the input of a password that is being chosen.
func (f *frame) NewPassword(minLength int) (input, error) {
	in, err := f.Input("password", "new-password", "")
	in.Min, in.Hint = minLength, minLength > 0
	return in, err
}

// takeFocus chooses the input to go on with: the one at fault, else the first
// that is empty.
func (f *frame) takeFocus(in input) bool {
	if f.focused || in.ReadOnly {
		return false
	}
	blamed := f.Refusal != nil && f.Refusal.Field != "" && f.inputs[f.Refusal.Field]
	f.focused = in.Wrong || (!blamed && in.Value == "")
	return f.focused
}

// Hinted is the text of the input's hint.
func (in input) Hinted() (string, error) {
	if in.Kind == "new-password" {
		return in.N("hint.new-password", in.Min)
	}
	return in.T("hint." + in.Kind)
}

// DescribedBy are the ids of what is said about the input.
func (in input) DescribedBy() string {
	switch {
	case in.Hint && in.Wrong:
		return in.ID + "-hint refusal"
	case in.Hint:
		return in.ID + "-hint"
	case in.Wrong:
		return "refusal"
	}
	return ""
}
