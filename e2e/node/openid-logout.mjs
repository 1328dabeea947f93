// Logout as outside programs see it: what they ask for, and what they are told.
import http from 'node:http';
import * as client from 'openid-client';
import * as jose from 'jose';
import { active, config, keys, login, person, visit, zone } from './relying.mjs';
import { refused, run, world } from './suite.mjs';

const bye = 'https://web.example/bye';
const told = new Map(); // sid -> logout tokens
const waiting = new Map();
const receiver = http.createServer(async (req, res) => {
  const token = new URLSearchParams(Buffer.concat(await req.toArray()).toString()).get('logout_token');
  const { sid } = jose.decodeJwt(token);
  const held = await jose.jwtVerify(token, keys, { typ: 'logout+jwt', issuer: world.issuer, audience: 'web', algorithms: ['ES256'], maxTokenAge: 120, requiredClaims: ['jti', 'iat', 'exp', 'sub', 'sid'] }).catch((wrong) => ({ wrong }));
  told.set(sid, [...(told.get(sid) ?? []), { method: req.method, type: req.headers['content-type'], ...held }]);
  res.end();
  waiting.get(sid)?.();
});
await new Promise((done) => { receiver.listen(Number(world.receiver.split(':')[1]), '127.0.0.1', done); });

// tokenOf waits until the receiver was told that a session has ended.
async function tokenOf(sid) {
  if (!told.has(sid)) await new Promise((done) => { waiting.set(sid, done); });
  const [{ method, type, wrong, payload, protectedHeader }] = told.get(sid);
  if (wrong) throw wrong;
  return { method, type, events: Object.keys(payload.events), nonce: 'nonce' in payload, sub: payload.sub === world.user.id, alg: protectedHeader.alg };
}

const loggedIn = async (browser) => (await browser.visit(new URL('/auth/me', zone), { headers: { accept: 'application/json' } })).status;
const end = async (browser, parameters, until = bye, how = {}) => {
  const to = await browser.walk(client.buildEndSessionUrl(await config('web'), parameters), until, how).catch((err) => { if (!('page' in err)) throw err; return err; });
  return to.href ?? `${to.status} ${to.title}`;
};
const one = async (scope = 'openid things.read') => { const browser = person(); return { browser, tokens: await login('web', scope, { browser }) }; };

await run({
  async 'with a hint'() {
    const { browser, tokens } = await one('openid things.read');
    const kept = await login('web', 'openid things.read offline_access', { browser });
    const before = [await loggedIn(browser), await visit('/mine', tokens.access_token)];
    const to = await end(browser, { id_token_hint: tokens.id_token, post_logout_redirect_uri: bye, state: 'st' });
    return { before, to, pages: browser.pages.filter((p) => p.includes('/oauth/logout')), me: await loggedIn(browser), visit: await visit('/mine', tokens.access_token), active: await active('web', tokens.access_token), refresh: await refused(client.refreshTokenGrant(await config('web'), tokens.refresh_token)),
      offline: await visit('/mine', kept.access_token), kept: await refused(client.refreshTokenGrant(await config('web'), kept.refresh_token)), told: await tokenOf(tokens.claims().sid) };
  },
  async 'without a hint'() {
    const { browser, tokens } = await one();
    const stays = await end(browser, { post_logout_redirect_uri: bye, client_id: 'web' }, `${world.issuer}/auth/account`, { fields: { decision: 'deny' } });
    const me = await loggedIn(browser);
    const to = await end(browser, { post_logout_redirect_uri: bye, client_id: 'web' });
    return { stays: stays === `${world.issuer}/auth/account`, me, to, after: await loggedIn(browser), visit: await visit('/mine', tokens.access_token) };
  },
  async 'with the hint of another session'() { // dexidp/dex#4950: a replayed hint must log nobody else out
    const [mine, other] = [await one(), await one()];
    const first = await mine.browser.visit(client.buildEndSessionUrl(await config('web'), { id_token_hint: other.tokens.id_token, post_logout_redirect_uri: bye }));
    const page = await first.text();
    return { status: first.status, asks: page.includes('name="decision"'), mine: await loggedIn(mine.browser), other: await loggedIn(other.browser) };
  },
  async 'to elsewhere'() {
    const { browser, tokens } = await one();
    const answers = {};
    for (const uri of ['https://evil.example/bye', `${bye}/`, `${bye}?x=1`, 'https://web.example/cb', 'javascript:alert(1)']) answers[uri] = await end(browser, { id_token_hint: tokens.id_token, post_logout_redirect_uri: uri }, uri);
    return { answers, other: await end(browser, { id_token_hint: tokens.id_token, client_id: 'spa' }), me: await loggedIn(browser) };
  },
  async 'of the account'() {
    const { browser, tokens } = await one();
    const res = await browser.visit(new URL('/auth/logout', zone), { method: 'POST', body: new URLSearchParams() });
    return { status: res.status, clear: res.headers.get('clear-site-data'), visit: await visit('/mine', tokens.access_token), told: (await tokenOf(tokens.claims().sid)).events.length };
  },
  async 'everywhere'() {
    const [a, b] = [await one(), await one('openid things.read offline_access')];
    const res = await a.browser.visit(new URL('/auth/logout', zone), { method: 'POST', body: new URLSearchParams({ everywhere: 'on' }) });
    return { status: res.status, visits: [await visit('/mine', a.tokens.access_token), await visit('/mine', b.tokens.access_token)], refresh: await refused(client.refreshTokenGrant(await config('web'), b.tokens.refresh_token)), told: [await tokenOf(a.tokens.claims().sid), await tokenOf(b.tokens.claims().sid)].length };
  },
});
receiver.close();
