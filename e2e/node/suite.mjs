// The runner of a suite: each case prints what it found, and the test that started
// the program says whether that is right.
import { options, say } from './options.mjs';

export const world = JSON.parse(options({ world: '{}' }).world);

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
