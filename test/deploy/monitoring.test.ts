/** The dashboard and the alerts in deploy/ against the metrics of a real server and against docs/runbook.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { startTestApp } from '../support/app.js';

const root = join(import.meta.dirname, '..', '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly description?: string;
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

const dashboard: { panels: readonly Panel[] } = JSON.parse(read('deploy/grafana/roster.json'));
const alerts: { groups: readonly { rules: readonly Rule[] }[] } = parse(read('deploy/prometheus/alerts.yml'));
const rules = alerts.groups.flatMap((group) => group.rules);
const expressions: [string, string][] = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }): [string, string] => [title, expr])),
  ...rules.map(({ alert, expr }): [string, string] => [alert, expr]),
];

const words = ['by', 'without', 'on', 'ignoring', 'or', 'and', 'unless', 'bool', 'offset'];
/** Prometheus itself adds them. */
const scraped = ['up', 'job', 'instance'];

/** The metrics and the labels that a PromQL expression names. */
function namesOf(expression: string): { metrics: string[]; labels: string[] } {
  const plain = expression.replace(/"[^"]*"/g, '""').replace(/\[[^\]]*\]/g, '');
  const matchers = [...plain.matchAll(/\{([^}]*)\}/g)].flatMap(([, text = '']) => text.match(/\w+(?=\s*[=!])/g) ?? []);
  const groupings = [...plain.matchAll(/\b(?:by|without)\s*\(([^)]*)\)/g)].flatMap(
    ([, text = '']) => text.match(/\w+/g) ?? [],
  );
  const rest = plain.replace(/\{[^}]*\}/g, '').replace(/\b(?:by|without)\s*\([^)]*\)/g, '');
  const metrics = rest.match(/\b[a-z_]\w*\b(?!\s*\()/g) ?? [];
  return {
    metrics: metrics.filter((name) => !words.includes(name)),
    labels: [...matchers, ...groupings].filter((name) => !scraped.includes(name)),
  };
}

/** The labels of each metric in Prometheus' text format. */
function labelsByMetric(text: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const [, name = '', kind] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) {
    const suffixes = kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const suffix of suffixes) found.set(name + suffix, new Set());
  }
  for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm))
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) found.get(name)?.add(label);
  return found;
}

describe('the metrics that the dashboard and the alerts name', () => {
  let served: Map<string, Set<string>>;

  beforeAll(async () => {
    await using app = await startTestApp();
    const scrape = async () => (await fetch(`${app.http}/metrics`)).text();
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
    await app.client.getUser({ id: user?.id ?? '' });
    await app.client.importAllUsers([{ firstName: 'Alan', email: 'alan@example.com' }]);
    // Roster reads the state of indexes and tables in the background, and serves it at the next scrape.
    await vi.waitFor(
      async () => {
        const text = await scrape();
        for (const name of ['roster_list_index_state', 'roster_table_rows']) expect(text).toContain(`\n${name}{`);
      },
      { timeout: 30_000 },
    );
    // A call that fails through the server's fault.
    await app.database.query('drop table users cascade');
    await expect(app.client.getUser({ id: user?.id ?? '' })).rejects.toThrow();
    served = labelsByMetric(await scrape());
    // These have values only with replicas.
    for (const name of ['used', 'lag_seconds', 'lag_bytes']) served.get(`roster_replica_${name}`)?.add('replica');
    served.get('roster_replica_reads_total')?.add('outcome');
    // It has values only while Roster builds an index.
    served.get('roster_list_index_built_ratio')?.add('index');
  });

  it.each(expressions)('%s: %s', (_title, expression) => {
    const { metrics, labels } = namesOf(expression);
    const own = metrics.filter((name) => !scraped.includes(name));
    expect(metrics.length).toBeGreaterThan(0);
    expect(own.filter((name) => !served.has(name))).toEqual([]);
    const allowed = own.flatMap((name) => [...(served.get(name) ?? [])]);
    expect(labels.filter((name) => !allowed.includes(name))).toEqual([]);
  });
});

describe('the dashboard', () => {
  const panels = dashboard.panels.filter(({ type }) => type !== 'row');

  it('reads from the data source that the user has picked', () => {
    expect(panels.length).toBeGreaterThan(20);
    expect(panels.filter(({ datasource }) => datasource?.uid !== `\${datasource}`)).toEqual([]);
  });

  it('explains each panel, and each has its own id and title', () => {
    expect(panels.filter(({ description = '' }) => description === '')).toEqual([]);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    expect(new Set(dashboard.panels.map(({ title }) => title)).size).toBe(dashboard.panels.length);
  });
});

describe('docs/runbook.md', () => {
  const sections = read('docs/runbook.md').split(/^## /m).slice(1);
  const titles = sections.map((section) => section.split('\n')[0] ?? '');

  it('has a section for each alert, in the same order', () => {
    expect(titles.filter((title) => title.startsWith('Roster'))).toEqual([...new Set(rules.map(({ alert }) => alert))]);
  });

  it.each(rules.map((rule): [string, Rule] => [rule.alert, rule]))('is where %s leads to', (alert, { annotations }) => {
    expect(annotations.runbook_url).toBe(`https://git.example.com/roster/docs/runbook.md#${alert.toLowerCase()}`);
  });

  it.each(sections.filter((section) => section.startsWith('Roster')))(
    'says what to look at and what to do: %s',
    (section) => {
      for (const part of ['**Meaning.**', '**Cause.**', '**Do.**']) expect(section).toContain(part);
    },
  );
});
