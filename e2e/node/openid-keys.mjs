// The keys of OpenID tokens and of inside tokens, by jose: neither signs for the other.
import * as jose from 'jose';
import { keys, login, zone } from './relying.mjs';
import { refused, run, world } from './suite.mjs';

await run({
  async keys() {
    const outside = await (await fetch(new URL('/.well-known/jwks.json', zone))).json();
    const inside = jose.createLocalJWKSet(world.inside);
    const tokens = await login('spa', 'openid things.read');
    const names = (set) => set.keys.map((k) => k.kid);
    const prints = async (set) => Promise.all(set.keys.map((k) => jose.calculateJwkThumbprint(k)));
    const shared = (a, b) => a.filter((x) => b.includes(x));
    return {
      outside: outside.keys.length > 0, inside: world.inside.keys.length > 0, names: shared(names(outside), names(world.inside)), keys: shared(await prints(outside), await prints(world.inside)),
      secret: outside.keys.filter((k) => ['d', 'p', 'q', 'k'].some((name) => name in k)).length, use: [...new Set(outside.keys.map((k) => `${k.kty} ${k.use} ${k.alg}`))],
      own: await refused(jose.jwtVerify(world.token, inside, { typ: 'txntoken+jwt' })), access: await refused(jose.jwtVerify(tokens.access_token, keys, { typ: 'at+jwt' })), id: await refused(jose.jwtVerify(tokens.id_token, keys)),
      insideOutside: await refused(jose.jwtVerify(world.token, keys)), accessInside: await refused(jose.jwtVerify(tokens.access_token, inside)), idInside: await refused(jose.jwtVerify(tokens.id_token, inside)),
      asAccess: (await fetch(new URL('/mine', zone), { headers: { authorization: `Bearer ${world.token}` } })).status, asInside: (await fetch(new URL('/mine', zone), { headers: { 'txn-token': tokens.access_token } })).status,
    };
  },
});
