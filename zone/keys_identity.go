package zone

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func identityType() typ[Identity] {
	return object("identity", "the account service",
		key("listener", name(), func(i *Identity) *string { return &i.Listener },
			"the listener that serves /auth/, /oauth/, /.well-known/").says("public, else the only outside listener"),
		key("url", publicURL(), func(i *Identity) *string { return &i.URL },
			"where browsers and programs outside find it, without a path: the issuer of OpenID Connect, the links in letters, where passkeys belong").says("https://ZONE"),
		key("registration", oneOf("registration", registrationWords()), func(i *Identity) *Registration { return &i.Registration },
			"who may make an account: nobody, who was invited (`sallyport user invite`), anybody").is("closed"),
		key("mfa", oneOf("mfa", []word[bool]{{"optional", false}, {"required", true}}), func(i *Identity) *bool { return &i.MFARequired },
			"whether users need a second factor; administrators always do").is("optional"),
		key("mail", optional(mailType()), func(i *Identity) **Mail { return &i.Mail }, "how accounts are verified and recovered"),
		key("providers", providersType(), func(i *Identity) *[]Provider { return &i.Providers }, "the allowlist of identity providers, by name"),
		key("sessions", sessionsType(), func(i *Identity) *Sessions { return &i.Sessions }, "lifetimes of sessions"),
		key("password", passwordType(), func(i *Identity) *time.Duration { return &i.PasswordMax }, "rules beyond the built-in ones"),
		key("theme", filePath(), func(i *Identity) *string { return &i.Theme }, "folder of templates, CSS, texts and letters in place of the built-in ones"),
		key("clients", list(clientType()), func(i *Identity) *[]Client { return &i.Clients }, "OAuth clients; others are added by `sallyport client add`"),
	)
}

// publicURL is a scheme, a host and perhaps a port.
func publicURL() typ[string] {
	of := httpsURL("origin", "an https origin, such as https://shop.example:8443")
	return scalar("origin", "an https origin, such as https://shop.example:8443", `^https?://[^/@?#]+$`, func(s string) (string, error) {
		v, err := of.parse(s)
		switch {
		case err != nil:
		case strings.Count(v, "/") != 2:
			err = wrong("write scheme, host and port alone", "%s has a path", quote(s))
		case !plainPort(v):
			err = wrong("leave the port out where it is the default", "%s is not how browsers write its origin", quote(s))
		}
		return v, err
	})
}

// plainPort says whether the port of an origin is as browsers write it (RFC 6454
// section 6.2), who compare origins as texts: none, or a number that is not the
// default of the scheme.
func plainPort(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	standard := uint64(443)
	if u.Scheme == "http" {
		standard = 80
	}
	return err == nil && n > 0 && n != standard && strconv.FormatUint(n, 10) == u.Port()
}

func mailType() typ[Mail] {
	return object("mail", "smtp and from",
		key("smtp", secret(), func(m *Mail) *Secret { return &m.SMTP },
			"holds smtps://USER:PASS@HOST:465 (TLS), smtp+starttls://USER:PASS@HOST:587 (STARTTLS, never without) or smtp://HOST:PORT (plain, loopback only)").must(),
		key("from", mailAddress(), func(m *Mail) *string { return &m.From }, "the sender of mails").must(),
	)
}

func sessionsType() typ[Sessions] {
	return object("sessions", "lifetimes",
		key("idle", duration(), func(s *Sessions) *time.Duration { return &s.Idle }, "a session ends when it rests for so long").is("30min"),
		key("absolute", duration(), func(s *Sessions) *time.Duration { return &s.Absolute }, "a session ends after so long").is("12h"),
		key("remember", duration(), func(s *Sessions) *time.Duration { return &s.Remember }, "the absolute life of a session that is to be remembered").is("30d"),
	)
}

func passwordType() typ[time.Duration] {
	return object("password", "{max_age: DURATION}",
		key("max_age", duration(), func(d *time.Duration) *time.Duration { return d }, "a password must be changed after so long; NIST 800-63B advises against it").says("none"))
}

func clientType() typ[Client] {
	redirect := webURL("redirect uri", "an https url, or http on loopback", "https", "http")
	return object("client", "{id, kind, redirect_uris, scopes, ...}",
		key("id", matching("client id", "letters, digits and . _ -", `^[A-Za-z0-9][A-Za-z0-9._-]*$`, 100), func(c *Client) *string { return &c.ID }, "client_id").must(),
		key("title", text(), func(c *Client) *string { return &c.Title }, "what users read when they are asked").says("the id"),
		key("kind", oneOf("kind of client", plainWords("public", "confidential")), func(c *Client) *string { return &c.Kind }, "`confidential` clients can keep a secret").must(),
		key("redirect_uris", oneOrList(redirect), func(c *Client) *[]string { return &c.RedirectURIs }, "where answers may go; compared as strings"),
		key("logout_uris", oneOrList(redirect), func(c *Client) *[]string { return &c.LogoutURIs }, "where a logout may lead (post_logout_redirect_uris); compared as strings"),
		key("backchannel_logout_uri", redirect, func(c *Client) *string { return &c.BackchannelLogoutURI }, "is told when a user logs out (OpenID Connect Back-Channel Logout)"),
		key("scopes", oneOrList(scope()), func(c *Client) *[]string { return &c.Scopes }, "what it may ask for"),
		key("grants", oneOrList(oneOf("grant", plainWords(Grants()...))), func(c *Client) *[]string { return &c.Grants },
			"how it gets tokens").says("authorization_code and refresh_token with redirect_uris, else client_credentials"),
		key("secret", optional(secret()), func(c *Client) **Secret { return &c.Secret }, "holds its client_secret (confidential)"),
		key("jwks", filePath(), func(c *Client) *string { return &c.JWKS }, "JSON file of its public keys, with which it signs who it is (confidential, private_key_jwt)"),
		key("certificate", text(), func(c *Client) *string { return &c.Certificate }, "the subject of its certificate, on a listener with `client_ca` (confidential, tls_client_auth)"),
		key("access_token", oneOf("access token", []word[bool]{{"opaque", false}, {"jwt", true}}), func(c *Client) *bool { return &c.JWTTokens },
			"the form of its access tokens; `jwt` (RFC 9068) shows its holder what it says").is("opaque"),
		key("dpop", boolean(), func(c *Client) *bool { return &c.DPoP }, "its tokens must be bound to a key of its own (RFC 9449)").is("false"),
		key("par", boolean(), func(c *Client) *bool { return &c.PAR }, "it must push its authorization requests (RFC 9126)").is("false"),
		key("consent", boolean(), func(c *Client) *bool { return &c.Consent }, "users are asked what it may do; false for a program of the zone's own").is("true"),
	)
}

// Grants are the ways to a token that a client may have, in the words of the map: as
// RFC 6749, RFC 8628 and RFC 8693 name them, the long names shortened.
func Grants() []string {
	return []string{"authorization_code", "refresh_token", "client_credentials", "device_code", "token_exchange"}
}

// Allows says whether the client may get tokens by a grant.
func (c Client) Allows(grant string) bool {
	if len(c.Grants) > 0 {
		return slices.Contains(c.Grants, grant)
	}
	if len(c.RedirectURIs) > 0 {
		return grant == "authorization_code" || grant == "refresh_token"
	}
	return grant == "client_credentials" && c.Kind == "confidential"
}
