package bearer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"sallyport.dev/internal/outward"
)

// State is how it stands with the keys of an issuer.
type State struct {
	Provider string
	Keys     int       // of use; 0 where they are not Usable
	Usable   bool      // they were had, and are not too old
	Fetched  time.Time // of the last look that succeeded; zero: none did
	Err      error     // why the last look failed; nil: it did not, or there was none
}

// States tells of each issuer, in the order of the map.
func (s *Issuers) States() []State {
	states := make([]State, 0, len(s.list))
	for _, i := range s.list {
		states = append(states, i.state())
	}
	return states
}

func (i *issuer) state() State {
	set, unusable := i.keys.Current()
	_, fetched, err := i.keys.State()
	s := State{Provider: i.Name, Usable: unusable == nil, Fetched: fetched, Err: err}
	if s.Usable {
		s.Keys = set.Len()
	}
	return s
}

// Cause is Err in fixed words, which show no text of the issuer's; empty: there is
// none. The log has the whole.
func (s State) Cause() string {
	var status *outward.StatusError
	var slow net.Error
	switch {
	case s.Err == nil:
		return ""
	case errors.As(s.Err, &status):
		return fmt.Sprintf("it answers %d", status.Status)
	case errors.As(s.Err, new(*tls.CertificateVerificationError)):
		return "its certificate is not trusted"
	case errors.Is(s.Err, context.DeadlineExceeded), errors.As(s.Err, &slow) && slow.Timeout():
		return "it gives no answer in time"
	case errors.As(s.Err, new(*net.DNSError)):
		return "its host has no address"
	case errors.As(s.Err, new(*url.Error)): // of net/http: no answer came
		return "it cannot be reached"
	default:
		return "its answer is of no use"
	}
}
