package store

import (
	"slices"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	now := time.Unix(100, 0)
	row := func(number int64) Revocation {
		return Revocation{Number: number, Kind: KindSubject, Subject: "u", At: time.Unix(number, 0).UTC()}
	}
	rows := func(numbers ...int64) (list []Revocation) {
		for _, n := range numbers {
			list = append(list, row(n))
		}
		return list
	}
	many := make([]int64, 0, maxBehind+1)
	for n := range int64(maxBehind + 1) {
		many = append(many, n+3)
	}
	other, elsewhere := row(2), row(2)
	other.Subject = "v"
	elsewhere.At = elsewhere.At.In(time.FixedZone("", 3600))
	for _, c := range []struct {
		name string
		told Revocation // 2 when only its number is known
		head int64
		rows []Revocation
		want []int64 // negative: all
	}{
		{"nothing ever", Revocation{}, 0, nil, nil},
		{"the first", Revocation{}, 1, rows(1), []int64{1}},
		{"nothing new", row(2), 2, rows(2), nil},
		{"nothing new, in another place", row(2), 2, []Revocation{elsewhere}, nil},
		{"nothing new, and pruned", row(2), 2, nil, nil},
		{"two", row(2), 4, rows(2, 3, 4), []int64{3, 4}},
		{"two, the last pruned", row(2), 4, rows(3, 4), []int64{3, 4}},
		{"two, of the last only the number", Revocation{Number: 2}, 4, append([]Revocation{other}, rows(3, 4)...), []int64{3, 4}},
		{"some pruned", row(2), 4, rows(4), []int64{-4}},
		{"all pruned", row(2), 4, nil, []int64{-4}},
		{"a hole", row(2), 5, rows(2, 3, 5), []int64{-5}},
		{"gone back", row(2), 1, nil, []int64{-1}},
		{"gone back to nothing", row(2), 0, nil, []int64{0}},
		{"gone back and on", row(2), 3, append([]Revocation{other}, rows(3)...), []int64{-3}},
		{"another last", row(2), 2, []Revocation{other}, []int64{-2}},
		{"as many as are told", row(2), 2 + maxBehind, rows(many[:maxBehind]...), many[:maxBehind]},
		{"one more", row(2), 3 + maxBehind, rows(many...), []int64{-3 - maxBehind}},
	} {
		var got []int64
		for _, r := range (history{c.told}).news(c.head, c.rows, now) {
			if r.Kind == KindAll {
				if r.Number = -r.Number; !r.At.Equal(now) || r.Subject != "" {
					t.Errorf("%s: %+v, want all, now", c.name, r)
				}
			}
			got = append(got, r.Number)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: news %v, want %v", c.name, got, c.want)
		}
	}
}
