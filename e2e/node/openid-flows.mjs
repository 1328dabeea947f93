// An outside program's flows at the zone, by openid-client: each says what it got.
import * as client from 'openid-client';
import * as jose from 'jose';
import { active, alice, as, asked, begin, config, keys, login, person, post, redeem, visit, zone } from './relying.mjs';
import { hold, stops } from './accounts.mjs';
import { refused, run, soon, world } from './suite.mjs';

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const access = 'urn:ietf:params:oauth:token-type:access_token';

await run({
  async discovery() {
    const m = (await config('web')).serverMetadata();
    return { issuer: m.issuer === world.issuer, pkce: m.code_challenge_methods_supported, responses: m.response_types_supported, modes: m.response_modes_supported,
      iss: m.authorization_response_iss_parameter_supported, password: m.grant_types_supported.includes('password'),
      elsewhere: Object.entries(m).filter(([k, v]) => /_endpoint|_uri$/.test(k) && typeof v === 'string' && !v.startsWith(`${world.issuer}/`)).map(([k]) => k) };
  },
  async code() { // PKCE, nonce and iss are compared by the library, which fails
    const first = await asked('web', 'openid email things.read offline_access');
    const tokens = await redeem('web', first);
    const pages = alice.pages.splice(0);
    const second = await login('web', 'openid email things.read'); // a session is there, and consent
    const claims = tokens.claims();
    return { iss: first.back.searchParams.get('iss') === world.issuer, type: tokens.token_type, expires: tokens.expires_in, access: tokens.access_token.slice(0, 4), refresh: tokens.refresh_token.slice(0, 4),
      scope: tokens.scope, sub: claims.sub === world.user.id, aud: claims.aud, acr: claims.acr, claims: Object.keys(claims).sort().join(' '), sid: second.claims().sid === claims.sid, pages, again: alice.pages.splice(0) };
  },
  async 'posted request'() { // OpenID Connect Core section 3.1.2.1
    const { params } = await begin('web', 'openid');
    const res = await alice.visit(new URL('/oauth/authorize', zone), { method: 'POST', from: 'https://web.example', body: new URLSearchParams({ client_id: 'web', response_type: 'code', ...params }) });
    const back = await alice.walk(new URL(res.headers.get('location'), zone), params.redirect_uri);
    return { status: res.status, answer: [...back.searchParams.keys()].sort().join(' '), state: back.searchParams.get('state') === params.state };
  },
  async userinfo() {
    const tokens = await login('web', 'openid email');
    const told = await client.fetchUserInfo(await config('web'), tokens.access_token, tokens.claims().sub);
    const little = await login('web', 'openid');
    return { email: told.email, verified: told.email_verified, less: Object.keys(await client.fetchUserInfo(await config('web'), little.access_token, little.claims().sub)) };
  },
  async 'refresh rotation'() {
    const tokens = await login('web', 'openid things.read things.write');
    const next = await client.refreshTokenGrant(await config('web'), tokens.refresh_token);
    const less = await client.refreshTokenGrant(await config('web'), next.refresh_token, { scope: 'things.read' });
    return { rotated: next.refresh_token !== tokens.refresh_token, access: next.access_token !== tokens.access_token, visit: await visit('/mine', next.access_token), less: less.scope,
      write: await visit('/mine', less.access_token, { method: 'POST' }), written: await visit('/mine', next.access_token, { method: 'POST' }) };
  },
  async overlap() { // of 10 s
    const web = await config('web');
    const { a, b, all } = await soon(20_000, async () => {
      const tokens = await login('web', 'openid');
      const began = performance.now();
      try {
        const [a, b] = [await client.refreshTokenGrant(web, tokens.refresh_token), await client.refreshTokenGrant(web, tokens.refresh_token)];
        return { a, b, all: await Promise.all(Array.from({ length: 8 }, () => client.refreshTokenGrant(web, a.refresh_token))) };
      } catch (err) {
        if (performance.now() - began < 10_000) throw err;
        return {};
      }
    });
    return { same: a.refresh_token === b.refresh_token, access: a.access_token !== b.access_token, children: new Set(all.map((t) => t.refresh_token)).size, alive: await active('web', all[7].access_token) };
  },
  async reuse() {
    const [web, first] = [await config('web'), await login('web', 'openid things.read')];
    const second = await client.refreshTokenGrant(web, first.refresh_token);
    const third = await client.refreshTokenGrant(web, second.refresh_token);
    const before = await visit('/mine', third.access_token);
    return { before, again: await refused(client.refreshTokenGrant(web, first.refresh_token)), child: await refused(client.refreshTokenGrant(web, third.refresh_token)),
      active: await Promise.all([first, second, third].map((t) => active('web', t.access_token))), visit: await visit('/mine', third.access_token) };
  },
  async introspection() {
    const tokens = await login('web', 'openid things.read');
    const told = await client.tokenIntrospection(await config('web'), tokens.access_token);
    return { active: told.active, client: told.client_id, scope: told.scope, type: told.token_type, sub: told.sub === world.user.id, iss: told.iss === world.issuer, life: told.exp - told.iat,
      stranger: await active('robot', tokens.access_token), refresh: await active('web', tokens.refresh_token), nothing: await active('web', 'spa_nothing') };
  },
  async revocation() {
    const [web, tokens, other] = [await config('web'), await login('web', 'openid things.read'), await login('web', 'openid things.read')];
    const before = await visit('/mine', tokens.access_token);
    const stranger = await refused(client.tokenRevocation(await config('robot'), tokens.refresh_token));
    const still = await visit('/mine', tokens.access_token);
    await client.tokenRevocation(web, tokens.refresh_token);
    const after = await visit('/mine', tokens.access_token);
    await client.tokenRevocation(web, other.access_token);
    return { before, stranger, still, after, refresh: await refused(client.refreshTokenGrant(web, tokens.refresh_token)), access: await visit('/mine', other.access_token), grant: await refused(client.refreshTokenGrant(web, other.refresh_token)), unknown: await refused(client.tokenRevocation(web, 'spr_nothing')) };
  },
  async 'client credentials'() {
    const robot = await config('robot');
    const tokens = await client.clientCredentialsGrant(robot, { scope: 'things.read' });
    const basicly = await client.clientCredentialsGrant(await as('robot', client.ClientSecretBasic(world.secret)));
    return { type: tokens.token_type, refresh: 'refresh_token' in tokens, id: 'id_token' in tokens, machine: await visit('/machine', tokens.access_token), mine: await visit('/mine', tokens.access_token), basic: await visit('/machine', basicly.access_token), wrong: await refused(client.clientCredentialsGrant(await as('robot', client.ClientSecretPost('not-this-secret-at-all')))) };
  },
  async 'private_key_jwt, DPoP and nonce'() {
    const [signer, pair] = [await config('signer'), await client.randomDPoPKeyPair('ES256')];
    const nonces = [];
    signer[client.customFetch] = async (...args) => { const res = await fetch(...args); nonces.push(res.status); return res; };
    const DPoP = client.getDPoPHandle(signer, pair);
    const tokens = await client.clientCredentialsGrant(signer, { scope: 'things.read' }, { DPoP });
    signer[client.customFetch] = fetch;
    const thief = client.getDPoPHandle(signer, await client.randomDPoPKeyPair('ES256'));
    const url = new URL('/machine', zone);
    const ask = async (how) => { try { return (await client.fetchProtectedResource(signer, tokens.access_token, url, 'GET', undefined, undefined, { DPoP: how })).status; } catch (err) { return err.cause?.[0] ? `${err.status} ${err.cause[0].scheme} ${err.cause[0].parameters.error}` : err.message; } };
    const told = await client.tokenIntrospection(signer, tokens.access_token);
    return { attempts: nonces, type: tokens.token_type, own: await ask(DPoP), thief: await ask(thief), bearer: await visit('/machine', tokens.access_token), scheme: await visit('/machine', tokens.access_token, { scheme: 'DPoP' }),
      jkt: told.cnf.jkt === await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey)), introspected: told.token_type };
  },
  async 'PAR and DPoP'() {
    const signer = await config('signer');
    const DPoP = client.getDPoPHandle(signer, await client.randomDPoPKeyPair('ES256'));
    const tokens = await login('signer', 'openid things.read', { par: true, DPoP });
    const told = await client.fetchUserInfo(signer, tokens.access_token, tokens.claims().sub, { DPoP });
    const route = await client.fetchProtectedResource(signer, tokens.access_token, new URL('/mine', zone), 'GET', undefined, undefined, { DPoP });
    const next = await client.refreshTokenGrant(signer, tokens.refresh_token, undefined, { DPoP });
    const otherKey = await refused(client.refreshTokenGrant(signer, next.refresh_token, undefined, { DPoP: client.getDPoPHandle(signer, await client.randomDPoPKeyPair('ES256')) }));
    return { type: tokens.token_type, sub: told.sub === world.user.id, route: route.status, bearer: (await post('/oauth/userinfo', {}, { authorization: `Bearer ${tokens.access_token}` })).status, next: next.token_type, otherKey };
  },
  async device() {
    const tv = await config('tv');
    const start = () => client.initiateDeviceAuthorization(tv, { scope: 'openid things.read' });
    const poll = (code) => refused(client.genericGrantRequest(tv, device, { device_code: code }));
    const waits = await soon(4000, async () => { const slow = await start(); return [await poll(slow.device_code), await poll(slow.device_code)]; }); // too often within 4 s
    let [browser, d, tokens, twice, took] = [];
    for (let tries = 0; tries < 20 && !(took < 2000); tries++) {
      [browser, d] = [person(), await start()];
      await refused(browser.walk(new URL(d.verification_uri), undefined, { fields: { user_code: d.user_code } })); // ends at the page that says so
      const began = performance.now();
      [tokens, twice] = [await client.pollDeviceAuthorizationGrant(tv, { ...d, interval: 0 }), await poll(d.device_code)];
      took = performance.now() - began;
    }
    const no = await client.initiateDeviceAuthorization(tv, { scope: 'openid' });
    await refused(browser.walk(new URL(no.verification_uri), undefined, { fields: { user_code: no.user_code, decision: 'deny' } }));
    return { waits, complete: 'verification_uri_complete' in d, uri: d.verification_uri === `${world.issuer}/oauth/device`, code: d.user_code.length, expires: d.expires_in, pages: browser.pages, visit: await visit('/mine', tokens.access_token),
      twice, denied: await poll(no.device_code), unknown: await poll('x'.repeat(43)) };
  },
  async 'token exchange'() {
    const [desk, tokens] = [await config('desk'), await login('web', 'openid things.read things.write')];
    const swap = (id, token, more) => config(id).then((c) => client.genericGrantRequest(c, exchange, { subject_token: token, subject_token_type: access, ...more }));
    const other = await swap('desk', tokens.access_token, { scope: 'things.read' });
    const told = await client.tokenIntrospection(desk, other.access_token);
    const visited = await visit('/mine', other.access_token);
    const facts = { issued: other.issued_token_type, client: told.client_id, sub: told.sub === world.user.id, scope: told.scope, visited, refresh: 'refresh_token' in other,
      more: await refused(swap('desk', tokens.access_token, { scope: 'things.write' })), again: await refused(swap('desk', other.access_token)), inside: await refused(swap('desk', tokens.access_token, { requested_token_type: 'urn:ietf:params:oauth:token-type:txn_token' })),
      elsewhere: await refused(swap('desk', tokens.access_token, { audience: 'https://elsewhere.example' })), id: await refused(swap('desk', tokens.id_token, { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' })), stranger: await refused(swap('web', tokens.access_token)) };
    await client.tokenRevocation(await config('web'), tokens.access_token);
    return { ...facts, ended: await visit('/mine', other.access_token) };
  },
  async 'JWT access token'() {
    const tokens = await login('spa', 'openid things.read');
    const { payload, protectedHeader } = await jose.jwtVerify(tokens.access_token, keys, { typ: 'at+jwt', issuer: world.issuer, audience: world.issuer, algorithms: ['ES256'], requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id', 'scope'] });
    const before = await visit('/mine', tokens.access_token);
    const idToken = await visit('/mine', tokens.id_token);
    await client.tokenRevocation(await config('spa'), tokens.access_token);
    return { alg: protectedHeader.alg, client: payload.client_id, sub: payload.sub === world.user.id, scope: payload.scope, before, idToken, after: await visit('/mine', tokens.access_token), names: Object.keys(payload).sort().join(' ') };
  },
  async 'prompt and max_age'() {
    const browser = person();
    const ask = async (more, scope = 'openid') => { const { back } = await asked('web', scope, { browser, more }); return back.searchParams.get('error') ?? 'code'; };
    const nobody = await ask({ prompt: 'none' });
    const first = await login('web', 'openid', { browser });
    const pages = (from) => browser.pages.slice(from).map((p) => p.replace(/ \d+$/, ''));
    let seen = browser.pages.length;
    const silent = await ask({ prompt: 'none' });
    const asks = await ask({ prompt: 'none' }, 'openid profile'); // never agreed to
    seen = browser.pages.length;
    const old = await login('web', 'openid', { browser, more: { max_age: '3600' } });
    const quiet = pages(seen);
    seen = browser.pages.length;
    const fresh = await login('web', 'openid', { browser, more: { max_age: '0' } }); // the library compares auth_time
    const aged = pages(seen);
    seen = browser.pages.length;
    const again = await login('web', 'openid', { browser, more: { prompt: 'login' } });
    const prompted = pages(seen);
    seen = browser.pages.length;
    const consent = await ask({ prompt: 'consent' });
    return { nobody, silent, asks, quiet, old: old.claims().auth_time === first.claims().auth_time, aged, later: fresh.claims().auth_time >= first.claims().auth_time, prompted, again: again.claims().auth_time >= fresh.claims().auth_time, consent, consented: pages(seen),
      hinted: await ask({ prompt: 'none', id_token_hint: fresh.id_token }) };
  },
  async acr_values() {
    const codes = await hold(world.bob);
    const [once, raised, alone] = [person(world.bob), person(world.bob), person()];
    const two = { press: ['/auth/mfa/recovery'] };
    const first = await login('web', 'openid', { browser: once, ...two, fields: { code: codes[0] } }); // the account has a factor: it is asked for anyway
    const more = { acr_values: '2' };
    const second = await login('web', 'openid', { browser: raised, more, ...two, fields: { code: codes[1] } });
    const silent = await login('web', 'openid', { browser: raised, more: { ...more, prompt: 'none' } });
    // Who has no second factor comes to an end, at the client or at a page: not to the same question for ever.
    const factorless = await stops(asked('web', 'openid', { browser: alone, more }).then(({ back }) => back)).then(() => 'ends', (err) => err.message);
    const { back } = await asked('web', 'openid', { browser: alone, more: { claims: JSON.stringify({ id_token: { acr: { essential: true, values: ['2'] } } }) } });
    const claims = (tokens) => [tokens.claims().acr, tokens.claims().amr];
    const told = await client.tokenIntrospection(await config('web'), second.access_token);
    return { first: claims(first), second: claims(second), silent: claims(silent), told: told.acr, factorless, essential: back.searchParams.get('error') };
  },
});
