/** Measures what one caller gets while another one floods the server. */
import { setTimeout as sleep } from 'node:timers/promises';
import { measureLoad, startLoad, type Work } from '../load.js';
import { type Numbers, openDirectory, type Scenario } from '../scenario.js';
import { quantile } from '../service.js';

const ops = { GetUser: 'get', CreateUser: 'create', 'ListUsers(50)': 'list' } as const;
const deadlineMs = 1000;
const inFlight = 8;
const floodConnections = [32, 256];
const factor = 3;

type Flood = Pick<Work, 'connections' | 'perSecond' | 'inFlight' | 'deadlineMs'>;

/** Given the peak rate. */
const floods: Readonly<Record<string, (peak: number) => Flood>> = Object.fromEntries(
  floodConnections.flatMap((connections): [string, (peak: number) => Flood][] => [
    [
      `${factor} times the peak over ${connections} connections`,
      (peak) => ({ connections, perSecond: factor * peak, deadlineMs }),
    ],
    [
      `${16 * connections} calls at a time over ${connections} connections`,
      () => ({ connections, inFlight: 16 * connections }),
    ],
  ]),
);

const [ok, deadlineExceeded, resourceExhausted] = [0, 4, 8];

export const callers: Scenario = {
  name: 'callers',
  title: 'Two callers',
  about:
    `One caller makes ${inFlight} calls at a time over 4 connections, each with a deadline of ${deadlineMs} ms, alone and while another caller floods the ` +
    'server. The server knows the callers by their addresses. Loads, service and Postgres share the machine.',

  async open(bench) {
    const directory = await openDirectory(bench, 'callers', bench.users);
    const host = directory.address.replace('localhost', '127.0.0.1');
    const common = { address: host, users: directory.users, pageTokens: directory.pageTokens };

    async function measure(op: (typeof ops)[keyof typeof ops], floodOf: ((peak: number) => Flood) | undefined) {
      const peak = (await measureLoad(directory, { op, inFlight: 64 }, bench.times)).perSecond ?? Number.NaN;
      const flood = floodOf?.(peak);
      await using other = flood && (await startLoad({ ...common, op, localAddress: '127.0.0.2', ...flood }));
      await sleep(deadlineMs + 500);
      await using load = await startLoad({ ...common, op, connections: 4, inFlight, deadlineMs });
      await sleep(bench.times.warmUpMs);
      other?.measure();
      load.measure();
      await sleep(bench.times.measureMs);
      const [result, flooded] = await Promise.all([load.stop(), other?.stop()]);
      await directory.truncateLog?.();
      await other?.[Symbol.asyncDispose]();
      // The limits of a busy server end after five seconds.
      if (flood !== undefined) await sleep(6000);
      const rate = (status: number) => result.status.filter((code) => code === status).length / result.seconds;
      const useful = result.latencyMs.filter((_, index) => result.status[index] === ok);
      const floodRate = (status: number) =>
        flooded === undefined ? Number.NaN : flooded.status.filter((code) => code === status).length / flooded.seconds;
      const numbers: Numbers = {
        peak,
        useful: rate(ok),
        p50Ms: quantile(useful, 0.5),
        p95Ms: quantile(useful, 0.95),
        refused: rate(resourceExhausted),
        expired: rate(deadlineExceeded),
        floodUseful: floodRate(ok),
        floodRefused: floodRate(resourceExhausted),
        floodExpired: floodRate(deadlineExceeded),
        floodReset: floodRate(14),
        floodLost: flooded === undefined ? Number.NaN : flooded.lost / flooded.seconds,
      };
      return numbers;
    }

    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        Object.entries({ none: undefined, ...floods }).map(([flood, floodOf]) => ({
          labels: { call, flood },
          measure: () => measure(op, floodOf),
        })),
      ),
      columns: [
        { name: 'peak', heading: 'peak/s' },
        { name: 'useful', heading: 'useful/s', spread: true },
        { name: 'p50Ms', heading: 'p50 ms', digits: 1 },
        { name: 'p95Ms', heading: 'p95 ms', digits: 1, spread: true },
        { name: 'refused', heading: 'RESOURCE_EXHAUSTED/s' },
        { name: 'expired', heading: 'DEADLINE_EXCEEDED/s' },
        { name: 'floodUseful', heading: 'flood: useful/s' },
        { name: 'floodRefused', heading: 'RESOURCE_EXHAUSTED/s' },
        { name: 'floodExpired', heading: 'DEADLINE_EXCEEDED/s' },
        { name: 'floodReset', heading: 'UNAVAILABLE/s' },
        { name: 'floodLost', heading: 'connections lost/s', digits: 1 },
      ],
      settle: () => directory.settle(),
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  },
};
