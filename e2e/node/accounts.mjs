// Accounts of the zone as an app speaks of them, in JSON.
import { createHmac } from 'node:crypto';
import { Browser } from './browser.mjs';
import { world } from './suite.mjs';

export const at = (path) => new URL(path, world.issuer);
export const json = { accept: 'application/json' };

export async function ask(path, { token, body, headers } = {}) {
  const res = await fetch(at(path), { method: body ? 'POST' : 'GET', headers: { ...json, ...(body && { 'content-type': 'application/json' }), ...(token && { authorization: `Bearer ${token}` }), ...headers }, body: body && JSON.stringify(body) });
  const text = await res.text();
  return { status: res.status, ...(text && JSON.parse(text)) };
}
export const session = async ({ email, password }) => (await ask('/auth/login', { body: { email, password } })).token;

// me is who is logged in in a browser: the address of the account, else the status.
export async function me(browser) {
  const res = await browser.visit(at('/auth/me'), { headers: json });
  const body = await res.json();
  return res.ok ? body.email : res.status;
}

// totp is the code of a moment (RFC 6238).
function totp(secret) {
  const bits = [...secret.replace(/=+$/, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)));
  const mac = createHmac('sha1', Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)))).update(step).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1000000).padStart(6, '0');
}

// hold gives an account a second factor and returns its recovery codes.
export async function hold(user) {
  const token = await session(user);
  const begun = await ask('/auth/factors/totp/begin', { token, body: {} });
  const done = await ask('/auth/factors/totp', { token, body: { flow: begun.flow, code: totp(begun.secret.replaceAll(' ', '')) } });
  if (!done.recovery_codes) throw new Error(`no factor: ${begun.status} ${done.status} ${done.type}`);
  return done.recovery_codes;
}

// stops is where a walk ends that is not led on: the status and heading of a page.
export async function stops(walk) {
  try { return (await walk).pathname; } catch (err) { if (err.page === undefined) throw err; return `${err.status} ${err.title}`; }
}
export const fresh = (fields) => new Browser(fields);
