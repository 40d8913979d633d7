/** Measures how single calls scale with the number of calls in flight. */
import { measureLoad } from '../load.js';
import { drawPlot } from '../plot.js';
import { loadColumns, type Results, type Scenario } from '../scenario.js';

const ops = { GetUser: 'get', CreateUser: 'create', UpdateUser: 'update' } as const;
const plots = {
  'calls a second': 'perSecond',
  'median latency, ms': 'p50Ms',
  '99th percentile, ms': 'p99Ms',
  'CPU of the service for each call, µs': 'serviceUs',
  'CPU of Postgres for each call, µs': 'postgresUs',
  'calls that share a statement': 'callsPerStatement',
};

export const concurrency: Scenario = {
  name: 'concurrency',
  title: 'Calls in flight',
  about:
    'One to 512 callers over 4 connections (a single caller over one). Calls/statement is the number of ended calls divided by the ' +
    "number of transactions that Postgres counts in the service's database, including a few of its housekeeping.",

  async open(bench) {
    const directory = await bench.shared();
    const levels = bench.isQuick ? [1, 16, 128] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    const labelsOf = (call: string, inFlight: number) => ({ call, 'in flight': String(inFlight) });
    return {
      cases: Object.entries(ops).flatMap(([call, op]) =>
        levels.map((inFlight) => ({
          labels: labelsOf(call, inFlight),
          measure: () => measureLoad(directory, { op, inFlight, connections: Math.min(4, inFlight) }, bench.times),
        })),
      ),
      columns: [...loadColumns, { name: 'callsPerStatement', heading: 'calls/statement', digits: 1 }],
      settle: () => directory.settle(),
      report: (results: Results) => ({
        sentences: [],
        plots: Object.fromEntries(
          Object.entries(plots).map(([label, name]) => [
            label,
            drawPlot({
              title: label,
              x: { label: 'calls in flight', isLogarithmic: true },
              y: { label, isLogarithmic: name.endsWith('Ms') ? true : undefined },
              lines: Object.keys(ops).map((call) => ({
                name: call,
                points: levels.map((level) => [level, results.median(labelsOf(call, level), name)]),
              })),
            }),
          ]),
        ),
      }),
      async [Symbol.asyncDispose]() {},
    };
  },
};
