package page

import "time"

// View is what one page shows. Its type names the template.
type View interface{ template() string }

// Login is the first step: address and password, a passkey, or another provider.
type Login struct {
	Email     string
	Remember  bool
	Next      string
	LoggedOut bool
	Notice    string // key of a message above the form: verified, password_changed; empty: none
	Passkeys  bool
	Providers []ProviderButton
	Recover   bool // there is mail, so that a password can be recovered
	Register  bool
}

// ProviderButton leads to another provider.
type ProviderButton struct{ Name, Title string }

// MFA is the second step of a login, or a step-up.
type MFA struct {
	Flow     string
	Factors  []string // passkey, totp, recovery: what the user holds
	Next     string
	StepUp   bool
	Password bool // step-up: the password is asked for as well
	Email    string
}

// Enroll asks a user who must hold a second factor to make one.
type Enroll struct {
	Flow string
	TOTP *TOTP
	Next string
}

// Register asks for an address and a password.
type Register struct {
	Email, Next string
	MinLength   int
	Providers   []ProviderButton
}

// Sent says that a letter is on its way, known account or not. Kind is register,
// recover or email.
type Sent struct{ Kind, Email string }

// Verify confirms what a letter's link is about, by a button: a mail scanner that
// follows links confirms nothing. Kind is register, invite, email or delete.
type Verify struct {
	Kind, Token, Email string
	Password           bool // invite: a password is chosen here
	MinLength          int
}

// Recover asks for the address of an account.
type Recover struct{ Email string }

// Password asks for a new password: with a token of a letter, with the one that is
// in force, or within the flow of a login whose password has reached its age.
type Password struct {
	Token, Email string
	Flow         string // a login that waits for the new password; empty: none
	Current      bool
	Expired      bool // the zone has passwords change after max_age
	Short        bool // the one in force is too short without a second factor
	Keys         int  // live API keys, which stay unless the user says otherwise
	MinLength    int
	Next         string
}

// Account is the account page.
type Account struct {
	ID, Email, Name, Locale string
	Locales                 []Choice
	Roles                   []string
	Notice                  string // key of what was just done; empty: nothing
	HasPassword             bool
	PasswordAt              time.Time
	Mail                    bool // the zone has mail: the address can be changed
	Factors                 []Factor
	RecoveryLeft            int // codes left
	RecoveryMade            bool
	MFARequired             bool
	Sessions                []Session
	Providers               []Provider
	Grants                  []Grant
	Keys                    []Key
	KeysAllowed             bool
	Deleting                time.Time // zero: not asked for
}

// Choice is one of a list.
type Choice struct {
	Value, Title string
	Chosen       bool
}

// Factor is a second factor that the user holds.
type Factor struct {
	ID, Kind, Name string
	Created, Used  time.Time // Used zero: never
}

// Session is a place where the user is logged in.
type Session struct {
	ID, Device, Client, Method string
	Level                      int
	Current                    bool
	Created, Used, Expires     time.Time
}

// Provider is another provider of the map, connected to the account or not.
type Provider struct {
	Name, Title, Subject, Email string
	Connected                   bool
	Since                       time.Time
}

// Grant is what the user let an OAuth client do.
type Grant struct {
	Client, Title string
	Scopes        []string
	Since, Used   time.Time
}

// Key is an API key of the user.
type Key struct {
	ID, Name               string
	Scopes                 []string
	Created, Expires, Used time.Time
	Signing                []SigningKey
}

// SigningKey is a key with which a program signs its requests.
type SigningKey struct {
	ID, Kind string
	Expires  time.Time
}

// TOTP is an authenticator app being set up.
type TOTP struct {
	Flow, Secret, URI string
	QR                string // SVG, ours
}

// NewTOTP is the page on which an authenticator app is set up.
type NewTOTP struct {
	TOTP
	Next string
}

// NewPasskey is the page on which a passkey is made; it needs the browser's script.
type NewPasskey struct{ Next string }

// Codes are recovery codes, shown once.
type Codes struct {
	Codes []string
	Ended int // other sessions that ended with the first factor
	Next  string
}

// NewKey asks for the name, scopes and life of an API key.
type NewKey struct {
	Name    string
	Scopes  []Choice
	Expires string // days
}

// KeyMade shows an API key or the secret of a signing key, once.
type KeyMade struct {
	ID, Name, Secret string
	Signing          bool
	Expires          time.Time
}

// Email asks for another address.
type Email struct{ Email, New string }

// Delete asks whether the account is to be deleted, and when that would be.
type Delete struct {
	Email string
	At    time.Time
	Days  int
}

// Link asks for the local credential before another provider is connected to an
// account that is there.
type Link struct {
	Provider, Title, Email, Flow string
}

// Bootstrap makes the first administrator, with a one-time token.
type Bootstrap struct {
	Token, Email string
	MinLength    int
}

// Consent asks what an OAuth client may do.
type Consent struct {
	Flow, Client, Title, Email string
	Host                       string // where the answer goes
	Scopes                     []string
	Device                     bool
	Place                      string // device flow: where the request came from
}

// Device asks for the code that a device shows.
type Device struct{ Code string }

// DeviceDone ends the device flow.
type DeviceDone struct{ Allowed bool }

// LogoutAsk asks whether to log out, when a client wants it and no hint of it
// names this session.
type LogoutAsk struct{ Flow, Client string }

// LoggedOut ends a logout that a client asked for.
type LoggedOut struct{ Title string }

// Message is a page of one sentence: keys of its title and text.
type Message struct{ Title, Text, Link, LinkText string }

func (Login) template() string      { return "login" }
func (MFA) template() string        { return "mfa" }
func (Enroll) template() string     { return "enroll" }
func (Register) template() string   { return "register" }
func (Sent) template() string       { return "sent" }
func (Verify) template() string     { return "verify" }
func (Recover) template() string    { return "recover" }
func (Password) template() string   { return "password" }
func (Account) template() string    { return "account" }
func (NewTOTP) template() string    { return "totp" }
func (NewPasskey) template() string { return "passkey" }
func (Codes) template() string      { return "codes" }
func (NewKey) template() string     { return "key" }
func (KeyMade) template() string    { return "key-made" }
func (Email) template() string      { return "email" }
func (Delete) template() string     { return "delete" }
func (Link) template() string       { return "link" }
func (Bootstrap) template() string  { return "bootstrap" }
func (Consent) template() string    { return "consent" }
func (Device) template() string     { return "device" }
func (DeviceDone) template() string { return "device-done" }
func (LogoutAsk) template() string  { return "logout" }
func (LoggedOut) template() string  { return "logged-out" }
func (Message) template() string    { return "message" }

// refused is a refusal that no form can mend, with the id to ask about it.
type refused struct{ CorrelationID string }

func (refused) template() string { return "refusal" }
