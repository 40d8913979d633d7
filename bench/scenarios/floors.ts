/** Measures the cost of a call below Roster, and what each layer adds. */
import { join } from 'node:path';
import { measureLoad, type Target, type Work } from '../load.js';
import { loadColumns, type Scenario } from '../scenario.js';
import { startServer } from '../service.js';

const echoes = {
  roster: "Roster's gRPC server",
  http2: 'node:http2',
  'grpc-js': '@grpc/grpc-js',
  'nice-grpc': 'nice-grpc',
};

export const floors: Scenario = {
  name: 'floors',
  title: 'Floors',
  about:
    "Servers that echo messages of the size of GetUser, each in a separate process: over Roster's gRPC server with ts-proto, over node:http2 with hand-made frames, over bare " +
    'grpc-js, and over nice-grpc with ts-proto. Then Roster: Health.Check, which does not use the directory, GetUser ' +
    'and CreateUser. 64 calls in flight over 4 connections; CPU is for each call.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const directory = await bench.shared();
    const calls: [string, string, Target, Work['op']][] = [];
    for (const [stack, name] of Object.entries(echoes)) {
      const server = cleanUp.use(await startServer([join(import.meta.dirname, '../echo-server.js'), stack]));
      const target = { address: server.address, pid: server.pid, postmasterPid: undefined, users: bench.users };
      calls.push([`echo, ${name}`, 'GetUser', target, 'get']);
    }
    calls.push(['Roster', 'Health.Check', directory, 'health']);
    calls.push(['Roster', 'GetUser', directory, 'get']);
    calls.push(['Roster', 'CreateUser', directory, 'create']);
    const owned = cleanUp.move();
    return {
      cases: calls.map(([server, call, target, op]) => ({
        labels: { server, call },
        measure: () => measureLoad(target, { op, inFlight: 64 }, bench.times),
      })),
      columns: loadColumns,
      settle: () => directory.settle(),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
