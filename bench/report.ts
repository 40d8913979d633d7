/** Writes docs/benchmarks.md: each scenario's text goes between its two markers. The rest is written by hand. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/config/package-root.js';
import type { Case, Column, Numbers, OpenScenario, Results, Scenario } from './scenario.js';
import { quantile } from './service.js';

const document = join(packageRoot(), 'docs/benchmarks.md');
const plotFolder = join(packageRoot(), 'docs/benchmarks');

export interface Conditions {
  readonly postgresVersion: string;
  readonly rounds: number;
  readonly measureMs: number;
  readonly isQuick: boolean;
}

/** Machine, versions and date in one line. Each scenario has its own line because it may have been run alone. */
export function conditionsLine({ postgresVersion, rounds, measureMs, isQuick }: Conditions): string {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: packageRoot(), encoding: 'utf8' }).stdout?.trim();
  const changed = git('status', '--porcelain', 'src', 'migrations', 'generated') ? ' with changes' : '';
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const parts = [
    new Date().toISOString().slice(0, 10),
    `Roster ${git('rev-parse', '--short', 'HEAD') || 'without git'}${changed}`,
    `Node ${process.versions.node}`,
    `Postgres ${postgresVersion}`,
    `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? process.arch}, ${memory}`,
    `${rounds} ${rounds === 1 ? 'round' : 'rounds'} of ${measureMs / 1000} s`,
  ];
  const warning = ' **A quick run that only checks that the scenario works. Ignore its numbers.**';
  return `_${parts.join('; ')}._${isQuick ? warning : ''}`;
}

export function resultsOf(numbers: ReadonlyMap<string, readonly Numbers[]>): Results {
  return {
    median: (labels, name) => median(valuesOf(numbers.get(nameOf(labels)), name)),
  };
}

export function nameOf(labels: Case['labels']): string {
  return Object.values(labels).join(', ');
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

function valuesOf(numbers: readonly Numbers[] = [], name: string): number[] {
  return numbers.map((round) => round[name] ?? Number.NaN).filter((value) => !Number.isNaN(value));
}

/** `1,234`; empty if the value was not measured. */
export function formatNumber(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return '';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The median; with `spread`, also the minimum and the maximum. */
export function formatValues(values: readonly number[], { digits = 0, spread }: Omit<Column, 'name' | 'heading'>) {
  if (values.length === 0) return '';
  const text = formatNumber(median(values), digits);
  if (spread === undefined || values.length === 1) return text;
  return `${text} (${formatNumber(quantile(values, 0), digits)} to ${formatNumber(quantile(values, 1), digits)})`;
}

export function formatTable(headings: readonly string[], textColumns: number, rows: readonly (readonly string[])[]) {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = headings.map((_, index) => (index < textColumns ? '---' : '--:'));
  return [line(headings), line(rule), ...rows.map(line)].join('\n');
}

export function writeScenario(
  scenario: Scenario,
  { cases, columns, report }: OpenScenario,
  numbers: ReadonlyMap<string, readonly Numbers[]>,
  failures: ReadonlyMap<string, string>,
  conditions: string,
): void {
  const labels = Object.keys(cases[0]?.labels ?? {});
  const rows = cases
    .filter((each) => numbers.has(nameOf(each.labels)))
    .map((each) => [
      ...Object.values(each.labels),
      ...columns.map((column) => formatValues(valuesOf(numbers.get(nameOf(each.labels)), column.name), column)),
    ]);
  const headings = [...labels, ...columns.map((column) => column.heading)];
  const { sentences = [], plots = {} } = report?.(resultsOf(numbers)) ?? {};
  const parts = [
    `## ${scenario.title}`,
    scenario.about,
    conditions,
    rows.length === 0 ? '' : formatTable(headings, labels.length, rows),
    sentences.map((sentence) => `- ${sentence}`).join('\n'),
    [...failures].map(([name, reason]) => `- Not measured: ${name}: ${reason}.`).join('\n'),
    Object.keys(plots)
      .map((name) => `![${name}](benchmarks/${fileOf(scenario, name)})`)
      .join('\n'),
  ];
  mkdirSync(plotFolder, { recursive: true });
  for (const [name, svg] of Object.entries(plots)) writeFileSync(join(plotFolder, fileOf(scenario, name)), svg);
  writeBlock(scenario.name, parts.filter((part) => part !== '').join('\n\n'));
}

function fileOf(scenario: Scenario, plot: string): string {
  return `${scenario.name}-${plot.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.svg`;
}

/** Replaces the block, or appends it if the document has no such block. */
export function writeBlock(name: string, text: string): void {
  const [begin, end] = [`<!-- begin ${name}: npm run bench writes this -->`, `<!-- end ${name} -->`];
  const before = existsSync(document) ? readFileSync(document, 'utf8') : '# Benchmarks\n';
  const [from, to] = [before.indexOf(begin), before.indexOf(end)];
  const block = `${begin}\n\n${text}\n\n${end}`;
  const after =
    from === -1 || to === -1
      ? `${before.trimEnd()}\n\n${block}\n`
      : before.slice(0, from) + block + before.slice(to + end.length);
  writeFileSync(document, after);
}
