// An outside OpenID provider on loopback: one client, one account, nobody to ask.
// POST /_set {"how":"...", "account":{...}} changes its behaviour while it runs; {"logout":{"sub","sid"}} sends a logout token.
import http from 'node:http';
import https from 'node:https';
import * as jose from 'jose';
import Provider from 'oidc-provider';
import { options, say, pem, endWithParent } from './options.mjs';

const o = options({
  port: '0', cert: '', key: '', 'client-id': 'zone', 'client-secret': 'zone-secret-that-is-long-enough-for-hs256',
  redirect: 'http://127.0.0.1:9/callback', 'backchannel-logout': '', alg: 'RS256', how: 'right',
  account: '{"sub":"outside-1","email":"ann@example.com","email_verified":true,"name":"Ann"}',
});
let [how, account] = [o.how, JSON.parse(o.account)];

const [pair, other] = [await jose.generateKeyPair(o.alg, { extractable: true }), await jose.generateKeyPair(o.alg)];
const jwk = { ...(await jose.exportJWK(pair.privateKey)), kid: 'k1', use: 'sig', alg: o.alg };

// How an ID token is wrong; what is not here is done elsewhere below.
const wrong = {
  issuer: (c) => { c.iss = 'https://elsewhere.example.com'; },
  audience: (c) => { c.aud = 'another-client'; },
  audiences: (c) => { c.aud = [c.aud, 'another-client']; c.azp = 'another-client'; },
  nonce: (c) => { c.nonce = 'not-yours'; },
  'no-nonce': (c) => { delete c.nonce; },
  expired: (c) => { c.iat -= 7200; c.exp -= 7200; }, early: (c) => { c.iat += 7200; c.exp += 7200; c.nbf = c.iat; },
  subject: (c) => { c.sub = 'somebody-else'; }, // not whom userinfo tells of
  'other-key': () => {}, none: () => {}, hs256: () => {},
};
async function resign(token) {
  const claims = jose.decodeJwt(token);
  wrong[how](claims);
  const sign = (alg, key, kid) => new jose.SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key);
  if (how === 'none') return new jose.UnsecuredJWT(claims).encode();
  if (how === 'hs256') return sign('HS256', new TextEncoder().encode(await jose.exportSPKI(pair.publicKey)), 'k1');
  return sign(o.alg, how === 'other-key' ? other.privateKey : pair.privateKey, 'k1');
}

const server = o.cert ? https.createServer({ cert: pem(o.cert), key: pem(o.key) }) : http.createServer();
server.keepAliveTimeout = 600_000; // who asks again never finds a connection that is just being closed
await new Promise((done) => { server.listen(Number(o.port), '127.0.0.1', done); });
const issuer = `${o.cert ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: o['client-id'], client_secret: o['client-secret'], redirect_uris: o.redirect.split(','),
    grant_types: ['authorization_code', 'refresh_token'], id_token_signed_response_alg: o.alg,
    ...(o['backchannel-logout'] && { backchannel_logout_uri: o['backchannel-logout'], backchannel_logout_session_required: true }) }],
  jwks: { keys: [jwk] }, cookies: { keys: ['study'] }, scopes: ['openid', 'offline_access', 'email', 'profile'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] }, pkce: { required: () => true },
  fetch: (url, { dispatcher, signal, ...init }) => fetch(url, init), // its own dispatcher refuses loopback, and waits for 2.5 s
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
  interactions: { url: (ctx, interaction) => `/auto/${interaction.uid}` },
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ ...account, sub, ...(how === 'unverified' && { email_verified: false }), ...(how === 'no-email' && { email: undefined }) }) }),
  async loadExistingGrant(ctx) { // whatever is asked for is granted
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid offline_access email profile');
    await grant.save();
    return grant;
  },
});
provider.on('server_error', (ctx, err) => say('error', { message: err.message }));
provider.use(async (ctx, next) => {
  if (ctx.path === '/_set') {
    const set = JSON.parse(Buffer.concat(await ctx.req.toArray()).toString() || '{}');
    how = set.how ?? how; account = set.account ?? account; ctx.body = { how, account };
    if (set.logout) await (await provider.Client.find(o['client-id'])).backchannelLogout(set.logout.sub, set.logout.sid);
  } else if (ctx.path.startsWith('/auto/')) {
    const { prompt } = await provider.interactionDetails(ctx.req, ctx.res); // login, then consent
    const result = how === 'denied' ? { error: 'access_denied' } : { [prompt.name]: prompt.name === 'login' ? { accountId: account.sub } : {} };
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true }));
  } else await next();
  if (ctx.body?.id_token && wrong[how]) ctx.body.id_token = await resign(ctx.body.id_token);
  if (how === 'discovery' && ctx.path.startsWith('/.well-known/')) ctx.body.issuer = 'https://elsewhere.example.com';
  const to = ctx.response.get('location');
  const iss = { 'response-issuer': '&iss=https%3A%2F%2Felsewhere.example.com', 'no-response-issuer': '' }[how];
  if (iss !== undefined && /[?&]code=/.test(to)) ctx.set('location', to.replace(/&iss=[^&]*/, iss));
  say('request', { method: ctx.method, path: ctx.path, status: ctx.status });
});
server.on('request', provider.callback());
endWithParent();
say('ready', { issuer, client: o['client-id'] });
