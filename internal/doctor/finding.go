package doctor

import "fmt"

// State is the outcome of a check. The zero value is Unknown: nothing is ok
// that was not looked at.
type State uint8

// The outcomes.
const (
	Unknown State = iota // it cannot be told from here
	OK                   // evidence says so
	Warn                 // it works, and is weak or will break
	Fail                 // it does not work, or is not safe
)

var stateNames = [...]string{"unknown", "ok", "warn", "fail"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText is the name of the state.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is the outcome of one check.
type Finding struct {
	Part  string `json:"part"` // host, clock, disk, data, map, ports, certificates, services, store, mail, zone
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`          // what was seen
	Mend  string `json:"mend,omitempty"` // a command, or what to change; never for ok
}

// Report is all findings in the order of the checks, and how many there are of each state.
type Report struct {
	Zone     string    `json:"zone,omitempty"` // its name, when a map was read
	Running  bool      `json:"running"`
	Fail     int       `json:"fail"`
	Warn     int       `json:"warn"`
	Unknown  int       `json:"unknown"`
	OK       int       `json:"ok"`
	Findings []Finding `json:"findings"`
}

func (r *Report) count() {
	for _, f := range r.Findings {
		switch f.State {
		case OK:
			r.OK++
		case Warn:
			r.Warn++
		case Fail:
			r.Fail++
		default:
			r.Unknown++
		}
	}
}
