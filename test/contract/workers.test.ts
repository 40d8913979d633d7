import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, createClient } from '../../src/client/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';
import { describeContract } from './suite.js';

let database: TestDatabase;
let service: Served;
let client: Client;
beforeAll(async () => {
  database = await createTestDatabase();
  service = await serve({ DATABASE_URL: database.url, WORKERS: '2' });
  // Calls use these connections in turn, so that one worker reads the writes of another.
  client = createClient({ address: Array.from({ length: 4 }, () => service.address) });
});
afterAll(async () => {
  client.close();
  await service.end('SIGTERM');
  await database[Symbol.asyncDispose]();
});

describeContract('gRPC with two workers', () => client);

it('is served by both workers', () => {
  const workers = new Set(service.lines.filter(({ msg }) => msg === 'call').map(({ worker }) => worker));
  expect(workers).toEqual(new Set([1, 2]));
});
