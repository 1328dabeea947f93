package journal

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A loss of power keeps what was synced, and of the rest any beginning. After
// it the journal opens, is whole, and holds every record that AppendSync
// acknowledged, and every one that was older than the last background sync.
func TestLossOfPower(t *testing.T) {
	for round := range 20 {
		random := rand.New(rand.NewPCG(uint64(round), 1))
		synctest.Test(t, func(t *testing.T) {
			d := newFaulty(t.TempDir())
			o := options()
			o.disk = d
			j := open(t, string(d.folder), o)
			promised := 0
			for i := range 200 + random.IntN(1500) {
				switch random.IntN(60) {
				case 0:
					if err := j.AppendSync(record(i)); err != nil {
						t.Fatal(err)
					}
					promised = i + 1
				case 1:
					write(t, j, i, i+1)
					time.Sleep(defaultSync + time.Millisecond)
					synctest.Wait()
					promised = i + 1
				default:
					write(t, j, i, i+1)
				}
			}
			after := d.crash(t, random.IntN(3000))
			closeJournal(t, j)

			o.disk = nil
			k := open(t, after, o)
			write(t, k, 5000, 5001)
			closeJournal(t, k)
			verify(t, after)
			want := 0
			for _, e := range entries(t, after) {
				if e.Kind == KindMark {
					continue
				}
				if int(e.BytesIn) != want && e.BytesIn != 5000 {
					t.Fatalf("round %d: record %d where %d should be", round, e.BytesIn, want)
				}
				want++
			}
			if want-1 < promised {
				t.Errorf("round %d: %d records are left, %d were promised", round, want-1, promised)
			}
		})
	}
}

// The positive control: what is not synced does get lost by such a disk.
func TestLossOfPowerLoses(t *testing.T) {
	d := newFaulty(t.TempDir())
	o := options()
	o.disk, o.SyncEvery = d, time.Hour
	j := open(t, string(d.folder), o)
	write(t, j, 0, 100)
	after := d.crash(t, 0)
	closeJournal(t, j)
	o.disk = nil
	closeJournal(t, open(t, after, o))
	if n := len(entries(t, after)); n != 0 {
		t.Errorf("%d records survived without a sync: the test's disk forgets nothing", n)
	}
}
