package app

// Status is the answer of GET /v1/status. Times are RFC 3339 UTC, empty for none.
type Status struct {
	Ready    bool     `json:"ready"`
	NotReady []string `json:"not_ready,omitempty"` // what it waits for
	Zone     string   `json:"zone"`
	Revision string   `json:"revision"` // of the map in force
	Version  string   `json:"version"`
	PID      int      `json:"pid"`
	Started  string   `json:"started"`
	Uptime   int64    `json:"uptime_seconds"`

	Map          MapStatus           `json:"map"`
	Store        EngineStatus        `json:"store"`
	KV           EngineStatus        `json:"kv"`
	Revocations  RevocationsStatus   `json:"revocations"`
	Journal      JournalStatus       `json:"journal"`
	Keys         KeysStatus          `json:"inside_keys"`
	Certificates []CertificateStatus `json:"certificates"` // sorted by name
	Listeners    []ListenerStatus    `json:"listeners"`
	Services     []ServiceStatus     `json:"services"`
	Issuers      []IssuerStatus      `json:"issuers"` // of providers of kind bearer
	Exports      []ExportStatus      `json:"exports"`
	Mail         *MailStatus         `json:"mail,omitempty"` // nil: the zone has none
	Notices      int                 `json:"notices"`        // declared and not enforced yet, or weak: see `check`
}

// MapStatus is the map in force, and the one that was refused after it.
type MapStatus struct {
	File    string `json:"file"`
	Since   string `json:"since"`                // it came into force
	Refused string `json:"refused_at,omitempty"` // another was refused since
	Refusal string `json:"refusal,omitempty"`    // why
}

// EngineStatus is a store of the zone.
type EngineStatus struct {
	Engine string `json:"engine"` // sqlite, postgres; memory, valkey
	State  string `json:"state"`  // ok; down; local: limits are counted here alone; unknown
}

// RevocationsStatus is what is heard of revocations, of this process and others.
type RevocationsStatus struct {
	Heard string `json:"heard"` // the store was asked last, and answered
	Fresh bool   `json:"fresh"` // within revocation_grace; else credentials are asked for with each request
}

// JournalStatus is the record of requests.
type JournalStatus struct {
	State    string `json:"state"` // ok, or the reason of refusals
	Size     int64  `json:"size"`  // bytes
	Limit    int64  `json:"limit"` // bytes that it may take
	Segments int    `json:"segments"`
	Oldest   string `json:"oldest,omitempty"`
	Retain   int64  `json:"retain_seconds"`
	Reach    int64  `json:"reach_seconds,omitempty"` // how much time fits into the limit at the rate so far; 0: too early to say
}

// KeysStatus is the ring of the inside tokens.
type KeysStatus struct {
	Signing   string `json:"signing,omitempty"` // id of the key; empty: none signs
	Published int    `json:"published"`
	Error     string `json:"error,omitempty"`
}

// CertificateStatus is a certificate in use.
type CertificateStatus struct {
	Name  string `json:"name"` // root; listener NAME, identity of NAME; issuer NAME, which signed one of them
	Until string `json:"until,omitempty"`
	Error string `json:"error,omitempty"` // there is none
}

// ListenerStatus is one open listener.
type ListenerStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// ServiceStatus counts a service's instances.
type ServiceStatus struct {
	Name      string       `json:"name"`
	Instances int          `json:"instances"`
	Healthy   int          `json:"healthy"` // neither ejected nor failing their health check
	Door      string       `json:"inner_door"`
	Guard     *GuardStatus `json:"guard,omitempty"` // nil: its inner door has not asked yet, or there is none
}

// GuardStatus is what control knows of a service's inner doors.
type GuardStatus struct {
	Seen    string `json:"seen"`    // one of them asked last
	Current bool   `json:"current"` // and has its part of the map in force
}

// IssuerStatus is how it stands with the keys of an outside issuer.
type IssuerStatus struct {
	Name   string `json:"name"`             // of the provider
	Usable bool   `json:"usable"`           // its keys are there, and not too old; else its tokens are answered 503
	Keys   int    `json:"keys"`             // of use
	Had    string `json:"had_at,omitempty"` // the last look at them that succeeded; empty: none did
	Cause  string `json:"cause,omitempty"`  // why the last look failed; no text of the issuer's
}

// ExportStatus is one signal that leaves.
type ExportStatus struct {
	Exporter string `json:"exporter"`
	Signal   string `json:"signal,omitempty"`
	Sent     int64  `json:"sent"`
	Failures int64  `json:"failures"` // attempts
	Dropped  int64  `json:"dropped"`  // will not arrive
	Waiting  int64  `json:"waiting"`  // are still to be sent
}

// MailStatus is the outbox of letters. No address is in it, and no text of the
// SMTP server's.
type MailStatus struct {
	Waiting int         `json:"waiting"`              // letters
	Limit   int         `json:"limit"`                // most that may wait
	Oldest  string      `json:"oldest,omitempty"`     // of those: asked for
	Cause   string      `json:"cause,omitempty"`      // why that one was not sent when it was tried last
	GivenUp int         `json:"given_up"`             // of the last 30 days, 10,000 at most
	Causes  []MailCause `json:"causes,omitempty"`     // of those, the most frequent first; five at most
	Failing string      `json:"failing_at,omitempty"` // the SMTP server fails since; as this process knows it
	Failure string      `json:"failure,omitempty"`    // how
	Error   string      `json:"error,omitempty"`      // what gave no answer: store
}

// MailCause is why letters were given up: a code of SMTP, or a word: expired,
// invalid, altered.
type MailCause struct {
	Cause   string `json:"cause"`
	Letters int    `json:"letters"`
}
