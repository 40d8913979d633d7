/** Compares the cost of a call in a large directory with its cost in a small one. */
import { measureLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { loadColumns, openDirectory, type Results, type Scenario } from '../scenario.js';

const ops = { GetUser: 'get', UpdateUser: 'update', 'ListUsers(50)': 'list' } as const;

export const growth: Scenario = {
  name: 'growth',
  title: 'Growth',
  about:
    'Two directories in one Postgres, one small and one large, measured alternately: random users, and pages that start anywhere in the table. ' +
    "64 calls in flight over 4 connections. The large table does not fit into Postgres' shared_buffers (128 MB by default).",

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const open = async (name: string, users: number) => cleanUp.use(await openDirectory(bench, name, users));
    const directories = [await open('small', bench.users), await open('large', bench.usersLarge)] as const;
    const labelsOf = (call: string, users: number) => ({ call, users: formatNumber(users) });
    const owned = cleanUp.move();
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        directories.map((directory) => ({
          labels: labelsOf(call, directory.users),
          async measure() {
            const numbers = await measureLoad(directory, { op, inFlight: 64 }, bench.times);
            return { ...numbers, cpuUs: (numbers.serviceUs ?? 0) + (numbers.postgresUs ?? 0) };
          },
        })),
      ),
      columns: [...loadColumns, { name: 'cpuUs', heading: 'service + Postgres µs', spread: true }],
      async settle() {
        for (const directory of directories) await directory.settle();
      },
      report: (results: Results) => ({
        sentences: Object.keys(ops).map((call) => {
          const [small, large] = directories.map(({ users }) => results.median(labelsOf(call, users), 'cpuUs'));
          return `${call} costs ${formatNumber((large ?? 0) / (small ?? 0), 2)} times the CPU among ${formatNumber(bench.usersLarge)} users (target: at most 1.20).`;
        }),
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
