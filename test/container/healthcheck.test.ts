/** The image's health check against real servers, gateways and workers, outside a container. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { parseGatewayConfig } from '../../src/config/parse.js';
import { startGateway } from '../../src/gateway/start-gateway.js';
import { startTestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const script = path.resolve(import.meta.dirname, '../../scripts/container/healthcheck');
const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
let folder: string;
let healthFile: string;
beforeAll(async () => {
  database = await createTestDatabase();
  folder = mkdtempSync(path.join(tmpdir(), 'roster-health-'));
  healthFile = path.join(folder, 'health');
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await database[Symbol.asyncDispose]();
});

function check(): string {
  const { status, stdout } = spawnSync(script, { env: { HEALTH_FILE: healthFile }, encoding: 'utf8' });
  return `${status}: ${stdout.trim()}`;
}

async function start(settings: Record<string, string> = {}): Promise<Served> {
  const served = await serve({ DATABASE_URL: database.url, HEALTH_FILE: healthFile, ...settings });
  onTestFinished(async () => {
    served.process.kill('SIGCONT');
    if (served.process.exitCode === null && served.process.signalCode === null) await served.end('SIGTERM');
  });
  return served;
}

describe('the health check', () => {
  it('fails before the server serves, and after it has ended', async () => {
    expect(check()).toBe('1: no process serves');
    const served = await start();
    await expect.poll(check, waitOptions).toBe('0: serving');
    await served.end('SIGTERM');
    expect(check()).toBe('1: no process serves');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('fails if the server does not respond', async () => {
    const served = await start();
    await expect.poll(check, waitOptions).toBe('0: serving');
    served.process.kill('SIGSTOP');
    await expect.poll(check, waitOptions).toBe(`1: process ${served.process.pid} does not respond`);
    served.process.kill('SIGCONT');
    await expect.poll(check, waitOptions).toBe('0: serving');
  });

  it('fails if one of the workers does not respond, and ignores the files of killed workers', async () => {
    const served = await start({ WORKERS: '2' });
    await expect.poll(check, waitOptions).toBe('0: serving');
    const [worker] = served.lines.filter(({ msg }) => msg === 'a worker is serving').map(({ pid }) => Number(pid));
    if (worker === undefined) throw new Error('No worker is serving.');
    process.kill(worker, 'SIGSTOP');
    await expect.poll(check, waitOptions).toBe(`1: process ${worker} does not respond`);
    process.kill(worker, 'SIGKILL');
    await expect.poll(check, waitOptions).toBe('0: serving');
    expect(readdirSync(folder)).toContain(`health.${worker}`);
    rmSync(`${healthFile}.${worker}`);
  });

  it('fails while the server cannot reach its database', async () => {
    await using proxy = await startTcpProxy(database.url);
    const served = await start({ DATABASE_URL: proxy.url });
    await expect.poll(check, waitOptions).toBe('0: serving');
    proxy.pause();
    await expect.poll(check, waitOptions).toBe(`1: process ${served.process.pid} is not serving`);
    proxy.resume();
    await expect.poll(check, waitOptions).toBe('0: serving');
    await served.end('SIGTERM');
  });

  it('fails while a gateway cannot reach its target', async () => {
    const app = await startTestApp();
    const settings = { TARGET: app.address, HTTP_ADDRESS: 'localhost:0', LOG_LEVEL: 'silent', HEALTH_FILE: healthFile };
    const gateway = await startGateway(parseGatewayConfig(settings));
    try {
      await expect.poll(check, waitOptions).toBe('0: serving');
    } finally {
      await app[Symbol.asyncDispose]();
    }
    await expect.poll(check, waitOptions).toBe(`1: process ${process.pid} is not serving`);
    await gateway.close();
    expect(check()).toBe('1: no process serves');
  });

  it('fails if the server cannot write the file, and the log says why', async () => {
    await using app = await startTestApp({ HEALTH_FILE: path.join(folder, 'missing', 'health') });
    await expect.poll(() => app.lines.map(({ msg }) => msg), waitOptions).toContain('cannot write the health file');
  });
});
