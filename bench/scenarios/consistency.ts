/** Measures what a consistency token costs a write: a second statement in the same round trip, which reads the log's position. */
import { measureLoad, type Target } from '../load.js';
import { formatNumber } from '../report.js';
import { loadColumns, openDirectory, type Results, type Scenario } from '../scenario.js';
import { startService } from '../service.js';

const ops = { CreateUser: 'create', UpdateUser: 'update' } as const;
// One call has a statement of its own. Of 64, many share one.
const callsInFlight = [1, 64];
const labelsOf = (call: string, inFlight: number, tokens: string) => ({ call, 'in flight': `${inFlight}`, tokens });

export const consistency: Scenario = {
  name: 'consistency',
  title: 'Consistency tokens',
  about:
    'Writes over 4 connections, of two servers on one database: without DATABASE_REPLICA_URLS, and with it, so that each write returns a consistency token. ' +
    'The setting names the primary itself, so no standby takes a share of the CPU. The statement that reads the position is a transaction of its own, which calls/commit counts, too.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const directory = cleanUp.use(await openDirectory(bench, 'consistency', bench.users));
    const { address, pid, truncateLog } = cleanUp.use(
      await startService(directory.url, { DATABASE_REPLICA_URLS: directory.url }),
    );
    const targets: Readonly<Record<string, Target>> = {
      off: directory,
      on: { ...directory, address, pid, truncateLog },
    };
    const owned = cleanUp.move();
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        callsInFlight.flatMap((inFlight) =>
          Object.entries(targets).map(([tokens, target]) => ({
            labels: labelsOf(call, inFlight, tokens),
            measure: () => measureLoad(target, { op, inFlight }, bench.times),
          })),
        ),
      ),
      columns: [...loadColumns, { name: 'callsPerStatement', heading: 'calls/commit', digits: 1 }],
      settle: () => directory.settle(),
      report: (results: Results) => ({
        sentences: Object.keys(ops).flatMap((call) =>
          callsInFlight.map((inFlight) => {
            const medians = (name: string) =>
              ['off', 'on'].map((tokens) => results.median(labelsOf(call, inFlight, tokens), name));
            const more = (name: string) => {
              const [off = Number.NaN, on = Number.NaN] = medians(name);
              return formatNumber(on - off);
            };
            const [off = Number.NaN, on = Number.NaN] = medians('perSecond');
            return `${call}, ${inFlight} in flight: with tokens ${formatNumber(on / off, 2)} times the calls, ${more('serviceUs')} µs of the service and ${more('postgresUs')} µs of Postgres more for each call.`;
          }),
        ),
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
