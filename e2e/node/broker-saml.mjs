// Users of an outside SAML identity provider (saml-idp.mjs) come to the zone in a
// browser. SAML cannot say that an address is verified: accounts are connected from
// within, and logins come after.
import { at, fresh, me, stops } from './accounts.mjs';
import { run, world } from './suite.mjs';

const account = `${world.issuer}/auth/account`;
const acs = `${world.issuer}/auth/providers/corp/acs`;
const corp = { press: ['/auth/providers/corp'] };
const metadata = () => fetch(at('/auth/providers/corp/metadata'));
await fetch(`${world.idp}/_set`, { method: 'POST', body: JSON.stringify({ sp: await (await metadata()).text() }) });
const set = (to) => fetch(`${world.idp}/_set`, { method: 'POST', body: JSON.stringify({ how: 'right', user: world.subject, ...to }) });
const enter = (browser) => browser.walk(at('/auth/login?next=/auth/account'), account, corp);
async function become(to) {
  await set(to);
  const browser = fresh();
  return [await stops(enter(browser)), await me(browser)];
}

// answer is what the provider has the browser post to the zone, held back.
async function answer(browser) {
  const res = await browser.visit(at('/auth/providers/corp'), { method: 'POST', body: new URLSearchParams({ next: '/auth/account' }) });
  const page = await (await browser.visit(new URL(/url=(.*)/.exec(res.headers.get('refresh'))[1]))).text();
  const field = (name) => new RegExp(`name="${name}" value="([^"]*)"`).exec(page)[1];
  return new URLSearchParams({ SAMLResponse: field('SAMLResponse'), RelayState: field('RelayState') });
}
const post = (browser, body) => browser.visit(new URL(acs), { method: 'POST', body, from: world.idp });
async function deliver(browser, body) {
  const res = await post(browser, body);
  const to = res.headers.get('location');
  return to ? stops(browser.walk(new URL(to, acs), account)) : res.status;
}

const cases = {
  async metadata() {
    const res = await metadata();
    const text = await res.text();
    return {
      status: res.status, type: res.headers.get('content-type'), acs: text.includes(`Location="${acs}"`), signed: text.includes('WantAssertionsSigned="true"'),
      signs: text.includes('AuthnRequestsSigned="true"'), by: /use="signing"[\s\S]*<X509Certificate>[A-Za-z0-9+/=]{800,}</.test(text),
    };
  },
  async 'requests are signed'() { // samlify verifies each, and refuses what was changed on the way
    await set({});
    const ask = async (change) => {
      const res = await fresh().visit(at('/auth/providers/corp'), { method: 'POST', body: new URLSearchParams({ next: '/auth/account' }) });
      const to = new URL(/url=(.*)/.exec(res.headers.get('refresh'))[1]);
      change(to);
      return (await fetch(to)).status;
    };
    const other = new URL(/url=(.*)/.exec((await fresh().visit(at('/auth/providers/corp'), { method: 'POST', body: new URLSearchParams({ next: '/auth/account' }) })).headers.get('refresh'))[1]).searchParams;
    return {
      sent: await ask(() => {}),
      same: await ask((to) => to.searchParams.set('RelayState', to.searchParams.get('RelayState'))),
      relay: await ask((to) => to.searchParams.set('RelayState', other.get('RelayState'))),
      request: await ask((to) => to.searchParams.set('SAMLRequest', other.get('SAMLRequest'))),
      signature: await ask((to) => to.searchParams.set('Signature', other.get('Signature'))),
      unsigned: await ask((to) => { to.searchParams.delete('Signature'); to.searchParams.delete('SigAlg'); }),
    };
  },
  async 'not connected'() { return { end: await become({}), victim: await become({ user: world.victim.email }) }; },
  async connect() {
    await set({});
    const browser = fresh(world.dave);
    await browser.walk(at('/auth/login?next=/auth/account'), account);
    await browser.walk(new URL(account), `${account}?notice`, corp);
    const other = fresh();
    await enter(other);
    return { in: await me(other), acs: other.pages.filter((p) => p.includes('/acs')) };
  },
  async misbehaviour() {
    const got = {};
    for (const how of world.hows) got[how] = await become({ how });
    return { ...got, right: await become({}) };
  },
  async 'names with a comment'() { return { end: await become({ how: 'comment' }) }; }, // CVE-2017-11427 and others: admin@example.com<!---->.evil
  async 'answers once, and where they were asked for'() {
    await set({});
    const [mine, theirs, late, mixed] = [fresh(), fresh(), fresh(), fresh()];
    const body = await answer(mine);
    const first = await deliver(mine, body);
    const again = await deliver(mine, body); // the flow has ended
    const held = await answer(late);
    const other = await answer(mixed);
    // An answer that was used, or is of another flow, under a flow that waits.
    const used = await deliver(mixed, new URLSearchParams({ SAMLResponse: body.get('SAMLResponse'), RelayState: other.get('RelayState') }));
    const moved = await deliver(theirs, held); // in a browser that did not ask
    return { first, me: await me(mine), again, used, moved, theirs: await me(theirs) };
  },
  async 'nobody asked'() { // a login that the provider begins
    const browser = fresh();
    const end = await stops(browser.walk(new URL(`${world.idp}/sso`), account));
    const made = await deliver(browser, new URLSearchParams({ SAMLResponse: 'PHg+', RelayState: 'x' }));
    return { end, made, get: (await browser.visit(new URL(acs))).status, me: await me(browser) };
  },
};
await run(Object.fromEntries(Object.entries(cases).filter(([name]) => world.cases.includes(name))));
