import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createChannel, createClientFactory } from 'nice-grpc';
import { HealthDefinition } from 'nice-grpc-server-health';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { type App, startApp } from '../../src/app.js';
import { createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';

// From grpc.health.v1.HealthCheckResponse.ServingStatus, which the package does not export.
const SERVING = 1;
const NOT_SERVING = 2;

// A separate server, because it is killed.
const dataDir = mkdtempSync(join(tmpdir(), 'roster-outage-'));
// If the tests run as root, the server runs as another user, who must be able to enter the folder.
chmodSync(dataDir, 0o755);
const lines: Record<string, unknown>[] = [];
let postgres: EmbeddedPostgres;
let app: App;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres({ dataDir });
  // Configured as an external database, which Roster must wait for and may not start.
  const config = parseServerConfig({
    DATABASE_URL: postgres.url,
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    DATABASE_CONNECT_TIMEOUT_MS: '1000',
  });
  app = await startApp(config, { logTo: { write: (text) => lines.push(JSON.parse(text)) } });
});
afterAll(async () => {
  await app?.close();
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

function killPostgres(): void {
  const [pid] = readFileSync(join(postgres.dataDir, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
  process.kill(Number(pid), 'SIGKILL');
}

describe('a database that fails under load', () => {
  it('makes calls fail only with UNAVAILABLE, and is used again when it is back', async () => {
    using client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1, deadlineMs: 30_000 });
    const channel = createChannel(`localhost:${app.grpc.port}`);
    const health = createClientFactory().create(HealthDefinition, channel);
    const profiles = createClientFactory().create(ProfileServiceDefinition, channel);
    const outcomes = new Map<string, number>();
    const acknowledged = new Set<string>();
    const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    let isRunning = true;
    const load = Array.from({ length: 32 }, async (_, worker) => {
      for (let turn = 0; isRunning; turn++) {
        const email = `${worker}.${turn}@example.com`;
        try {
          const { user } = await client.createUser({ user: { firstName: 'Ada', email } });
          acknowledged.add(email);
          await client.getUser({ id: user?.id });
          await client.listUsers({ pageSize: 2 });
          await client.updateUser({ user: { id: user?.id, lastName: `${turn}` } });
          count('OK');
        } catch (error) {
          const { code, reason } = error as { code: string; reason: string };
          count(`${code} ${reason}`);
        }
      }
    });
    const served = async () => {
      const before = outcomes.get('OK') ?? 0;
      await expect.poll(() => outcomes.get('OK') ?? 0, { timeout: 60_000 }).toBeGreaterThan(before + 50);
    };

    const states: number[] = [];
    const watching = new AbortController();
    const watch = (async () => {
      for await (const { status } of health.watch({ service: '' }, { signal: watching.signal })) states.push(status);
    })().catch(() => {});

    for (let round = 1; round <= 2; round++) {
      await served();
      killPostgres();
      await expect.poll(() => states.at(-1), { timeout: 30_000 }).toBe(NOT_SERVING);
      expect((await fetch(`http://localhost:${app.http?.port}/readyz`)).status).toBe(503);
      const answer = profiles.createProfile({ firstName: 'lets', lastName: 'do', email: `this ${round}` });
      await expect(answer).rejects.toMatchObject({ code: 14 });
      expect(await client.isServing()).toBe(false);
      await postgres.ensureRunning();
      await expect.poll(() => states.at(-1), { timeout: 30_000 }).toBe(SERVING);
      expect((await fetch(`http://localhost:${app.http?.port}/readyz`)).status).toBe(200);
      await served();
    }
    isRunning = false;
    await Promise.all(load);
    watching.abort();
    await watch;

    expect([...outcomes.keys()].sort()).toEqual(['OK', 'UNAVAILABLE DATABASE_UNAVAILABLE']);
    expect(states).toEqual([SERVING, NOT_SERVING, SERVING, NOT_SERVING, SERVING]);
    // Every user that was acknowledged before the server was killed exists once.
    const found: string[] = [];
    for await (const user of client.listAllUsers({ pageSize: 1000 })) found.push(user.email);
    expect(new Set(found).size).toBe(found.length);
    for (const email of acknowledged) expect(found).toContain(email);
    channel.close();
    expect(JSON.stringify(lines)).not.toMatch(/@example|password|postgresql:/);
  });
});
