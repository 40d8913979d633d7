/** Compares the encoders of users with the generated decoders: every field, and every value of a field. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserChange_Type, User as UserMessage } from '../../generated/users/v1/user.js';
import {
  BatchGetUsersResponse,
  ExportUsersResponse,
  GetUserResponse,
  ListUsersResponse,
  ResolveUsersResponse,
  WatchUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { type TextName, textFields } from '../../src/fields.js';
import type { AnyUser } from '../../src/model/stored-user.js';
import { displayName, etagOf, type JsonObject, type JsonValue, type User } from '../../src/model/user.js';
import { encodeLargeUsers, userResponses } from '../../src/rpc/user-codec.js';
import { storedUser } from '../support/stored-users.js';

const text = fc.string({ unit: 'grapheme', maxLength: 60 });
const longText = fc.string({ unit: 'binary', minLength: 100, maxLength: 400 }).map((value) => value.toWellFormed());
// Milliseconds before and after 1970, and years with five digits.
const time = fc.date({ noInvalidDate: true, min: new Date(-1e13), max: new Date(1e15) });
const { value: json } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium' },
    fc.constant(null),
    fc.boolean(),
    // JSON has no -0.
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    text,
    longText,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(text, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
}));
const attributes = fc.dictionary(text, json, { maxKeys: 5, noNullPrototype: true });

function textsOf<T>(textOf: (name: TextName) => T): Record<TextName, T> {
  return Object.fromEntries(textFields.map(({ name }) => [name, textOf(name)])) as Record<TextName, T>;
}

const user: fc.Arbitrary<User> = fc.record({
  id: fc.uuid({ version: 7 }),
  ...textsOf(() => fc.oneof(text, longText, fc.constant(''))),
  attributes,
  createTime: time,
  updateTime: time,
  version: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

/** Both forms of a user, which must have the same bytes. */
const formsOf = (of: User): AnyUser[] => [of, storedUser(of)];

/** A user as ts-proto decodes it. Its Struct has no -0 and no duplicate keys. */
function messageOf(of: User): UserMessage {
  return {
    id: of.id,
    ...textsOf((name) => of[name]),
    attributes: Object.keys(of.attributes).length === 0 ? undefined : of.attributes,
    displayName: displayName(of),
    createTime: of.createTime,
    updateTime: of.updateTime,
    etag: etagOf(of),
  };
}

const someUser: User = {
  id: '01890000-0000-7000-8000-000000000000',
  ...textsOf((name) => `some ${name}`),
  attributes: { level: 3 },
  createTime: new Date(1_700_000_000_123),
  updateTime: new Date(1_700_000_000_456),
  version: 36,
};

const storedSome = storedUser(someUser);

describe('a user', () => {
  it('is decoded unchanged with any values', () => {
    fc.assert(
      fc.property(user, (of) => {
        for (const user of formsOf(of)) {
          expect(GetUserResponse.decode(userResponses.getUser({ user }))).toEqual({ user: messageOf(of) });
        }
      }),
      { numRuns: 500 },
    );
  });

  it('has every field of the contract, as the generated code writes it', () => {
    for (const user of formsOf(someUser)) {
      const bytes = userResponses.getUser({ user });
      expect(Buffer.from(bytes)).toEqual(Buffer.from(GetUserResponse.encode({ user: messageOf(someUser) }).finish()));
      // This fails if the contract gains a field.
      const read = GetUserResponse.decode(bytes).user ?? {};
      expect(Object.entries(read).filter(([, value]) => value === undefined || value === '')).toEqual([]);
      expect(Object.keys(read).sort()).toEqual(Object.keys(UserMessage.create()).sort());
    }
  });

  it('has the same bytes in both forms, whatever its values are', () => {
    fc.assert(
      fc.property(user, (of) => {
        const [decoded, stored] = formsOf(of).map((user) => Buffer.from(userResponses.getUser({ user })));
        expect(stored).toEqual(decoded);
      }),
      { numRuns: 500 },
    );
  });

  it.each([126, 127, 128, 129, 16_382, 16_383, 16_384, 16_385, 300_000])('may have a name of %i bytes', (length) => {
    for (const of of [
      { ...someUser, firstName: 'x'.repeat(length) },
      { ...someUser, attributes: { name: 'x'.repeat(length) } },
      { ...someUser, attributes: { ['x'.repeat(length)]: [{}] } },
    ]) {
      for (const user of formsOf(of)) {
        expect(GetUserResponse.decode(userResponses.getUser({ user })).user).toEqual(messageOf(of));
      }
    }
  });

  it('may have attributes with all allowed levels', () => {
    let attributes: JsonObject = { leaf: null };
    for (let level = 1; level < 32; level++) attributes = { level: attributes };
    const of = { ...someUser, attributes };
    for (const user of formsOf(of)) {
      expect(GetUserResponse.decode(userResponses.getUser({ user })).user).toEqual(messageOf(of));
    }
  });

  it.each(['[1, 2]', '[{"a": 1}]', '"text {"', '12345', 'null'])(
    'has no attributes if the column contains %s',
    (json) => {
      const stored = storedUser({ ...someUser, attributes: JSON.parse(json) });
      const expected = messageOf({ ...someUser, attributes: {} });
      expect(GetUserResponse.decode(userResponses.getUser({ user: stored })).user).toEqual(expected);
    },
  );

  it('is complete after one that was too large for the reused buffer', () => {
    const large = { ...someUser, firstName: 'é'.repeat(1_000_000) };
    for (const form of [0, 1]) {
      const of = (user: User) =>
        GetUserResponse.decode(userResponses.getUser({ user: formsOf(user)[form] ?? user })).user;
      expect(of(large)?.firstName).toBe(large.firstName);
      expect(of(someUser)).toEqual(messageOf(someUser));
    }
  });
});

describe('many users', () => {
  it('are encoded in steps, so that other work is done in between', async () => {
    const large = storedUser({ ...someUser, attributes: { list: Array.from({ length: 8000 }, () => null) } });
    let isOver = false;
    let otherWork = 0;
    const work = () => {
      otherWork++;
      if (!isOver) setImmediate(work);
    };
    setImmediate(work);
    const startMs = performance.now();
    while (performance.now() - startMs < 2000 && otherWork < 2) {
      await encodeLargeUsers(
        1,
        Array.from({ length: 120 }, () => large),
      );
    }
    isOver = true;
    expect(otherWork).toBeGreaterThanOrEqual(2);
  });
});

describe('a response', () => {
  it.each([1, 1000])('of a lookup has %i users, however they are encoded', async (count) => {
    const users = await encodeLargeUsers(
      1,
      Array.from({ length: count }, () => storedSome),
    );
    expect(users instanceof Uint8Array).toBe(count === 1000);
    const response = BatchGetUsersResponse.decode(userResponses.batchGetUsers({ users, missingIds: ['a'] }));
    expect(response).toEqual({ users: Array.from({ length: count }, () => messageOf(someUser)), missingIds: ['a'] });
  });

  it('of a list has a token and a total if they are set, even a total of 0', () => {
    const page = { users: [storedSome, storedSome], nextPageToken: 'next', totalSize: 5_000_000_000 };
    expect(ListUsersResponse.decode(userResponses.listUsers(page))).toEqual({
      ...page,
      users: [messageOf(someUser), messageOf(someUser)],
    });
    const empty = { users: [], nextPageToken: '', totalSize: 0 };
    expect(ListUsersResponse.decode(userResponses.listUsers(empty))).toEqual(empty);
    const last = { users: [], nextPageToken: '', totalSize: undefined };
    expect(ListUsersResponse.decode(userResponses.listUsers(last))).toEqual(last);
  });

  it('omits missing users and lists them', async () => {
    const found = [undefined, storedSome, undefined];
    const missingIds = ['a', 'b'];
    expect(
      BatchGetUsersResponse.decode(
        userResponses.batchGetUsers({ users: await encodeLargeUsers(1, found), missingIds }),
      ),
    ).toEqual({
      users: [messageOf(someUser)],
      missingIds,
    });
    const missingEmails = ['c@example.com'];
    const resolved = { tag: '7', users: await encodeLargeUsers(2, found), missingIds, missingEmails };
    expect(ResolveUsersResponse.decode(userResponses.resolveUsers(resolved))).toEqual({
      ...resolved,
      users: [messageOf(someUser)],
    });
  });

  it('of an export has its tokens', () => {
    const message = { users: [storedSome], resumeToken: 'here', watchToken: 'there' };
    expect(ExportUsersResponse.decode(userResponses.exportUsers(message))).toEqual({
      ...message,
      users: [messageOf(someUser)],
    });
  });

  it('of a watch has each type of change, is encoded once, and survives the next encoding', () => {
    const { id: userId, updateTime: changeTime } = someUser;
    const author = { actor: 'key:billing', requestId: 'request-1' };
    const message = {
      changes: (['existing', 'created', 'updated', 'deleted'] as const).map((type) => ({
        type,
        userId,
        user: type === 'deleted' ? undefined : someUser,
        changeTime,
        ...(type === 'existing' ? {} : author),
      })),
      resumeToken: 'here',
      caughtUp: true,
    };
    const bytes = userResponses.watchUsers(message);
    userResponses.getUser({ user: someUser });
    expect(userResponses.watchUsers(message)).toBe(bytes);
    const types = [
      UserChange_Type.TYPE_EXISTING,
      UserChange_Type.TYPE_CREATED,
      UserChange_Type.TYPE_UPDATED,
      UserChange_Type.TYPE_DELETED,
    ];
    expect(WatchUsersResponse.decode(bytes)).toEqual({
      ...message,
      changes: types.map((type) => ({
        type,
        user: type === UserChange_Type.TYPE_DELETED ? UserMessage.fromPartial({ id: userId }) : messageOf(someUser),
        changeTime,
        ...(type === UserChange_Type.TYPE_EXISTING ? { actor: '', requestId: '' } : author),
      })),
    });
  });
});
