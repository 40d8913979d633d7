/**
 * Runs the shop with the Roster at ROSTER_ADDRESS, and makes its services fail one after the other. Every answer must arrive
 * within its caller's deadline. Exits with 75 if Go, Maven or Java is missing.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@roster-directory/client';

const folder = import.meta.dirname;
const { ROSTER_ADDRESS = 'localhost:50051', ROSTER_HTTP = 'localhost:8080' } = process.env;
const deadlineMs = 4_000;
const recoveryMsMax = 30_000;
const stopMsMax = 20_000;

for (const [tool, flag] of [
  ['go', 'version'],
  ['mvn', '-v'],
  ['javac', '-version'],
]) {
  if (spawnSync(tool, [flag], { stdio: 'ignore' }).status !== 0) {
    console.log(`skipped: ${tool} is missing`);
    process.exit(75);
  }
}

run('npm', ['run', '--silent', 'build']);
run('npm', ['run', '--silent', 'check:types']);
console.log('Built the shop.');

const roster = createClient({ address: ROSTER_ADDRESS, token: process.env.ROSTER_TOKEN });
const proxy = await openProxy(ROSTER_ADDRESS);
const shop = spawn(process.execPath, ['start.ts'], {
  cwd: folder,
  env: { ...process.env, ROSTER_ADDRESS: proxy.address, SHOP_HTTP: 'localhost:0', PAGE_PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
// Stops the shop and its services, even if a check fails.
process.once('exit', () => shop.kill('SIGTERM'));
const ended = once(shop, 'exit');
const output = await outputUntil('Press Ctrl-C');

const gateway = found(/The gateway is at (\S+),/);
const page = found(/the page at (\S+)\./);
const productInfo = found(/ProductInfo is at (\S+)/);
const productInfoPid = Number(found(/ProductInfo is at .*process (\d+)/));

const answer = JSON.parse(found(/^(\{\n[\s\S]*?\n\})$/m));
const ids = answer.offers.map(({ productId }) => productId);
assert.deepEqual(ids, ['note-g', 'compiler', 'moth', 'tape']);
assert.deepEqual(
  answer.offers.map(({ seller }) => seller.displayName),
  ['Ada Lovelace', 'Grace Hopper', 'Grace Hopper', 'Alan Turing'],
);
assert.equal(answer.outages, undefined);
console.log('The shop answers with products and sellers.');

const tree = output.slice(output.indexOf('app: POST'));
// Each span is below its parent, and has less remaining time.
assert.match(tree, /^app: .*\n└─ aggregator: shop\.v1.*\n {3}├─ aggregator: ecommerce.*\n {3}│ {2}└─ product-info: /);
const [, ...left] = /of (\d+) ms\n.*of (\d+) ms\n.*of (\d+) ms\n.*of (\d+) ms\n/.exec(tree) ?? [];
assert.deepEqual(
  left.map(Number),
  left.map(Number).toSorted((a, b) => b - a),
);
assert.equal(tree.match(/product-info: /g)?.length, 4);
assert.match(tree, /ResolveUsers 3 sellers/);
console.log('All services share one trace, with decreasing deadlines.');

const allowed = await fetch(`${gateway}/shop.v1.Shop/ListOffers`, {
  method: 'OPTIONS',
  headers: {
    origin: page,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'connect-timeout-ms,content-type',
  },
});
assert.equal(allowed.headers.get('access-control-allow-origin'), page);
assert.match(await (await fetch(page)).text(), /shop\.js/);
assert.equal(await (await fetch(`${page}/gateway`)).text(), gateway);
console.log('The page can call the gateway.');

const seller = answer.offers[0].seller.id;
const java = run('mvn', ['-q', '-B', '-f', 'consumer', 'compile', 'exec:java', `-Dexec.args=${productInfo} ${seller}`]);
const [, added] = /Added (\S+)/.exec(java) ?? assert.fail(java);
assert.match(java, /name: "Nanosecond"/);
const mixed = await listOffers([added, 'nothing']);
assert.deepEqual(
  mixed.offers.map(({ productId, name, seller }) => [productId, name, seller.displayName]),
  [[added, 'Nanosecond', 'Ada Lovelace']],
);
assert.deepEqual(mixed.missingIds, ['nothing']);
console.log('The shop offers the product that Java added, and names a missing product.');

await proxy.close();
await expectNoSellers('UNAVAILABLE', 'Roster is stopped');
await proxy.open();
await expectAll();

proxy.freeze();
await expectNoSellers('DEADLINE_EXCEEDED', 'Roster hangs');
proxy.thaw();
await expectAll();

process.kill(productInfoPid, 'SIGSTOP');
await expectNoProducts('DEADLINE_EXCEEDED', 'ProductInfo hangs');
process.kill(productInfoPid, 'SIGCONT');
await expectAll();

process.kill(productInfoPid, 'SIGTERM');
await expectNoProducts('UNAVAILABLE', 'ProductInfo is stopped');

shop.kill('SIGINT');
const timer = setTimeout(() => shop.kill('SIGKILL'), stopMsMax);
assert.deepEqual(await ended, [0, null]);
clearTimeout(timer);

const compared = run(process.execPath, ['compare.ts'], { ROSTER_ADDRESS, ROSTER_HTTP, COMPARE_ANSWERS: '5' });
assert.match(compared, /Both ways give the same 20 offers/);
assert.match(compared, /received JSON\/gRPC/);
console.log('The comparison runs. Ignore its numbers.');

// Deletes only the sellers of these two programs, because others use this Roster too.
const sellers = await Array.fromAsync(roster.listAllUsers({ filter: 'email.endsWith("@shop.example")' }));
for (const { id } of sellers) await roster.deleteUser({ id, allowMissing: true });
roster.close();
await proxy.close();
console.log('Done.');

function run(command, args, env = {}) {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error ?? stdout}`);
  return stdout;
}

async function outputUntil(text) {
  let all = '';
  for await (const chunk of shop.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    all += chunk;
    if (all.includes(text)) {
      shop.stdout.resume();
      return all;
    }
  }
  assert.fail(`The shop has exited:\n${all}`);
}

function found(pattern) {
  const [, value] = pattern.exec(output) ?? assert.fail(`The output does not match ${pattern}:\n${output}`);
  return value;
}

/** Fails if the answer does not arrive within the deadline. */
async function listOffers(productIds) {
  const response = await fetch(`${gateway}/shop.v1.Shop/ListOffers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'connect-timeout-ms': String(deadlineMs) },
    body: JSON.stringify({ productIds }),
    signal: AbortSignal.timeout(deadlineMs),
  });
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return { offers: [], missingIds: [], unreadIds: [], outages: [], ...body };
}

async function expectNoSellers(status, what) {
  const startedMs = performance.now();
  const { offers, unreadIds, outages } = await listOffers(ids);
  const ms = Math.round(performance.now() - startedMs);
  assert.deepEqual(
    offers.map(({ productId, seller }) => [productId, seller]),
    ids.map((id) => [id, undefined]),
  );
  assert.deepEqual(unreadIds, []);
  assert.deepEqual(outages, [{ service: 'users.v1.UserService', status }]);
  console.log(`${what}: products without sellers after ${ms} of ${deadlineMs} ms`);
}

async function expectNoProducts(status, what) {
  const startedMs = performance.now();
  const { offers, unreadIds, outages } = await listOffers(ids);
  const ms = Math.round(performance.now() - startedMs);
  assert.deepEqual(offers, []);
  assert.deepEqual(unreadIds, ids);
  assert.deepEqual(outages, [{ service: 'ecommerce.ProductInfo', status }]);
  console.log(`${what}: names the products that it could not read after ${ms} of ${deadlineMs} ms`);
}

/** Waits until the shop has recovered by itself. */
async function expectAll() {
  const untilMs = performance.now() + recoveryMsMax;
  for (;;) {
    const { offers, outages } = await listOffers(ids);
    if (outages.length === 0) {
      assert.ok(offers.length === ids.length && offers.every(({ seller }) => seller !== undefined));
      return;
    }
    assert.ok(performance.now() < untilMs, 'The shop does not reconnect to the restarted service.');
    await sleep(100);
  }
}

/** A proxy for a shared server, which can fail or hang for the shop alone. */
async function openProxy(address) {
  const [, host, targetPort] = /^(.*):(\d+)$/.exec(address) ?? assert.fail(`The address must be host:port: ${address}`);
  const pipes = new Map();
  let isFrozen = false;
  const server = createServer((inside) => {
    const outside = connect(Number(targetPort), host.replace(/^\[|\]$/g, ''));
    connectTo(inside, outside);
    connectTo(outside, inside);
  });

  function connectTo(from, to) {
    pipes.set(from, to);
    if (!isFrozen) from.pipe(to);
    from.on('error', () => {});
    from.on('close', () => {
      pipes.delete(from);
      to.destroy();
    });
  }

  let port = 0;
  async function open() {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = server.address().port;
  }
  await open();

  return {
    address: `127.0.0.1:${port}`,
    open,
    /** Stops listening and closes all connections. */
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of pipes.keys()) socket.destroy();
      await closed;
    },
    /** Keeps and accepts connections, but moves no bytes, like a stopped process. */
    freeze() {
      isFrozen = true;
      for (const socket of pipes.keys()) socket.unpipe().pause();
    },
    thaw() {
      isFrozen = false;
      for (const [from, to] of pipes) from.pipe(to);
    },
  };
}
