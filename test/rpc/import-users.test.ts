/** ImportUsers over the wire: complete, invalid and interrupted streams, and a server that stops during an import. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp } from '../../src/app.js';
import { createClient, type User } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app?.[Symbol.asyncDispose]());

type Part = { options?: object; users?: Partial<User>[]; totalRows?: number };

async function* stream(...parts: Part[]): AsyncGenerator<Part> {
  yield* parts;
}

/** Yields the parts and then never ends. */
async function* open(...parts: Part[]): AsyncGenerator<Part> {
  yield* parts;
  await new Promise(() => {});
}

const someDomain = () => `@${randomBytes(6).toString('hex')}.example`;
const usersIn = (domain: string, count: number): Partial<User>[] =>
  Array.from({ length: count }, (_, index) => ({ firstName: `Ada ${index}`, email: `${index}${domain}` }));

async function countIn(domain: string): Promise<number> {
  const { totalSize } = await app.client.listUsers({ filter: `email.endsWith("${domain}")`, includeTotalSize: true });
  return totalSize ?? 0;
}

async function sessionsOpen(database: TestDatabase = app.database): Promise<number> {
  const [row] = await database.query<{ count: string }>(
    `select count(*) from pg_class where relname like 'staged_users%'`,
  );
  return Number(row?.count);
}

describe('ImportUsers', () => {
  it('writes every text of every row, over many messages', async () => {
    const domain = someDomain();
    const strange = ['\\.', '\\N', '\\', '"\\n"', 'e\u0301', '😀', '{"a":1}', ' , '];
    const users = strange.map((text, index) => ({
      firstName: `${text}x`,
      lastName: text,
      email: `${index}${domain}`,
      profileImageUrl: `https://example.com/?${encodeURIComponent(text)}`,
      attributes: { [text]: `${text}\t\n\r\u0001\u2028`, list: [text, null, 1.5, true] },
    }));
    const many = usersIn(someDomain(), 5000);
    const report = await app.client.importUsers(
      stream({ options: {}, users }, {}, { users: many }, { totalRows: users.length + many.length }),
    );
    expect(report).toEqual({
      committed: true,
      created: users.length + many.length,
      updated: 0,
      skipped: 0,
      rejected: 0,
      errors: [],
    });
    for (const user of users) {
      expect((await app.client.getUserByEmail({ email: user.email })).user).toMatchObject(user);
    }
  });

  it('reports rejected rows and updated users', async () => {
    const domain = someDomain();
    const rows = [
      { firstName: 'Ada', email: `A${domain}` },
      { email: `b${domain}` },
      { firstName: 'Eve', email: `a${domain}` },
    ];
    const options = { keepGoing: true, onConflict: 2 };
    expect(await app.client.importUsers(stream({ options }, { users: rows, totalRows: 3 }))).toMatchObject({
      committed: true,
      created: 1,
      updated: 1,
      rejected: 1,
      errors: [{ row: 1, field: 'first_name', reason: 'INVALID_FIELD' }],
    });
    expect(await app.client.importUsers(stream({ users: rows, totalRows: 3 }))).toMatchObject({
      committed: false,
      created: 0,
      rejected: 3,
      errors: [
        { row: 0, field: 'email', reason: 'EMAIL_TAKEN' },
        { row: 1, reason: 'INVALID_FIELD' },
        { row: 2, reason: 'EMAIL_TAKEN' },
      ],
    });
    expect((await app.client.getUserByEmail({ email: `a${domain}` })).user).toMatchObject({ firstName: 'Eve' });
  });

  it('refuses an invalid stream and writes nothing', async () => {
    const domain = someDomain();
    const users = usersIn(domain, 3);
    const wrong: [field: string, reason: string, ...Part[]][] = [
      ['options', 'INVALID_FIELD', { users }, { options: {}, totalRows: 3 }],
      ['options.on_conflict', 'INVALID_FIELD', { options: { onConflict: 7 } }],
      ['users', 'INVALID_FIELD', { users: usersIn(domain, 5001) }],
      ['total_rows', 'INVALID_FIELD', { users, totalRows: -3 }],
      ['total_rows', 'INVALID_FIELD', { users, totalRows: 3 }, {}],
      ['total_rows', 'IMPORT_INCOMPLETE', { users }],
      ['total_rows', 'IMPORT_INCOMPLETE', { users }, { totalRows: 4 }],
      ['total_rows', 'IMPORT_INCOMPLETE'],
    ];
    for (const [field, reason, ...parts] of wrong) {
      const failure = await app.client.importUsers(stream(...parts)).catch((error) => error);
      expect(failure, `${field} ${reason}`).toMatchObject({
        code: 'INVALID_ARGUMENT',
        reason,
        violations: [{ field }],
      });
    }
    expect(await countIn(domain)).toBe(0);
  });

  it('writes nothing if its client cancels, its deadline passes or its connection breaks', async () => {
    const domain = someDomain();
    const users = usersIn(domain, 3);
    const controller = new AbortController();
    const cancelled = app.client.importUsers(open({ users }), { signal: controller.signal });
    cancelled.catch(() => {});
    await expect.poll(() => sessionsOpen(), { timeout: 30_000 }).toBe(1);
    controller.abort();
    await expect(cancelled).rejects.toThrow();
    await expect(app.client.importUsers(open({ users }), { deadlineMs: 100 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    const sockets: Socket[] = [];
    const [host, port] = app.address.split(':');
    const proxy = createServer((near) => {
      const far = connect(Number(port), host);
      sockets.push(near, far);
      for (const socket of [near, far]) socket.on('error', () => {});
      near.pipe(far).pipe(near);
    });
    await once(proxy.listen(0, '127.0.0.1'), 'listening');
    using client = createClient({ address: `127.0.0.1:${(proxy.address() as AddressInfo).port}` });
    const cut = client.importUsers(open({ users }));
    cut.catch(() => {});
    await expect.poll(() => sessionsOpen(), { timeout: 30_000 }).toBe(1);
    proxy.close();
    for (const socket of sockets) socket.destroy();
    await expect(cut).rejects.toThrow();
    await expect.poll(() => sessionsOpen(), { timeout: 30_000 }).toBe(0);
    expect(await countIn(domain)).toBe(0);
  });

  it('ends if its client sends nothing for too long', async () => {
    await using impatient = await startTestApp({ STREAM_STALL_TIMEOUT_MS: '1000' });
    const importing = impatient.client.importUsers(open({ users: usersIn(someDomain(), 3) }));
    await expect(importing).rejects.toMatchObject({ reason: 'DEADLINE_PASSED' });
    await expect.poll(() => sessionsOpen(impatient.database), { timeout: 30_000 }).toBe(0);
  });

  it('ends if the server stops, and leaves nothing', async () => {
    await using database = await createTestDatabase();
    const addresses = { GRPC_ADDRESS: '127.0.0.1:0', HTTP_ADDRESS: '127.0.0.1:0' };
    const settings = { DATABASE_URL: database.url, ...addresses, SHUTDOWN_TIMEOUT_MS: '200' };
    const stopping = await startApp(parseServerConfig(settings), { logTo: { write: () => {} } });
    using client = createClient({ address: `127.0.0.1:${stopping.grpc.port}` });
    const importing = client.importUsers(open({ users: usersIn(someDomain(), 3) })).catch((error) => error);
    await expect.poll(() => sessionsOpen(database), { timeout: 30_000 }).toBe(1);
    await stopping.close();
    expect(await importing).toMatchObject({ code: 'UNAVAILABLE' });
    await expect.poll(() => sessionsOpen(database), { timeout: 30_000 }).toBe(0);
    expect(await database.query('select from users')).toEqual([]);
  });
});
