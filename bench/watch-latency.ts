/**
 * Measures how long a change takes to reach a watcher of the writing process, and a watcher of another process.
 *
 * It measures from the start of the write call, and from its answer. Light load: 20 creates a second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '../src/client/index.js';
import { openBenchDatabase, quantile, startService } from './service.js';

const seconds = Number(process.argv[2] ?? 30);
const createsPerSecond = 20;

await using database = await openBenchDatabase();
await using here = await startService(database.url);
await using there = await startService(database.url);
using writer = createClient({ address: here.address });
using near = createClient({ address: here.address });
using far = createClient({ address: there.address });

/** Collects the time at which the watcher receives each user. */
async function recordTimes(client: Client): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  const messages = client.watchUsers({})[Symbol.asyncIterator]();
  await messages.next();
  void (async () => {
    for (let next = await messages.next(); !next.done; next = await messages.next()) {
      for (const { user } of next.value.changes) times.set(user?.id ?? '', performance.now());
    }
  })().catch(() => {});
  return times;
}

const watchers = { same: await recordTimes(near), another: await recordTimes(far) };
const written = new Map<string, { calledMs: number; answeredMs: number }>();
const warmUp = 2 * createsPerSecond;
for (let count = 0; count < warmUp + seconds * createsPerSecond; count++) {
  const calledMs = performance.now();
  const { user } = await writer.createUser({ user: { firstName: 'Ada', email: `${count}@${calledMs}.example` } });
  if (count >= warmUp) written.set(user?.id ?? '', { calledMs, answeredMs: performance.now() });
  await sleep(Math.random() * (2000 / createsPerSecond));
}
await sleep(1000);

console.log(`${written.size} creates, ${createsPerSecond} a second`);
console.log('process   from     p50 ms  p90 ms  p99 ms  max ms  missing');
for (const [process, times] of Object.entries(watchers)) {
  for (const from of ['calledMs', 'answeredMs'] as const) {
    const latencies = [...written].flatMap(([id, write]) => {
      const receivedMs = times.get(id);
      return receivedMs === undefined ? [] : [Math.max(0, receivedMs - write[from])];
    });
    const row = [0.5, 0.9, 0.99, 1].map((share) => quantile(latencies, share).toFixed(1).padStart(8));
    const name = from === 'calledMs' ? 'call' : 'answer';
    console.log(`${process.padEnd(9)} ${name.padEnd(6)}${row.join('')}  ${written.size - latencies.length}`);
  }
}
