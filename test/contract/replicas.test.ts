/**
 * Two servers with one database. The contract must hold if each call reaches another server than the last, and what one
 * server returned must work on the other.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, createClient, type User } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

let database: TestDatabase;
let apps: TestApp[];
/** Calls the two servers in turn. */
let both: Client;
/** A client of each server. */
let [here, there]: Client[] = [];
beforeAll(async () => {
  database = await createTestDatabase();
  const settings = { DATABASE_URL: database.url };
  apps = [await startTestApp(settings), await startTestApp(settings)];
  both = createClient({ address: apps.map(({ address }) => address) });
  [here, there] = apps.map(({ client }) => client);
});
afterAll(async () => {
  both?.close();
  for (const app of apps ?? []) await app[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

function clients(): { here: Client; there: Client } {
  if (here === undefined || there === undefined) throw new Error('The servers have not started.');
  return { here, there };
}

function person(tag: string): Partial<User> {
  return { firstName: 'Ada', lastName: 'Lovelace', email: `Ada.${randomUUID()}@Example.com`, attributes: { tag } };
}

describeContract('two servers', () => both);
describeStreams('two servers', () => both, { requests: true, both: true });

it('both servers have served calls', () => {
  for (const { lines } of apps) expect(lines.filter(({ msg }) => msg === 'call').length).toBeGreaterThan(50);
});

describe('what one server returned works on the other:', () => {
  it('a page token', async () => {
    const { here, there } = clients();
    const tag = randomUUID();
    const { users: written } = await here.batchCreateUsers({ users: Array.from({ length: 9 }, () => person(tag)) });
    const request = { filter: `attributes.tag == "${tag}"`, pageSize: 2, orderBy: 'last_name' };
    const ids: string[] = [];
    let pageToken = '';
    do {
      const client = ids.length % 4 === 0 ? here : there;
      const page = await client.listUsers({ ...request, pageToken });
      ids.push(...page.users.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(ids.toSorted()).toEqual(written.map(({ id }) => id).toSorted());
  });

  it("a page token of a user's changes", async () => {
    const { here, there } = clients();
    const { user } = await here.createUser({ user: person('changes') });
    const id = user?.id ?? '';
    await there.updateUser({ user: { id, firstName: 'Grace' } });
    const newest = await here.listUserChanges({ id, pageSize: 1 });
    const oldest = await there.listUserChanges({ id, pageSize: 1, pageToken: newest.nextPageToken });
    expect([newest, oldest].map(({ changes }) => changes.length)).toEqual([1, 1]);
    expect(oldest.nextPageToken).toBe('');
  });

  it('the resume token and the watch token of an export', async () => {
    const { here, there } = clients();
    const tag = randomUUID();
    for (let batch = 0; batch < 3; batch++) {
      await here.batchCreateUsers({ users: Array.from({ length: 1000 }, () => person(tag)) });
    }
    const filter = `attributes.tag == "${tag}"`;
    const ids = new Set<string>();
    let resumeToken = '';
    for await (const { users, resumeToken: token, watchToken } of here.exportUsers({ filter })) {
      for (const { id } of users) ids.add(id);
      resumeToken = token;
      // The test needs an export that takes more than one message.
      expect(watchToken).toBe('');
      break;
    }
    let watchToken = '';
    for await (const message of there.exportUsers({ filter, resumeToken })) {
      for (const { id } of message.users) {
        expect(ids.has(id)).toBe(false);
        ids.add(id);
      }
      watchToken ||= message.watchToken;
    }
    expect(ids.size).toBe(3000);
    const { user } = await there.createUser({ user: person(tag) });
    for await (const { changes } of here.watchUsers({ resumeToken: watchToken })) {
      if (changes.some((change) => change.user?.id === user?.id)) break;
    }
  });

  it('the resume token of a watch', async () => {
    const { here, there } = clients();
    let resumeToken = '';
    for await (const message of here.watchUsers({})) {
      resumeToken = message.resumeToken;
      break;
    }
    const written = await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? here : there).createUser({ user: person('watch') })),
    );
    const missing = new Set(written.map(({ user }) => user?.id));
    while (missing.size > 0) {
      // Each message from another server than the last.
      const client = missing.size % 2 === 0 ? there : here;
      for await (const { changes, resumeToken: token } of client.watchUsers({ resumeToken })) {
        for (const { user } of changes) missing.delete(user?.id);
        resumeToken = token;
        if (changes.length > 0) break;
      }
    }
  });

  it('a request id, also if both servers receive it at the same time', async () => {
    const { here, there } = clients();
    const requestId = randomUUID();
    const request = { user: person('request'), requestId };
    const answers = await Promise.all([here, there, here, there].map((client) => client.createUser(request)));
    answers.push(await there.createUser(request), await here.createUser(request));
    expect(new Set(answers.map(({ user }) => user?.id)).size).toBe(1);

    const users = [person('batch'), person('batch')];
    const batch = { users, requestId: randomUUID() };
    const created = await here.batchCreateUsers(batch);
    expect(await there.batchCreateUsers(batch)).toEqual(created);
  });

  it('an etag', async () => {
    const { here, there } = clients();
    const { user } = await here.createUser({ user: person('etag') });
    const [id, etag] = [user?.id ?? '', user?.etag ?? ''];
    await there.updateUser({ user: { id, etag, firstName: 'Grace' } });
    const outdated = here.updateUser({ user: { id, etag, firstName: 'Edsger' } });
    await expect(outdated).rejects.toMatchObject({ reason: 'ETAG_MISMATCH' });
  });
});
