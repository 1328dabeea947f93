package page

import (
	"strconv"
	"strings"
)

// details are the public details that people read on pages, by their own words:
// a number in them is written #. Each has a text, detail.KEY. A detail that is not
// here is shown as it is, in English.
var details = map[string]string{
	"required":                           "required",
	"want # to # characters":             "required",
	"given twice":                        "twice",
	"not UTF-8":                          "not_text",
	"want printable characters":          "not_text",
	"longer than # bytes":                "long",
	"longer than # characters":           "longer",
	"want one line of # to # characters": "one_line",
	"lies in the past":                   "past",

	"not an address like name@example.org":                                  "not_address",
	"only ASCII characters; write an international domain in its xn-- form": "ascii_address",

	"shorter than # characters": "shorter",
	"use at least # characters": "shorter",
	"use at least # characters, such as a few words; # are enough with a second factor":                                "shorter_alone",
	"your password may be shorter than # characters, which takes a second factor beside it; choose a longer one first": "short_alone",

	"this is one of the most used passwords; choose another":                            "common",
	"this is one character repeated; choose another":                                    "repeated",
	"this is made of your address, your name or the name of this place; choose another": "own",
	"this password is known from a breach or too common; choose another":                "breached",

	"want one at least, a key without reaches nothing":                   "scope_one",
	"want at most # days":                                                "days_most",
	"lies after the end of the API key":                                  "after_key",
	"a live key has this name; rotate or revoke it":                      "key_taken",
	"you have as many keys as one may have; revoke one that is not used": "keys_full",
	"the API key signs with as many keys as it may; remove one":          "signing_full",

	"the app was not begun for this account; begin again":                    "again",
	"setting up the app took too long; begin again":                          "again",
	"the app was set up already":                                             "again",
	"a user has at most # passkeys; remove one first":                        "passkeys_full",
	"a user has at most # authenticator apps; remove one first":              "apps_full",
	"the account has no passkey that works here":                             "passkey_none",
	"passkeys are not available at this address":                             "passkey_none",
	"the zone's passkeys are made for another host now; load the page again": "again",

	"unknown or too old":                                                                                      "code_ended",
	"there is no second factor yet":                                                                           "factor_none",
	"this login opens another account here":                                                                   "provider_other",
	"another login of this provider is connected; disconnect it first":                                        "provider_connected",
	"nothing else opens the account; choose a password first":                                                 "way_last",
	"this is the last second factor, and one is needed here; add another first":                               "factor_last",
	"the link is of another account than the one that is logged in":                                           "link_other",
	"this login is not connected with an account here; log in another way and connect it on the account page": "provider_unknown",
}

// explain finds the text for a public detail.
func (r *Refusal) explain(detail string) {
	if detail == "" {
		return
	}
	shape, numbers := withoutNumbers(detail)
	key, known := details[shape]
	if !known {
		r.Plain = detail
		return
	}
	r.Text = "detail." + key
	if len(numbers) > 0 {
		r.Count, r.More = numbers[0], numbers[len(numbers)-1]
	}
}

// withoutNumbers writes # for each run of digits, and returns the numbers.
func withoutNumbers(s string) (shape string, numbers []int) {
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		if end == i {
			b.WriteByte(s[i])
			i++
			continue
		}
		if n, err := strconv.Atoi(s[i:end]); err == nil {
			numbers = append(numbers, n)
		}
		b.WriteByte('#')
		i = end
	}
	return b.String(), numbers
}
