package zone

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// word binds a word of the map to its value. Every enumeration is one list of
// them, read by the parser, the schema, the reference and String alike.
type word[V any] struct {
	text  string
	value V
}

func textOf[V comparable](words []word[V], v V) string {
	for _, w := range words {
		if w.value == v {
			return w.text
		}
	}
	return ""
}

func allowWords() []word[Allow] {
	return []word[Allow]{
		{"anonymous", AllowAnonymous}, {"user", AllowUser}, {"key", AllowKey},
		{"client", AllowClient}, {"service", AllowService},
	}
}

func proofWords() []word[Proof] {
	return []word[Proof]{{"channel", ProofChannel}, {"mac", ProofMAC}, {"signature", ProofSignature}}
}

func streamWords() []word[Stream] {
	return []word[Stream]{{"sse", StreamSSE}, {"websocket", StreamWebSocket}, {"grpc", StreamGRPC}}
}

func registrationWords() []word[Registration] {
	return []word[Registration]{{"closed", RegistrationClosed}, {"invited", RegistrationInvited}, {"open", RegistrationOpen}}
}

func certificateWords() []word[CertificateKind] {
	return []word[CertificateKind]{{"internal", CertificateInternal}, {"acme", CertificateACME}}
}

func paramWords() []word[ParamKind] {
	return []word[ParamKind]{{"uuid", ParamUUID}, {"int", ParamInt}, {"date", ParamDate}}
}

// Has says whether all kinds of the given set are in a.
func (a Allow) Has(kinds Allow) bool { return a&kinds == kinds }

// Kinds returns the words of the set, in the order of the grammar.
func (a Allow) Kinds() []string {
	var kinds []string
	for _, w := range allowWords() {
		if a.Has(w.value) {
			kinds = append(kinds, w.text)
		}
	}
	return kinds
}

func (a Allow) String() string        { return strings.Join(a.Kinds(), ", ") }
func (p Proof) String() string        { return textOf(proofWords(), p) }
func (s Stream) String() string       { return textOf(streamWords(), s) }
func (r Registration) String() string { return textOf(registrationWords(), r) }

// String returns the selector as the map writes it, empty for none.
func (o Owner) String() string {
	switch o.Kind {
	case OwnerPath:
		return "path:" + o.Arg
	case OwnerResponse:
		return "response:" + o.Arg
	case OwnerRead:
		return "read:" + o.Arg
	case OwnerCode:
		return "code"
	default:
		return ""
	}
}

// String returns the type as the map writes it.
func (p Param) String() string {
	switch p.Kind {
	case ParamEnum:
		return "[" + strings.Join(p.Enum, ", ") + "]"
	case ParamRegexp:
		return p.Regexp
	default:
		return textOf(paramWords(), p.Kind)
	}
}

// String returns the rate as the map writes it, empty for none.
func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	window := FormatDuration(r.Window)
	if unit := strings.TrimLeft(window, "0123456789"); window == "1"+unit {
		window = unit
	}
	return strconv.Itoa(r.Count) + "/" + window
}

// FormatDuration returns d as the map writes it, in the largest unit that is exact.
func FormatDuration(d time.Duration) string {
	return format(int64(d), durationUnits())
}

// FormatSize returns bytes as the map writes them, in the largest unit that is exact.
func FormatSize(bytes int64) string {
	return format(bytes, sizeUnits())
}

func (e Effect) String() string {
	switch e {
	case Listed:
		return "declared, not enforced yet"
	case RefusesRoute:
		return "refuses the route"
	case StopsServe:
		return "stops serve"
	default:
		return "warning"
	}
}

// ParseDuration reads a duration as the map writes it.
func ParseDuration(text string) (time.Duration, error) {
	d, err := parseDuration(text)
	if err != nil {
		return 0, errors.New("want an integer and ms, s, min, h or d, such as 30min")
	}
	return d, nil
}
