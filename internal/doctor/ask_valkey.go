package doctor

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// AskValkey looks at a server with PING and INFO.
func AskValkey(ctx context.Context, url string) (v Valkey, err error) {
	for plain, known := range map[string]string{"valkey://": "redis://", "valkeys://": "rediss://"} {
		if rest, ok := strings.CutPrefix(url, plain); ok {
			url = known + rest
			break
		}
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return v, errors.New("the URL cannot be read; write it as redis://USER:PASSWORD@HOST:PORT or unix:///PATH") // the text may hold a part of it
	}
	if o.TLSConfig == nil && !localURL(url) {
		return v, errInClear
	}
	logging.Disable() // the library has lines of its own for standard error
	o.MaxRetries, o.DialerRetries, o.PoolSize, o.DialTimeout, o.ReadTimeout = -1, 1, 1, 2*time.Second, 2*time.Second
	o.DisableIdentity, o.ContextTimeoutEnabled = true, true
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }() // only read
	if err := c.Ping(ctx).Err(); err != nil {
		return v, err
	}
	v.Most, v.Open = -1, o.Password == "" && o.CredentialsProvider == nil
	text, err := c.Info(ctx).Result()
	if err != nil {
		return v, nil //nolint:nilerr // the user may not: the findings are unknown
	}
	v.Name = "Redis"
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "redis_version":
			if v.Version == "" {
				v.Version = value
			}
		case "valkey_version": // Valkey tells both
			v.Name, v.Version = "Valkey", value
		case "role":
			v.Role = value
		case "cluster_enabled":
			v.Cluster = value == "1"
		case "aof_enabled":
			v.Kept = value == "1"
		case "maxmemory_policy":
			v.Policy = value
		case "maxmemory":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				v.Most = n
			}
		case "used_memory":
			v.Used, _ = strconv.ParseInt(value, 10, 64) // 0: not said
		}
	}
	return v, nil
}
