/**
 * Measures the built service and writes docs/benchmarks.md.
 *
 *     npm run bench -- [scenario ...] [--quick] [--rounds 5] [--seconds 4] [--users 10000000]
 *
 * All chosen scenarios are open at once, and every round measures each case once, so other load on the machine affects all
 * of them equally. The first round warms the servers up and does not count. --quick runs one short round over small tables,
 * without a warm-up round.
 */
import { parseArgs } from 'node:util';
import { conditionsLine, formatValues, nameOf, writeScenario } from './report.js';
import {
  type Bench,
  type Directory,
  type Numbers,
  type OpenScenario,
  openDirectory,
  type Scenario,
} from './scenario.js';
import { batchRows } from './scenarios/batch-rows.js';
import { batching } from './scenarios/batching.js';
import { callers } from './scenarios/callers.js';
import { concurrency } from './scenarios/concurrency.js';
import { consistency } from './scenarios/consistency.js';
import { fairness } from './scenarios/fairness.js';
import { floors } from './scenarios/floors.js';
import { gateway } from './scenarios/gateway.js';
import { growth } from './scenarios/growth.js';
import { memory } from './scenarios/memory.js';
import { micro } from './scenarios/micro.js';
import { overload } from './scenarios/overload.js';
import { page } from './scenarios/page.js';
import { pages } from './scenarios/pages.js';
import { pgbouncer } from './scenarios/pgbouncer.js';
import { start } from './scenarios/start.js';
import { tokens } from './scenarios/tokens.js';
import { watchers } from './scenarios/watchers.js';
import { workers } from './scenarios/workers.js';
import { worstRequests } from './scenarios/worst-requests.js';
import { openBenchDatabase } from './service.js';

const scenarios: readonly Scenario[] = [
  floors,
  concurrency,
  batching,
  batchRows,
  workers,
  pgbouncer,
  growth,
  pages,
  page,
  overload,
  fairness,
  callers,
  tokens,
  consistency,
  watchers,
  gateway,
  worstRequests,
  start,
  memory,
  micro,
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    users: { type: 'string' },
  },
});
const isQuick = values.quick;
const rounds = Number(values.rounds ?? (isQuick ? 1 : 5));
const measureMs = 1000 * Number(values.seconds ?? (isQuick ? 1 : 4));
const usersLarge = Number(values.users ?? (isQuick ? 200_000 : 10_000_000));
const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name));
if (unknown.length > 0 || !(rounds >= 1 && measureMs > 0 && usersLarge >= 1000)) {
  console.error(
    `npm run bench -- [${scenarios.map(({ name }) => name).join(' | ')}] [--quick] [--rounds n] [--seconds n] [--users n]`,
  );
  process.exit(2);
}
const chosen = scenarios.filter(({ name }) => positionals.length === 0 || positionals.includes(name));

await using cleanUp = new AsyncDisposableStack();
const database = cleanUp.use(await openBenchDatabase());
let shared: Promise<Directory> | undefined;
const bench: Bench = {
  isQuick,
  times: { measureMs, warmUpMs: isQuick ? 1000 : 1500 },
  database,
  users: isQuick ? 20_000 : 100_000,
  usersLarge,
  shared() {
    shared ??= openDirectory(bench, 'shared', bench.users).then((directory) => cleanUp.use(directory));
    return shared;
  },
};

interface Running {
  scenario: Scenario;
  open: OpenScenario;
  numbers: Map<string, Numbers[]>;
  failures: Map<string, string>;
}

const running: Running[] = [];
for (const scenario of chosen) {
  console.error(`opening ${scenario.name}`);
  running.push({ scenario, open: cleanUp.use(await scenario.open(bench)), numbers: new Map(), failures: new Map() });
}

const discarded = isQuick ? 0 : 1;
for (let round = -discarded; round < rounds; round++) {
  for (const { scenario, open, numbers, failures } of running) {
    const { cases, columns } = open;
    for (const index of cases.keys()) {
      const each = cases[(index + round + discarded) % cases.length];
      if (each === undefined) continue;
      const name = nameOf(each.labels);
      try {
        const measured = await each.measure();
        if (round >= 0) numbers.set(name, [...(numbers.get(name) ?? []), measured]);
        const texts = columns.map(
          ({ name, heading, digits }) => `${formatValues([measured[name] ?? Number.NaN], { digits })} ${heading}`,
        );
        console.log(`${round + 1}/${rounds} ${scenario.name}: ${name}: ${texts.join(', ')}`);
      } catch (error) {
        // The other measurements are still useful.
        failures.set(name, error instanceof Error ? error.message : String(error));
        console.error(`${scenario.name}: ${name}: `, error);
        process.exitCode = 1;
      }
    }
    await open.settle?.();
  }
  if (round < 0) continue;
  // Writes after each round, so that an interrupted run keeps its results.
  const sofar = conditionsLine({ postgresVersion: database.version, rounds: round + 1, measureMs, isQuick });
  for (const { scenario, open, numbers, failures } of running) writeScenario(scenario, open, numbers, failures, sofar);
}
