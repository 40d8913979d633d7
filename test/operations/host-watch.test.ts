/** Real servers of one cluster, of which two accept writes. */
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { openDatabase } from '../../src/database/database.js';
import { createServerProbe } from '../../src/database/server-probe.js';
import { watchHosts } from '../../src/operations/host-watch.js';
import { readLogOrigin } from '../../src/store/identity.js';
import { createLog } from '../../src/telemetry/log.js';
import { databaseOptions } from '../support/open-database.js';
import { createRosterServers, type PostgresServers } from '../support/postgres-servers.js';

const waitOptions = { timeout: 60_000, interval: 20 };

let servers: PostgresServers;
beforeAll(async () => {
  servers = await createRosterServers();
});
afterAll(() => servers?.[Symbol.asyncDispose]());

it('logs that an old primary accepts writes next to the new one, and says so once', async () => {
  const primary = await servers.empty.copy();
  const standby = await primary.copyAsStandby();
  await primary.start();
  await standby.start();
  await standby.catchUp(primary);
  const database = await openDatabase(databaseOptions(primary.url));
  onTestFinished(() => database.close());
  const lines: Record<string, unknown>[] = [];
  const write = (text: string) => void lines.push(JSON.parse(text));
  const log = createLog({ level: 'info', format: 'json', destination: { write } });
  let checks = 0;
  // The first two names lead to one server.
  const hosts = [
    ['db1', primary.url],
    ['db1-alias', primary.url],
    ['db2', standby.url],
  ].map(([name = '', url = '']) => {
    const probe = createServerProbe(url, 30_000);
    const read = () => {
      if (name === 'db2') checks++;
      return probe.read();
    };
    return { name, probe: { ...probe, read } };
  });
  const watch = watchHosts({ hosts, origin: await readLogOrigin(database), log, everyMs: 20 });
  onTestFinished(() => watch.close());
  const someChecks = async () => {
    const before = checks;
    await vi.waitUntil(() => checks > before + 5, waitOptions);
  };
  await someChecks();
  expect(lines).toEqual([]);
  expect(watch.primaries).toBe(1);

  await standby.promote();
  await vi.waitUntil(() => lines.length > 0, waitOptions);
  await someChecks();
  expect(watch.primaries).toBe(2);
  expect(lines).toMatchObject([
    {
      level: 'error',
      msg: 'several hosts of DATABASE_URL accept writes',
      servers: 'db1 (timeline 1), db2 (timeline 2)',
      help: expect.stringContaining('Stop all except'),
    },
  ]);
});
