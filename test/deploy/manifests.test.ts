/** The manifests and the chart in deploy/ against the settings and the documentation. `run.mjs` renders and validates them. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseServerConfig, type ServerConfig } from '../../src/config/parse.js';
import { settingRows } from '../../src/config/setting.js';
import { serverSettings } from '../../src/config/settings.js';
import { createTestDatabase } from '../support/database.js';

const root = join(import.meta.dirname, '..', '..');
const deploy = join(root, 'deploy');
const read = (file: string) => readFileSync(join(deploy, file), 'utf8');
const base = (file: string) => parseAllDocuments(read(`kubernetes/base/${file}`)).map((document) => document.toJS());
const values = parse(read('helm/roster/values.yaml'));

/** Of a file with lines such as `WORKERS=1`. */
function variablesOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));
}

const settings: [string, Record<string, string>][] = [
  ['deploy/kubernetes/base/settings.env', variablesOf(read('kubernetes/base/settings.env'))],
  ["the chart's values", { ...values.settings, INSECURE: 'true', ACCESS_FILE: '/etc/roster/access/access.yaml' }],
];

describe.each(settings)('the settings in %s', (_file, variables) => {
  const known = settingRows(serverSettings).map(({ name }) => name);
  const config: ServerConfig = parseServerConfig(variables);
  const [deployment] = base('deployment.yaml');
  const [autoscaler] = base('autoscaler.yaml');

  it('exist and are valid', () => {
    expect(Object.keys(variables).filter((name) => !known.includes(name))).toEqual([]);
    expect(config.warnings).toEqual([
      'INSECURE is set and other machines can reach the server: others can read the traffic, including tokens, unless a proxy in front of Roster uses TLS.',
    ]);
  });

  it('require credentials for everything but what the probes, Prometheus and the page need', () => {
    expect(config.auth).toEqual({
      isRequired: true,
      accessFile: '/etc/roster/access/access.yaml',
      openEndpoints: ['health', 'metrics', 'openapi', 'page'],
    });
  });

  it('give a pod the time to stop that docs/configuration.md demands', () => {
    const seconds = deployment.spec.template.spec.terminationGracePeriodSeconds;
    const { SHUTDOWN_DELAY_MS: delay, SHUTDOWN_TIMEOUT_MS: timeout } = variables;
    expect(Number(delay)).toBe(5000);
    expect(seconds * 1000).toBeGreaterThanOrEqual(Number(delay) + Number(timeout) + 2000);
  });

  it('leave connections to Postgres free if the number of pods is highest during an upgrade', () => {
    const pods = autoscaler.spec.maxReplicas + deployment.spec.strategy.rollingUpdate.maxSurge;
    const oneProcess = config.database.connectionsMax + config.streams.connectionsMax + 1;
    expect(config.workers).toBe(1);
    // The default max_connections of Postgres less superuser_reserved_connections, and the migration's one.
    expect(pods * oneProcess).toBeLessThanOrEqual(100 - 3 - 1);
  });

  it('use the ports of the manifests', () => {
    const portOf = (name: string) => Number(variables[name]?.split(':').at(-1));
    const services = base('services.yaml').map(({ spec }) => spec.ports[0].port);
    const ports = deployment.spec.template.spec.containers[0].ports.map(
      ({ containerPort }: { containerPort: number }) => containerPort,
    );
    expect(services).toEqual([portOf('GRPC_ADDRESS'), portOf('HTTP_ADDRESS')]);
    expect(ports).toEqual(services);
  });
});

describe('the migration Job', () => {
  it('migrates in an image that listens on all addresses without TLS', async () => {
    await using database = await createTestDatabase();
    const [job] = base('migration-job.yaml');
    const { args } = job.spec.template.spec.containers[0];
    const env = { DATABASE_URL: database.url, GRPC_ADDRESS: '0.0.0.0:50051', HTTP_ADDRESS: '0.0.0.0:8080' };
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'dist/src/main.js'), ...args], { env });
    expect(stdout).toMatch(/^0 applied\n\d+ applied, 0 pending\n$/);
  });
});

/** Each value with its path, such as `image.tag`. */
function leavesOf(value: unknown, path: readonly string[] = []): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || Object.keys(value).length === 0)
    return [[path.join('.'), value]];
  return Object.entries(value).flatMap(([name, one]) => leavesOf(one, [...path, name]));
}

describe('the chart', () => {
  it('installs the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(parse(read('helm/roster/Chart.yaml'))).toMatchObject({ version, appVersion: version });
  });
});

describe('the table of values in the README of the chart', () => {
  it('has every value with its default', () => {
    const rows = [...read('helm/roster/README.md').matchAll(/^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$/gm)];
    const documented = rows.map(([, name, value = '']) => [name, value.replaceAll('`', '')]);
    const { podAnnotations, ...others } = values;
    expect(Object.keys(podAnnotations)).toEqual(['prometheus.io/scrape', 'prometheus.io/port']);
    const expected = leavesOf(others).map(([path, value]) => {
      // A string that YAML would read as something else has quotes.
      const isPlain = typeof value === 'string' && value !== '' && parse(value) === value;
      return [path, isPlain ? value : JSON.stringify(value)];
    });
    const position = expected.findIndex(([path]) => path === 'podLabels');
    expected.splice(position, 0, ['podAnnotations', 'scraping by Prometheus']);
    expect(documented).toEqual(expected);
  });

  it('has only values that the schema allows', () => {
    const schema = JSON.parse(read('helm/roster/values.schema.json'));
    expect(Object.keys(values).filter((name) => !(name in schema.properties))).toEqual([]);
  });
});
