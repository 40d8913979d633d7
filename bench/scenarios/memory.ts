/** Measures the service's memory when idle, and its peak under each kind of load. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../src/client/index.js';
import { measureLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { type Directory, openDirectory, type Results, type Scenario } from '../scenario.js';
import { startService } from '../service.js';
import { residentMemory } from '../usage.js';

// V8 frees the memory of the start only after it has been idle for a while.
const idleMs = 10_000;

type Load = (directory: Directory) => Promise<unknown>;

export const memory: Scenario = {
  name: 'memory',
  title: 'Memory',
  about:
    'Resident memory of the service: idle 10 s after its start, and the peak under a load, each on a newly started service. 64 calls in flight over 4 ' +
    'connections; one import and one export of all users over one connection.',

  async open(bench) {
    const directory = await openDirectory(bench, 'memory', bench.users);
    const calls = (op: Parameters<typeof measureLoad>[1]['op']): Load => {
      return (target) => measureLoad(target, { op, inFlight: 64 }, bench.times);
    };
    const loads: Record<string, Load> = {
      idle: () => sleep(idleMs),
      GetUser: calls('get'),
      CreateUser: calls('create'),
      UpdateUser: calls('update'),
      'ListUsers(50)': calls('list'),
      'BatchGetUsers(100)': calls('batch-get'),
      'BatchCreateUsers(100)': calls('batch-create'),
      async ImportUsers({ address, users }) {
        using client = createClient({ address, deadlineMs: 600_000 });
        await client.importAllUsers(newUsers(users));
      },
      async ExportUsers({ address }) {
        using client = createClient({ address, deadlineMs: 600_000 });
        for await (const _batch of client.exportAllUsers().batches());
      },
    };
    return {
      cases: Object.entries(loads).map(([load, run]) => ({
        labels: { load },
        async measure() {
          await using service = await startService(directory.url);
          await run({ ...directory, address: service.address, pid: service.pid });
          const mebibytes = load === 'idle' ? residentMemory(service.pid)[0] : await service.peakMemory();
          return { mebibytes: mebibytes ?? Number.NaN };
        },
      })),
      columns: [{ name: 'mebibytes', heading: 'MiB', spread: true }],
      settle: () => directory.settle(),
      report(results: Results) {
        const most = Math.max(...Object.keys(loads).map((load) => results.median({ load }, 'mebibytes') || 0));
        return {
          sentences: [
            `Idle: ${formatNumber(results.median({ load: 'idle' }, 'mebibytes'))} MiB (target: under 150 MB); under load at most ${formatNumber(most)} MiB (target: under 400 MB).`,
          ],
        };
      },
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  },
};

function* newUsers(count: number) {
  const run = Date.now().toString(36);
  for (let index = 0; index < count; index++) {
    yield {
      firstName: 'Ada',
      lastName: 'Lovelace',
      email: `Import.${run}.${index}@example.com`,
      attributes: { department: 'ops', level: 3 },
    };
  }
}
