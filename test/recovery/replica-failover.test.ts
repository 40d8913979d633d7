/** Roster with a primary and a replica in both settings, while the primary is lost and the replica is promoted. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { startReplication, type TestReplication } from '../support/replication.js';

const waitOptions = { timeout: 60_000, interval: 50 };

// The oldest release that Roster supports. The embedded one is newer.
const postgres15 = '/usr/lib/postgresql/15/bin/postgres';
const no15 = existsSync(postgres15) ? '' : ': not installed (apt-get install postgresql-15)';

const newUser = () => ({ firstName: 'Ada', email: `${randomUUID()}@example.com` });

/** The latest line about each server. */
function latestLinesOf(lines: readonly Record<string, unknown>[]) {
  const latest = new Map(
    lines.filter(({ replica }) => replica !== undefined).map((line) => [String(line.replica), line]),
  );
  return (host: string) => latest.get(`${host}/roster`);
}

function describeFailover(postgres?: string): void {
  const lines: Record<string, unknown>[] = [];
  const latestLine = (host: string) => latestLinesOf(lines)(host);
  let servers: TestReplication;
  let app: App;

  beforeAll(async () => {
    servers = await startReplication(postgres);
    const both = `postgres://roster@127.0.0.1:${servers.primary.port},127.0.0.1:${servers.replica.port}/roster`;
    const config = parseServerConfig({
      DATABASE_URL: both,
      DATABASE_REPLICA_URLS: both,
      GRPC_ADDRESS: 'localhost:0',
      HTTP_ADDRESS: 'localhost:0',
      LOG_FORMAT: 'json',
    });
    app = await startApp(config, { logTo: { write: (text: string) => void lines.push(JSON.parse(text)) } });
  }, 120_000);
  afterAll(async () => {
    await app?.close();
    await servers?.[Symbol.asyncDispose]();
  });

  it('serves reads while there is no primary, and sees all later writes after a promotion', async () => {
    const [oldHost, newHost] = [servers.primary, servers.replica].map(({ url }) => new URL(url).host);
    const address = `localhost:${app.grpc.port}`;
    const [client, stranger] = [
      createClient({ address }),
      createClient({ address, consistency: false, attemptsMax: 1 }),
    ];
    onTestFinished(() => {
      client.close();
      stranger.close();
    });
    const { user } = await client.createUser({ user: newUser() });
    await servers.replica.catchUp();
    await vi.waitUntil(() => latestLine(newHost ?? '')?.msg === 'reads use the replica', waitOptions);

    const exported = [];
    for await (const each of client.exportAllUsers()) exported.push(each);
    expect(exported).toEqual([user]);

    let isRunning = true;
    let reads = 0;
    const load = Array.from({ length: 4 }, async () => {
      while (isRunning) {
        expect((await stranger.getUser({ id: user?.id })).user).toEqual(user);
        await stranger.listUsers({ pageSize: 5 });
        reads++;
      }
    });
    await servers.primary.kill();
    await vi.waitUntil(() => latestLine(oldHost ?? '')?.reason === 'unreachable', waitOptions);
    const readsThen = reads;
    await vi.waitUntil(() => reads > readsThen + 20, waitOptions);

    await servers.replica.promote();
    await vi.waitUntil(
      () =>
        client.createUser({ user: newUser() }, { attemptsMax: 1 }).then(
          () => true,
          () => false,
        ),
      waitOptions,
    );
    for (let turn = 0; turn < 20; turn++) {
      const { user: added } = await client.createUser({ user: newUser() });
      expect((await client.getUser({ id: added?.id })).user).toEqual(added);
    }
    isRunning = false;
    await Promise.all(load);
    expect(latestLine(newHost ?? '')?.msg).toBe('reads use the replica');

    // The old primary returns with a log of its own.
    await servers.primary.start();
    const [old] = await servers.primary.query<{ is_standby: boolean }>('select pg_is_in_recovery() as is_standby');
    expect(old?.is_standby).toBe(false);
    await vi.waitUntil(
      () => !['unreachable', undefined].includes(latestLine(oldHost ?? '')?.reason as string),
      waitOptions,
    );
    expect(['ahead of the primary', 'lagging']).toContain(latestLine(oldHost ?? '')?.reason);
    for (let turn = 0; turn < 20; turn++) {
      const { user: added } = await client.createUser({ user: newUser() });
      expect((await client.getUser({ id: added?.id })).user).toEqual(added);
    }
  });
}

describe('a primary and a replica of the embedded Postgres', () => describeFailover());

describe.skipIf(no15)(`a primary and a replica of Postgres 15${no15}`, () => describeFailover(postgres15));
