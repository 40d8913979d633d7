/** ExportUsers over the wire, on the whole application. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { someFields } from '../support/open-database.js';

const waitOptions = { timeout: 30_000 };
const count = 3000;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  for (let created = 0; created < count; created += 1000) {
    const users = Array.from({ length: 1000 }, (_, index) => someFields({ attributes: { index: created + index } }));
    await app.client.batchCreateUsers({ users });
  }
});
afterAll(() => app?.[Symbol.asyncDispose]());

const walksIn = ({ database }: TestApp) =>
  database.query(
    `select from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and (query ~ 'null::bigint' or xact_start is not null)`,
  );

describe('an export', () => {
  it('has the same users as a list', async () => {
    const listed = await Array.fromAsync(app.client.listAllUsers());
    listed.sort((a, b) => (a.id < b.id ? -1 : 1));
    const messages = await Array.fromAsync(app.client.exportUsers({}));
    expect(messages.flatMap(({ users }) => users)).toEqual(listed);
    expect(messages.map(({ watchToken }) => watchToken !== '')).toEqual(
      messages.map((_, at) => at === messages.length - 1),
    );
  });

  it('has only users that match its filter, and continues after a token', async () => {
    const filter = 'attributes.index >= 1500';
    const messages = await Array.fromAsync(app.client.exportUsers({ filter }));
    const ids = messages.flatMap(({ users }) => users.map(({ id }) => id));
    expect(ids).toHaveLength(count - 1500);
    const [first] = messages;
    const rest = await Array.fromAsync(app.client.exportUsers({ filter, resumeToken: first?.resumeToken }));
    expect(rest.flatMap(({ users }) => users.map(({ id }) => id))).toEqual(ids.slice(first?.users.length));
    expect(rest.at(-1)?.watchToken).toBe(messages.at(-1)?.watchToken);
  });

  it('is refused with an invalid filter or token', async () => {
    await expect(Array.fromAsync(app.client.exportUsers({ filter: '(' }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_FILTER',
    });
    await expect(Array.fromAsync(app.client.exportUsers({ resumeToken: 'x' }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_RESUME_TOKEN',
    });
  });

  it('that its client cancels also ends in the database', async () => {
    for await (const _ of app.client.exportUsers({})) break;
    const client = new AbortController();
    const messages = app.client.exportUsers({}, { signal: client.signal })[Symbol.asyncIterator]();
    await messages.next();
    client.abort();
    await expect(
      (async () => {
        while (!(await messages.next()).done);
      })(),
    ).rejects.toThrow(/abort/i);
    await vi.waitFor(async () => expect(await walksIn(app)).toEqual([]), waitOptions);
  });
});

describe('an export that is not read', () => {
  it('ends when its snapshot times out, and can be resumed', async () => {
    await using slow = await startTestApp({ SNAPSHOT_TIMEOUT_MS: '1000' });
    const text = 'x'.repeat(16_000);
    for (let created = 0; created < 1000; created += 200) {
      const users = Array.from({ length: 200 }, () => someFields({ attributes: { text } }));
      await slow.client.batchCreateUsers({ users });
    }
    const ids: string[] = [];
    let resumeToken = '';
    const read = async () => {
      for await (const message of slow.client.exportUsers({ resumeToken })) {
        // Reads on only after the snapshot has ended.
        if (ids.length === 0) await vi.waitFor(async () => expect(await walksIn(slow)).toEqual([]), waitOptions);
        ids.push(...message.users.map(({ id }) => id));
        resumeToken = message.resumeToken;
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'SNAPSHOT_TOO_OLD' });
    // On a busy machine, one snapshot may be too short for the rest.
    while (ids.length < 1000) {
      await read().catch((error: unknown) => expect(error).toMatchObject({ reason: 'SNAPSHOT_TOO_OLD' }));
    }
    expect(ids).toHaveLength(1000);
    expect(new Set(ids).size).toBe(1000);
  });
});
