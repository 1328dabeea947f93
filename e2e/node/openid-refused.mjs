// What the zone must refuse, each beside what is right: the code of each answer.
import * as client from 'openid-client';
import * as jose from 'jose';
import { alice, asked, basic, begin, config, login, person, post, redirect, visit, zone } from './relying.mjs';
import { refused, run, world } from './suite.mjs';

// authorize is what becomes of an authorization request: "code", the error that the
// client is told of, or the status of a page and its reason when it is told nothing.
async function authorize(id, more, { browser = alice, plus = '', drop = [] } = {}) {
  const { params } = await begin(id, 'openid', more);
  const url = client.buildAuthorizationUrl(await config(id), params);
  for (const name of drop) url.searchParams.delete(name);
  url.href += plus;
  try {
    const back = await browser.walk(url, redirect(id));
    return back.searchParams.get('error') ?? [...back.searchParams.keys()].sort().join(' ');
  } catch (err) { if (err.page === undefined) throw err; return `${err.status} ${err.title}`; }
}

const form = ({ back, checks }, more = {}) => ({ grant_type: 'authorization_code', code: back.searchParams.get('code'), redirect_uri: redirect('web'), code_verifier: checks.pkceCodeVerifier, ...more });
const token = async (parameters, headers) => { for (const k of Object.keys(parameters)) if (parameters[k] === undefined) delete parameters[k]; const a = await post('/oauth/token', parameters, headers); return a.error ? `${a.status} ${a.error}` : a.status; };
const all = async (cases) => { const got = {}; for (const [name, find] of Object.entries(cases)) got[name] = await find(); return got; };

const assert = async ({ key, header = {}, claims = {}, sign } = {}) => {
  const now = Math.floor(Date.now() / 1000);
  const body = { iss: 'bank', sub: 'bank', aud: world.issuer, jti: crypto.randomUUID(), iat: now, exp: now + 60, ...claims };
  for (const k of Object.keys(body)) if (body[k] === undefined) delete body[k];
  if (header.alg === 'none') return new jose.UnsecuredJWT(body).encode();
  return new jose.SignJWT(body).setProtectedHeader({ alg: 'ES256', kid: world.signer.kid, ...header }).sign(key ?? await jose.importJWK(world.signer));
};
// asserted asks for a token of a machine with an assertion.
const asserted = async (assertion) => token({ grant_type: 'client_credentials', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion });

await run({
  PKCE: () => all({
    right: () => authorize('web', {}),
    missing: () => authorize('web', { code_challenge: undefined, code_challenge_method: undefined }),
    plain: () => authorize('web', { code_challenge_method: 'plain' }),
    'method left out': () => authorize('web', { code_challenge_method: undefined }),
    'public client': () => authorize('spa', { code_challenge: undefined, code_challenge_method: undefined }),
    'short challenge': () => authorize('web', { code_challenge: 'short' }),
    'no verifier': async () => token(form(await asked('web', 'openid'), { code_verifier: undefined }), basic('web')),
    'another verifier': async () => token(form(await asked('web', 'openid'), { code_verifier: client.randomPKCECodeVerifier() }), basic('web')),
    'challenge as verifier': async () => { const a = await asked('web', 'openid'); return token(form(a, { code_verifier: await client.calculatePKCECodeChallenge(a.checks.pkceCodeVerifier) }), basic('web')); },
  }),
  'redirect URIs': () => all(Object.fromEntries([redirect('web'), 'https://web.example/cb/', 'https://web.example/cb?x=1', 'https://web.example/cb#x', 'https://web.example/CB', 'https://WEB.example/cb', 'https://web.example:443/cb', 'https://web.example./cb',
    'https://web.example/cb/../cb', 'https://web.example/c%62', 'http://web.example/cb', 'https://web.example@evil.example/cb', 'https://evil.example/cb', 'https://web.example.evil.example/cb', '//web.example/cb', 'javascript:alert(1)', ' https://web.example/cb', undefined]
    .map((uri) => [uri ?? 'none', () => authorize('web', { redirect_uri: uri })]))),
  'authorization requests': () => all({
    right: () => authorize('web', {}),
    'unknown client': () => authorize('web', {}, { drop: ['client_id'], plus: '&client_id=nobody' }),
    implicit: () => authorize('web', { response_type: 'token' }),
    hybrid: () => authorize('web', { response_type: 'code id_token' }),
    fragment: () => authorize('web', { response_mode: 'fragment' }),
    'request object': () => authorize('web', { request: new jose.UnsecuredJWT({ client_id: 'web' }).encode() }),
    'request_uri of elsewhere': () => authorize('web', { request_uri: 'https://evil.example/request' }),
    'pushed by nobody': () => authorize('web', { request_uri: 'urn:ietf:params:oauth:request_uri:nobody' }),
    'parameter twice': () => authorize('web', {}, { plus: '&scope=openid' }),
    'redirect twice': () => authorize('web', {}, { plus: '&redirect_uri=https%3A%2F%2Fevil.example' }),
    'scope of others': () => authorize('web', { scope: 'openid admin' }),
    'PAR left out': () => authorize('signer', {}),
    denied: () => authorize('web', { prompt: 'consent' }, { browser: Object.assign(alice.taken(), { fields: { ...alice.fields, decision: 'deny' } }) }),
    'assurance out of reach': () => authorize('web', { prompt: 'none', acr_values: '2' }),
    'hint of nobody': () => authorize('web', { prompt: 'none', id_token_hint: 'x.y.z' }),
  }),
  async 'another browser'() { // RFC 9700 section 4.7: a request goes on where it began
    const [mallory, victim] = [person(), person()];
    const first = await mallory.visit(client.buildAuthorizationUrl(await config('web'), (await begin('web', 'openid')).params));
    const next = new URL(new URL(first.headers.get('location'), zone).searchParams.get('next'), zone);
    await login('web', 'openid', { browser: victim });
    const moved = await victim.visit(next);
    return { next: next.pathname.startsWith('/oauth/authorize/'), status: moved.status, to: moved.headers.get('location') };
  },
  codes: () => all({
    right: async () => token(form(await asked('web', 'openid')), basic('web')),
    'another client': async () => token(form(await asked('web', 'openid')), basic('other')),
    'public client': async () => token({ ...form(await asked('web', 'openid')), client_id: 'spa' }),
    'without a secret': async () => token({ ...form(await asked('web', 'openid')), client_id: 'web' }),
    'wrong secret': async () => token(form(await asked('web', 'openid')), basic('web', 'wrong')),
    'two ways': async () => token({ ...form(await asked('web', 'openid')), client_secret: world.secret }, basic('web')),
    'another redirect': async () => token(form(await asked('web', 'openid'), { redirect_uri: 'https://web.example/other' }), basic('web')),
    'no redirect': async () => token(form(await asked('web', 'openid'), { redirect_uri: undefined }), basic('web')),
    'more scopes': async () => token(form(await asked('web', 'openid'), { scope: 'openid things.write' }), basic('web')),
    'as JSON': async () => { const res = await fetch(new URL('/oauth/token', zone), { method: 'POST', headers: { 'content-type': 'application/json', ...basic('web') }, body: JSON.stringify(form(await asked('web', 'openid'))) }); return `${res.status} ${(await res.json()).error}`; },
    'by GET': async () => { const res = await fetch(new URL(`/oauth/token?${new URLSearchParams(form(await asked('web', 'openid')))}`, zone), { headers: basic('web') }); return res.status; },
    'password grant': () => token({ grant_type: 'password', username: world.user.email, password: world.user.password }, basic('web')),
  }),
  async 'code replay'() {
    const a = await asked('web', 'openid things.read');
    const first = await post('/oauth/token', form(a), basic('web'));
    const before = await visit('/mine', first.access_token);
    return { before, again: await token(form(a), basic('web')), after: await visit('/mine', first.access_token), refresh: await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token }, basic('web')) };
  },
  async 'eight redemptions at once'() {
    const a = await asked('web', 'openid things.read');
    const got = await Promise.all(Array.from({ length: 8 }, () => post('/oauth/token', form(a), basic('web'))));
    const won = got.filter((g) => g.status === 200);
    return { won: won.length <= 1, lost: [...new Set(got.filter((g) => g.status !== 200).map((g) => `${g.status} ${g.error}`))], alive: (await Promise.all(won.map((w) => visit('/mine', w.access_token)))).filter((v) => v === 200).length };
  },
  'client assertions': () => all({
    right: async () => asserted(await assert()),
    none: async () => asserted(await assert({ header: { alg: 'none' } })),
    'HS256 with the public key': async () => asserted(await assert({ header: { alg: 'HS256' }, key: new TextEncoder().encode(JSON.stringify({ ...world.signer, d: undefined })) })),
    'another key': async () => asserted(await assert({ key: (await jose.generateKeyPair('ES256')).privateKey })),
    'a key it brings': async () => { const pair = await jose.generateKeyPair('ES256'); return asserted(await assert({ key: pair.privateKey, header: { kid: undefined, jwk: await jose.exportJWK(pair.publicKey) } })); },
    'token endpoint as audience': async () => asserted(await assert({ claims: { aud: `${world.issuer}/oauth/token` } })),
    'two audiences': async () => asserted(await assert({ claims: { aud: [world.issuer, 'https://elsewhere.example'] } })),
    'audience elsewhere': async () => asserted(await assert({ claims: { aud: 'https://elsewhere.example' } })),
    'no audience': async () => asserted(await assert({ claims: { aud: undefined } })),
    'another subject': async () => asserted(await assert({ claims: { sub: 'web' } })),
    'another client': async () => asserted(await assert({ claims: { iss: 'web', sub: 'web' } })),
    'no jti': async () => asserted(await assert({ claims: { jti: undefined } })),
    expired: async () => asserted(await assert({ claims: { iat: 1_700_000_000, exp: 1_700_000_060 } })),
    'for ever': async () => asserted(await assert({ claims: { exp: 4_000_000_000 } })),
    'not yet': async () => asserted(await assert({ claims: { nbf: Math.floor(Date.now() / 1000) + 120 } })),
    'used before': async () => { const one = await assert(); return [await asserted(one), await asserted(one)]; },
  }),
  clients: () => all({
    right: () => token({ grant_type: 'client_credentials' }, basic('robot')),
    public: () => token({ grant_type: 'client_credentials', client_id: 'spa' }),
    'not its grant': () => token({ grant_type: 'client_credentials' }, basic('web')),
    unknown: () => token({ grant_type: 'client_credentials' }, basic('nobody')),
    'more scopes': () => token({ grant_type: 'client_credentials', scope: 'things.write' }, basic('robot')),
    'scopes of users': () => token({ grant_type: 'client_credentials', scope: 'openid' }, basic('robot')),
    'device of others': async () => (await post('/oauth/device_authorization', { client_id: 'spa' })).error,
    'introspection by a public client': async () => (await post('/oauth/introspect', { client_id: 'spa', token: 'spa_nothing' })).error,
    'introspection by nobody': async () => (await post('/oauth/introspect', { token: 'spa_nothing' })).status,
  }),
  async 'wrong tokens'() {
    const tokens = await login('web', 'openid email things.read');
    const machine = await client.clientCredentialsGrant(await config('robot'));
    const jwt = (await login('spa', 'openid things.read')).access_token;
    const claims = jose.decodeJwt(jwt);
    const [head, body, sig] = jwt.split('.');
    const { keys: [jwk] } = await (await fetch(new URL('/.well-known/jwks.json', zone))).json();
    const info = async (t, headers = { authorization: `Bearer ${t}` }, query = '') => { const res = await fetch(new URL(`/oauth/userinfo${query}`, zone), { headers }); await res.text(); return `${res.status} ${/error="(\w+)"/.exec(res.headers.get('www-authenticate'))?.[1]}`; };
    return {
      userinfo: await all({ right: () => info(tokens.access_token), refresh: () => info(tokens.refresh_token), ID: () => info(tokens.id_token), machine: () => info(machine.access_token), none: () => info('', {}), query: () => info('', {}, `?access_token=${tokens.access_token}`), session: () => info(alice.cookie(zone, '__Host-session')), cookie: () => info('', { cookie: `__Host-session=${alice.cookie(zone, '__Host-session')}` }) }),
      route: await all({ right: () => visit('/mine', tokens.access_token), refresh: () => visit('/mine', tokens.refresh_token), ID: () => visit('/mine', tokens.id_token), JWT: () => visit('/mine', jwt), 'less scopes': () => visit('/mine', tokens.access_token, { method: 'POST' }),
        none: () => visit('/mine', new jose.UnsecuredJWT(claims).encode()), unsigned: () => visit('/mine', `${head}.${body}.`), changed: () => visit('/mine', `${head}.${jose.base64url.encode(JSON.stringify({ ...claims, scope: 'things.write' }))}.${sig}`),
        'signed by another': async () => visit('/mine', await new jose.SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: 'at+jwt' }).sign((await jose.generateKeyPair('ES256')).privateKey)),
        HS256: async () => visit('/mine', await new jose.SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: jwk.kid, typ: 'at+jwt' }).sign(new TextEncoder().encode(JSON.stringify(jwk)))) }),
      refresh: await all({ access: () => token({ grant_type: 'refresh_token', refresh_token: tokens.access_token }, basic('web')), 'another client': () => token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }, basic('other')),
        'more scopes': () => token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token, scope: 'openid things.write' }, basic('web')), right: () => token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }, basic('web')) }),
    };
  },
  async 'DPoP proofs'() {
    const pair = await client.randomDPoPKeyPair('ES256');
    const DPoP = client.getDPoPHandle(await config('spa'), pair);
    const tokens = await login('spa', 'openid things.read', { DPoP });
    const jwk = await jose.exportJWK(pair.publicKey);
    const ath = jose.base64url.encode(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(tokens.access_token))));
    let nonce;
    const proof = (claims = {}, header = {}, key = pair.privateKey) => {
      const body = { jti: crypto.randomUUID(), htm: 'GET', htu: `${world.issuer}/mine`, iat: Math.floor(Date.now() / 1000), ath, nonce, ...claims };
      for (const k of Object.keys(body)) if (body[k] === undefined) delete body[k];
      return header.alg === 'none' ? `${jose.base64url.encode(JSON.stringify({ typ: 'dpop+jwt', jwk, ...header }))}.${jose.base64url.encode(JSON.stringify(body))}.` : new jose.SignJWT(body).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header }).sign(key);
    };
    const ask = async (p, scheme = 'DPoP') => visit('/mine', tokens.access_token, { scheme, headers: p ? { dpop: await p } : {} });
    const first = await fetch(new URL('/mine', zone), { headers: { authorization: `DPoP ${tokens.access_token}`, dpop: await proof() } });
    nonce = first.headers.get('dpop-nonce');
    const twice = await proof();
    return {
      refresh: await refused(client.refreshTokenGrant(await config('spa'), tokens.refresh_token, undefined, { DPoP: client.getDPoPHandle(await config('spa'), await client.randomDPoPKeyPair('ES256')) })), // a public client's is bound
      unproved: await token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token, client_id: 'spa' }),
      own: (await client.refreshTokenGrant(await config('spa'), tokens.refresh_token, undefined, { DPoP })).token_type,
      ...await all({ right: () => ask(twice), again: () => ask(twice), 'no proof': () => ask(), bearer: () => ask(undefined, 'Bearer'), 'bearer with proof': () => ask(proof(), 'Bearer'), 'no nonce': () => ask(proof({ nonce: undefined })), 'nonce of another': () => ask(proof({ nonce: 'another' })), method: () => ask(proof({ htm: 'POST' })), address: () => ask(proof({ htu: `${world.issuer}/machine` })), host: () => ask(proof({ htu: 'https://evil.example/mine' })),
        'no token hash': () => ask(proof({ ath: undefined })), 'another token': () => ask(proof({ ath: jose.base64url.encode('x'.repeat(32)) })), old: () => ask(proof({ iat: 1_700_000_000 })), type: () => ask(proof({}, { typ: 'JWT' })), none: () => ask(proof({}, { alg: 'none' })), 'no jti': () => ask(proof({ jti: undefined })),
        'another key': async () => { const thief = await jose.generateKeyPair('ES256'); return ask(proof({}, { jwk: await jose.exportJWK(thief.publicKey) }, thief.privateKey)); }, 'key not its own': async () => ask(proof({}, {}, (await jose.generateKeyPair('ES256')).privateKey)) }),
    };
  },
});
