/** Measures what a thousand watchers cost the process that serves them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { type Numbers, openDirectory, type Results, type Scenario } from '../scenario.js';
import { readUsage } from '../usage.js';

const rates = [0, 10];

export const watchers: Scenario = {
  name: 'watchers',
  title: 'Watchers',
  about:
    'WatchUsers over 10 connections, and updates of single users at a steady rate. Statements are the transactions that Postgres counts in ' +
    "the service's database: watchers add only those of one shared reader. CPU is for each second.",

  async open(bench) {
    const directory = await openDirectory(bench, 'watchers', bench.users);
    const counts = [0, bench.isQuick ? 200 : 1000];
    const { address, users } = directory;
    const labelsOf = (watching: number, perSecond: number) => ({
      watchers: formatNumber(watching),
      'changes/s': String(perSecond),
    });

    async function measure(watching: number, perSecond: number): Promise<Numbers> {
      await using watch =
        watching === 0
          ? undefined
          : await startLoad({ address, users, op: 'watch', connections: 10, inFlight: watching });
      await using writes =
        perSecond === 0 ? undefined : await startLoad({ address, users, op: 'update', connections: 1, perSecond });
      await sleep(bench.times.warmUpMs);
      const roots = [directory.pid, directory.postmasterPid, watch?.pid];
      // Postgres' counters lag by a second, here and at the end.
      const commits = async () => (await directory.commits?.()) ?? Number.NaN;
      const before = { commits: await commits(), ...readUsage(roots) };
      watch?.measure();
      writes?.measure();
      const measureMs = Math.max(5000, bench.times.measureMs);
      await sleep(measureMs);
      const after = { commits: await commits(), ...readUsage(roots) };
      const written = await writes?.stop();
      // The last changes are still in transit.
      await sleep(200);
      const seen = await watch?.stop();
      const failed = written?.status.find((status) => status !== 0);
      if (failed !== undefined) throw new Error(`An update failed with status ${failed}.`);
      if (seen !== undefined && seen.behind > 0)
        throw new Error(`${seen.behind} watchers received less than the first one.`);
      const [serviceMs, postgresMs, loadMs] = after.cpuMs.map(
        (ms, i) => ((ms - (before.cpuMs[i] ?? 0)) * 1000) / measureMs,
      );
      return {
        serviceMs: serviceMs ?? Number.NaN,
        postgresMs: postgresMs ?? Number.NaN,
        loadMs: loadMs ?? Number.NaN,
        statements: ((after.commits - before.commits) * 1000) / measureMs,
        written: written === undefined ? 0 : written.status.length / written.seconds,
        seen: seen === undefined ? Number.NaN : seen.changes / seen.seconds,
        peakMiB: await directory.service.peakMemory(),
      };
    }

    return {
      cases: counts.flatMap((watching) =>
        rates.map((perSecond) => ({
          labels: labelsOf(watching, perSecond),
          measure: () => measure(watching, perSecond),
        })),
      ),
      columns: [
        { name: 'written', heading: 'updates/s', digits: 1 },
        { name: 'seen', heading: 'changes/s to each watcher', digits: 1 },
        { name: 'statements', heading: 'statements/s', digits: 1, spread: true },
        { name: 'serviceMs', heading: 'service ms', digits: 1, spread: true },
        { name: 'postgresMs', heading: 'Postgres ms', digits: 1 },
        { name: 'loadMs', heading: 'watching ms', digits: 1 },
        { name: 'peakMiB', heading: 'service, peak MiB' },
      ],
      settle: () => directory.settle(),
      report(results: Results) {
        const [none = 0, many = 0] = counts;
        const busy = rates.at(-1) ?? 0;
        const at = (watching: number, perSecond: number, name: string) =>
          results.median(labelsOf(watching, perSecond), name);
        const fanOutMs = at(many, busy, 'serviceMs') - at(none, busy, 'serviceMs');
        return {
          sentences: [
            `Fan-out costs the service ${formatNumber((fanOutMs * 1000) / (many * at(many, busy, 'seen')), 1)} µs for each watcher and change.`,
          ],
        };
      },
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  },
};
