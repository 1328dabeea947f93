// The same flows at the level of the protocol, by oauth4webapi: it holds each answer
// to the letter of its standard, and throws what is not.
import * as oauth from 'oauth4webapi';
import { alice, person, redirect, zone } from './relying.mjs';
import { codeOf, run, world } from './suite.mjs';

const as = await oauth.processDiscoveryResponse(zone, await oauth.discoveryRequest(zone));
const web = { client_id: 'web', [oauth.clockTolerance]: 5 };
const secret = oauth.ClientSecretBasic(world.secret);
const key = { key: await crypto.subtle.importKey('jwk', world.signer, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']), kid: world.signer.kid };

// parameters of an authorization request, and what its answer is compared with.
async function request(client, scope, more = {}) {
  const secrets = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() };
  return { secrets, params: new URLSearchParams({ client_id: client.client_id, redirect_uri: redirect(client.client_id), response_type: 'code', scope, state: secrets.state, nonce: secrets.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(secrets.verifier), code_challenge_method: 'S256', ...more }) };
}
const walk = async (params, client, browser = alice) => {
  const url = new URL(as.authorization_endpoint);
  url.search = params;
  return browser.walk(url, redirect(client.client_id));
};

// twice does it again when the server first has to tell its nonce (RFC 9449 section 8).
const nonces = [];
async function twice(send, process) {
  try { return await process(await send()); } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err;
    nonces.push(codeOf(err));
    return process(await send());
  }
}

async function login(client, auth, scope, { DPoP, par, browser } = {}) {
  const { secrets, params } = await request(client, scope);
  let start = params;
  if (par) {
    const pushed = await twice(() => oauth.pushedAuthorizationRequest(as, client, auth, params, { DPoP }), (res) => oauth.processPushedAuthorizationResponse(as, client, res));
    start = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri });
  }
  const checked = oauth.validateAuthResponse(as, client, await walk(start, client, browser), secrets.state); // state and iss
  return twice(() => oauth.authorizationCodeGrantRequest(as, client, auth, checked, redirect(client.client_id), secrets.verifier, { DPoP }), async (res) => {
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, res, { expectedNonce: secrets.nonce, requireIdToken: true });
    await oauth.validateApplicationLevelSignature(as, res);
    return tokens;
  });
}

await run({
  async metadata() { // RFC 8414 has the same document at a name of its own
    const other = await oauth.processDiscoveryResponse(zone, await oauth.discoveryRequest(zone, { algorithm: 'oauth2' }));
    return { same: JSON.stringify(other) === JSON.stringify(as) };
  },
  async 'code and refresh'() {
    const tokens = await login(web, secret, 'openid email');
    const info = await oauth.processUserInfoResponse(as, web, oauth.getValidatedIdTokenClaims(tokens).sub, await oauth.userInfoRequest(as, web, tokens.access_token));
    const res = await oauth.refreshTokenGrantRequest(as, web, secret, tokens.refresh_token);
    const next = await oauth.processRefreshTokenResponse(as, web, res);
    if (next.id_token) await oauth.validateApplicationLevelSignature(as, res);
    return { email: info.email, rotated: next.refresh_token !== tokens.refresh_token, id: 'id_token' in next };
  },
  async 'DPoP with the nonce of the server'() {
    const spa = { client_id: 'spa' };
    const DPoP = oauth.DPoP(spa, await oauth.generateKeyPair('Ed25519')); // it writes alg by that name (RFC 9864)
    nonces.length = 0;
    const tokens = await login(spa, oauth.None(), 'openid things.read', { DPoP });
    const ask = () => oauth.protectedResourceRequest(tokens.access_token, 'GET', new URL('/mine', zone), undefined, undefined, { DPoP });
    const res = await twice(ask, (r) => r);
    const told = nonces.splice(0);
    // The route again, seen by a resource of another make: the token is its own proof (RFC 9068), and bound (RFC 9449).
    const seen = [];
    await oauth.protectedResourceRequest(tokens.access_token, 'GET', new URL('/mine', zone), undefined, undefined, { DPoP, [oauth.customFetch]: (url, init) => { seen.push(new Request(url, { method: init.method, headers: init.headers })); return fetch(url, init); } });
    const claims = await oauth.validateJwtAccessToken(as, seen[0], world.issuer, { requireDPoP: true });
    const next = await twice(() => oauth.refreshTokenGrantRequest(as, spa, oauth.None(), tokens.refresh_token, { DPoP }), (r) => oauth.processRefreshTokenResponse(as, spa, r));
    return { type: tokens.token_type, nonces: told, status: res.status, client: claims.client_id, scope: claims.scope, bound: Object.keys(claims.cnf), next: next.token_type };
  },
  async 'PAR, DPoP and private_key_jwt'() {
    const signer = { client_id: 'signer' };
    const DPoP = oauth.DPoP(signer, await oauth.generateKeyPair('PS256'));
    const tokens = await login(signer, oauth.PrivateKeyJwt(key), 'openid things.read', { DPoP, par: true });
    const told = await oauth.processIntrospectionResponse(as, signer, await oauth.introspectionRequest(as, signer, oauth.PrivateKeyJwt(key), tokens.access_token));
    return { type: tokens.token_type, active: told.active, bound: Object.keys(told.cnf ?? {}) };
  },
  async 'introspection and revocation'() {
    const tokens = await login(web, secret, 'openid');
    const ask = async () => (await oauth.processIntrospectionResponse(as, web, await oauth.introspectionRequest(as, web, secret, tokens.access_token))).active;
    const before = await ask();
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, web, secret, tokens.refresh_token));
    return { before, after: await ask() };
  },
  async 'client credentials'() {
    const robot = { client_id: 'robot' };
    const tokens = await oauth.processClientCredentialsResponse(as, robot, await oauth.clientCredentialsGrantRequest(as, robot, oauth.ClientSecretPost(world.secret), { scope: 'things.read' }));
    return { type: tokens.token_type, scope: tokens.scope ?? 'as asked' };
  },
  async device() {
    const tv = { client_id: 'tv' };
    const d = await oauth.processDeviceAuthorizationResponse(as, tv, await oauth.deviceAuthorizationRequest(as, tv, oauth.None(), { scope: 'openid things.read' }));
    await person().walk(new URL(d.verification_uri), undefined, { fields: { user_code: d.user_code } }).catch((err) => { if (err.status !== 200) throw err; });
    const res = await oauth.deviceCodeGrantRequest(as, tv, oauth.None(), d.device_code);
    const tokens = await oauth.processDeviceCodeResponse(as, tv, res);
    if (tokens.id_token) await oauth.validateApplicationLevelSignature(as, res);
    return { type: tokens.token_type, id: 'id_token' in tokens };
  },
  async errors() { // error bodies and challenges as the standards have them
    const code = async (p) => { try { await p; return 'accepted'; } catch (err) { return [err.name, err.status, err.error ?? err.cause?.[0]?.scheme].filter(Boolean).join(' '); } };
    const robot = { client_id: 'robot' };
    return {
      grant: await code(oauth.refreshTokenGrantRequest(as, web, secret, 'spr_nothing').then((r) => oauth.processRefreshTokenResponse(as, web, r))),
      client: await code(oauth.clientCredentialsGrantRequest(as, robot, oauth.ClientSecretBasic('wrong'), {}).then((r) => oauth.processClientCredentialsResponse(as, robot, r))),
      userinfo: await code(oauth.userInfoRequest(as, web, 'spa_nothing').then((r) => oauth.processUserInfoResponse(as, web, oauth.skipSubjectCheck, r))),
      route: await code(oauth.protectedResourceRequest('spa_nothing', 'GET', new URL('/mine', zone))),
      nobody: await walk((await request({ client_id: 'nobody' }, 'openid')).params, web).catch((err) => err.status),
      refusal: await walk((await request(web, 'openid admin')).params, web).then((u) => oauth.validateAuthResponse(as, web, u, oauth.skipStateCheck)).catch((err) => `${err.name} ${err.error}`),
    };
  },
});
