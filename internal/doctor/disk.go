package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Kinds of file systems by the magic number of statfs(2).
var networkDisks = map[int64]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB", 0x00c36400: "Ceph", 0x5346414f: "AFS",
	0x0bd00bd0: "Lustre", 0x47504653: "GPFS", 0x7461636f: "OCFS2", 0x01161970: "GFS2",
}

var oddDisks = map[int64]struct{ name, why, mend string }{
	0x01021994: {"tmpfs", "what the zone keeps is gone at the next start of the host, and counts as memory", "name a folder on a disk with --data"},
	0x858458f6: {"ramfs", "what the zone keeps is gone at the next start of the host, and counts as memory", "name a folder on a disk with --data"},
	0x794c7630: {"overlayfs", "what the zone keeps is gone with the container", "mount a volume there"},
	0x65735546: {"FUSE", "whether locks and syncs hold depends on the program behind it", "name a folder on a local disk with --data"},
	0x01021997: {"9p", "whether locks and syncs hold depends on the host behind it", "name a folder on a local disk with --data"},
}

const (
	leastFree  = 256 * mib  // a segment, the reserve of the journal, the log of the database
	spoolRoom  = 1024 * mib // bodies that wait in files, at most
	fewInodes  = 1000
	someInodes = 10_000
)

// disk checks the file system of the data folder.
func (e *examination) disk(context.Context) {
	at := e.home()
	if e.Host.Disk == nil {
		e.unknown("file system", "", "this system does not say")
		return
	}
	d, err := e.Host.Disk(at)
	if err != nil {
		e.unknown("file system", "", "%s: %v", at, err)
		return
	}
	e.kind(at, d)
	e.space(at, d)
	e.inodes(at, d)
	e.parts(d)
	e.reach()
}

func (e *examination) kind(at string, d Disk) {
	const name = "file system"
	network, isNetwork := networkDisks[d.Type]
	odd, isOdd := oddDisks[d.Type]
	switch {
	case d.ReadOnly:
		e.fail(name, "mount -o remount,rw, or name another folder with --data; see dmesg for why it is so", "%s is mounted read-only", at)
	case isNetwork:
		e.fail(name, "name a folder on a local disk with --data; for more than one host, store: {postgres: ...}", "%s is on %s: the database's log needs shared memory, and locks do not hold there", at, network)
	case isOdd:
		e.warn(name, odd.mend, "%s is on %s: %s", at, odd.name, odd.why)
	default:
		e.ok(name, "%s is on a local one (type %#x), writable", at, d.Type)
	}
}

// space compares what is free with what the journal may still take.
func (e *examination) space(at string, d Disk) {
	const name = "free space"
	mend := "make room in " + at + ", or a smaller `journal: {size: ...}` in the map"
	if d.Free < leastFree {
		e.fail(name, mend, "%d MiB: requests get 503 journal.full when nothing more can be written", d.Free/mib)
		return
	}
	if e.Zone == nil {
		e.unknown(name, "name the map", "%d MiB; the size of the journal is in the map", d.Free/mib)
		return
	}
	if e.Journal.Err != nil {
		e.unknown(name, "", "%d MiB; the journal cannot be read: %v", d.Free/mib, e.Journal.Err)
		return
	}
	rest := uint64(max(0, e.Zone.Journal.Size-e.Journal.Size)) // #nosec G115 -- not negative
	if d.Free < rest+spoolRoom {
		e.warn(name, mend, "%d MiB: the journal may take %d MiB more, and waiting bodies %d", d.Free/mib, rest/mib, spoolRoom/mib)
		return
	}
	e.ok(name, "%d MiB; the journal may take %d MiB more, and waiting bodies %d", d.Free/mib, rest/mib, spoolRoom/mib)
}

func (e *examination) inodes(at string, d Disk) {
	const name = "inodes"
	const mend = "remove small files there that nobody needs, or name a folder on another disk with --data"
	switch {
	case d.Inodes == 0:
		e.ok(name, "the file system of %s has no fixed number", at)
	case d.Unused < fewInodes:
		e.fail(name, mend, "%d are left: no new segment of the journal can be made soon", d.Unused)
	case d.Unused < someInodes:
		e.warn(name, mend, "%d are left", d.Unused)
	default:
		e.ok(name, "%d are left", d.Unused)
	}
}

// parts tells of folders of the zone that are file systems of their own: they
// fill up apart, and each has to be backed up.
func (e *examination) parts(d Disk) {
	const name = "parts"
	var apart []string
	for _, part := range []string{"journal", "spool"} {
		path := filepath.Join(e.Data, part)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		other, err := e.Host.Disk(path)
		switch network := networkDisks[other.Type]; {
		case err != nil:
			e.unknown(name, "", "%s: %v", path, err)
			return
		case network != "":
			e.fail(name, "put it on a local disk", "%s is on %s: locks and syncs do not hold there", path, network)
			return
		case other.ReadOnly:
			e.fail(name, "mount -o remount,rw", "%s is mounted read-only", path)
			return
		case other.Device != d.Device && other.Free < leastFree:
			e.fail(name, "make room there", "%s is a file system of its own with %d MiB left", path, other.Free/mib)
			return
		case other.Device != d.Device:
			apart = append(apart, part)
		}
	}
	if len(apart) > 0 {
		e.ok(name, "of their own file systems, which fill up apart: %s", strings.Join(apart, ", "))
		return
	}
	e.ok(name, "journal, spool and store share one file system")
}

// reach says how far back the journal goes when it has its size, at the rate so
// far.
func (e *examination) reach() {
	const name = "journal"
	j := e.Journal
	switch {
	case errors.Is(j.Err, fs.ErrPermission):
		e.unknown(name, "run this as the user of the zone", "%v", j.Err)
		return
	case j.Err != nil:
		e.fail(name, "see `sallyport logs`; keep a copy before anything else", "it cannot be read: %v", j.Err)
		return
	case j.Oldest.IsZero() || j.Size == 0:
		e.unknown(name, "", "there is no record yet")
		return
	case e.Zone == nil:
		e.unknown(name, "name the map", "%d MiB; how much it may hold is in the map", j.Size/mib)
		return
	}
	age, retain := e.Host.Now().Sub(j.Oldest), e.Zone.Journal.Retain
	if age < time.Hour {
		e.ok(name, "%d MiB; it is too young to say how long it will last", j.Size/mib)
		return
	}
	reach := time.Duration(float64(age) * float64(e.Zone.Journal.Size) / float64(j.Size))
	if reach < 0 || reach > 100*365*24*time.Hour { // more than a Duration holds
		reach = 100 * 365 * 24 * time.Hour
	}
	if reach < retain {
		e.warn(name, "a larger `journal: {size: ...}`, or a `retain` that says what is kept", "%d MiB in %s: at this rate it holds %s of records, and `retain` says %s: the oldest go first", j.Size/mib, days(age), days(reach), days(retain))
		return
	}
	e.ok(name, "%d MiB in %s: the size is enough for the %s of `retain`", j.Size/mib, days(age), days(retain))
}
