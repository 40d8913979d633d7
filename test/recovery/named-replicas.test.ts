/** Several servers with one name in DNS, as behind a Service of Kubernetes without a cluster IP. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';

// Makes grpc-js send its questions to the server in the address. It reads the variable when it is loaded.
vi.hoisted(() => {
  process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';
});

import { createClient } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { startDnsServer } from '../support/dns-server.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 60_000 };

function callsOf({ lines }: TestApp): number {
  return lines.filter(({ msg }) => msg === 'call').length;
}

// Only Linux has all of 127.0.0.0/8.
describe.skipIf(process.platform !== 'linux')('servers with one name', () => {
  it('all get calls, also those that are added later, and no call fails when all addresses change', async () => {
    await using database = await createTestDatabase();
    const settings = { DATABASE_URL: database.url, CONNECTION_AGE_MS_MAX: '1000' };
    await using first = await startTestApp({ ...settings, GRPC_ADDRESS: '127.0.0.2:0' });
    const port = first.address.split(':')[1];
    const startAt = (host: string) => startTestApp({ ...settings, GRPC_ADDRESS: `${host}:${port}` });
    await using second = await startAt('127.0.0.3');
    await using dns = await startDnsServer(['127.0.0.2', '127.0.0.3']);
    const address = `dns://127.0.0.1:${dns.port}/roster.test:${port}`;
    using client = createClient({ address, attemptsMax: 1 });
    const failures: unknown[] = [];
    let isRunning = true;
    const load = (async () => {
      while (isRunning) {
        await client.listUsers({ pageSize: 1 }).catch((error: unknown) => failures.push(error));
        await sleep(5);
      }
    })();
    const expectCalls = (...apps: TestApp[]) => {
      const before = apps.map(callsOf);
      return vi.waitFor(() => {
        for (const [index, app] of apps.entries()) expect(callsOf(app)).toBeGreaterThan((before[index] ?? 0) + 10);
      }, waitOptions);
    };
    await expectCalls(first, second);

    await using third = await startAt('127.0.0.4');
    dns.setAddresses(['127.0.0.2', '127.0.0.3', '127.0.0.4']);
    await expectCalls(first, second, third);

    dns.setAddresses(['127.0.0.4']);
    await vi.waitFor(async () => {
      const before = [first, second].map(callsOf);
      await sleep(200);
      expect([first, second].map(callsOf)).toEqual(before);
    }, waitOptions);
    await expectCalls(third);
    isRunning = false;
    await load;
    expect(failures).toEqual([]);
  });
});
