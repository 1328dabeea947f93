package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxInfo is how much of a server's account of itself is read.
const maxInfo = 256 << 10

const evictsText = "the server may evict values to make room; set maxmemory-policy noeviction"

// errEvicts and the other refusals of a server by what it says of itself.
var (
	errEvicts  = errors.New("may forget nonces early: " + evictsText)
	errReplica = errors.New("is a replica: name the primary, which takes writes")
	errCluster = errors.New("is part of a cluster, which is not supported: name one server that stands alone")
)

// judge reads the answer of INFO: why the server is refused, and what whoever
// runs it should know.
func judge(info string) (warnings []string, err error) {
	if len(info) > maxInfo {
		return nil, errReply
	}
	facts := make(map[string]string)
	for line := range strings.Lines(info) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		switch name {
		case "maxmemory_policy", "maxmemory", "role", "cluster_enabled", "aof_enabled":
			facts[name] = value
		}
	}
	is := func(name, want string) bool { return facts[name] == want }
	switch {
	case facts["role"] != "" && !is("role", "master"):
		return nil, errReplica
	case facts["cluster_enabled"] != "" && !is("cluster_enabled", "0"):
		return nil, errCluster
	case facts["maxmemory_policy"] != "" && !is("maxmemory_policy", "noeviction"):
		return nil, errEvicts
	}
	if facts["maxmemory_policy"] == "" {
		warnings = append(warnings, "cannot see maxmemory-policy; it must be noeviction, or nonces may pass twice")
	}
	if is("maxmemory", "0") {
		warnings = append(warnings, "maxmemory is not set: counters of a flood may take all memory of the server's host")
	}
	if !is("aof_enabled", "1") {
		warnings = append(warnings, "appendonly is off or cannot be seen: a restart of the server forgets limits and nonces")
	}
	return warnings, nil
}

// inspect asks the server about itself. One that does not tell is only warned of.
func (v *Valkey) inspect(ctx context.Context) error {
	info, err := v.client.Info(ctx).Result()
	var reply redis.Error
	switch {
	case errors.As(err, &reply):
		info = ""
	case err != nil:
		return fmt.Errorf("cannot be asked about its settings: %w: %s", ErrUnavailable, v.redact(err))
	}
	warnings, err := judge(info)
	if err != nil {
		return err
	}
	v.warnings.Store(&warnings)
	return nil
}

// inspectAgain asks while the server is in use, where it is not refused any more
// but no value is entrusted to one that may forget it.
func (v *Valkey) inspectAgain() {
	ctx, cancel := context.WithTimeout(v.ctx, v.timeout)
	defer cancel()
	err := v.inspect(ctx)
	if err != nil && errors.Is(err, ErrUnavailable) {
		return // the next beat says more
	}
	if evicts := errors.Is(err, errEvicts); v.evicts.Swap(evicts) != evicts {
		if evicts {
			v.log.Error("valkey may evict: nonces and values are refused", "mend", evictsText)
		} else {
			v.log.Info("valkey does not evict any more: nonces and values are taken again", "at", time.Now())
		}
	}
}

// Warnings returns what whoever runs the server should know; doctor prints it.
func (v *Valkey) Warnings() []string {
	if w := v.warnings.Load(); w != nil {
		return *w
	}
	return nil
}
