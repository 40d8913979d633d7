/** An update that depends on the current user must succeed despite concurrent updates. */

import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { emailTaken, etagMismatch, Fault, userNotFound } from '../../src/model/fault.js';
import { parseUpdateUser, type UpdateUserRequest } from '../../src/model/update-request.js';

import { etagOf, type JsonObject, noFields, type User, type UserFields } from '../../src/model/user.js';
import { orThrow } from '../../src/operations/refusals.js';
import { type UpdateUserSteps, updateUser } from '../../src/operations/update-user.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { type UserUpdate, updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { selectUsers } from '../support/stored-users.js';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});

afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

interface Scene extends UpdateUserSteps {
  readonly user: User;
  readonly reads: UserUpdate['id'][];
  readonly writes: UserUpdate[];
}

/** A user of the first contract. Each of `rivals` is written once, between a read and the following write. */
async function scene(fields: Partial<UserFields> = {}, rivals: readonly Partial<UserFields>[] = []): Promise<Scene> {
  const waiting = [...rivals];
  const reads: string[] = [];
  const writes: UserUpdate[] = [];
  const write = async (update: UserUpdate) => {
    const [outcome] = await updateUsers(database, [update]);
    const user = orThrow(outcome);
    if (typeof user !== 'object') throw new Error(`The outcome is ${user}.`);
    return user;
  };
  await testDatabase.query('delete from users');
  const legacy = someFields({
    firstName: 'lets',
    lastName: 'do',
    email: 'this',
    attributes: { a: 1, b: 2 },
    ...fields,
  });
  const [user] = await insertUsers(database, [{ id: uuidv7(), fields: legacy, request: undefined }]);
  if (typeof user !== 'object' || !('version' in user)) throw user ?? new Error('no user');
  return {
    user,
    reads,
    writes,
    async read(id) {
      reads.push(id);
      const [found] = await selectUsers(database, [id]);
      if (found === undefined) throw userNotFound();
      const rival = waiting.shift();
      if (rival !== undefined) await write({ id, version: undefined, fields: rival });
      return found;
    },
    async write(update) {
      writes.push(update);
      return write(update);
    },
  };
}

function parse({ user }: Scene, fields: Partial<User> & { etag?: string }, updateMask: string[]): UpdateUserRequest {
  const empty = { ...noFields, attributes: undefined, etag: '' };
  return parseUpdateUser({ user: { ...empty, ...fields, id: user.id }, updateMask });
}

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  const error = await promise.catch((reason: unknown) => reason);
  if (error instanceof Fault) return error;
  throw error;
}

describe('an update', () => {
  it('that does not depend on the user is one write', async () => {
    const held = await scene();
    await updateUser(parse(held, { lastName: 'King', etag: 'v1' }, ['last_name']), held);
    expect(held.reads).toEqual([]);
    expect(held.writes).toEqual([{ id: held.user.id, version: 1, fields: { lastName: 'King' } }]);
  });

  it('of single attributes keeps concurrent changes of other keys', async () => {
    const held = await scene({}, [{ attributes: { a: 1, b: 3 } }, { attributes: { a: 1, b: 4 }, lastName: 'x' }]);
    const user = await updateUser(parse(held, { attributes: { c: 5 } }, ['attributes.a', 'attributes.c']), held);
    expect(user.attributes).toEqual({ b: 4, c: 5 });
    expect(user.lastName).toBe('x');
    expect(held.writes.map((write) => write.version)).toEqual([1, 2, 3]);
  });

  it('with an etag is tried once, and not at all if the etag is already stale', async () => {
    const raced = await scene({}, [{ lastName: 'x' }]);
    const request = (held: Scene) => parse(held, { attributes: { c: 5 }, etag: etagOf(held.user) }, ['attributes.c']);
    expect((await faultOf(updateUser(request(raced), raced))).reason).toBe('ETAG_MISMATCH');
    expect(raced.writes).toHaveLength(1);
    expect(raced.reads).toHaveLength(1);

    const stale = await scene();
    await stale.write({ id: stale.user.id, version: undefined, fields: { lastName: 'x' } });
    expect((await faultOf(updateUser(request(stale), stale))).reason).toBe('ETAG_MISMATCH');
    expect(stale.writes).toHaveLength(1);
  });

  it('of a user that is deleted between its read and its write is USER_NOT_FOUND', async () => {
    const held = await scene();
    const write = async (update: UserUpdate) => {
      await deleteUsers(database, [{ id: update.id, version: undefined }]);
      return held.write(update);
    };
    const request = parse(held, { attributes: { c: 5 } }, ['attributes.c']);
    expect((await faultOf(updateUser(request, { ...held, write }))).reason).toBe('USER_NOT_FOUND');
  });

  it.each([userNotFound(), emailTaken('user.email'), new Fault('DATABASE_UNAVAILABLE', 'x')])(
    'that fails with $reason is not tried again',
    async (fault) => {
      const held = await scene();
      let writes = 0;
      const write = async () => {
        writes++;
        throw fault;
      };
      const request = parse(held, { attributes: { c: 5 } }, ['attributes.c']);
      expect(await faultOf(updateUser(request, { ...held, write }))).toBe(fault);
      expect(writes).toBe(1);
    },
  );

  it('ends when it is cancelled, however often it has lost', async () => {
    const held = await scene();
    const gone = new Fault('CALL_CANCELLED', 'gone');
    let turns = 0;
    const write = async () => {
      if (++turns === 20) throw gone;
      throw etagMismatch();
    };
    const request = parse(held, { attributes: { c: 5 } }, ['attributes.c']);
    expect(await faultOf(updateUser(request, { ...held, write }))).toBe(gone);
  });

  it('that would make all attributes together too large writes nothing', async () => {
    const large: JsonObject = { a: 'a'.repeat(10_000) };
    const held = await scene({ attributes: large });
    const request = parse(held, { attributes: { b: 'b'.repeat(10_000) } }, ['attributes.b']);
    const fault = await faultOf(updateUser(request, held));
    expect(fault).toMatchObject({ reason: 'INVALID_FIELD', violations: [{ field: 'user.attributes' }] });
    expect(held.writes).toEqual([]);
  });
});

describe('an email of the first contract', () => {
  it('may stay unchanged while other fields change', async () => {
    const held = await scene();
    const user = await updateUser(parse(held, { email: 'this', lastName: 'King' }, ['email', 'last_name']), held);
    expect(user).toMatchObject({ email: 'this', lastName: 'King', version: 2 });
  });

  it('may stay with "*" and with an empty mask', async () => {
    for (const mask of [['*'], []]) {
      const held = await scene();
      const user = await updateUser(parse(held, { firstName: 'Ada', email: 'this' }, mask), held);
      expect(user).toMatchObject({ firstName: 'Ada', email: 'this' });
    }
  });

  it('may become a valid one', async () => {
    const held = await scene();
    const user = await updateUser(parse(held, { email: 'ada@example.com' }, ['email']), held);
    expect(user.email).toBe('ada@example.com');
  });

  it.each(['that', 'This', 'this '])('may not become %j', async (email) => {
    const held = await scene();
    const fault = await faultOf(updateUser(parse(held, { email }, ['email']), held));
    expect(fault).toMatchObject({ reason: 'INVALID_FIELD', violations: [{ field: 'user.email' }] });
    expect(held.writes).toEqual([]);
  });

  it('that is rejected is reported together with all other violations', async () => {
    const held = await scene();
    const mask = ['email', 'first_name', 'profile_image_url', 'id'];
    const request = parse(held, { email: 'that', firstName: '', profileImageUrl: 'x' }, mask);
    const fault = await faultOf(updateUser(request, held));
    expect(fault.violations.map((violation) => violation.field).sort()).toEqual([
      'update_mask.paths[3]',
      'user.email',
      'user.first_name',
      'user.profile_image_url',
    ]);
  });

  it('that may stay is not reported as a violation', async () => {
    const held = await scene();
    const request = parse(held, { email: 'this', firstName: '' }, ['email', 'first_name']);
    const fault = await faultOf(updateUser(request, held));
    expect(fault.violations.map((violation) => violation.field)).toEqual(['user.first_name']);
  });

  it('is checked again if it was changed meanwhile', async () => {
    const held = await scene({}, [{ email: 'ada@example.com' }]);
    const fault = await faultOf(
      updateUser(parse(held, { email: 'this', lastName: 'x' }, ['email', 'last_name']), held),
    );
    expect(fault).toMatchObject({ reason: 'INVALID_FIELD', violations: [{ field: 'user.email' }] });
  });
});
