package guess

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// The bounds. Those of one source are asked together, and the longest wait
// counts: so the wait grows from minutes to a day.
var (
	strangers = []zone.Rate{{Count: 45, Window: time.Hour}, {Count: 200, Window: 24 * time.Hour}}                                       // at one account, from all unknown networks
	stranger  = []zone.Rate{{Count: 8, Window: 5 * time.Minute}, {Count: 16, Window: time.Hour}, {Count: 40, Window: 24 * time.Hour}}   // one network at one account
	owner     = []zone.Rate{{Count: 10, Window: 5 * time.Minute}, {Count: 25, Window: time.Hour}, {Count: 60, Window: 24 * time.Hour}}  // a known device
	spray     = []zone.Rate{{Count: 120, Window: 10 * time.Minute}, {Count: 1000, Window: 24 * time.Hour}}                              // one network at all accounts
	site      = []zone.Rate{{Count: 400, Window: 10 * time.Minute}, {Count: 4000, Window: 24 * time.Hour}}                              // one IPv6 customer's /48 at all accounts
	everyone  = []zone.Rate{{Count: 1200, Window: time.Minute}}                                                                         // all unknown networks at all accounts
	second    = []zone.Rate{{Count: 10, Window: 15 * time.Minute}, {Count: 20, Window: time.Hour}, {Count: 50, Window: 24 * time.Hour}} // second factors of one account, all kinds together
	letters   = []zone.Rate{{Count: 3, Window: 15 * time.Minute}, {Count: 10, Window: 24 * time.Hour}}                                  // to one mailbox
	writers   = []zone.Rate{{Count: 20, Window: 10 * time.Minute}, {Count: 200, Window: 24 * time.Hour}}                                // of one network to any mailbox
)

// knownFor is how long a network is remembered to be the owner's.
const knownFor = 30 * 24 * time.Hour

// epochFor is longer than what is counted of a source counts: the longest window
// and an eighth of it. An epoch that is used is kept on when half of that is left,
// or its end would forget the guesses counted under it.
const epochFor = 48 * time.Hour

// Guesses bounds guessing. It is safe for concurrent use.
type Guesses struct {
	counters kv.Counters
	values   kv.Values
	secret   []byte
	clock    func() time.Time
}

// New returns the bounds over counters and values, which the processes of a zone
// share. The secret keeps names out of their keys and signs devices; it has 32
// bytes and is the same in all processes.
func New(counters kv.Counters, values kv.Values, secret []byte, clock func() time.Time) *Guesses {
	return &Guesses{counters: counters, values: values, secret: secret, clock: clock}
}

// Attempt is one admitted guess. It counts as failed until it is told otherwise,
// so that guesses made at once are all counted.
type Attempt struct {
	g       *Guesses
	source  string  // of its counters
	shared  []bound // in which others count too
	network string  // the key under which its network becomes known; empty: a device
	Known   bool    // from a device or network of the owner
}

// Begin admits a guess of the password of an account, or says when to come back:
// limit.rate. device is what the cookie of a known device holds, or empty.
// Without the counters nothing is let through: limit.unavailable.
//
// Guesses from a known network are bounded like those from every network, so that
// whoever shares it, behind the one address of an office, cannot tell by the bounds
// who has an account. They are only not held up by what strangers do elsewhere.
func (g *Guesses) Begin(ctx context.Context, account string, client netip.Addr, device string) (Attempt, error) {
	a := g.attempt(account, client, device)
	name, from := g.name("account", account), Network(client).String()
	if err := a.recall(ctx); err != nil {
		return Attempt{}, err
	}
	epoch, err := g.epoch(ctx, a.source)
	if err != nil {
		return Attempt{}, err
	}
	source := a.source + " " + epoch
	if a.network == "" {
		return a, g.take(ctx, bound{"owner", source, owner})
	}
	a.shared = []bound{{"spray", g.name("spray", from), spray}}
	if all, ok := customer(client); ok {
		a.shared = append(a.shared, bound{"site", g.name("site", all.String()), site})
	}
	if !a.Known {
		a.shared = append(a.shared, bound{"strangers", name, strangers}, bound{"everyone", "", everyone})
	}
	return a, g.take(ctx, append([]bound{{"stranger", source, stranger}}, a.shared...)...)
}

// Remember is Succeeded for a login that guessed at nothing, such as one by passkey:
// it costs no place among the guesses of strangers.
func (g *Guesses) Remember(ctx context.Context, account string, client netip.Addr, device string) error {
	return g.attempt(account, client, device).Succeeded(ctx)
}

// attempt names the source of a guess. Known says as yet whether it is a device's.
func (g *Guesses) attempt(account string, client netip.Addr, device string) Attempt {
	name, from := g.name("account", account), Network(client).String()
	if id, ok := g.device(account, device); ok {
		return Attempt{g: g, Known: true, source: g.name("device", name+" "+id)}
	}
	return Attempt{g: g, network: "guess/known/" + g.name("network", name+" "+from), source: g.name("source", name+" "+from)}
}

// recall asks whether the network of an attempt is known, unless its device is.
func (a *Attempt) recall(ctx context.Context) error {
	if a.Known {
		return nil
	}
	_, known, err := a.g.values.Get(ctx, a.network)
	if err != nil {
		return uncounted(err)
	}
	a.Known = known
	return nil
}

// Whence names the device or network of the owner that a client is, for Second;
// empty for strangers.
func (g *Guesses) Whence(ctx context.Context, account string, client netip.Addr, device string) (string, error) {
	a := g.attempt(account, client, device)
	if err := a.recall(ctx); err != nil || !a.Known {
		return "", err
	}
	return a.source, nil
}

// Succeeded forgets the guesses of the source, and remembers its network as the
// owner's. Where others are counted too, it takes back its own place: an office
// that logs in at nine is no spray, and who has an account of their own wins nothing.
func (a Attempt) Succeeded(ctx context.Context) error {
	now := a.g.clock()
	for _, b := range a.shared {
		for _, rate := range b.rates {
			if err := a.g.counters.Undo(ctx, b.key(rate), rate, now); err != nil {
				return uncounted(err)
			}
		}
	}
	if a.network != "" {
		if err := a.g.values.Set(ctx, a.network, nil, knownFor); err != nil {
			return uncounted(err)
		}
	}
	name := make([]byte, 12)
	_, _ = rand.Read(name) // crypto/rand.Read never fails (Go 1.24)
	return a.g.keep(ctx, a.source, base64.RawURLEncoding.EncodeToString(name))
}

// epoch names what is counted of a source since its guesses were forgotten last;
// empty: they never were.
func (g *Guesses) epoch(ctx context.Context, source string) (string, error) {
	value, found, err := g.values.Get(ctx, "guess/epoch/"+source)
	if err != nil {
		return "", uncounted(err)
	}
	name, since, ok := strings.Cut(string(value), ".")
	if !found || !ok {
		return "", nil
	}
	at, err := strconv.ParseInt(since, 10, 64)
	if err == nil && g.clock().Sub(time.Unix(at, 0)).Abs() < epochFor/2 {
		return name, nil
	}
	return name, g.keep(ctx, source, name)
}

// keep keeps the epoch of a source from now on.
func (g *Guesses) keep(ctx context.Context, source, name string) error {
	value := name + "." + strconv.FormatInt(g.clock().Unix(), 10)
	if err := g.values.Set(ctx, "guess/epoch/"+source, []byte(value), epochFor); err != nil {
		return uncounted(err)
	}
	return nil
}

// Second admits a guess of a second factor of an account: all kinds share one
// budget, wherever they come from, since who guesses here has the password. That
// must not keep the owner out either: whence they come, if that is known, has a
// budget of its own.
func (g *Guesses) Second(ctx context.Context, account, whence string) (Attempt, error) {
	a := Attempt{g: g, source: g.name("second", account)}
	if whence != "" {
		a.source = g.name("second", account+"\x00"+whence)
	}
	epoch, err := g.epoch(ctx, a.source)
	if err != nil {
		return Attempt{}, err
	}
	return a, g.take(ctx, bound{"second", a.source + " " + epoch, second})
}

// Letter admits a request that would have a letter of a kind sent to a mailbox,
// whether or not there is an account. Each kind has a share of its own, so that a
// stranger's registrations leave the owner's recovery alone; so has a known device,
// so that strangers who ask for all of them leave its owner some. send is false
// when the mailbox has had its share: the answer stays the same, and nothing is
// sent. A network that asks too often is refused with limit.rate.
func (g *Guesses) Letter(ctx context.Context, kind, address string, client netip.Addr, device string) (send bool, err error) {
	if err := g.take(ctx, bound{"writers", g.name("writers", Network(client).String()), writers}); err != nil {
		return false, err
	}
	to := address
	if id, ok := g.device(address, device); ok {
		to += "\x00" + id
	}
	err = g.take(ctx, bound{"letters", g.name("letters "+kind, to), letters})
	if problem.ReasonOf(err) == problem.LimitRate {
		return false, nil
	}
	return err == nil, err
}

// Take counts one event of another kind, such as a guess of a device's code.
// Reasons: limit.rate, limit.unavailable.
func (g *Guesses) Take(ctx context.Context, kind, subject string, rates ...zone.Rate) error {
	return g.take(ctx, bound{"also " + kind, g.name(kind, subject), rates})
}

// bound is one subject with its rates.
type bound struct {
	kind, subject string
	rates         []zone.Rate
}

func (b bound) key(rate zone.Rate) string {
	return "guess/" + b.kind + "/" + rate.Window.String() + "/" + b.subject
}

// take asks all bounds. One that refuses is told at once: those after it count
// nothing.
func (g *Guesses) take(ctx context.Context, bounds ...bound) error {
	now := g.clock()
	for _, b := range bounds {
		for _, rate := range b.rates {
			result, err := g.counters.Take(ctx, b.key(rate), rate, now)
			if err != nil {
				return uncounted(err)
			}
			if !result.Allowed {
				return page.Later(problem.LimitRate, result.Reset)
			}
		}
	}
	return nil
}

// name is the key of a subject: nobody who reads the counters learns an address.
func (g *Guesses) name(kind, subject string) string {
	mac := hmac.New(sha256.New, g.secret)
	mac.Write([]byte(kind + "\x00" + subject))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

func uncounted(cause error) error { return problem.New(problem.LimitUnavailable, cause) }

// customer is the /48 that one IPv6 customer may hold: its 65,536 networks together
// must not use up what all strangers share. IPv4 has none.
func customer(a netip.Addr) (netip.Prefix, bool) {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(48)
	return p, err == nil
}

// Network is the unit in which client addresses are counted: an IPv4 address, or
// the /64 that one IPv6 customer holds at least. Requests without an address
// count as one client.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
