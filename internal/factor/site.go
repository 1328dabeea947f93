package factor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/store"
)

const localhost = "localhost"

// SiteError says that the zone's passkeys were made for another host.
type SiteError struct {
	Recorded string // RP ID of the passkeys that there are
	Given    string // RP ID of the map now; empty: no host of it can have passkeys
	Passkeys int    // how many would stop working
}

func (e *SiteError) Error() string {
	given := "gives none"
	if e.Given != "" {
		given = fmt.Sprintf("gives %q", e.Given)
	}
	return fmt.Sprintf("factor: passkeys of this zone were made for the host %q and the map now %s: "+
		"%d of them would stop working, and their owners need another factor; let the account service's listener have %q "+
		"or a host below it again, or start with --leave-rp-id %s",
		e.Recorded, given, e.Passkeys, e.Recorded, e.Recorded)
}

// settle compares the RP ID with the recorded one, and records it while no
// passkey stands in the way.
func (f *Factors) settle(ctx context.Context) error {
	var recorded string
	err := f.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if recorded, err = site(ctx, tx); err != nil || recorded == f.rpID {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM factors WHERE kind = 'passkey' AND rp_id = ?", recorded).Scan(&n); err != nil {
			return err
		}
		if n > 0 && f.leaving != recorded {
			return &SiteError{Recorded: recorded, Given: f.rpID, Passkeys: n}
		}
		_, err = tx.Exec(ctx, `INSERT INTO factor_site (id, rp_id, created_at) VALUES (1, ?, ?)
			ON CONFLICT (id) DO UPDATE SET rp_id = excluded.rp_id, created_at = excluded.created_at`,
			f.rpID, store.Micros(f.clock()))
		return err
	})
	if _, refused := errors.AsType[*SiteError](err); refused {
		return err
	}
	if err != nil {
		return fmt.Errorf("factor: record the RP ID: %w", err)
	}
	if recorded != f.rpID {
		f.log.InfoContext(ctx, "rp id recorded", "rp_id", f.rpID, "before", recorded)
	}
	return nil
}

// site returns the recorded RP ID; empty when there is none.
func site(ctx context.Context, tx *store.Tx) (rpID string, err error) {
	err = tx.QueryRow(ctx, "SELECT rp_id FROM factor_site WHERE id = 1").Scan(&rpID)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return rpID, err
}

// Site chooses the RP ID of a zone whose account service is met at bases, each
// SCHEME://HOST[:PORT], and the origins that go with it. It is the zone's name
// where a base is that host or below it; else the host that all named bases are
// or are below; else localhost, if it alone is left. It is empty when there is none,
// as for a zone that is met by addresses only: browsers have no passkeys there.
func Site(zone string, bases []string) (rpID string, origins []string) {
	var named []string // hosts
	local := false
	hosts := map[string]string{} // by origin
	for _, base := range bases {
		origin, host, err := parseOrigin(base)
		if err != nil {
			continue
		}
		hosts[origin] = host
		if host == localhost {
			local = true
		} else {
			named = append(named, host)
		}
	}
	slices.SortFunc(named, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	within := func(rpID string) func(string) bool { return func(h string) bool { return covers(rpID, h) } }
	switch zone = strings.ToLower(zone); {
	case slices.ContainsFunc(named, within(zone)):
		rpID = zone
	case len(named) > 0 && !slices.ContainsFunc(named, func(h string) bool { return !covers(named[0], h) }):
		rpID = named[0]
	case len(named) == 0 && local:
		rpID = localhost
	default:
		return "", nil
	}
	for origin, host := range hosts {
		if covers(rpID, host) {
			origins = append(origins, origin)
		}
	}
	slices.Sort(origins)
	return rpID, origins
}

// checkSite returns the origins as browsers write them, or why they and the RP
// ID cannot go together.
func checkSite(rpID string, origins []string) ([]string, error) {
	if _, host, err := parseOrigin("https://" + rpID); err != nil || host != rpID {
		return nil, fmt.Errorf("factor: RP ID %q: want a host name in lower case, without scheme and port", rpID)
	}
	if len(origins) == 0 {
		return nil, fmt.Errorf("factor: RP ID %q has no origins", rpID)
	}
	list := make([]string, 0, len(origins))
	for _, o := range origins {
		origin, host, err := parseOrigin(o)
		if err != nil {
			return nil, err
		}
		if !covers(rpID, host) {
			return nil, fmt.Errorf("factor: origin %q is neither at %q nor below it", o, rpID)
		}
		if !slices.Contains(list, origin) {
			list = append(list, origin)
		}
	}
	return list, nil
}

// parseOrigin reads SCHEME://HOST[:PORT] and returns it as a browser writes an
// origin: in lower case, without the scheme's own port (RFC 6454 section 6.2).
// WebAuthn has secure origins and host names only.
func parseOrigin(s string) (origin, host string, err error) {
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", "", fmt.Errorf("factor: origin %q: want https://HOST[:PORT]", s)
	}
	host = u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || !isHostName(host) {
		return "", "", fmt.Errorf("factor: origin %q: passkeys need a host name", s)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || host != localhost && !strings.HasSuffix(host, "."+localhost)) {
		return "", "", fmt.Errorf("factor: origin %q: passkeys need https, or http at localhost", s)
	}
	origin = u.Scheme + "://" + host
	if port := u.Port(); port != "" && port != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		origin += ":" + port
	}
	return origin, host, nil
}

// isHostName says whether a host can be an RP ID: labels of letters, digits and
// hyphens, in lower case.
func isHostName(host string) bool {
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// covers says whether a browser at host may use an RP ID: the host itself, or one
// that it is below. One label covers itself only: no browser lets a host use a
// top-level domain, and localhost is one.
func covers(rpID, host string) bool {
	return host == rpID || strings.Contains(rpID, ".") && strings.HasSuffix(host, "."+rpID)
}

// ceremonyLife is how long a person may take.
const ceremonyLife = 10 * time.Minute

// relyingParty builds the library's side of the ceremonies.
func relyingParty(zone, rpID string, origins []string) (*webauthn.WebAuthn, error) {
	patience := webauthn.TimeoutConfig{Timeout: ceremonyLife, TimeoutUVD: ceremonyLife} // ours is enforced, by our clock
	rp, err := webauthn.New(&webauthn.Config{
		RPID:                  rpID,
		RPDisplayName:         zone,
		RPOrigins:             origins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: patience, Registration: patience},
		// None is asked for and none is read (WebAuthn section 7.2 step 18 lets a
		// relying party ignore them); some clients send them all the same.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("factor: %w", err)
	}
	return rp, nil
}

// algorithms are those that WebAuthn section 5.8.5 advises, in its order.
func algorithms() []protocol.CredentialParameter {
	var list []protocol.CredentialParameter
	for _, alg := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgEdDSA, webauthncose.AlgES256, webauthncose.AlgRS256} {
		list = append(list, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return list
}
