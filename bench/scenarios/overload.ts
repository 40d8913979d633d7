/** Measures a server that receives three times as many calls as it can answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadResult, measureLoad, startLoad } from '../load.js';
import { drawPlot } from '../plot.js';
import { formatNumber } from '../report.js';
import { type Numbers, openDirectory, type Results, type Scenario } from '../scenario.js';
import { quantile } from '../service.js';
import { readUsage } from '../usage.js';

const ops = { GetUser: 'get', CreateUser: 'create', UpdateUser: 'update', 'ListUsers(50)': 'list' } as const;
const factor = 3;
// A plausible client deadline; the service itself has no default.
const deadlineMs = 1000;
const connectionCounts = [4, 32, 256];
const bucketMs = 250;
const calmMs = 50;
const recoveryMsMax = 60_000;

const [ok, deadlineExceeded, resourceExhausted, unavailable] = [0, 4, 8, 14];

export const overload: Scenario = {
  name: 'overload',
  title: 'Overload',
  about:
    `The peak is the rate of 64 callers that wait for each answer. Then calls start at ${factor} times that rate, whether or not earlier calls have ended, each ` +
    `with a deadline of ${deadlineMs} ms. Useful calls are answered with OK before their deadline. At the deadline callers cancel the call and reset the stream, as gRPC clients do. Load, service and Postgres share the ` +
    'machine: the load takes CPU from the service, and takes more if a call is cheap.',

  async open(bench) {
    const directory = await openDirectory(bench, 'overload', bench.users);
    const timelines = new Map<string, (readonly [number, number])[]>();
    const labelsOf = (call: string, connections: number) => ({ call, connections: String(connections) });
    const overloadMs = Math.max(4000, 2 * bench.times.measureMs);

    /** Measures how long after the load single calls are slow. */
    async function untilRecovered(): Promise<number> {
      const sinceMs = performance.now();
      for (;;) {
        const beganMs = performance.now();
        const times = { warmUpMs: 0, measureMs: 250 };
        // While calls are refused, the measurement fails.
        const { p99Ms = Number.NaN } = await measureLoad(
          directory,
          { op: 'get', inFlight: 1, connections: 1 },
          times,
        ).catch((): Numbers => ({}));
        if (p99Ms < calmMs || beganMs - sinceMs > recoveryMsMax) return beganMs - sinceMs;
      }
    }

    async function measure(name: string, op: (typeof ops)[keyof typeof ops], connections: number): Promise<Numbers> {
      const peak = (await measureLoad(directory, { op, inFlight: 64 }, bench.times)).perSecond ?? Number.NaN;
      const { address, users, pageTokens } = directory;
      const perSecond = factor * peak;
      await using load = await startLoad({
        address,
        users,
        pageTokens,
        op,
        connections,
        perSecond,
        deadlineMs,
      });
      load.measure();
      // The overload starts only when the queues are full.
      await sleep(deadlineMs + 500);
      const roots = [directory.pid, directory.postmasterPid, load.pid];
      const before = readUsage(roots);
      await sleep(overloadMs);
      const after = readUsage(roots);
      const result = await load.stop();
      const recoveryMs = await untilRecovered();
      await directory.truncateLog?.();
      timelines.set(name, timelineOf(result, peak));
      const [serviceCores, postgresCores, loadCores] = after.cpuMs.map(
        (ms, index) => (ms - (before.cpuMs[index] ?? 0)) / overloadMs,
      );
      const fromMs = result.seconds * 1000 - overloadMs;
      const latencies = (...codes: number[]) =>
        result.latencyMs.filter((_, i) => codes.includes(result.status[i] ?? -1) && (result.endMs[i] ?? 0) >= fromMs);
      const rate = (...codes: number[]) => (latencies(...codes).length * 1000) / overloadMs;
      const known = [ok, deadlineExceeded, resourceExhausted, unavailable];
      const others = result.status.filter((code) => !known.includes(code));
      if (others.length > 0)
        throw new Error(`${others.length} calls failed with another status, one of them ${others[0]}.`);
      const useful = rate(ok);
      return {
        peak,
        offered: rate(...known),
        useful,
        share: (100 * useful) / peak,
        usefulP99Ms: quantile(latencies(ok), 0.99),
        refused: rate(resourceExhausted),
        refusedP50Ms: quantile(latencies(resourceExhausted), 0.5),
        refusedP99Ms: quantile(latencies(resourceExhausted), 0.99),
        expired: rate(deadlineExceeded),
        unavailable: rate(unavailable),
        lost: result.lost / result.seconds,
        unsent: result.unsent / result.seconds,
        serviceCores: serviceCores ?? Number.NaN,
        postgresCores: postgresCores ?? Number.NaN,
        loadCores: loadCores ?? Number.NaN,
        recoveryMs,
        peakMiB: await directory.service.peakMemory(),
      };
    }

    const columns = [
      { name: 'peak', heading: 'peak/s', spread: true },
      { name: 'offered', heading: 'ended/s' },
      { name: 'useful', heading: 'useful/s', spread: true },
      { name: 'share', heading: '% of peak', spread: true },
      { name: 'usefulP99Ms', heading: 'useful p99 ms' },
      { name: 'refused', heading: 'RESOURCE_EXHAUSTED/s' },
      { name: 'refusedP50Ms', heading: 'p50 ms', digits: 1 },
      { name: 'refusedP99Ms', heading: 'p99 ms', digits: 1 },
      { name: 'expired', heading: 'DEADLINE_EXCEEDED/s' },
      { name: 'unavailable', heading: 'UNAVAILABLE/s' },
      { name: 'lost', heading: 'connections lost/s', digits: 1 },
      { name: 'unsent', heading: 'not sent/s' },
      { name: 'serviceCores', heading: 'service cores', digits: 2 },
      { name: 'postgresCores', heading: 'Postgres cores', digits: 2 },
      { name: 'loadCores', heading: 'load cores', digits: 2 },
      { name: 'recoveryMs', heading: 'ms until calm' },
      { name: 'peakMiB', heading: 'peak MiB' },
    ] as const;
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        connectionCounts.map((connections) => {
          const labels = labelsOf(call, connections);
          return { labels, measure: () => measure(Object.values(labels).join(', '), op, connections) };
        }),
      ),
      columns,
      settle: () => directory.settle(),
      report: (results: Results) => ({
        sentences: Object.keys(ops).flatMap((call) =>
          connectionCounts.map((connections) => {
            const share = formatNumber(results.median(labelsOf(call, connections), 'share'));
            return `${call} over ${connections} connections: ${share} % of the peak remains useful (target: at least 85 %).`;
          }),
        ),
        plots: {
          'useful answers': drawPlot({
            title: `Useful answers while ${factor} times as many calls begin, last round`,
            x: { label: 's' },
            y: { label: '% of the peak' },
            lines: [...timelines].map(([name, points]) => ({ name, points })),
          }),
        },
      }),
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  },
};

/** Useful answers in each quarter of a second, in percent of the peak. */
function timelineOf({ status, endMs, seconds }: LoadResult, peak: number): (readonly [number, number])[] {
  const buckets = Array<number>(Math.floor((seconds * 1000) / bucketMs)).fill(0);
  for (const [index, code] of status.entries()) {
    const bucket = Math.floor((endMs[index] ?? 0) / bucketMs);
    if (code === ok && bucket < buckets.length) buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  return buckets.map((count, index) => [((index + 1) * bucketMs) / 1000, (count * 1000 * 100) / bucketMs / peak]);
}
