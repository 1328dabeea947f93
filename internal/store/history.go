package store

import "time"

// maxBehind is how many revocations are told one by one to a process that fell
// behind; with more, forgetting everything is cheaper than going through them.
const maxBehind = 1000

// history is how far the revocations of a database were told: up to last, of
// which only the number is known when its row was pruned.
type history struct{ last Revocation }

// news returns what is to be told for a database of which the last number is
// head, given its rows from number last on (the row of last among them, unless
// it was pruned). It returns one revocation of KindAll when some cannot be told:
// they were pruned, there are too many, or the database's past is another than
// what was told, because an older copy was put in its place or a standby took
// over that had not heard of everything.
func (h history) news(head int64, rows []Revocation, now time.Time) []Revocation {
	all := []Revocation{{Number: head, Kind: KindAll, At: now}}
	if head < h.last.Number {
		return all
	}
	if len(rows) > 0 && rows[0].Number == h.last.Number {
		if h.last.Kind != "" && !rows[0].same(h.last) {
			return all
		}
		rows = rows[1:]
	}
	if head-h.last.Number > maxBehind || int64(len(rows)) < head-h.last.Number {
		return all
	}
	rows = rows[:head-h.last.Number]
	for i, r := range rows {
		if r.Number != h.last.Number+1+int64(i) {
			return all
		}
	}
	return rows
}

// after returns the history once news for head were told.
func (h history) after(head int64, rows []Revocation) history {
	for _, r := range rows {
		if r.Number == head {
			return history{r}
		}
	}
	return history{Revocation{Number: head}}
}
