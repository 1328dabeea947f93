package gateway

import (
	"context"
	"encoding/binary"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// lookupTime bounds a question to the authenticator or the token service.
const lookupTime = 5 * time.Second

// staleTime bounds it while nothing is heard of revocations: whoever keeps them is
// likely away, and each request would wait for that.
const staleTime = time.Second

// authenticateStage finds out who the request acts for.
func authenticateStage(g *Gateway, t *trip) problem.Reason {
	if t.route.local != nil && t.route.local.Raw {
		t.entry = t.listener.anonymous
		t.principal = t.entry.principal
		return problem.OK
	}
	cred, reason := extract(t.r.Header)
	t.cred = cred
	t.entry = t.listener.anonymous
	if reason == problem.OK {
		reason = g.crossSite(t)
	}
	if reason == problem.OK && cred.Kind != NoCredential {
		reason = g.authenticate(t)
	}
	// Whose login lacks its second factor is a stranger where strangers are taken.
	lacks := reason == problem.OK && t.entry.principal.StepUp && t.route.local == nil && t.route.Allow&zone.AllowAnonymous != 0
	if lacks || reason != problem.OK && t.staleCookie(reason) {
		reason = g.dropCookie(t)
	}
	t.principal = t.entry.principal
	return reason
}

// authenticate asks what is remembered, then the authenticator.
func (g *Gateway) authenticate(t *trip) problem.Reason {
	key := credentialKey{hash: t.cred.Hash, kind: t.cred.Kind}
	e := g.remembered(key, t.start)
	if e == nil {
		var err error
		if e, err = g.lookup(t.r.Context(), key, t.cred); err != nil {
			if t.r.Context().Err() != nil {
				return problem.ClientClosed
			}
			return t.failed(err, problem.AuthUnavailable)
		}
	}
	t.entry = e
	if reason := fromHere(e.principal, t.Client); reason != problem.OK {
		return reason
	}
	return g.possession(t, e.principal)
}

// fromHere refuses a credential from an address that it is not for. It is asked at
// every request: what is remembered is the same for all clients.
func fromHere(p *policy.Principal, client netip.Addr) problem.Reason {
	if !p.From(client) {
		return problem.AccessAddress
	}
	return problem.OK
}

// remembered returns what is known of a credential and may be believed, else nil.
func (g *Gateway) remembered(key credentialKey, now time.Time) *entry {
	if !g.fresh(now) {
		return nil
	}
	return g.principals.get(key, now)
}

// lookup asks the authenticator, once for all requests that ask the same at a
// time. The question does not end with the request that began it.
func (g *Gateway) lookup(ctx context.Context, key credentialKey, cred Credential) (*entry, error) {
	generation := g.principals.generation.Load()
	// The generation is part of the name: a request that begins after a revocation
	// does not join a question that was asked before it.
	name := string(append(append(binary.BigEndian.AppendUint64(nil, generation), byte(key.kind)), key.hash[:]...))
	patience := lookupTime
	if !g.fresh(g.clock()) { // nor any question at all: a revocation made elsewhere has no generation yet
		name = strconv.FormatUint(g.principals.numbers.Add(1), 36)
		patience = staleTime
	}
	asked := g.lookups.DoChan(name, contained(func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		p, valid, err := g.auth.Authenticate(ctx, cred)
		if err != nil {
			return nil, err
		}
		if p.Kind == policy.Anonymous { // a credential that stands for nobody is none
			return nil, problem.New(problem.AuthInvalid, nil)
		}
		now := g.clock()
		if !now.Before(valid) {
			return nil, problem.New(problem.AuthExpired, nil)
		}
		e := &entry{key: key, number: g.principals.numbers.Add(1), principal: &p, until: now.Add(principalLife)}
		// The authenticator sees a use only when it is asked: a session with a short
		// idle bound must be asked for well before the bound, or use would not keep it.
		if half := now.Add(valid.Sub(now) / 2); half.Before(e.until) {
			e.until = half
		}
		g.principals.put(e, generation, now)
		return e, nil
	}))
	select {
	case r := <-asked:
		e, _ := r.Val.(*entry)
		return e, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// crossSite refuses what another site made the browser send: for unsafe methods
// with a cookie session, and for local routes without any credential too, where a
// forged form could log the victim in as somebody else. Credentials in a header
// are not sent by browsers of their own accord.
func (g *Gateway) crossSite(t *trip) problem.Reason {
	if t.cred.Kind != CookieCredential && (t.cred.Kind != NoCredential || t.route.local == nil) {
		return problem.OK
	}
	if g.crossOrigin.Check(t.r) != nil {
		return problem.AuthCrossSite
	}
	return problem.OK
}

// staleCookie reports whether a browser came with the cookie of a session that
// is over to a page of ours that needs none, such as the login page. It sends
// the cookie whether it wants to or not and could never log in again.
func (t *trip) staleCookie(reason problem.Reason) bool {
	if t.cred.Kind != CookieCredential {
		return false
	}
	switch reason {
	case problem.AuthInvalid, problem.AuthExpired, problem.AuthRevoked:
		// In any case the browser is told to forget it.
		t.extra.Set("Set-Cookie", sessionCookie+"=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
		return t.route.local != nil && t.route.Allow&zone.AllowAnonymous != 0
	}
	return false
}

// dropCookie goes on without the credential.
func (g *Gateway) dropCookie(t *trip) problem.Reason {
	t.cred, t.detail, t.cause = Credential{}, "", nil
	t.entry = t.listener.anonymous
	return g.crossSite(t)
}

// challenge adds the challenge that a 401 must carry (RFC 9110 section 15.5.2),
// with the error codes of RFC 6750 section 3.1.
func (g *Gateway) challenge(t *trip, reason problem.Reason) {
	if reason.Status() != http.StatusUnauthorized || t.route != nil && t.route.local != nil && t.route.local.Raw {
		return
	}
	value := `Bearer realm="` + g.zoneName + `"`
	if t.cred.Kind == DPoPCredential || reason == problem.AuthProof || reason == problem.AuthNonce {
		value = `DPoP realm="` + g.zoneName + `", algs="` + strings.Join(dpop.Algorithms(), " ") + `"`
	}
	switch reason {
	case problem.AuthProof: // RFC 9449 section 7.1
		value += `, error="invalid_dpop_proof"`
	case problem.AuthNonce: // section 9
		value += `, error="use_dpop_nonce"`
	case problem.AuthInvalid, problem.AuthExpired, problem.AuthRevoked:
		value += `, error="invalid_token"`
	case problem.AuthStepUp: // RFC 9470 section 3
		value += `, error="insufficient_user_authentication"`
		if t.route == nil || t.route.Route == nil {
			break
		}
		if t.route.MFA || t.principal != nil && t.principal.StepUp {
			value += `, acr_values="2"`
		}
		if t.route.MaxAge > 0 {
			value += `, max_age="` + strconv.FormatInt(int64(t.route.MaxAge/time.Second), 10) + `"`
		}
	}
	t.extra.Set("WWW-Authenticate", value)
}
