package identity

import "sallyport.dev/internal/page"

// The facts of an account in JSON. Times are empty where there is none.
type (
	profileJSON struct {
		userJSON
		Name   string `json:"name"`
		Locale string `json:"locale"`
	}
	providerJSON struct {
		Provider    string `json:"provider"`
		Issuer      string `json:"issuer"`
		Subject     string `json:"subject"`
		Email       string `json:"email"`
		ConnectedAt string `json:"connected_at"`
		LastUsedAt  string `json:"last_used_at,omitempty"`
	}
	grantJSON struct {
		Client     string   `json:"client"`
		Title      string   `json:"title"`
		Scopes     []string `json:"scopes"`
		GrantedAt  string   `json:"granted_at"`
		LastUsedAt string   `json:"last_used_at,omitempty"`
	}
	signingJSON struct {
		ID        string `json:"id"`
		Algorithm string `json:"algorithm"`
		CreatedAt string `json:"created_at"`
		ExpiresAt string `json:"expires_at,omitempty"`
	}
	keyJSON struct {
		ID         string        `json:"id"`
		Name       string        `json:"name"`
		Scopes     []string      `json:"scopes"`
		Addresses  []string      `json:"addresses"`
		CreatedAt  string        `json:"created_at"`
		ExpiresAt  string        `json:"expires_at,omitempty"`
		LastUsedAt string        `json:"last_used_at,omitempty"`
		Signing    []signingJSON `json:"signing"`
	}
	accountJSON struct {
		profileJSON
		Verified          bool           `json:"verified"`
		CreatedAt         string         `json:"created_at"`
		PasswordChangedAt string         `json:"password_changed_at,omitempty"` // also when there is none
		DeleteAt          string         `json:"delete_at,omitempty"`
		Factors           []factorJSON   `json:"factors"`
		RecoveryCodesLeft int            `json:"recovery_codes_left"`
		Sessions          []sessionJSON  `json:"sessions"`
		Providers         []providerJSON `json:"providers"`
		Grants            []grantJSON    `json:"grants"`
		Keys              []keyJSON      `json:"keys"`
	}
)

func profileOf(a account) profileJSON {
	return profileJSON{userJSON: userAnswer(a.User), Name: a.Name, Locale: a.Locale}
}

func keyAnswer(k Key) keyJSON {
	answer := keyJSON{
		ID: k.ID, Name: k.Name, Scopes: append([]string{}, k.Scopes...), Addresses: append([]string{}, k.Addresses...),
		CreatedAt: stampOrNone(k.Created), ExpiresAt: stampOrNone(k.Expires), LastUsedAt: stampOrNone(k.Used), Signing: []signingJSON{},
	}
	for _, s := range k.Signing {
		answer.Signing = append(answer.Signing, signingJSON{ID: s.ID, Algorithm: s.Algorithm, CreatedAt: stampOrNone(s.Created), ExpiresAt: stampOrNone(s.Expires)})
	}
	return answer
}

func grantAnswer(g Grant) grantJSON {
	return grantJSON{Client: g.Client, Title: g.Title, Scopes: append([]string{}, g.Scopes...), GrantedAt: stampOrNone(g.Since), LastUsedAt: stampOrNone(g.Used)}
}

func (f facts) answer() accountJSON {
	a := f.account
	answer := accountJSON{
		profileJSON: profileOf(a), Verified: a.Verified, CreatedAt: page.Stamp(a.Created), PasswordChangedAt: stampOrNone(a.passwordAt), DeleteAt: stampOrNone(a.Deleting),
		RecoveryCodesLeft: f.codes, Factors: []factorJSON{}, Sessions: []sessionJSON{}, Providers: []providerJSON{}, Grants: []grantJSON{}, Keys: []keyJSON{},
	}
	for _, h := range f.factors {
		answer.Factors = append(answer.Factors, factorAnswer(h))
	}
	for _, s := range f.sessions {
		answer.Sessions = append(answer.Sessions, sessionJSON{
			ID: s.ID, CreatedAt: page.Stamp(s.Created), LastUsedAt: page.Stamp(s.LastUsed), ExpiresAt: page.Stamp(s.Expires),
			Client: clientText(s), Agent: s.Agent, Level: s.Level, Method: s.Method, Current: s.ID == f.current,
		})
	}
	for _, c := range f.connections {
		answer.Providers = append(answer.Providers, providerJSON{
			Provider: c.provider, Issuer: c.issuer, Subject: c.subject, Email: c.email, ConnectedAt: page.Stamp(c.created), LastUsedAt: stampOrNone(c.used),
		})
	}
	for _, g := range f.grants {
		answer.Grants = append(answer.Grants, grantAnswer(g))
	}
	for _, k := range f.keys {
		answer.Keys = append(answer.Keys, keyAnswer(k))
	}
	return answer
}
