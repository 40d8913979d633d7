/** Measures how large batches of other callers affect single calls. */
import { measureLoad, startLoad, type Work } from '../load.js';
import { loadColumns, type Scenario } from '../scenario.js';

const otherLoads: Record<string, Work['op'] | undefined> = {
  none: undefined,
  'BatchGetUsers(1000)': 'batch-get',
  'BatchCreateUsers(1000)': 'batch-create',
};
const batchesInFlight = 16;

export const fairness: Scenario = {
  name: 'fairness',
  title: 'Fairness',
  about:
    `8 callers of single calls over 4 separate connections, alone and while ${batchesInFlight} other callers each send one batch of 1000 after the other. ` +
    'The numbers are those of the single calls.',

  async open(bench) {
    const directory = await bench.shared();
    return {
      cases: (['get', 'create'] as const).flatMap((op) =>
        Object.entries(otherLoads).map(([otherLoad, batch]) => ({
          labels: { call: op, 'other load': otherLoad },
          async measure() {
            const { address, users } = directory;
            const work = { address, users, connections: 2, inFlight: batchesInFlight, rows: 1000 };
            await using burst = batch === undefined ? undefined : await startLoad({ ...work, op: batch });
            burst?.measure();
            const numbers = await measureLoad(directory, { op, inFlight: 8 }, bench.times);
            const result = await burst?.stop();
            const failed = result?.status.find((status) => status !== 0);
            if (failed !== undefined) throw new Error(`A batch failed with status ${failed}.`);
            return {
              ...numbers,
              batchesPerSecond: result === undefined ? Number.NaN : result.status.length / result.seconds,
            };
          },
        })),
      ),
      columns: [
        ...loadColumns.filter(({ name }) => ['perSecond', 'p50Ms', 'p99Ms'].includes(name)),
        { name: 'batchesPerSecond', heading: 'batches/s' },
      ],
      settle: () => directory.settle(),
      async [Symbol.asyncDispose]() {},
    };
  },
};
