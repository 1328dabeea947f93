package doctor

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	mib = 1 << 20

	// What the zone takes at most of its own: six password hashes at once
	// (19 MiB each, in a budget of 128), bodies that wait for their answer, and
	// what it has when it is idle.
	hashBudget  = 128 * mib
	bodyBudget  = 128 * mib
	idleMemory  = 64 * mib
	leastMemory = hashBudget + bodyBudget + idleMemory
)

// memory compares the memory that the zone may have with the limit towards which
// Go's collector works: behind it the kernel ends the process.
func (e *examination) memory() {
	const name = "memory"
	soft, from, err := e.softLimit()
	if err != nil {
		e.unknown(name, "write GOMEMLIMIT as bytes, or as 512MiB", "%v", err)
		return
	}
	hard, what := e.memoryLimit()
	if hard == 0 {
		e.unknown(name, "", "neither a cgroup limit nor /proc/meminfo can be read")
		return
	}
	mend := "GOMEMLIMIT=" + strconv.FormatInt(hard*9/10/mib, 10) + "MiB in the environment of the zone, or a higher limit"
	switch {
	case hard < leastMemory:
		e.fail(name, "give the zone "+strconv.Itoa(2*leastMemory/mib)+" MiB or more", "%s of %d MiB: logins (%d MiB), waiting bodies (%d MiB) and the rest need %d", what, hard/mib, hashBudget/mib, bodyBudget/mib, leastMemory/mib)
	case soft > hard:
		e.warn(name, mend, "%s of %d MiB is below %s of %d MiB: the kernel ends the zone before its collector saves memory", what, hard/mib, from, soft/mib)
	case soft > hard/10*9:
		e.warn(name, mend, "%s of %d MiB leaves less than a tenth beside %s of %d MiB for the database and for stacks", what, hard/mib, from, soft/mib)
	default:
		e.ok(name, "%s of %d MiB, %s of %d MiB", what, hard/mib, from, soft/mib)
	}
}

// softLimit is the memory limit of Go's collector for the zone.
func (e *examination) softLimit() (bytes int64, from string, err error) {
	text, err := e.env("GOMEMLIMIT")
	if err != nil {
		return 0, "", err
	}
	if text == "" {
		return e.MemoryLimit, "the soft limit", nil
	}
	if text == "off" {
		return noLimit, "GOMEMLIMIT=off, that is no soft limit, or one", nil
	}
	bytes, ok := parseBytes(text)
	if !ok {
		return 0, "", errors.New("GOMEMLIMIT is set and is no size")
	}
	return bytes, "GOMEMLIMIT", nil
}

// env is a variable of the running zone, or of this process. No other variable
// is kept: they may hold secrets.
func (e *examination) env(name string) (string, error) {
	if e.Running == nil || e.Running.PID == 0 {
		if e.Host.Getenv == nil {
			return "", errors.ErrUnsupported
		}
		return e.Host.Getenv(name), nil
	}
	text, err := e.proc("environ")
	if err != nil {
		return "", errors.New("the environment of the running zone cannot be read; run this as root or as its user")
	}
	for pair := range strings.SplitSeq(text, "\x00") {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value, nil
		}
	}
	return "", nil
}

// parseBytes reads a size as Go's runtime does: 536870912, 512MiB, 1GiB.
func parseBytes(text string) (int64, bool) {
	text = strings.TrimSuffix(text, "B")
	shift := 0
	for unit, by := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, shift = number, by
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > noLimit>>shift {
		return 0, false
	}
	return n << shift, true
}

// memoryLimit is the least of the host's memory and the limits of the cgroup and
// those above it; 0 when none can be read.
func (e *examination) memoryLimit() (bytes int64, what string) {
	if e.Host.ReadFile == nil {
		return 0, ""
	}
	if b, err := e.Host.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				if err == nil {
					bytes, what = kib<<10, "memory of the host"
				}
			}
		}
	}
	for _, file := range e.cgroupFiles("memory", "memory.max", "memory.limit_in_bytes") {
		b, err := e.Host.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is none
		if err == nil && n > 0 && (bytes == 0 || n < bytes) {
			bytes, what = n, "a cgroup limit"
		}
	}
	return bytes, what
}

// cgroupFiles are the files of a controller for the zone's cgroup and those above
// it, in both versions, the root last.
func (e *examination) cgroupFiles(controller, v2, v1 string) []string {
	const root = "/sys/fs/cgroup"
	proc := "/proc/self/cgroup"
	if e.Running != nil && e.Running.PID != 0 {
		proc = filepath.Join("/proc", strconv.Itoa(e.Running.PID), "cgroup")
	}
	var files []string
	up := func(base, group, file string) {
		for group = filepath.Clean("/" + group); ; group = filepath.Dir(group) {
			files = append(files, filepath.Join(base, group, file))
			if group == "/" {
				return
			}
		}
	}
	b, _ := e.Host.ReadFile(proc) // in a container it is the root that counts
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) != 3:
		case part[0] == "0" && part[1] == "":
			up(root, part[2], v2)
		default:
			for name := range strings.SplitSeq(part[1], ",") {
				if name == controller {
					up(filepath.Join(root, controller), part[2], v1)
				}
			}
		}
	}
	return append(files, filepath.Join(root, v2), filepath.Join(root, controller, v1))
}

// processors compares the processors that the zone uses with those it may use:
// beyond its quota all of it stands still for the rest of each tenth of a second.
func (e *examination) processors() {
	const name = "processors"
	text, err := e.env("GOMAXPROCS")
	if err != nil || e.Host.CPUs == nil || e.Host.ReadFile == nil {
		e.unknown(name, "", "the environment of the running zone cannot be read; run this as root or as its user")
		return
	}
	have, quota := float64(e.Host.CPUs()), e.quota()
	used, set := strconv.Atoi(text)
	switch {
	case quota > 0 && quota < 1:
		e.warn(name, "give the zone one processor or more (CPUQuota=100%)", "a quota of %.2g processors: every burst stops the zone for a part of each tenth of a second", quota)
	case set == nil && quota > 0 && float64(used) > quota+1:
		e.warn(name, "take GOMAXPROCS away: Go heeds the quota by itself", "GOMAXPROCS is %d and the quota is %.2g processors: bursts stop the zone", used, quota)
	case quota > 0:
		e.ok(name, "a quota of %.2g of %.0f, which Go heeds", quota, have)
	default:
		e.ok(name, "%.0f, without a quota", have)
	}
}

// quota is the number of processors that the cgroups leave; 0: no bound.
func (e *examination) quota() float64 {
	least := 0.0
	for _, file := range e.cgroupFiles("cpu", "cpu.max", "cpu.cfs_quota_us") {
		b, err := e.Host.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b))
		if len(fields) == 1 { // version 1: the period is beside it
			period, err := e.Host.ReadFile(filepath.Join(filepath.Dir(file), "cpu.cfs_period_us"))
			if err != nil {
				continue
			}
			fields = append(fields, strings.TrimSpace(string(period)))
		}
		if len(fields) != 2 {
			continue
		}
		quota, errQ := strconv.ParseFloat(fields[0], 64) // "max" and -1 are none
		period, errP := strconv.ParseFloat(fields[1], 64)
		if errQ == nil && errP == nil && quota > 0 && period > 0 && (least == 0 || quota/period < least) {
			least = quota / period
		}
	}
	return least
}
