/** Compares the batcher with direct calls of the store's functions, in this process. */
import { v7 as uuidv7 } from 'uuid';
import { createBatcher } from '../../src/concurrency/batcher.js';
import { openDatabase } from '../../src/database/database.js';
import { isRetryable } from '../../src/database/errors.js';
import { noFields } from '../../src/model/user.js';
import { selectUsers } from '../../src/store/find-users.js';
import { insertUsers, type NewUser } from '../../src/store/insert-users.js';
import { userId } from '../load.js';
import { formatNumber } from '../report.js';
import type { Case, Numbers, Results, Scenario } from '../scenario.js';
import { quantile } from '../service.js';
import { readUsage } from '../usage.js';

// The limits of createDirectory and the default configuration.
const limits = { batchRowsMax: 256, queueRowsMax: 10_000, statementsMax: 2, slowStatementMs: 50, isRetryable };
const connectionsMax = 10;

// Long enough for a hundred calls, and short enough that both variants see the same conditions.
const sliceMs = 100;

interface Way {
  call(): Promise<unknown>;
  latencies: number[];
  elapsedMs: number;
  cpuUs: number;
  postgresMs: number;
}

export const batching: Scenario = {
  name: 'batching',
  title: 'One call at a time, and many: with and without the batcher',
  about:
    'The same store functions in one process without gRPC: called directly, with one statement for each call, and through a ' +
    `batcher with the service's own limits. Both alternate in slices of ${sliceMs} ms, over a pool of ${connectionsMax} connections. CPU is for each call.`,

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const directory = await bench.shared();
    const database = await openDatabase({
      url: directory.url,
      connectionsMax,
      connectTimeoutMs: 5000,
      connectionAgeMsMax: 3_600_000,
      statementTimeoutMs: 30_000,
      lockTimeoutMs: 5000,
      preparedStatements: true,
    });
    cleanUp.defer(() => database.close());
    const reads = createBatcher({ ...limits, run: (ids: readonly string[]) => selectUsers(database, ids) });
    const creates = createBatcher({
      ...limits,
      run: (users: readonly NewUser[]) => insertUsers(database, users, 'skip'),
    });
    const anyId = () => userId(Math.floor(Math.random() * bench.users));
    const newUser = (): NewUser => {
      const id = uuidv7();
      const fields = { ...noFields, firstName: 'Ada', lastName: 'Lovelace', email: `${id}@example.com` };
      return { id, fields: { ...fields, attributes: { department: 'ops', level: 3 } }, request: undefined };
    };
    const calls: Record<string, { direct: () => Promise<unknown>; batched: () => Promise<unknown> }> = {
      selectUsers: {
        direct: () => selectUsers(database, [anyId()]),
        batched: () => reads.submit(anyId()),
      },
      insertUsers: {
        direct: () => insertUsers(database, [newUser()], 'skip'),
        batched: () => creates.submit(newUser()),
      },
    };

    async function measure({ direct, batched }: (typeof calls)[string], inFlight: number): Promise<Numbers> {
      const wayOf = (call: Way['call']): Way => ({ call, latencies: [], elapsedMs: 0, cpuUs: 0, postgresMs: 0 });
      const slice = async (way: Way) => {
        const postgres = () => readUsage([directory.postmasterPid]).cpuMs[0] ?? Number.NaN;
        const [cpu, postgresBefore, sinceMs] = [process.cpuUsage(), postgres(), performance.now()];
        const caller = async () => {
          for (let nowMs = performance.now(); nowMs - sinceMs < sliceMs; ) {
            await way.call();
            const endMs = performance.now();
            way.latencies.push(endMs - nowMs);
            nowMs = endMs;
          }
        };
        await Promise.all(Array.from({ length: inFlight }, caller));
        way.elapsedMs += performance.now() - sinceMs;
        const { user, system } = process.cpuUsage(cpu);
        way.cpuUs += user + system;
        way.postgresMs += postgres() - postgresBefore;
      };
      for (const way of [wayOf(direct), wayOf(batched)]) for (let count = 0; count < 3; count++) await slice(way);
      const ways = [wayOf(direct), wayOf(batched)] as const;
      const slices = Math.max(2, Math.round(bench.times.measureMs / sliceMs / 2));
      for (let count = 0; count < slices; count++) {
        // Alternates which variant goes first.
        for (const way of count % 2 === 0 ? ways : ways.toReversed()) await slice(way);
      }
      const numbers = ways.map((way, index) => {
        const name = index === 0 ? 'direct' : 'batched';
        const count = way.latencies.length;
        return {
          [`${name}PerSecond`]: (count * 1000) / way.elapsedMs,
          [`${name}P50Us`]: quantile(way.latencies, 0.5) * 1000,
          [`${name}CpuUs`]: way.cpuUs / count,
          [`${name}PostgresUs`]: (way.postgresMs * 1000) / count,
        };
      });
      return { ...numbers[0], ...numbers[1] };
    }

    const levels = [1, 8, 64];
    const cases = Object.entries(calls).flatMap(([store, ways]) =>
      levels.map(
        (inFlight): Case => ({
          labels: { store, 'in flight': String(inFlight) },
          measure: () => measure(ways, inFlight),
        }),
      ),
    );
    const owned = cleanUp.move();
    return {
      cases,
      columns: ['PerSecond', 'P50Us', 'CpuUs', 'PostgresUs'].flatMap((name) => {
        const heading = { PerSecond: 'calls/s', P50Us: 'p50 µs', CpuUs: 'process µs', PostgresUs: 'Postgres µs' }[name];
        return [
          { name: `direct${name}`, heading: `direct: ${heading}` },
          { name: `batched${name}`, heading: `batched: ${heading}` },
        ];
      }),
      settle: () => directory.settle(),
      report: (results: Results) => ({
        sentences: Object.keys(calls).map((store) => {
          const labels = { store, 'in flight': '1' };
          const ratio = results.median(labels, 'batchedP50Us') / results.median(labels, 'directP50Us');
          return `${store}, one call at a time: the median latency with the batcher is ${formatNumber(ratio, 2)} of that without (target: at most 1.10).`;
        }),
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
