/** Compares the default service with one that runs a statement for each call (BATCH_ROWS_MAX=1), one after the other. */
import { measureLoad } from '../load.js';
import { loadColumns, openDirectory, type Scenario } from '../scenario.js';

export const batchRows: Scenario = {
  name: 'batch-rows',
  title: 'Shared statements, over the wire',
  about:
    'BATCH_ROWS_MAX=256, the default, and BATCH_ROWS_MAX=1, where each call is a separate statement and still waits for the previous one.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const directories = new Map([['256', await bench.shared()]]);
    directories.set('1', cleanUp.use(await openDirectory(bench, 'batch_rows', bench.users, { BATCH_ROWS_MAX: '1' })));
    const owned = cleanUp.move();
    return {
      cases: (['get', 'create', 'update'] as const).flatMap((op) =>
        [1, 64].flatMap((inFlight) =>
          [...directories].map(([rowsMax, directory]) => ({
            labels: { call: op, 'in flight': String(inFlight), BATCH_ROWS_MAX: rowsMax },
            measure: () => measureLoad(directory, { op, inFlight, connections: Math.min(4, inFlight) }, bench.times),
          })),
        ),
      ),
      columns: [...loadColumns, { name: 'callsPerStatement', heading: 'calls/statement', digits: 1 }],
      async settle() {
        for (const directory of directories.values()) await directory.settle();
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
