// The runner of a suite: each case prints what it found, and the test that started
// the program says whether that is right.
import { options, say } from './options.mjs';

export const world = JSON.parse(options({ world: '{}' }).world);

// What is "not available" after more than a second is asked again: a bound of the
// zone's own may have passed. Where it is the answer, it is the answer each time.
const plainly = globalThis.fetch;
globalThis.fetch = async (...args) => {
  for (let tries = 1; ; tries++) {
    const began = performance.now();
    const res = await plainly(...args);
    if (tries === 4 || performance.now() - began < 1000 || ![502, 503].includes(res.status)) return res;
  }
};

// soon repeats what the zone gives a bounded time until it took less than half of it.
export async function soon(ms, find) {
  for (let tries = 1; ; tries++) {
    const began = performance.now();
    const got = await find();
    if (tries === 20 || performance.now() - began < ms / 2) return got;
  }
}

// codeOf is what a library or the zone calls a failure.
export const codeOf = (err) => err.error ?? err.cause?.error ?? err.code ?? err.status ?? err.message;

// refused is the code of what must fail.
export async function refused(promise) {
  try { await promise; return 'accepted'; } catch (err) { return codeOf(err); }
}

export async function run(cases) {
  for (const [name, find] of Object.entries(cases)) {
    try {
      say('case', { name, got: await find() });
    } catch (err) {
      say('case', { name, got: { failed: codeOf(err), message: err.message?.slice(0, 300), why: err.error_description, cause: String(err.cause?.message ?? JSON.stringify(err.cause) ?? '').slice(0, 300), page: err.page?.replace(/<head>[\s\S]*<\/head>|<[^>]*>/g, ' ').replace(/\s+/g, ' ').slice(0, 300) } });
    }
  }
  say('end');
}
