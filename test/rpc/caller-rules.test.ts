/** Conditions and rules for attributes, over real sockets and with a real database. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createFileRegistry, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { ChannelCredentials } from '@grpc/grpc-js';
import { createChannel, createClientFactory, Metadata } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { ImportOptions_OnConflict, UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { parseUpdateUser } from '../../src/model/update-request.js';
import { etagOf, type JsonObject, type User } from '../../src/model/user.js';
import { createDirectory, type Directory } from '../../src/operations/directory.js';
import { parseAccessFile } from '../../src/policy/access-file.js';
import { createPolicy } from '../../src/policy/create-policy.js';
import { readIdentity } from '../../src/store/identity.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';
import { failureOf, startTestServer } from './harness.js';

const never = new AbortController().signal;
const missingId = '01890a5d-ac96-774b-bcce-b302099a8057';

const policy = createPolicy(
  parseAccessFile(
    `
issuers: [{name: corp, issuer: https://a/, audience: roster}]
roles: {hr: [reader, writer, bulk]}
callers:
  - {issuer: corp, claims: {may: read}, role: reader}
  - {issuer: corp, claims: {may: write}, role: writer}
  - {issuer: corp, claims: {may: bulk}, role: bulk}
  - {issuer: corp, claims: {may: hr}, role: hr}
  - {issuer: corp, claims: {may: write-sales}, role: writer, when: user.attributes.department == "sales"}
  - {issuer: corp, claims: {may: write-ops}, role: writer, when: user.attributes.department == "ops"}
  - {issuer: corp, claims: {may: load-sales}, role: bulk, when: user.attributes.department == "sales"}
  - issuer: corp
    claims: {may: keep-name}
    role: writer
    when: method == "UpdateUser" && user.first_name == request.user.first_name
  - issuer: corp
    claims: {may: keep-email}
    role: writer
    when: size(request.update_mask) > 0 && !("*" in request.update_mask) && !("email" in request.update_mask)
  - {issuer: corp, claims: {may: write-profiles}, role: writer, when: user.email.endsWith("@profiles.example")}
  - issuer: corp
    claims: {may: small-lists}
    role: reader
    when: method == "ListUsers" && request.page_size <= 10 && request.page_size != 0
  - {issuer: corp, claims: {may: tagged}, role: reader, when: request.tag == "ok"}
attributes:
  salary: {read: hr, write: hr}
  title: {write: [hr]}
`,
    tmpdir(),
  ),
  { actorSecret: Buffer.alloc(32) },
);

let testDatabase: TestDatabase;
let database: Database;
let directory: Directory;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  directory = createDirectory({
    database,
    identity: await readIdentity(database),
    indexes: presentIndexes,
    batchRowsMax: 100,
    queueRowsMax: 1000,
    streams: { connectionsMax: 4, stallTimeoutMs: 60_000, snapshotTimeoutMs: 60_000 },
    onError(error) {
      throw error;
    },
  });
});

afterAll(async () => {
  await directory?.close();
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

/** Callers by the claim `may`, as in `read write-sales`. The server reads it from a header. */
async function startServer(changes: Partial<Directory> = {}) {
  const server = await startTestServer(
    { ...directory, ...changes },
    {
      access: {
        identify({ fields }) {
          const may = (fields[fields.indexOf('x-may') + 1] ?? '').split(' ');
          return policy.callerOf({ kind: 'token', issuer: 'corp', claims: { sub: '1', may }, expiresMs: 2e12 });
        },
        endOf: () => undefined,
      },
    },
  );
  const channel = createChannel(server.target, ChannelCredentials.createInsecure());
  onTestFinished(() => channel.close());
  const factory = createClientFactory().use(errorDetailsClientMiddleware);
  const options = (may: string) => ({ '*': { metadata: Metadata({ 'x-may': may }) } });
  return {
    as: (may: string) => factory.create(UserServiceDefinition, channel, options(may)),
    profilesAs: (may: string) => factory.create(ProfileServiceDefinition, channel, options(may)),
  };
}

function addUser(attributes: JsonObject, changes: Partial<User> = {}): Promise<User> {
  return directory.createUser({ fields: someFields({ ...changes, attributes }), requestId: undefined }, never);
}

async function stored(id: string): Promise<User> {
  return decoded(await directory.getUser(id, never));
}

/** The reason, the message and the fields of a failure, which must be equal if two failures must look the same. */
async function refusalOf(call: Promise<unknown>) {
  const { code, details, extra } = await failureOf(call);
  const fields = extra.flatMap((detail) =>
    'fieldViolations' in detail && Array.isArray(detail.fieldViolations)
      ? detail.fieldViolations.map(({ field }: { field: string }) => field)
      : [],
  );
  const reason = extra.flatMap((detail) => ('reason' in detail ? [detail.reason] : []))[0];
  return { code, reason, message: details, fields };
}

const denied = { code: 7, reason: 'ACCESS_DENIED', message: 'The caller may not do this.', fields: [] };

describe('a condition on the request', () => {
  it('opens a method only for requests that fulfil it', async () => {
    const { as } = await startServer();
    const client = as('small-lists');
    expect((await client.listUsers({ pageSize: 10 })).users.length).toBeLessThanOrEqual(10);
    for (const request of [{}, { pageSize: 11 }]) expect(await refusalOf(client.listUsers(request))).toEqual(denied);
    expect(await refusalOf(client.getUser({ id: missingId }))).toEqual(denied);
    expect(await refusalOf(client.updateUser({ user: { id: missingId } }))).toEqual(denied);
  });

  it('can keep a caller from changing a field, as docs/access.md says', async () => {
    const { as } = await startServer();
    const { id, email } = await addUser({});
    const update = (...updateMask: string[]) =>
      as('keep-email').updateUser({ user: { id, firstName: 'New', email: 'new@example.com' }, updateMask });
    expect((await update('first_name')).user).toMatchObject({ firstName: 'New', email });
    for (const mask of [[], ['*'], ['email'], ['first_name', 'email'], ['*', 'first_name']]) {
      expect(await refusalOf(update(...mask))).toEqual(denied);
    }
  });

  it('must hold for each message of a stream', async () => {
    const { as } = await startServer();
    const user = await addUser({});
    const send = async function* () {
      yield { tag: 'ok', ids: [user.id] };
      yield { tag: 'other', ids: [user.id] };
    };
    const tags: string[] = [];
    const read = async () => {
      for await (const { tag } of as('tagged').resolveUsers(send())) tags.push(tag);
    };
    expect(await refusalOf(read())).toEqual(denied);
    expect(tags).toEqual(['ok']);
  });
});

describe('a writer with a condition on user', () => {
  it('creates only users that fulfil it', async () => {
    const { as } = await startServer();
    const client = as('write-sales');
    const sales = someFields({ attributes: { department: 'sales' } });
    const ops = someFields({ attributes: { department: 'ops' } });
    expect((await client.createUser({ user: sales })).user?.email).toBe(sales.email);
    for (const user of [ops, someFields(), someFields({ attributes: { department: ['sales'] } })]) {
      expect(await refusalOf(client.createUser({ user }))).toEqual(denied);
    }
    expect(await refusalOf(client.createUser({}))).toEqual(denied);
    const batch = [someFields({ attributes: { department: 'sales' } }), ops];
    expect(await refusalOf(client.batchCreateUsers({ users: batch }))).toEqual({ ...denied, fields: ['users[1]'] });
    expect((await client.batchCreateUsers({ users: batch.slice(0, 1) })).users).toHaveLength(1);
    await expect(directory.getUserByEmail(ops.email, never)).rejects.toThrow();
  });

  it('does not learn from a refused create whether an email is taken', async () => {
    const { as } = await startServer();
    const { email } = await addUser({ department: 'ops' });
    const user = someFields({ email, attributes: { department: 'ops' } });
    expect(await refusalOf(as('write-sales').createUser({ user }))).toEqual(denied);
    expect(await refusalOf(as('write-sales').batchCreateUsers({ users: [user] }))).toEqual({
      ...denied,
      fields: ['users[0]'],
    });
  });

  it('updates and deletes only users that fulfil it, and cannot tell other users from missing ones', async () => {
    const { as } = await startServer();
    const client = as('write-sales');
    const mine = await addUser({ department: 'sales' });
    const other = await addUser({ department: 'ops' });
    const update = (id: string) => client.updateUser({ user: { id, firstName: 'New' }, updateMask: ['first_name'] });
    expect((await update(mine.id)).user?.firstName).toBe('New');
    for (const id of [other.id, missingId]) {
      expect(await refusalOf(update(id))).toEqual(denied);
      expect(await refusalOf(client.updateUser({ user: { id, etag: 'v9' } }))).toEqual(denied);
      expect(await refusalOf(client.updateUser({ user: { id, email: 'not an email' } }))).toEqual(denied);
      const tooLarge = { id, attributes: { [`k${'x'.repeat(9350)}`]: 'x'.repeat(7000) } };
      const mask = Object.keys(tooLarge.attributes).map((key) => `attributes.${key}`);
      expect(await refusalOf(client.updateUser({ user: tooLarge, updateMask: mask }))).toEqual(denied);
      expect(await refusalOf(client.deleteUser({ id }))).toEqual(denied);
      expect(await refusalOf(client.deleteUser({ id, etag: 'v9' }))).toEqual(denied);
      expect(await refusalOf(client.deleteUser({ id, allowMissing: true }))).toEqual(denied);
      for (const read of [
        client.getUser({ id }),
        client.batchGetUsers({ ids: [id] }),
        client.listUserChanges({ id }),
      ]) {
        expect(await refusalOf(read)).toEqual(denied);
      }
    }
    expect(await stored(other.id)).toEqual(other);
    expect(await refusalOf(client.updateUser({ user: { id: mine.id, etag: 'v9' } }))).toMatchObject({
      reason: 'ETAG_MISMATCH',
    });
    await client.deleteUser({ id: mine.id });
    await expect(stored(mine.id)).rejects.toThrow();
  });

  it('learns that a user is missing if it may read always', async () => {
    const { as } = await startServer();
    const client = as('read write-sales');
    const other = await addUser({ department: 'ops' });
    expect(await refusalOf(client.updateUser({ user: { id: missingId } }))).toMatchObject({ reason: 'USER_NOT_FOUND' });
    expect(await refusalOf(client.deleteUser({ id: missingId }))).toMatchObject({ reason: 'USER_NOT_FOUND' });
    await client.deleteUser({ id: missingId, allowMissing: true });
    expect(await refusalOf(client.updateUser({ user: { id: other.id, firstName: 'x' } }))).toEqual(denied);
    expect(await refusalOf(client.deleteUser({ id: other.id, allowMissing: true }))).toEqual(denied);
  });

  it('moves no user into or out of what it may write', async () => {
    const { as } = await startServer();
    const mine = await addUser({ department: 'sales', n: 1 });
    const other = await addUser({ department: 'ops' });
    const move = (may: string, id: string, department: string, updateMask: string[]) =>
      as(may).updateUser({ user: { id, attributes: { department } }, updateMask });
    for (const mask of [['attributes.department'], []]) {
      expect(await refusalOf(move('write-sales', mine.id, 'ops', mask))).toMatchObject({ code: 7 });
      expect(await refusalOf(move('write-sales', other.id, 'sales', mask))).toMatchObject({ code: 7 });
    }
    const clear = as('write-sales').updateUser({ user: { id: mine.id }, updateMask: ['attributes.department'] });
    expect(await refusalOf(clear)).toEqual(denied);
    // Two entries do not combine to move a user from one to the other.
    const both = 'write-sales write-ops';
    expect(await refusalOf(move(both, mine.id, 'ops', ['attributes.department']))).toEqual(denied);
    await as(both).updateUser({ user: { id: mine.id, firstName: 'A' } });
    await as(both).updateUser({ user: { id: other.id, firstName: 'A' } });
    expect((await stored(mine.id)).attributes).toEqual({ department: 'sales', n: 1 });
    // A condition that always holds wins.
    await as('write write-sales').updateUser({ user: { id: mine.id, lastName: 'A' } });
  });

  it('can be bound to a value of the request', async () => {
    const { as } = await startServer();
    const user = await addUser({}, { firstName: 'Ada' });
    const update = (firstName: string) =>
      as('keep-name').updateUser({ user: { id: user.id, firstName, lastName: 'L' } });
    expect((await update('Ada')).user?.lastName).toBe('L');
    expect(await refusalOf(update('Eve'))).toEqual(denied);
    expect(await refusalOf(as('keep-name').deleteUser({ id: user.id }))).toEqual(denied);
  });

  it('writes nothing if the user stops to fulfil it between the check and the write', async () => {
    let moved: User | undefined;
    // Another writer moves the user right after the check has read it.
    const move = async (id: string) => {
      const request = {
        user: {
          id,
          firstName: '',
          lastName: '',
          email: '',
          profileImageUrl: '',
          etag: '',
          attributes: { department: 'ops' },
        },
        updateMask: ['attributes'],
      };
      moved = await directory.updateUser(parseUpdateUser(request), never);
    };
    let isMoved = false;
    const { as } = await startServer({
      async getUser(id, signal) {
        const user = await directory.getUser(id, signal);
        if (!isMoved) {
          isMoved = true;
          await move(id);
        }
        return user;
      },
    });
    for (const write of [
      (id: string) => as('write-sales').updateUser({ user: { id, firstName: 'Eve' }, updateMask: ['first_name'] }),
      (id: string) => as('write-sales').deleteUser({ id }),
    ]) {
      isMoved = false;
      const { id } = await addUser({ department: 'sales' });
      expect(await refusalOf(write(id))).toEqual(denied);
      expect(await stored(id)).toEqual(moved);
    }
    // The client's own etag is checked as usual.
    isMoved = false;
    const user = await addUser({ department: 'sales' });
    const withEtag = as('write-sales').updateUser({ user: { id: user.id, etag: etagOf(user), firstName: 'Eve' } });
    expect(await refusalOf(withEtag)).toMatchObject({ reason: 'ETAG_MISMATCH' });
  });

  it('loses no update of many concurrent ones', async () => {
    const { as } = await startServer();
    const { id } = await addUser({ department: 'sales' });
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
    const client = as('write-sales');
    await Promise.all(
      keys.map((key) =>
        client.updateUser({ user: { id, attributes: { [key]: 1 } }, updateMask: [`attributes.${key}`] }),
      ),
    );
    expect(Object.keys((await stored(id)).attributes).sort()).toEqual(['department', ...keys].sort());
  });

  it('gets no user from a repeated call that it may not write any more', async () => {
    const { as } = await startServer();
    const client = as('write-sales');
    const requests = [
      { user: someFields({ attributes: { department: 'sales' } }), requestId: randomUUID() },
      { users: [someFields({ attributes: { department: 'sales' } })], requestId: randomUUID() },
    ] as const;
    const calls = [
      () => client.createUser(requests[0]),
      () => client.batchCreateUsers({ ...requests[1], users: [...requests[1].users] }),
    ];
    const emails = [requests[0].user.email, requests[1].users[0].email];
    for (const [index, call] of calls.entries()) {
      await call();
      await call();
      const { id } = decoded(await directory.getUserByEmail(emails[index] ?? '', never));
      await as('write').updateUser({ user: { id, attributes: {} }, updateMask: ['attributes.department'] });
      expect(await refusalOf(call())).toEqual(denied);
      await as('write').deleteUser({ id });
      expect(await refusalOf(call())).toEqual(denied);
    }
  });

  it('creates profiles, which have no attributes', async () => {
    const { profilesAs } = await startServer();
    const profile = (email: string) => ({ firstName: 'A', lastName: 'B', email });
    const email = `${randomUUID()}@profiles.example`;
    expect(await profilesAs('write-profiles').createProfile(profile(email))).toMatchObject({ status: 200 });
    expect(await profilesAs('write-profiles').createProfile(profile(email))).toMatchObject({ status: 400 });
    expect(await refusalOf(profilesAs('write-profiles').createProfile(profile('a@b')))).toEqual(denied);
    expect(await refusalOf(profilesAs('write-sales').createProfile(profile('a@b')))).toEqual(denied);
    expect(await refusalOf(profilesAs('read').createProfile(profile('a@b')))).toEqual(denied);
  });

  it('imports only rows that fulfil it, and updates none', async () => {
    const { as } = await startServer();
    const sales = () => someFields({ attributes: { department: 'sales' } });
    const load = (users: ReturnType<typeof someFields>[], options = {}) => {
      const send = async function* () {
        yield { options, users: users.slice(0, 1) };
        yield { users: users.slice(1), totalRows: users.length };
      };
      return as('load-sales').importUsers(send());
    };
    expect(await load([sales(), sales()])).toMatchObject({ committed: true, created: 2 });
    const first = sales();
    expect(await refusalOf(load([first, sales(), someFields()]))).toEqual({ ...denied, fields: ['users[1]'] });
    await expect(directory.getUserByEmail(first.email, never)).rejects.toThrow();
    expect(await refusalOf(load([someFields()], { validateOnly: true }))).toMatchObject({ code: 7 });
    const update = { onConflict: ImportOptions_OnConflict.ON_CONFLICT_UPDATE };
    expect(await refusalOf(load([sales()], update))).toEqual(denied);
    expect(await load([sales()], { onConflict: ImportOptions_OnConflict.ON_CONFLICT_SKIP })).toMatchObject({
      created: 1,
    });
    const exported = as('load-sales').exportUsers({})[Symbol.asyncIterator]();
    expect(await refusalOf(exported.next())).toEqual(denied);
  });
});

const attributes = { salary: 5, title: 'Dr', team: 'a' };
const shown = { title: 'Dr', team: 'a' };

type UserClient = ReturnType<Awaited<ReturnType<typeof startServer>>['as']>;
type ShownUser = { readonly attributes?: unknown } | undefined;

/** For each method that returns users: what it shows of a user with `attributes`. `hr` may read and write all. */
const reads: Readonly<Record<string, (client: UserClient, user: User, hr: UserClient) => Promise<ShownUser[]>>> = {
  GetUser: async (client, { id }) => [(await client.getUser({ id })).user],
  GetUserByEmail: async (client, { email }) => [(await client.getUserByEmail({ email })).user],
  BatchGetUsers: async (client, { id }) => (await client.batchGetUsers({ ids: [id, id] })).users,
  ListUsers: async (client, { email }) => (await client.listUsers({ filter: `email == "${email}"` })).users,
  async ResolveUsers(client, { id, email }) {
    const requests = async function* () {
      yield { ids: [id], emails: [email] };
    };
    const answers = await Array.fromAsync(client.resolveUsers(requests()));
    return answers.flatMap(({ users }) => users);
  },
  async ExportUsers(client, { email }) {
    const answers = await Array.fromAsync(client.exportUsers({ filter: `email == "${email}"` }));
    return answers.flatMap(({ users }) => users);
  },
  async WatchUsers(client, { id }, hr) {
    const seen: ShownUser[] = [];
    let isChanged = false;
    // First the existing user, and then a change.
    for await (const { changes, caughtUp } of client.watchUsers({ includeExisting: true })) {
      seen.push(...changes.flatMap(({ user }) => (user?.id === id ? [user] : [])));
      if (seen.length === 2) break;
      if (caughtUp && !isChanged) {
        isChanged = true;
        await hr.updateUser({ user: { id, firstName: 'Changed' } });
      }
    }
    return seen;
  },
  async UpdateUser(client, { id }) {
    const text = await client.updateUser({ user: { id, lastName: 'New' } });
    const key = await client.updateUser({
      user: { id, attributes: { team: 'a' } },
      updateMask: ['attributes.team'],
    });
    return [text.user, key.user];
  },
  // A repeated call returns the user as it is now.
  async CreateUser(client, _user, hr) {
    const request = { user: someFields(), requestId: randomUUID() };
    const { user } = await client.createUser(request);
    await hr.updateUser({ user: { id: user?.id ?? '', attributes } });
    return [(await client.createUser(request)).user];
  },
  async BatchCreateUsers(client, _user, hr) {
    const request = { users: [someFields()], requestId: randomUUID() };
    const { users } = await client.batchCreateUsers(request);
    await hr.updateUser({ user: { id: users[0]?.id ?? '', attributes } });
    return (await client.batchCreateUsers(request)).users;
  },
};

const descriptors = readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
const methods = [...registry].flatMap((type) => (type.kind === 'service' ? type.methods : []));

/** Whether a message has fields of a type, also in nested messages. */
function contains(message: DescMessage, typeName: string, seen: ReadonlySet<string> = new Set()): boolean {
  if (message.typeName === typeName) return true;
  if (seen.has(message.typeName)) return false;
  const outer = new Set([...seen, message.typeName]);
  return message.fields.some((field) => field.message !== undefined && contains(field.message, typeName, outer));
}

describe('a hidden attribute', () => {
  it.each(Object.entries(reads))('is left out of the answers of %s', async (_method, read) => {
    const { as } = await startServer();
    const hr = as('hr');
    for (const [client, expected] of [[as('write bulk'), shown] as const, [hr, attributes] as const]) {
      const answers = await read(client, await addUser(attributes), hr);
      expect(answers.map((user) => user?.attributes)).toEqual(answers.map(() => expected));
      expect(answers).not.toEqual([]);
    }
  });

  it('is in no other answer of the contract', async () => {
    // Its users have only an id.
    const { as } = await startServer();
    const { changes } = await as('hr').listUserChanges({ id: (await addUser(attributes)).id });
    expect(changes.map(({ user }) => user?.attributes)).toEqual([undefined]);

    const readers = methods.filter(({ output }) => contains(output, 'users.v1.User')).map(({ name }) => name);
    expect(readers.sort()).toEqual([...Object.keys(reads), 'ListUserChanges'].sort());
  });

  it('is checked in all methods that take users or filters', () => {
    // The other tests call these methods. A new one needs checks in caller-rules.ts, and tests.
    const writers = methods.filter(({ input }) => contains(input, 'users.v1.User')).map(({ name }) => name);
    expect(writers.sort()).toEqual(['BatchCreateUsers', 'CreateUser', 'ImportUsers', 'UpdateUser']);
    const filtering = methods.filter(({ input }) => input.fields.some(({ name }) => name === 'filter'));
    expect(filtering.map(({ name }) => name).sort()).toEqual(['ExportUsers', 'ListUsers']);
  });

  it('is left out of large batches, which are encoded in steps', async () => {
    const { as } = await startServer();
    const large = await addUser({ ...attributes, text: 'x'.repeat(15_000) });
    const { users } = await as('read').batchGetUsers({ ids: Array.from({ length: 40 }, () => large.id) });
    expect(users).toHaveLength(40);
    for (const user of users) expect(Object.keys(user.attributes ?? {}).sort()).toEqual(['team', 'text', 'title']);
  });

  it('is left out for one watcher, and not for others of the same change', async () => {
    const { as } = await startServer();
    const watchers = ['bulk', 'hr', 'bulk', 'hr'].map((may) => as(may).watchUsers({})[Symbol.asyncIterator]());
    for (const watcher of watchers) await watcher.next();
    const { id } = await addUser(attributes);
    const seen = await Promise.all(
      watchers.map(async (watcher) => {
        for (;;) {
          const { value } = await watcher.next();
          const change = value?.changes.find(({ user }: { user?: { id: string } }) => user?.id === id);
          if (change !== undefined) return change.user?.attributes;
        }
      }),
    );
    expect(seen).toEqual([shown, attributes, shown, attributes]);
    for (const watcher of watchers) await watcher.return?.();
  });

  it.each(['attributes.salary > 3', 'email != "x" && !has(attributes.salary)', '5 in attributes["salary"]'])(
    'cannot be in a filter: %s',
    async (filter) => {
      const { as } = await startServer();
      const client = as('read bulk');
      const forbidden = {
        code: 7,
        reason: 'FIELD_FORBIDDEN',
        message: 'filter: must not use the attribute salary, which the caller may not read',
        fields: ['filter'],
      };
      expect(await refusalOf(client.listUsers({ filter }))).toEqual(forbidden);
      expect(await refusalOf(client.listUsers({ filter, includeTotalSize: true, pageSize: 1 }))).toEqual(forbidden);
      expect(await refusalOf(client.exportUsers({ filter })[Symbol.asyncIterator]().next())).toEqual(forbidden);
      // A token of a caller who may read it does not help.
      await addUser(attributes);
      await addUser(attributes);
      const page = await as('hr').listUsers({ filter: 'attributes.salary == 5', pageSize: 1 });
      expect(page.nextPageToken).not.toBe('');
      const next = client.listUsers({ filter: 'attributes.salary == 5', pageToken: page.nextPageToken });
      expect(await refusalOf(next)).toEqual(forbidden);
      expect(await refusalOf(client.listUsers({ pageToken: page.nextPageToken }))).toMatchObject({
        reason: 'INVALID_PAGE_TOKEN',
      });
    },
  );

  it('cannot be found by a query', async () => {
    const { as } = await startServer();
    await addUser({ salary: 'planted7391' });
    expect((await as('read').listUsers({ query: 'planted7391' })).users).toEqual([]);
  });

  it.each(['attributes.salary', 'email, attributes["salary"].base desc', String.raw`attributes["\u0073alary"]`])(
    'cannot be in an order: %s',
    async (orderBy) => {
      const { as } = await startServer();
      const client = as('read bulk');
      const forbidden = {
        code: 7,
        reason: 'FIELD_FORBIDDEN',
        message: 'order_by: must not use the attribute salary, which the caller may not read',
        fields: ['order_by'],
      };
      expect(await refusalOf(client.listUsers({ orderBy }))).toEqual(forbidden);
      // A token of a caller who may read it does not help.
      await addUser(attributes);
      await addUser(attributes);
      const page = await as('hr').listUsers({ orderBy, pageSize: 1 });
      expect(page.nextPageToken).not.toBe('');
      expect(await refusalOf(client.listUsers({ orderBy, pageToken: page.nextPageToken }))).toEqual(forbidden);
      expect(await refusalOf(client.listUsers({ pageToken: page.nextPageToken }))).toMatchObject({
        reason: 'INVALID_PAGE_TOKEN',
      });
      expect((await client.listUsers({ orderBy: 'attributes.title' })).users.length).toBeGreaterThan(0);
      expect(await refusalOf(client.listUsers({ orderBy: 'attributes.salary,' }))).toMatchObject({
        reason: 'INVALID_ORDER_BY',
      });
    },
  );

  it('cannot be written', async () => {
    const { as } = await startServer();
    const client = as('write bulk');
    const { id } = await addUser(attributes);
    const withSalary = someFields({ attributes: { salary: 1 } });
    const forbidden = (...fields: string[]) => ({ code: 7, reason: 'FIELD_FORBIDDEN', fields });
    const expectForbidden = async (call: Promise<unknown>, ...fields: string[]) =>
      expect(await refusalOf(call)).toMatchObject(forbidden(...fields));
    await expectForbidden(client.createUser({ user: withSalary }), 'user.attributes.salary');
    await expectForbidden(
      client.batchCreateUsers({ users: [someFields(), withSalary, withSalary] }),
      'users[1].attributes.salary',
      'users[2].attributes.salary',
    );
    const load = (user: ReturnType<typeof someFields>, onConflict: ImportOptions_OnConflict) => {
      const send = async function* () {
        yield { options: { onConflict }, users: [someFields(), user], totalRows: 2 };
      };
      return client.importUsers(send());
    };
    const { ON_CONFLICT_UPDATE: update, ON_CONFLICT_UNSPECIFIED: reject } = ImportOptions_OnConflict;
    await expectForbidden(load(withSalary, reject), 'users[1].attributes.salary');
    await expectForbidden(load(withSalary, update), 'users[1].attributes.salary');
    await expectForbidden(load(someFields({ attributes: { team: 'b' } }), update), 'users[1].attributes');
    expect(await load(someFields(), update)).toMatchObject({ created: 2 });
    const later = async function* () {
      yield { options: { onConflict: update } };
      yield { users: [someFields({ attributes: { team: 'b' } })], totalRows: 1 };
    };
    await expectForbidden(client.importUsers(later()), 'users[0].attributes');

    const change = (value: JsonObject, ...updateMask: string[]) =>
      client.updateUser({ user: { id, attributes: value }, updateMask });
    await expectForbidden(change({ salary: 1 }, 'first_name', 'attributes.salary'), 'update_mask.paths[1]');
    await expectForbidden(change({}, 'attributes.salary'), 'update_mask.paths[0]');
    // Whether the values fit or not says nothing about the hidden one.
    for (const value of [attributes, shown, { ...attributes, salary: 6 }, {}]) {
      await expectForbidden(change(value, 'attributes'), 'update_mask');
      await expectForbidden(change(value, '*'), 'update_mask');
    }
    await expectForbidden(change(shown), 'update_mask');
    expect((await stored(id)).attributes).toEqual(attributes);
    await change({ team: 'b', salary: 7 }, 'attributes.team');
    expect((await stored(id)).attributes).toEqual({ ...attributes, team: 'b' });
  });
});

describe('a protected attribute that the caller may read', () => {
  const rules = createPolicy(parseAccessFile('attributes: {title: {write: admin}, grade: {write: admin}}', tmpdir()), {
    actorSecret: Buffer.alloc(32),
  });

  async function clientOfWriter() {
    const server = await startTestServer(directory, {
      access: { identify: () => rules.callerOf({ kind: 'key', name: 'a', roles: ['writer'] }), endOf: () => undefined },
    });
    const channel = createChannel(server.target, ChannelCredentials.createInsecure());
    onTestFinished(() => channel.close());
    return createClientFactory().use(errorDetailsClientMiddleware).create(UserServiceDefinition, channel);
  }

  it('stays the same if all attributes are replaced', async () => {
    const client = await clientOfWriter();
    const { id } = await addUser({ title: { a: [1, 'x'] }, team: 'a' });
    const replace = (attributes: JsonObject, updateMask = ['attributes']) =>
      client.updateUser({ user: { id, attributes }, updateMask });
    const changed: JsonObject[] = [{ team: 'b' }, { title: { a: [1] } }, { title: { a: [1, 'x'] }, grade: null }];
    for (const attributes of changed) {
      for (const mask of [['attributes'], []]) {
        expect(await refusalOf(replace(attributes, mask))).toMatchObject({ reason: 'FIELD_FORBIDDEN' });
      }
    }
    expect(await refusalOf(replace({ team: 'b' }))).toMatchObject({ fields: ['user.attributes.title'] });
    expect((await replace({ title: { a: [1, 'x'] }, team: 'b' })).user?.attributes).toEqual({
      title: { a: [1, 'x'] },
      team: 'b',
    });
    const missing = client.updateUser({ user: { id: missingId, attributes: { team: 'b' } } });
    expect(await refusalOf(missing)).toMatchObject({ reason: 'USER_NOT_FOUND' });
    expect((await client.getCaller({})).protectedAttributes).toEqual(['grade', 'title']);
  });
});
