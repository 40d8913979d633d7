/** Measures pages by name and of searches among a million users, which have the indexes for lists. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createClient, type ListUsersRequest } from '../../src/client/index.js';
import { packageRoot } from '../../src/config/package-root.js';
import { formatNumber } from '../report.js';
import { type Numbers, openDirectory, type Results, type Scenario } from '../scenario.js';
import { quantile } from '../service.js';

const usersMax = 1_000_000;
const pageSize = 50;
// The pages of one walk. After them, the next walk starts at the first page again.
const walkPages = 20;
const anyNumber = () => String(Math.floor(Math.random() * usersMax));

const requests: Readonly<Record<string, () => Partial<ListUsersRequest>>> = {
  'by last_name': () => ({ orderBy: 'last_name' }),
  'by first_name desc': () => ({ orderBy: 'first_name desc' }),
  'a part of one email': () => ({ query: `seed.${anyNumber()}@` }),
  'a number in emails': () => ({ query: anyNumber().slice(0, 4) }),
  'a name that one in 64 has': () => ({ query: 'grace hopper' }),
  'a word that everybody has': () => ({ query: 'example', orderBy: 'last_name' }),
  'a word that nobody has': () => ({ query: 'lovelaces' }),
};

export const pages: Scenario = {
  name: 'pages',
  title: 'Pages by name, and searches',
  about:
    `Pages of ${pageSize} users among a million, by one caller, with the indexes for lists. The caller reads at most ${walkPages} pages and then starts ` +
    'again. Latency includes gRPC.',

  async open(bench) {
    const users = bench.isQuick ? bench.users : usersMax;
    await using cleanUp = new AsyncDisposableStack();
    const directory = cleanUp.use(await openDirectory(bench, 'pages', users, { LIST_INDEXES: 'none' }));
    const command = [join(packageRoot(), 'dist/src/main.js'), 'indexes', 'build', 'all'];
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, DATABASE_URL: directory.url };
    const { status } = spawnSync(process.execPath, command, { env, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`roster indexes build exited with ${status}.`);
    const client = createClient({ address: directory.address });
    cleanUp.defer(() => client.close());

    async function measure(create: () => Partial<ListUsersRequest>): Promise<Numbers> {
      const latencies: number[] = [];
      const endMs = performance.now() + bench.times.measureMs;
      while (performance.now() < endMs) {
        const request = create();
        let pageToken = '';
        for (let page = 0; page < walkPages && performance.now() < endMs; page++) {
          const sinceMs = performance.now();
          const { nextPageToken } = await client.listUsers({ pageSize, ...request, pageToken });
          latencies.push(performance.now() - sinceMs);
          pageToken = nextPageToken;
          if (pageToken === '') break;
        }
      }
      return {
        pages: latencies.length,
        p50Ms: quantile(latencies, 0.5),
        p95Ms: quantile(latencies, 0.95),
        maxMs: Math.max(...latencies),
      };
    }

    const owned = cleanUp.move();
    return {
      cases: Object.entries(requests).map(([page, create]) => ({ labels: { page }, measure: () => measure(create) })),
      columns: [
        { name: 'pages', heading: 'pages' },
        { name: 'p50Ms', heading: 'p50 ms', digits: 1 },
        { name: 'p95Ms', heading: 'p95 ms', digits: 1, spread: true },
        { name: 'maxMs', heading: 'maximum ms', digits: 1 },
      ],
      report: (results: Results) => ({
        sentences: [
          `The slowest 95th percentile is ${formatNumber(Math.max(...Object.keys(requests).map((page) => results.median({ page }, 'p95Ms'))), 1)} ms (target: at most 50).`,
        ],
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};
