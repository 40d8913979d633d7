/** Notices a new timeline of real servers although nothing else uses the database. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { openDatabase } from '../../src/database/database.js';
import { startTimelineLog } from '../../src/operations/timeline-log.js';
import { createLog } from '../../src/telemetry/log.js';
import { databaseOptions } from '../support/open-database.js';
import { createRosterServers, type PostgresServers } from '../support/postgres-servers.js';

let servers: PostgresServers;
beforeAll(async () => {
  servers = await createRosterServers();
});
afterAll(() => servers?.[Symbol.asyncDispose]());

it('notes a switch that nothing else notices, and stops when it is closed', async () => {
  const primary = await servers.empty.copy();
  const standby = await primary.copyAsStandby();
  await primary.start();
  await standby.start();
  await standby.catchUp(primary);
  const url = `postgres://roster@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/roster`;
  const database = await openDatabase(databaseOptions(url));
  onTestFinished(() => database.close());
  const lines: Record<string, unknown>[] = [];
  const write = (text: string) => void lines.push(JSON.parse(text));
  const log = createLog({ level: 'info', format: 'json', destination: { write } });
  const timelines = await startTimelineLog(database, log, 20);
  onTestFinished(() => timelines.close());
  expect(timelines.timeline).toBe(1);

  await primary.stop();
  await standby.promote();
  await expect.poll(() => timelines.timeline, { timeout: 60_000 }).toBe(2);
  const tokens = expect.stringMatching(/^stay valid up to /);
  expect(lines).toMatchObject([{ msg: 'the database is on a new timeline', timeline: 2, tokens }]);

  await timelines.close();
  await standby.query('insert into timelines (seq, timeline) values (3, 3)');
  await sleep(200);
  expect(await standby.query('select max(seq)::integer as seq from timelines')).toEqual([{ seq: 3 }]);
});
