package zone

import "time"

func identityType() typ[Identity] {
	return object("identity", "the account service",
		key("listener", name(), func(i *Identity) *string { return &i.Listener },
			"the listener that serves /auth/, /oauth/, /.well-known/").says("public, else the only outside listener"),
		key("registration", oneOf("registration", registrationWords()), func(i *Identity) *Registration { return &i.Registration },
			"who may make an account: nobody, who was invited, anybody").is("closed").
			laterIf(func(r Registration) bool { return r == RegistrationInvited }, Listed, "invitations are not there yet: registration is closed"),
		key("mfa", oneOf("mfa", []word[bool]{{"optional", false}, {"required", true}}), func(i *Identity) *bool { return &i.MFARequired },
			"whether users need a second factor; administrators always do").is("optional").
			laterIf(isTrue, StopsServe, "second factors are not there yet, so none can be required"),
		key("mail", optional(mailType()), func(i *Identity) **Mail { return &i.Mail }, "how accounts are verified and recovered").
			later(Listed, "mail is not there yet: open registration answers 503 zone.not_enforced"),
		key("providers", providersType(), func(i *Identity) *[]Provider { return &i.Providers }, "the allowlist of identity providers, by name"),
		key("sessions", sessionsType(), func(i *Identity) *Sessions { return &i.Sessions }, "lifetimes of sessions"),
		key("password", passwordType(), func(i *Identity) *time.Duration { return &i.PasswordMax }, "rules beyond the built-in ones").
			later(Listed, "ageing of passwords is not there yet"),
		key("theme", filePath(), func(i *Identity) *string { return &i.Theme }, "folder of templates and CSS for the pages").
			later(Listed, "themes are not there yet: the built-in pages are served"),
		key("clients", list(clientType()), func(i *Identity) *[]Client { return &i.Clients }, "OAuth clients").
			later(Listed, "OAuth is not there yet: clients get no tokens"),
	)
}

func mailType() typ[Mail] {
	return object("mail", "smtp and from",
		key("smtp", secret(), func(m *Mail) *Secret { return &m.SMTP },
			"holds smtp://HOST:PORT (plain, loopback only) or smtps://USER:PASS@HOST:PORT").must(),
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
	return object("client", "{id, redirect_uris, kind, scopes}",
		key("id", matching("client id", "letters, digits and . _ -", `^[A-Za-z0-9][A-Za-z0-9._-]*$`, 100), func(c *Client) *string { return &c.ID }, "client_id").must(),
		key("kind", oneOf("kind of client", plainWords("public", "confidential")), func(c *Client) *string { return &c.Kind }, "`confidential` clients can keep a secret").must(),
		key("redirect_uris", oneOrList(redirect), func(c *Client) *[]string { return &c.RedirectURIs }, "where answers may go; compared as strings"),
		key("scopes", oneOrList(scope()), func(c *Client) *[]string { return &c.Scopes }, "what it may ask for"),
	)
}
