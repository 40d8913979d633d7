/** Measures how long `npm run serve` takes to start, with an embedded Postgres that already has users. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { packageRoot } from '../../src/config/package-root.js';
import { startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';
import { measureLoad } from '../load.js';
import { formatNumber } from '../report.js';
import { fill, type Numbers, type Results, type Scenario } from '../scenario.js';
import { processTree } from '../usage.js';

export const start: Scenario = {
  name: 'start',
  title: 'Start',
  about:
    'The time from `npm run serve` in an installed clone to the log line `listening`. The embedded Postgres is stopped before and already has ' +
    'users.',

  async open(bench) {
    const folder = await mkdtemp(join(tmpdir(), 'roster-start-'));
    const dataDir = join(folder, 'data');
    const labels = { data: `${formatNumber(bench.users)} users` };

    async function serve(work: (address: string) => Promise<unknown>): Promise<number> {
      const began = performance.now();
      const child = spawn('npm', ['run', '--silent', 'serve'], {
        cwd: packageRoot(),
        env: {
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          DATA_DIR: dataDir,
          GRPC_ADDRESS: 'localhost:0',
          HTTP_ADDRESS: 'localhost:0',
          LOG_FORMAT: 'json',
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      try {
        const address = await new Promise<string>((resolve, reject) => {
          createInterface(child.stdout).on('line', (line) => {
            const { msg, address } = JSON.parse(line);
            if (msg === 'listening') resolve(address);
          });
          exited.then(([code]) => reject(new Error(`npm run serve exited with ${code}.`)));
        });
        const elapsed = performance.now() - began;
        await work(address);
        return elapsed;
      } finally {
        // Signals the service and not npm, so that the service receives the signal once.
        const service = processTree(child.pid ?? 0).find((pid) => isService(pid));
        if (service !== undefined) process.kill(service, 'SIGTERM');
        else child.kill();
        await exited;
      }
    }

    // The first start creates the cluster and the tables.
    await serve(async () => {});
    const embedded = await startEmbeddedPostgres({ dataDir });
    try {
      const admin = new pg.Client({ connectionString: embedded.url });
      await admin.connect();
      await fill(admin, bench.users);
      await admin.query('vacuum analyze users');
      await admin.end();
    } finally {
      await embedded.stop();
    }

    return {
      cases: [
        {
          labels,
          async measure(): Promise<Numbers> {
            let firstMs = Number.NaN;
            const listening = await serve(async (address) => {
              const sinceMs = performance.now();
              const target = { address, pid: 0, postmasterPid: undefined, users: bench.users };
              await measureLoad(target, { op: 'get', inFlight: 1, connections: 1 }, { warmUpMs: 0, measureMs: 200 });
              firstMs = performance.now() - sinceMs - 200;
            });
            return { listeningMs: listening, firstMs };
          },
        },
      ],
      columns: [{ name: 'listeningMs', heading: 'ms until it listens', spread: true }],
      report: (results: Results) => ({
        sentences: [
          `It serves after ${formatNumber(results.median(labels, 'listeningMs') / 1000, 2)} s (target: 3 s).`,
        ],
      }),
      async [Symbol.asyncDispose]() {
        await Promise.all([folder, embedded.dataDir].map((path) => rm(path, { recursive: true, force: true })));
      },
    };
  },
};

function isService(pid: number): boolean {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return /node$/.test(command[0] ?? '') && command.some((word) => word.endsWith('dist/src/main.js'));
  } catch {
    return false;
  }
}
