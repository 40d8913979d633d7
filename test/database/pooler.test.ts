/** Tests that the search for a pooler ends. test/recovery/pgbouncer.test.ts tests what it finds. */
import pg from 'pg';
import { expect, it } from 'vitest';
import { isTransactionPooler } from '../../src/database/pooler.js';
import { createTestDatabase } from '../support/database.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

it('looking for a pooler fails if the connection has died silently', { timeout: 10_000 }, async () => {
  await using database = await createTestDatabase();
  await using proxy = await startTcpProxy(database.url);
  const open = () => new pg.Client({ connectionString: proxy.url }).connect();
  const client = await open();
  client.on('error', () => {});
  proxy.freeze();
  await expect(isTransactionPooler(client, open, 100)).rejects.toThrow('Query read timeout');
});
