package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The environment that fills the zero values of a Config.
const (
	EnvService = "SALLYPORT_SERVICE"
	EnvControl = "SALLYPORT_CONTROL"
	EnvCA      = "SALLYPORT_CA"
)

const (
	defaultControl     = "https://127.0.0.1:8441"
	defaultCallTimeout = 30 * time.Second
)

// Config says who the service is and where control is. The zero value takes all
// from the environment, which is how `sallyport` starts services.
type Config struct {
	// Service is the name of the service in the zone map. Empty: SALLYPORT_SERVICE.
	Service string

	// Control is the base URL of the zone's control listener; only https.
	// Empty: SALLYPORT_CONTROL, else https://127.0.0.1:8441.
	Control string

	// CA is the path of the PEM file with the zone's root, the only one that
	// control's certificate may chain to. The file may appear later and may
	// change: it is read again with every refresh. Empty: SALLYPORT_CA.
	CA string

	// HTTPClient asks control in place of the built-in client, for programs that
	// bring their own TLS and for tests (see package guardtest). CA is not used then.
	HTTPClient *http.Client

	// CallTimeout bounds a call of Guard.Client from its dial to the last byte of
	// the answer's body. 0: 30 s.
	CallTimeout time.Duration

	// Log takes what operators should know: loss of control, routes that are
	// closed, refusals. Never tokens. Nil: slog.Default().
	Log *slog.Logger

	// Clock tells the time that lives and ages are judged by. Nil: time.Now.
	Clock func() time.Time
}

func (c Config) resolve() (Config, error) {
	c.Service = firstOf(c.Service, os.Getenv(EnvService))
	c.Control = strings.TrimSuffix(firstOf(c.Control, os.Getenv(EnvControl), defaultControl), "/")
	c.CA = firstOf(c.CA, os.Getenv(EnvCA))
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Service == "" {
		return c, errors.New("guard: no service: set Config.Service or " + EnvService)
	}
	if u, err := url.Parse(c.Control); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return c, fmt.Errorf("guard: control %q is not an https URL", c.Control)
	}
	if c.CA == "" && c.HTTPClient == nil {
		return c, errors.New("guard: no CA file: set Config.CA or " + EnvCA)
	}
	if c.CallTimeout < 0 {
		return c, fmt.Errorf("guard: call timeout of %s is negative", c.CallTimeout)
	}
	return c, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
