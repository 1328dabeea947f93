package doctor

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// host checks kernel, limits, memory and processors.
func (e *examination) host(context.Context) {
	e.kernel()
	e.openFiles()
	e.coreDumps()
	e.memory()
	e.processors()
}

func (e *examination) kernel() {
	if e.Host.Kernel == nil {
		e.unknown("kernel", "run the zone on Linux", "this is no Linux: limits, clock and disks cannot be told here")
		return
	}
	release, err := e.Host.Kernel()
	if err != nil {
		e.unknown("kernel", "", "the release cannot be told: %v", err)
		return
	}
	if e.Host.Pidfd == nil {
		e.unknown("kernel", "", "Linux %s; pidfd was not asked for", release)
		return
	}
	switch err := e.Host.Pidfd(); {
	case err == nil:
		e.ok("kernel", "Linux %s, with pidfd", release)
	case errors.Is(err, syscall.ENOSYS):
		e.fail("kernel", "use Linux 5.3 or later", "Linux %s has no pidfd: the Workload API cannot tell processes apart and is not served", release)
	default: // a seccomp filter says EPERM
		e.fail("kernel", "let the sandbox allow pidfd_open(2)", "Linux %s: pidfd_open is refused (%v): the Workload API is not served", release, err)
	}
}

const (
	filesOfClient = 2       // its connection, and one to a service for what it asks
	filesOfOwn    = 3 * 512 // connections of admin, control and admin socket
	filesOfRest   = 256     // journal, database, listeners, spools
	defaultConns  = 10_000  // of a listener
	noLimit       = 1 << 62 // of a file of limits that says unlimited
)

func (e *examination) openFiles() {
	const name = "open files"
	need, of := uint64(filesOfClient*defaultConns+filesOfOwn+filesOfRest), "the 10000 connections of one listener"
	if e.Zone != nil {
		connections := 0
		for _, l := range e.Zone.Listeners {
			connections += l.Limits.Connections
		}
		need = uint64(filesOfClient*connections + filesOfOwn + filesOfRest) // #nosec G115 -- the map bounds it
		of = strconv.Itoa(connections) + " connections of the listeners"
	}
	limit, whose, err := e.limitOf("Max open files", e.Host.OpenFiles)
	if err != nil {
		e.unknown(name, "", "the limit cannot be told: %v", err)
		return
	}
	mend := "LimitNOFILE=" + strconv.FormatUint(need, 10) + " in the unit of the zone, `ulimit -Hn " + strconv.FormatUint(need, 10) + "` in its shell, or fewer `connections` in the listener's limits"
	switch {
	case limit >= need:
		e.ok(name, "%d for %s; %d are enough for %s", limit, whose, need, of)
	case limit >= need/filesOfClient:
		e.warn(name, mend, "%d for %s: %s need up to %d when all are at work", limit, whose, of, need)
	default:
		e.fail(name, mend, "%d for %s: %s need up to %d, and one listener can use up what the others need", limit, whose, of, need)
	}
}

// limitOf is a limit of the running zone by its line in /proc/PID/limits; without
// a zone it is what own tells of this process, whose parent may start the zone too.
func (e *examination) limitOf(line string, own func() (uint64, error)) (limit uint64, whose string, err error) {
	if e.Running == nil || e.Running.PID == 0 {
		if own == nil {
			return 0, "", errors.ErrUnsupported
		}
		limit, err = own()
		return limit, "a zone started from here", err
	}
	text, err := e.proc("limits")
	if err != nil {
		return 0, "", err
	}
	for l := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(l, line)
		if fields := strings.Fields(rest); ok && len(fields) > 0 {
			if fields[0] == "unlimited" {
				return noLimit, "the running zone", nil
			}
			limit, err = strconv.ParseUint(fields[0], 10, 64)
			return limit, "the running zone", err
		}
	}
	return 0, "", errors.New("/proc has no line of it")
}

// proc reads a file of the running zone in /proc.
func (e *examination) proc(file string) (string, error) {
	if e.Host.ReadFile == nil {
		return "", errors.ErrUnsupported
	}
	b, err := e.Host.ReadFile(filepath.Join("/proc", strconv.Itoa(e.Running.PID), file))
	return string(b), err
}

// coreDumps looks for a way of the zone's memory, with its keys, to a disk. A
// program that takes dumps by a pipe gets them whatever the limit is (core(5)).
func (e *examination) coreDumps() {
	const name = "core dumps"
	if e.Host.ReadFile == nil {
		e.unknown(name, "", "this system does not say where they go")
		return
	}
	if e.Running != nil && e.Running.PID != 0 {
		limit, _, err := e.limitOf("Max core file size", nil)
		if err != nil {
			e.unknown(name, "", "the limit of the running zone cannot be told: %v", err)
			return
		}
		if limit != 0 {
			e.fail(name, "LimitCORE=0 in the unit of the zone; then start it again", "the running zone may write its memory, with its keys, to a disk")
			return
		}
	}
	b, err := e.Host.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		e.unknown(name, "", "the kernel's core_pattern cannot be read: %v", err)
		return
	}
	program, piped := strings.CutPrefix(strings.TrimSpace(string(b)), "|")
	program, _, _ = strings.Cut(program, " ")
	switch {
	case !piped:
		e.ok(name, "the kernel writes them to files, and heeds the limit of 0 that `serve` sets")
	case strings.HasSuffix(program, "/systemd-coredump"):
		e.ok(name, "the kernel gives them to systemd-coredump, which heeds the limit of 0 that `serve` sets")
	default:
		e.warn(name, "sysctl kernel.core_pattern=core, or see that the program heeds its %c", "the kernel gives them to "+program+", whatever the limit that `serve` sets: it can write keys to a disk")
	}
}
