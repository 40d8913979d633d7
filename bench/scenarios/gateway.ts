/** Measures the extra cost of calls through the gateway. */
import type { WebProtocol } from '../http-connection.js';
import { measureLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { loadColumns, type Results, type Scenario } from '../scenario.js';

const ops = { GetUser: 'get', CreateUser: 'create', 'ListUsers(50)': 'list' } as const;
const protocols: readonly ('gRPC' | WebProtocol)[] = ['gRPC', 'gRPC-Web', 'Connect', 'JSON'];

export const gateway: Scenario = {
  name: 'gateway',
  title: 'Through the gateway',
  about:
    'The same calls over gRPC, and through the gateway of the same process over HTTP/1.1 with keep-alive connections: one caller, and ' +
    '16 callers, each with its own connection (over gRPC they share four).',

  async open(bench) {
    const directory = await bench.shared();
    const labelsOf = (call: string, protocol: string, inFlight: number) => ({
      call,
      protocol,
      'in flight': String(inFlight),
    });
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        [1, 16].flatMap((inFlight) =>
          protocols.map((protocol) => ({
            labels: labelsOf(call, protocol, inFlight),
            measure: () =>
              protocol === 'gRPC'
                ? measureLoad(directory, { op, inFlight, connections: Math.min(4, inFlight) }, bench.times)
                : measureLoad(
                    { ...directory, address: directory.service.http },
                    { op, inFlight, connections: 1, protocol },
                    bench.times,
                  ),
          })),
        ),
      ),
      columns: loadColumns,
      settle: () => directory.settle(),
      report: (results: Results) => ({
        sentences: Object.keys(ops).map((call) => {
          const more = (protocol: string, name: string, inFlight: number) =>
            results.median(labelsOf(call, protocol, inFlight), name) -
            results.median(labelsOf(call, 'gRPC', inFlight), name);
          const parts = protocols
            .slice(1)
            .map(
              (protocol) =>
                `${protocol} ${formatNumber(more(protocol, 'serviceUs', 16), 0)} µs of CPU and ${formatNumber(more(protocol, 'p50Ms', 1), 2)} ms`,
            );
          return `${call}, extra cost compared with gRPC (CPU with 16 in flight, median latency of one caller): ${parts.join(', ')}.`;
        }),
      }),
      async [Symbol.asyncDispose]() {},
    };
  },
};
