/** Starts the cluster, runs the rounds, and prints a table with one line for each fault. */
import { checkHistory, type ReadFindings } from './check-history.js';
import { readDirectory } from './directory-state.js';
import type { Fault } from './faults.js';
import type { RoundResult } from './judge-round.js';
import { createNetwork } from './machine.js';
import type { Options } from './options.js';
import { type Cluster, runRound } from './round.js';
import { startEtcd } from './start-etcd.js';
import { startHaproxy } from './start-haproxy.js';
import { startPatroni } from './start-patroni.js';
import { startPgbouncer } from './start-pgbouncer.js';
import { createDatabase, startRoster } from './start-roster.js';

interface Row {
  readonly fault: Fault;
  readonly rounds: RoundResult[];
  /** Rounds that did not get to their end. */
  errors: number;
}

/** Returns whether every round has passed. */
export async function runRounds(folder: string, options: Options): Promise<boolean> {
  const cluster = await startCluster(folder, options);
  const rows = options.faults.map((fault): Row => ({ fault, rounds: [], errors: 0 }));
  for (let number = 1; number <= options.rounds; number++) {
    for (const row of rows) await runCounted(cluster, row, `${row.fault.name}, round ${number}`);
  }
  const all = rows.flatMap(({ rounds }) => rounds);
  const passed = all.filter(({ problems }) => problems.length === 0).length;
  const failed =
    all.length - passed + rows.reduce((sum, { errors }) => sum + errors, 0) + (await countLaterLosses(options, all));
  console.log(`\n${tableOf(options, rows)}\n\n${passed} passed, ${failed} failed, 0 skipped`);
  return failed === 0;
}

async function startCluster(folder: string, options: Options): Promise<Cluster> {
  const startMs = Date.now();
  createNetwork();
  await startEtcd(folder);
  const nodes = await startPatroni(folder, options);
  await startHaproxy(folder, nodes);
  await createDatabase();
  if (options.route === 'pgbouncer') await startPgbouncer(folder);
  const addresses = await startRoster(folder, options, nodes);
  console.log(`The cluster serves after ${((Date.now() - startMs) / 1000).toFixed(1)} s.`);
  const { mode, hasReplicas, route, ttl } = options;
  // HAProxy leaves a primary whose Patroni does not answer. By the addresses alone, Roster would keep to it.
  const watchdogMs = route === 'hosts' ? ttl * 1000 : undefined;
  return { nodes, mode, hasReplicas, addresses, watchdogMs, earlier: new Set() };
}

async function runCounted(cluster: Cluster, row: Row, title: string): Promise<void> {
  const startMs = Date.now();
  try {
    const result = await runRound(cluster, row.fault);
    row.rounds.push(result);
    const { acknowledged, unknown, lost, doubled, resumeSeconds, startsOver, problems } = result;
    const seconds = ((Date.now() - startMs) / 1000).toFixed(0);
    console.log(
      `${problems.length === 0 ? 'passed' : 'FAILED'}: ${title} (${seconds} s): ${acknowledged} acknowledged, ` +
        `${unknown} unknown, ${lost.length} lost, ${doubled} doubled, writes after ${resumeSeconds.toFixed(1)} s, ` +
        `${failedOf([result.reads, result.readsWithoutToken])} reads failed, ${startsOver} watchers started over`,
    );
    for (const problem of problems) console.log(`  ${problem}`);
  } catch (error) {
    row.errors++;
    console.log(`FAILED: ${title}:`, error);
  }
}

/** Checks once more at the end, because a later fault may lose the writes of an earlier round. */
async function countLaterLosses({ mode }: Options, rounds: readonly RoundResult[]): Promise<number> {
  if (mode === 'async') return 0;
  const { log } = await readDirectory();
  const losses = rounds.filter(({ history, lost }) => checkHistory(history, log).lost.length > lost.length);
  if (losses.length > 0) console.log(`FAILED: writes of ${losses.length} rounds were lost in later rounds`);
  return losses.length;
}

function tableOf({ mode, hasReplicas }: Options, rows: readonly Row[]): string {
  const titles = [
    ...['Fault', 'Rounds', 'Acknowledged', 'Lost', 'Doubled', 'Writes resume after', 'Failed reads'],
    ...(hasReplicas ? ['Failed reads without a token', 'Older reads without a token'] : []),
  ];
  const lines = rows.map(({ fault, rounds }) => {
    const sum = (of: (round: RoundResult) => number) => rounds.reduce((total, round) => total + of(round), 0);
    const reads = rounds.map((round) => round.reads);
    const others = rounds.map(({ readsWithoutToken }) => readsWithoutToken);
    const older = sum(({ readsWithoutToken }) => readsWithoutToken.stale);
    const olderSeconds = (Math.max(0, ...others.map(({ staleMsMax }) => staleMsMax)) / 1000).toFixed(1);
    const seconds = rounds.map(({ resumeSeconds }) => resumeSeconds);
    return [
      `${fault.what} (${mode})`,
      String(rounds.length),
      count(sum(({ acknowledged }) => acknowledged)),
      count(sum(({ lost }) => lost.length)),
      count(sum(({ doubled }) => doubled)),
      seconds.length === 0 ? '' : `${Math.min(...seconds).toFixed(1)} to ${Math.max(...seconds).toFixed(1)} s`,
      ...(hasReplicas
        ? [failedOf(reads), failedOf(others), `${count(older)}, by up to ${olderSeconds} s`]
        : [failedOf([...reads, ...others])]),
    ];
  });
  return [titles, titles.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function failedOf(reads: readonly ReadFindings[]): string {
  const sum = (of: (reads: ReadFindings) => number) => count(reads.reduce((total, each) => total + of(each), 0));
  return `${sum(({ failed }) => failed)} of ${sum(({ all }) => all)}`;
}

const count = (number: number) => number.toLocaleString('en');
