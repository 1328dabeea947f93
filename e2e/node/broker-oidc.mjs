// Users of an outside OpenID provider (oidc-idp.mjs) come to the zone in a browser.
import { createHash } from 'node:crypto';
import { ask, at, fresh, hold, me, stops } from './accounts.mjs';
import { run, world } from './suite.mjs';

const account = `${world.issuer}/auth/account`;
const ann = { sub: 'outside-1', email: 'ann@outside.example', email_verified: true, name: 'Ann' };
const set = (to) => fetch(`${world.idp}/_set`, { method: 'POST', body: JSON.stringify({ how: 'right', account: ann, ...to }) });
const enter = (browser, how) => browser.walk(at('/auth/login?next=/auth/account'), account, { press: ['/auth/providers/sso'], ...how });
const user = async (browser) => { const res = await browser.visit(at('/auth/me'), { headers: { accept: 'application/json' } }); return res.json(); };
// become is what becomes of a login: where the browser ends, and who is logged in.
async function become(to) {
  await set(to);
  const browser = fresh();
  return [await stops(enter(browser)), await me(browser)];
}
const press = (...more) => ({ press: ['/auth/providers/sso', ...more] });

const cases = {
  async misbehaviour() {
    const got = {};
    for (const how of world.hows) got[how] = await become({ how });
    return { ...got, right: await become({}) };
  },
  async unverified() { // nobody's address is believed, and nobody learns whether there is an account
    const by = (sub, email) => become({ how: 'unverified', account: { sub, email, name: 'U' } });
    return { nobody: await by('u-1', 'nobody@outside.example'), account: await by('u-2', world.bob.email), empty: await become({ how: 'no-email', account: { sub: 'u-3', name: 'U' } }) };
  },
  async 'first login'() {
    await set({});
    const [first, second] = [fresh(), fresh()];
    await enter(first);
    const one = await user(first);
    await enter(second);
    const two = await user(second);
    return { email: one.email, same: one.id === two.id, way: second.pages.filter((p) => !p.includes('/auth/me')).map((p) => p.replace(/(?<=\/auto\/|\/auth\/)[\w-]{15,}/, '*')) };
  },
  async 'account of the same address'() {
    const mine = { account: { sub: 'outside-bob', email: world.bob.email, email_verified: true, name: 'Bob' } };
    await set(mine);
    const [alone, wrong, bob] = [fresh(), fresh(), fresh()];
    const asked = await stops(enter(alone, { fields: { password: '' } }));
    const refused = await stops(enter(wrong, { fields: { password: 'not the password of bob' } }));
    const before = [await me(alone), await me(wrong)];
    await enter(bob, { fields: { password: world.bob.password } });
    const again = fresh();
    await enter(again);
    await set({ account: { ...mine.account, sub: 'outside-other' } }); // another person there, of the same address
    const other = fresh();
    const ends = await stops(enter(other, { fields: { password: 'a guess' } }));
    return { asked, refused, before, after: await me(bob), again: await me(again), other: [ends, await me(other)] };
  },
  async 'account with a factor'() { // reset, link and provider: nothing skips the factor that is held
    await set({ account: { sub: 'outside-carol', email: world.carol.email, email_verified: true, name: 'Carol' } });
    const codes = await hold(world.carol);
    const [first, other, whole, again] = [fresh(), fresh(), fresh(), fresh()];
    const half = [await stops(enter(first, { fields: { password: world.carol.password, code: '000000' } })), await me(first)];
    const unconnected = await stops(enter(other, { fields: { password: 'a guess' } })); // the password alone has connected nothing
    const linked = await stops(enter(whole, { ...press('/auth/mfa/recovery'), fields: { password: world.carol.password, code: codes[0] } }));
    const asked = [await stops(enter(again, { fields: { code: '000000' } })), await me(again)];
    const done = fresh();
    return { half, unconnected, linked: [linked, await me(whole)], asked, in: [await stops(enter(done, { ...press('/auth/mfa/recovery'), fields: { code: codes[1] } })), await me(done)] };
  },
  async 'from within'() { // who is logged in connects a provider, and takes it away again
    await set({ account: { sub: 'outside-dave', email: 'dave@elsewhere.example', email_verified: false, name: 'Dave' } });
    const browser = fresh(world.dave);
    await browser.walk(at('/auth/login?next=/auth/account'), account);
    await browser.walk(new URL(account), `${account}?notice`, press());
    const other = fresh();
    await enter(other);
    const inside = await me(other);
    await browser.walk(new URL(account), `${account}?notice`, { press: ['/auth/providers/sso/unlink'] });
    return { inside, after: await become({ account: { sub: 'outside-dave', email: 'dave@elsewhere.example', email_verified: false } }) };
  },
  async 'on to a client'() { // of the zone itself, whose request waits in the same browser
    await set({});
    const query = new URLSearchParams({ client_id: 'web', response_type: 'code', redirect_uri: 'https://web.example/cb', scope: 'openid', state: 'st', code_challenge: createHash('sha256').update('v'.repeat(43)).digest('base64url'), code_challenge_method: 'S256' });
    const browser = fresh({ decision: 'allow' });
    const to = await browser.walk(at(`/oauth/authorize?${query}`), 'https://web.example/cb', press()).catch((err) => err);
    return { answer: to.searchParams ? [...to.searchParams.keys()].sort().join(' ') : `${to.path} ${to.status} ${to.title}`.replace(/[\w-]{40,}/, '*') };
  },
  async 'answers of others'() {
    await set({});
    const callback = `${world.issuer}/auth/providers/sso/callback`;
    const until = (browser) => browser.walk(at('/auth/login?next=/auth/account'), callback, press());
    const [mine, theirs, third] = [fresh(), fresh(), fresh()];
    const answer = await until(mine);
    const moved = await stops(theirs.walk(answer, account)); // RFC 9700 section 4.7: an answer in a browser that did not ask
    const once = fresh();
    const second = await until(once);
    await once.walk(second, account);
    const inside = await me(once);
    const replayed = await stops(once.taken().walk(second, `${account}?never`));
    const changed = await until(third);
    changed.searchParams.set('state', 'another');
    return { moved: [moved, await me(theirs)], in: inside, replayed, state: await stops(third.walk(changed, account)), unlisted: (await fresh().visit(at('/auth/providers/nobody'), { method: 'POST', body: new URLSearchParams() })).status, json: (await ask('/auth/providers/sso', { body: {} })).status,
      crossSite: (await mine.visit(at('/auth/providers/sso'), { method: 'POST', body: new URLSearchParams(), from: 'https://evil.example' })).status };
  },
};
await run(Object.fromEntries(Object.entries(cases).filter(([name]) => world.cases.includes(name))));
