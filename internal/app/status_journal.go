package app

import (
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// JournalFolder is what the folder of a journal shows.
type JournalFolder struct {
	Size     int64 // bytes
	Segments int
	Oldest   time.Time // of its records, or when the oldest segment was begun; zero: there is none
	Newest   time.Time // likewise of the newest
}

// LookAtJournal reads how large the journal of a data folder is, and of which
// time: beside its writer, or without one.
func LookAtJournal(data string) (f JournalFolder, err error) {
	r := journal.NewReader((&folder{dir: data}).path(journalName))
	list, err := r.Segments()
	if err != nil || len(list) == 0 {
		return f, err
	}
	f.measure(list)
	if f.Oldest, _, err = timesOf(r, list[0]); err != nil {
		return f, err
	}
	_, f.Newest, err = timesOf(r, list[len(list)-1])
	return f, err
}

// journalName is the folder of the journal in the data folder.
const journalName = "journal"

func (f *JournalFolder) measure(list []journal.Info) {
	f.Segments = len(list)
	for _, i := range list {
		f.Size += i.Size
	}
}

// timesOf is of which time the records of a segment are.
func timesOf(r *journal.Reader, i journal.Info) (oldest, newest time.Time, err error) {
	s, err := r.Open(i, nil)
	if err != nil {
		return oldest, newest, fmt.Errorf("journal: %w", err)
	}
	oldest, newest = s.Header.Created, s.Header.Created
	if lo, hi, ok := s.Times(); ok {
		oldest, newest = time.UnixMicro(lo), time.UnixMicro(hi)
	}
	return oldest, newest, s.Close()
}

// journalStatus tells of the journal in use. Only the oldest segment is opened,
// and each but once.
func (s *system) journalStatus(z *zone.Zone, now time.Time) JournalStatus {
	st := JournalStatus{State: "ok", Limit: z.Journal.Size, Retain: int64(z.Journal.Retain / time.Second)}
	if err := s.journal.Admit(false); err != nil {
		st.State = problem.ReasonOf(err).Code()
	}
	r := journal.NewReader(s.folder.path(journalName))
	list, err := r.Segments()
	if err != nil || len(list) == 0 {
		return st
	}
	var f JournalFolder
	f.measure(list)
	st.Size, st.Segments = f.Size, f.Segments
	oldest, err := s.observed.oldest(r, list[0])
	if err != nil {
		return st // freed at this moment; the next look tells
	}
	st.Oldest = stamp(oldest)
	st.Reach = int64(reach(st.Size, st.Limit, now.Sub(oldest)) / time.Second)
	return st
}

func (o *observed) oldest(r *journal.Reader, i journal.Info) (time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first.number == i.Number {
		return o.first.oldest, nil
	}
	at, _, err := timesOf(r, i)
	if err != nil {
		return time.Time{}, errors.Join(err, errNoOldest)
	}
	o.first.number, o.first.oldest = i.Number, at
	return at, nil
}

var errNoOldest = errors.New("the oldest segment cannot be read")

const (
	youngest = time.Hour                  // a younger journal tells no rate
	farthest = 100 * 365 * 24 * time.Hour // within what a Duration holds
)

// reach is how much time fits into limit bytes, when size bytes took age.
func reach(size, limit int64, age time.Duration) time.Duration {
	if size <= 0 || age < youngest {
		return 0
	}
	fits := float64(age) * float64(limit) / float64(size)
	return time.Duration(min(fits, float64(farthest)))
}
