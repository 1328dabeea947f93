// Options of these programs: --name value, else NAME in the environment, else a default.
import { parseArgs } from 'node:util';
import { readFileSync } from 'node:fs';
import net from 'node:net';

// On a machine with much to do a connection takes as long as it takes: Node would try
// the next address after 250 ms, and give up after 10 s.
net.setDefaultAutoSelectFamilyAttemptTimeout(60_000);
await fetch('data:,'); // which makes the dispatcher
const dispatcher = Symbol.for('undici.globalDispatcher.1');
globalThis[dispatcher] = new globalThis[dispatcher].constructor({ connect: { timeout: 120_000 } });

export function options(defaults) {
  const spec = Object.fromEntries(Object.keys(defaults).map((k) => [k, { type: 'string' }]));
  const { values } = parseArgs({ options: spec });
  for (const [k, v] of Object.entries(defaults)) {
    values[k] ??= process.env[k.toUpperCase().replaceAll('-', '_')] ?? v;
  }
  return values;
}

// say prints one JSON line.
export const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);

export const pem = (path) => readFileSync(path, 'utf8');

// endWithParent ends the program when its standard input closes, if it is a pipe that somebody holds.
export function endWithParent() {
  if (process.env.STDIN_HOLDS !== '1') return;
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}
