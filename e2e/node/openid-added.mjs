// A client that was added while the zone runs, by openid-client: what it gets with the
// secret that it was given, with those before, and when it is gone.
import * as client from 'openid-client';
import { active, as, asked, config, login, person, redeem, visit } from './relying.mjs';
import { stops } from './accounts.mjs';
import { refused, run, world } from './suite.mjs';

const scope = 'openid email things.read offline_access';
// by is what a secret is good for: to redeem a code, and to refresh what that gave.
async function by(secret) {
  const own = await as('added', client.ClientSecretBasic(secret));
  const { back, checks } = await asked('added', scope);
  const tokens = await client.authorizationCodeGrant(own, back, checks);
  return (await client.refreshTokenGrant(own, tokens.refresh_token)).access_token !== tokens.access_token;
}

const cases = {
  async 'whole flow'() {
    const browser = person();
    const tokens = await login('added', scope, { browser });
    const next = await client.refreshTokenGrant(await config('added'), tokens.refresh_token);
    const told = await client.fetchUserInfo(await config('added'), next.access_token, tokens.claims().sub);
    return { iss: tokens.claims().iss === world.issuer, aud: tokens.claims().aud, sub: tokens.claims().sub === world.user.id, scope: tokens.scope, email: told.email, visit: await visit('/mine', next.access_token), active: await active('added', next.access_token),
      asked: browser.pages.some((p) => p === 'POST /oauth/consent 200'), more: (await asked('added', 'openid things.write')).back.searchParams.get('error') };
  },
  async secrets() {
    const got = {};
    for (const [name, secret] of Object.entries(world.secrets)) got[name] = await by(secret).catch((err) => err.error ?? err.code);
    return got;
  },
  // what is good now, for the case after the client is gone
  async kept() {
    const tokens = await login('added', scope);
    return { access: tokens.access_token, refresh: tokens.refresh_token, visit: await visit('/mine', tokens.access_token) };
  },
  async gone() {
    const added = await config('added');
    return { visit: await visit('/mine', world.kept.access), refresh: await refused(client.refreshTokenGrant(added, world.kept.refresh)), introspection: await refused(client.tokenIntrospection(added, world.kept.access)),
      login: await stops(asked('added', scope)), other: await visit('/mine', (await redeem('web', await asked('web', 'openid things.read'))).access_token) };
  },
};
await run(Object.fromEntries(Object.entries(cases).filter(([name]) => world.cases.includes(name))));
