// Reviews keeps what customers think of products: a service in Node that needs
// no package, of Sallyport or of anybody else.
//
// Its sidecar lets through what the map allows, and says who asks in X-User-Id.
// Calls to other services go to the sidecar's socket, with the callee's name as
// Host and the Sallyport-Request of the request in hand sent back as it came.
//
//   LISTEN=/run/.../reviews.sock CALLS=/run/.../reviews-calls.sock node reviews.mjs
import { createServer, request } from 'node:http';
import { chmodSync, rmSync } from 'node:fs';

const { LISTEN = '/run/sallyport/shop/reviews.sock', CALLS = '/run/sallyport/shop/reviews-calls.sock' } = process.env;
const MAX_BODY = 64 << 10;
const reviews = new Map(); // by id
let last = 0;

// call GETs a path of another service, as the request in hand.
function call(incoming, callee, path) {
  return new Promise((resolve, reject) => {
    const headers = { Host: callee, 'Sallyport-Request': incoming.headers['sallyport-request'] ?? '' };
    const req = request({ socketPath: CALLS, path, headers, timeout: 10_000 }, async (res) => {
      try {
        const text = await read(res);
        if (res.statusCode !== 200) throw new Error(`${callee}${path}: ${res.statusCode}`);
        resolve(JSON.parse(text));
      } catch (err) {
        reject(err);
      }
    });
    req.on('timeout', () => req.destroy(new Error(`${callee} is slow`)));
    req.on('error', reject).end();
  });
}

async function read(stream) {
  const chunks = [];
  let size = 0;
  for await (const chunk of stream) {
    if ((size += chunk.length) > MAX_BODY) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const list = (_, product) => [200, [...reviews.values()].filter((r) => r.product === product)];

// add says of each review whether its author has ordered the product. Whose
// orders may be read the map decides again at orders, payments and accounts.
async function add(incoming, product) {
  let text;
  try {
    ({ text } = JSON.parse(await read(incoming)));
  } catch {}
  if (typeof text !== 'string' || text === '') return [400, { error: 'want {"text": "..."}' }];
  const author = incoming.headers['x-user-id'];
  const orders = await call(incoming, 'orders', `/users/${author}/orders`);
  const review = { id: ++last, product, author, text, bought: orders.some((o) => o.product === product) };
  reviews.set(review.id, review);
  return [201, review];
}

const get = (_, id) => (reviews.has(id) ? [200, reviews.get(id)] : [404, { error: 'no such review' }]);

// remove has no ownership check: by `owner: "read:/author"` the sidecar GETs the
// review first and compares.
function remove(incoming, id) {
  const answer = get(incoming, id);
  reviews.delete(id);
  return answer;
}

const routes = [
  ['GET', /^\/products\/(\d+)\/reviews$/, list],
  ['POST', /^\/products\/(\d+)\/reviews$/, add],
  ['GET', /^\/reviews\/(\d+)$/, get],
  ['DELETE', /^\/reviews\/(\d+)$/, remove],
];

const server = createServer(async (req, res) => {
  let answer = [404, { error: 'not found' }];
  try {
    const [path] = req.url.split('?');
    const asked = req.method === 'HEAD' ? 'GET' : req.method;
    for (const [method, pattern, serve] of routes) {
      const match = asked === method && pattern.exec(path);
      if (match) answer = await serve(req, Number(match[1]));
    }
  } catch (err) {
    console.error(`${err.message}, correlation id ${req.headers['x-correlation-id']}`);
    answer = [502, { error: 'another service did not answer' }];
  }
  res.writeHead(answer[0], { 'Content-Type': 'application/json' }).end(JSON.stringify(answer[1]));
});
rmSync(LISTEN, { force: true }); // of a process that was killed
server.listen(LISTEN, () => chmodSync(LISTEN, 0o600));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close(() => process.exit(0)));
