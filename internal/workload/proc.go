package workload

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The texts of /proc (proc(5)). A process chooses its own name, so nothing that
// looks like a field in it may be taken for one.

// procStatus is what counts of /proc/PID/status.
type procStatus struct {
	uid, gid uint32 // effective
	groups   []uint32
}

// field returns the value of the line that begins with name. It must be there
// once: the kernel escapes line ends in names of processes.
func field(text, name string) (string, bool) {
	var value string
	found := 0
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name); ok {
			value = strings.TrimSpace(v)
			found++
		}
	}
	return value, found == 1
}

func parseStatus(text string) (procStatus, error) {
	var out procStatus
	for name, id := range map[string]*uint32{"Uid": &out.uid, "Gid": &out.gid} {
		v, ok := field(text, name+":")
		four := strings.Fields(v) // real, effective, saved, of the file system
		if !ok || len(four) != 4 {
			return out, fmt.Errorf("status of the process has no %s", name)
		}
		n, err := strconv.ParseUint(four[1], 10, 32)
		if err != nil {
			return out, fmt.Errorf("status of the process: %s: %w", name, err)
		}
		*id = uint32(n)
	}
	v, ok := field(text, "Groups:")
	if !ok {
		return out, errors.New("status of the process has no Groups")
	}
	for g := range strings.FieldsSeq(v) {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return out, fmt.Errorf("status of the process: Groups: %w", err)
		}
		out.groups = append(out.groups, uint32(n))
	}
	return out, nil
}

// parseStart returns the start time of /proc/PID/stat, in clock ticks since the
// machine began: the 22nd field. The second is the name, in parentheses, and
// may hold anything.
func parseStart(text string) (uint64, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return 0, errors.New("stat of the process has no name")
	}
	const after = 22 - 3 // the name was the second
	fields := strings.Fields(text[end+1:])
	if len(fields) <= after {
		return 0, errors.New("stat of the process is too short")
	}
	n, err := strconv.ParseUint(fields[after], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat of the process: %w", err)
	}
	return n, nil
}

// parsePid returns the pid of a pidfd's fdinfo: in the namespace of /proc, -1
// when the process has ended, 0 when it is not to be seen there.
func parsePid(text string) (int, error) {
	v, ok := field(text, "Pid:")
	if !ok {
		return 0, errors.New("fdinfo of the pidfd has no Pid")
	}
	pid, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("fdinfo of the pidfd: %w", err)
	}
	if pid <= 0 {
		return 0, fmt.Errorf("pid %d of the pidfd: the process has ended, or lives in another pid namespace", pid)
	}
	return pid, nil
}
