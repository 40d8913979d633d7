/** Compares one serving process with two. */
import { measureLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { type Directory, loadColumns, openDirectory, type Results, type Scenario } from '../scenario.js';

const ops = { GetUser: 'get', CreateUser: 'create', UpdateUser: 'update' } as const;

export const workers: Scenario = {
  name: 'workers',
  title: 'Workers',
  about:
    'WORKERS=1 and 2: 64 calls in flight over 4 connections. The load and Postgres also need CPU: on two cores, a second worker gets only what they leave.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const directories = new Map<string, Directory>();
    const refused: string[] = [];
    for (const count of ['1', '2']) {
      try {
        const directory = await openDirectory(bench, `workers_${count}`, bench.users, { WORKERS: count });
        directories.set(count, cleanUp.use(directory));
      } catch (error) {
        refused.push(
          `WORKERS=${count} does not start here, so it was not measured (${error instanceof Error ? error.message : error}).`,
        );
      }
    }
    const labelsOf = (call: string, count: string) => ({ call, WORKERS: count });
    const owned = cleanUp.move();
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        [...directories].map(([count, directory]) => ({
          labels: labelsOf(call, count),
          measure: () => measureLoad(directory, { op, inFlight: 64 }, bench.times),
        })),
      ),
      columns: [...loadColumns, { name: 'callsPerStatement', heading: 'calls/statement', digits: 1 }],
      async settle() {
        for (const directory of directories.values()) await directory.settle();
      },
      report: (results: Results) => ({
        sentences:
          directories.size < 2
            ? refused
            : Object.keys(ops).map((call) => {
                const [one, two] = ['1', '2'].map((count) => results.median(labelsOf(call, count), 'perSecond'));
                return `${call}: two workers answer ${formatNumber((two ?? 0) / (one ?? 0), 2)} times the calls of one.`;
              }),
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
