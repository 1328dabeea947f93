// What the suites share: the clients of the zone as openid-client knows them.
import * as client from 'openid-client';
import * as jose from 'jose';
import { Browser } from './browser.mjs';
import { world } from './suite.mjs';

export const zone = new URL(world.issuer);
export const redirect = (id) => `https://${id}.example/cb`;
export const keys = jose.createRemoteJWKSet(new URL('/.well-known/jwks.json', zone), { timeoutDuration: 120_000 });
const signing = { key: await jose.importJWK(world.signer), kid: world.signer.kid };

// auths are how the clients of the map show who they are.
export const auths = {
  web: () => client.ClientSecretBasic(world.secret), robot: () => client.ClientSecretPost(world.secret), desk: () => client.ClientSecretBasic(world.secret), added: () => client.ClientSecretBasic(world.added), other: () => client.ClientSecretBasic(world.secret),
  signer: (change) => client.PrivateKeyJwt(signing, change && { [client.modifyAssertion]: change }),
  spa: client.None, tv: client.None,
};

const known = {};
export function as(id, auth = auths[id]()) {
  return client.discovery(zone, id, undefined, auth, { execute: [client.enableNonRepudiationChecks], timeout: 120 });
}
export const config = async (id) => { known[id] ??= as(id); return known[id]; };

export const person = (user = world.user) => new Browser({ ...user, decision: 'allow' });
export const alice = person();

// begin is an authorization request, with what its answer is held against.
export async function begin(id, scope, more = {}) {
  const [verifier, state, nonce] = [client.randomPKCECodeVerifier(), client.randomState(), client.randomNonce()];
  const params = { redirect_uri: redirect(id), scope, state, nonce, code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more };
  for (const [name, value] of Object.entries(params)) if (value === undefined) delete params[name];
  return { params, checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true, ...('max_age' in more && { maxAge: Number(more.max_age) }) } };
}

// asked walks a browser from an authorization request to the address of its answer.
export async function asked(id, scope, { browser = alice, more, DPoP, par, ...way } = {}) {
  const known = await config(id);
  const { params, checks } = await begin(id, scope, more);
  const start = par ? await client.buildAuthorizationUrlWithPAR(known, params, { DPoP }) : client.buildAuthorizationUrl(known, params);
  return { back: await browser.walk(start, params.redirect_uri, way), checks };
}

export async function redeem(id, { back, checks }, DPoP) {
  return client.authorizationCodeGrant(await config(id), back, checks, undefined, { DPoP });
}

export async function login(id, scope, how = {}) { return redeem(id, await asked(id, scope, how), how.DPoP); }

// visit asks a route of the zone with a token: its status, or the reason of the refusal.
export async function visit(path, token, { scheme = 'Bearer', method = 'GET', headers = {} } = {}) {
  const res = await fetch(new URL(path, zone), { method, headers: { authorization: `${scheme} ${token}`, ...headers } });
  const body = await res.text();
  return res.ok ? res.status : JSON.parse(body).type.replace('urn:sallyport:reason:', '');
}

export const active = async (id, token) => (await client.tokenIntrospection(await config(id), token)).active;

// post sends a form as it is.
export async function post(path, form, headers = {}) {
  const res = await fetch(new URL(path, zone), { method: 'POST', headers, body: new URLSearchParams(form) });
  const body = await res.text();
  return { status: res.status, headers: res.headers, ...(body && JSON.parse(body)) };
}
export const basic = (id, secret = world.secret) => ({ authorization: `Basic ${btoa(`${id}:${secret}`)}` });
