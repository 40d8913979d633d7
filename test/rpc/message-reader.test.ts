/** Compares how requests are read from the wire with the generated code and with protobuf's rules. */
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CreateProfileRequest } from '../../generated/profileservice/profile.js';
import { User } from '../../generated/users/v1/user.js';
import * as requests from '../../generated/users/v1/user_service.js';
import { Fault } from '../../src/model/fault.js';
import { requestElementsMax } from '../../src/model/method-limits.js';
import { readMessage } from '../../src/rpc/message-reader.js';
import { profileRequests, userRequests } from '../../src/rpc/request-shapes.js';
import { requestReader } from '../../src/rpc/wire-definition.js';

type Method = keyof typeof userRequests;

function read<M extends Method>(method: M, bytes: Uint8Array): ReturnType<(typeof userRequests)[M]['create']> {
  const { name } = requests.UserServiceDefinition.methods[method];
  const shape = userRequests[method];
  return readMessage<unknown>(shape, bytes, requestElementsMax[`/users.v1.UserService/${name}`] ?? {}) as ReturnType<
    (typeof userRequests)[M]['create']
  >;
}

function refusalOf(method: Method, bytes: Uint8Array): Fault['violations'][number] | undefined {
  try {
    read(method, bytes);
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.violations[0];
    throw error;
  }
}

const malformed = { field: '', description: expect.stringContaining('cannot be decoded') };

/** A length-delimited field. */
function field(number: number, ...parts: (Uint8Array | string)[]): Buffer {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([
    new BinaryWriter()
      .uint32((number << 3) | 2)
      .uint32(bytes.length)
      .finish(),
    bytes,
  ]);
}

function varint(number: number, value: number | bigint): Uint8Array {
  return new BinaryWriter()
    .uint32(number << 3)
    .int64(value)
    .finish();
}

/** A key of attributes with the bytes of its google.protobuf.Value. */
const entry = (key: string, ...values: Uint8Array[]): Buffer =>
  field(1, field(1, key), ...values.map((value) => field(2, value)));
const textValue = (value: string): Buffer => field(3, value);

const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url))),
);

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const { value: json } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    // Not -0, which is read as 0.
    fc.double({ noNaN: true }).map((number) => number + 0),
    text,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(text, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));
const user = fc.record({
  id: text,
  firstName: text,
  lastName: text,
  email: text,
  profileImageUrl: text,
  attributes: fc.option(fc.dictionary(text, json, { maxKeys: 4, noNullPrototype: true }), { nil: undefined }),
  displayName: text,
  createTime: fc.option(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(1e13) }), { nil: undefined }),
  etag: text,
});
const texts = fc.array(text, { maxLength: 5 });
const users = fc.array(user, { maxLength: 3 });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const options = fc.record({
  onConflict: fc.nat(5),
  keepGoing: fc.boolean(),
  validateOnly: fc.boolean(),
  mergeAttributes: fc.boolean(),
});

const messages: Record<Method, fc.Arbitrary<Record<string, unknown>>> = {
  createUser: fc.record({ user: optional(user), requestId: text }),
  getUser: fc.record({ id: text }),
  getUserByEmail: fc.record({ email: text }),
  updateUser: fc.record({ user: optional(user), updateMask: optional(texts) }),
  deleteUser: fc.record({ id: text, etag: text, allowMissing: fc.boolean() }),
  listUsers: fc.record({
    pageSize: int32,
    pageToken: text,
    filter: text,
    query: text,
    orderBy: text,
    includeTotalSize: fc.boolean(),
  }),
  batchGetUsers: fc.record({ ids: texts }),
  batchCreateUsers: fc.record({ users, requestId: text }),
  importUsers: fc.record({ options: optional(options), users, totalRows: optional(int64) }),
  exportUsers: fc.record({ filter: text, resumeToken: text }),
  watchUsers: fc.record({
    resumeToken: text,
    includeExisting: fc.boolean(),
    heartbeat: optional(fc.record({ seconds: int64, nanos: int32 })),
  }),
  resolveUsers: fc.record({ tag: text, ids: texts, emails: texts }),
  listUserChanges: fc.record({ id: text, pageSize: int32, pageToken: text }),
  getCaller: fc.record({}),
};
const methods = Object.keys(messages) as Method[];

interface Type {
  fromPartial(message: Record<string, unknown>): object;
  encode(message: object): BinaryWriter;
}

function typeOf(method: Method): Type {
  return requests.UserServiceDefinition.methods[method].requestType as Type;
}

function encode(method: Method, message: Record<string, unknown>): Uint8Array {
  return typeOf(method).encode(typeOf(method).fromPartial(message)).finish();
}

const outputOnly = ['displayName', 'createTime', 'updateTime'];

/** A user without the fields that a request cannot set. */
function writable(of: object, withId: boolean): object {
  const hidden = withId ? outputOnly : [...outputOnly, 'id', 'etag'];
  return Object.fromEntries(Object.entries(of).filter(([name]) => !hidden.includes(name)));
}

/** Converts a message of the generated code to the reader's form. */
function expected(method: Method, message: Record<string, unknown>): object {
  const made: Record<string, unknown> = { ...typeOf(method).fromPartial(message) };
  if (typeof made.user === 'object') made.user = writable(made.user ?? {}, method === 'updateUser');
  if (Array.isArray(made.users)) made.users = made.users.map((one: object) => writable(one, false));
  if (method === 'updateUser') made.updateMask ??= [];
  return made;
}

describe('a request', () => {
  it.each(methods)('of %s is read as the generated code writes it', (method) => {
    fc.assert(
      fc.property(messages[method], (message) => {
        expect(read(method, encode(method, message))).toEqual(expected(method, message));
      }),
      { numRuns: 200 },
    );
  });

  it('has every writable field of the contract', () => {
    for (const method of methods) {
      const shape: object = userRequests[method].create();
      expect(Object.keys(shape).sort()).toEqual(Object.keys(typeOf(method).fromPartial({})).sort());
    }
    const asked = read('updateUser', field(1));
    expect(Object.keys({ ...asked.user }).sort()).toEqual(Object.keys(writable(User.create(), true)).sort());
    expect(Object.keys(profileRequests.createProfile.create())).toEqual(Object.keys(CreateProfileRequest.create()));
  });

  it.each(methods)('of %s in two parts is merged as protobuf requires', (method) => {
    const { name } = requests.UserServiceDefinition.methods[method];
    const type = registry.getMessage(`users.v1.${name}Request`);
    if (type === undefined) throw new Error(`There is no request of ${name}.`);
    fc.assert(
      fc.property(messages[method], messages[method], (first, second) => {
        const parts = Buffer.concat([encode(method, first), encode(method, second)]);
        const merged = toBinary(type, fromBinary(type, parts));
        expect(read(method, parts)).toEqual(read(method, merged));
      }),
      { numRuns: 200 },
    );
  });
});

describe('a singular message that occurs twice', () => {
  it('is merged: a user, options and a duration', () => {
    const twice = Buffer.concat([field(1, field(2, 'Ada')), field(1, field(4, 'ada@example.com'))]);
    expect(read('createUser', twice).user).toMatchObject({ firstName: 'Ada', email: 'ada@example.com' });
    expect(read('updateUser', twice).user).toMatchObject({ firstName: 'Ada', email: 'ada@example.com' });
    const options = Buffer.concat([field(1, varint(1, 2)), field(1, varint(2, 1))]);
    expect(read('importUsers', options).options).toEqual({
      onConflict: 2,
      keepGoing: true,
      validateOnly: false,
      mergeAttributes: false,
    });
    const heartbeat = Buffer.concat([field(3, varint(1, 5)), field(3, varint(2, 7))]);
    expect(read('watchUsers', heartbeat).heartbeat).toEqual({ seconds: 5, nanos: 7 });
  });

  it('is merged: the paths of a mask', () => {
    const twice = Buffer.concat([field(2, field(1, 'email')), field(2, field(1, 'first_name'))]);
    expect(read('updateUser', twice).updateMask).toEqual(['email', 'first_name']);
  });

  it('is merged: attributes, where the later value of a key counts', () => {
    const attributes = Buffer.concat([
      field(6, entry('a', textValue('1')), entry('b', textValue('1'))),
      field(6, entry('b', textValue('2')), entry('c', textValue('2'))),
    ]);
    expect(read('createUser', field(1, attributes)).user?.attributes).toEqual({ a: '1', b: '2', c: '2' });
  });

  it('is merged: the values of one entry, if they have the same kind', () => {
    const object = (key: string) => field(5, entry(key, textValue('x')));
    const list = (value: string) => field(6, field(1, textValue(value)));
    const attributes = Buffer.concat([
      entry('objects', object('a'), object('b')),
      entry('lists', list('a'), list('b')),
      entry('both', object('a'), list('b')),
      entry('within', Buffer.concat([object('a'), object('b')])),
    ]);
    expect(read('createUser', field(1, field(6, attributes))).user?.attributes).toEqual({
      objects: { a: 'x', b: 'x' },
      lists: ['a', 'b'],
      both: ['b'],
      within: { a: 'x', b: 'x' },
    });
  });
});

describe('bytes that are not a message', () => {
  it.each([
    ['a field with the number 0', Buffer.from([0x00, 0x01])],
    ['a field with the number 0 and a length', Buffer.from([0x02, 0x00])],
    ['the end of a group that has not begun', Buffer.from([(9 << 3) | 4])],
    ['the end of another group', Buffer.from([(9 << 3) | 3, (8 << 3) | 4])],
    ['a group without an end', Buffer.from([(9 << 3) | 3])],
    ['a wire type that does not exist', Buffer.from([(9 << 3) | 6, 0])],
    ['a length beyond the end', Buffer.from([10, 80, 97, 98])],
    [
      'a length beyond the end of the message around it',
      field(1, Buffer.from([18, 5, 97]), field(2, 'abcdef')).subarray(0, 9),
    ],
    ['a number of eleven bytes', Buffer.from([7 << 3, ...Array(10).fill(0xff), 1])],
    ['a number that is truncated', Buffer.from([7 << 3, 0xff])],
    ['eight bytes that are truncated', Buffer.from([(7 << 3) | 1, 0, 0])],
    ['a tag of more than 32 bits', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x7f, 0])],
    ['endlessly nested groups', Buffer.alloc(100_000, (9 << 3) | 3)],
  ])('are refused: %s', (_, bytes) => {
    expect(refusalOf('createUser', bytes)).toEqual(malformed);
    expect(refusalOf('createUser', field(1, bytes))).toEqual(malformed);
    expect(refusalOf('createUser', field(1, field(6, bytes)))).toEqual(malformed);
    expect(refusalOf('createUser', field(1, field(6, field(1, bytes))))).toEqual(malformed);
    expect(refusalOf('createUser', field(1, field(6, entry('a', bytes))))).toEqual(malformed);
  });

  it.each(methods)('are refused by %s only with a Fault', (method) => {
    const { name } = requests.UserServiceDefinition.methods[method];
    const readRequest = requestReader<unknown>(`/users.v1.UserService/${name}`, userRequests[method]);
    const real = messages[method].map((message) => encode(method, message));
    const changed = fc
      .tuple(real, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
      .map(([bytes, changes]) => {
        const copy = Buffer.from(bytes);
        for (const [index, byte] of changes) if (copy.length > 0) copy[index % copy.length] = byte;
        return copy;
      });
    fc.assert(
      fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 60 })), (bytes) => {
        try {
          readRequest(bytes);
        } catch (error) {
          expect(['INVALID_FIELD', 'MESSAGE_TOO_LARGE']).toContain(error instanceof Fault ? error.reason : error);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('do not include unknown fields of a newer contract, which are skipped', () => {
    const unknown = Buffer.concat([
      varint(15, 5),
      field(15, 'text'),
      Buffer.from([(7 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8, (7 << 3) | 5, 1, 2, 3, 4]),
      Buffer.from([(9 << 3) | 3, (3 << 3) | 3, (3 << 3) | 4, 8, 1, (9 << 3) | 4]),
      // first_name with the wire type of a number.
      varint(2, 5),
    ]);
    expect(read('createUser', Buffer.concat([field(1, unknown, field(2, 'Ada'))])).user?.firstName).toBe('Ada');
  });
});

describe('a number', () => {
  it('of 64 bits is read, even if it is inexact', () => {
    const secondsOf = (value: bigint) => read('watchUsers', field(3, varint(1, value))).heartbeat?.seconds;
    expect(secondsOf(2n ** 62n)).toBe(2 ** 62);
    expect(secondsOf(-(2n ** 62n))).toBe(-(2 ** 62));
    expect(secondsOf(-1n)).toBe(-1);
  });

  it('of 32 bits has the value of its lowest 32 bits', () => {
    expect(read('listUsers', varint(1, -1n)).pageSize).toBe(-1);
    expect(read('listUsers', varint(1, 2n ** 32n + 1n)).pageSize).toBe(1);
    expect(read('listUsers', varint(6, 2n ** 40n)).includeTotalSize).toBe(true);
  });

  it('in attributes is 0 for -0, which jsonb does not have', () => {
    const { user } = read('createUser', encode('createUser', { user: { attributes: { zeros: [-0, 0] } } }));
    expect(user?.attributes).toStrictEqual({ zeros: [0, 0] });
  });
});

describe('output-only fields', () => {
  it.each([
    ['a time after the latest one', field(8, varint(1, 2n ** 53n))],
    ['a time before the earliest one', field(9, varint(1, -(2n ** 62n)))],
    ['a malformed time', field(8, Buffer.from([0xff]))],
    ['a display name that is not UTF-8', field(7, Buffer.from([0xc3, 0x28]))],
  ])('are ignored with any content: %s', (_, bytes) => {
    const inUser = [field(2, 'Ada'), bytes];
    expect(read('createUser', field(1, ...inUser)).user?.firstName).toBe('Ada');
    expect(read('updateUser', field(1, ...inUser)).user?.firstName).toBe('Ada');
    expect(read('batchCreateUsers', field(1, ...inUser)).users[0]?.firstName).toBe('Ada');
    expect(read('importUsers', field(2, ...inUser)).users[0]?.firstName).toBe('Ada');
  });

  it('include the id and the etag in a request to create a user', () => {
    const notText = Buffer.from([0xc3, 0x28]);
    expect(read('createUser', field(1, field(1, notText), field(10, notText))).user).toMatchObject({ firstName: '' });
    expect(() => read('updateUser', field(1, field(1, notText)))).toThrow(TypeError);
  });
});

describe('a request with too many elements', () => {
  /** Empty elements. */
  const elements = (number: number, count: number) =>
    Buffer.from(Array.from({ length: count }, () => [(number << 3) | 2, 0]).flat());
  const values = (count: number) => field(6, entry('k', field(6, elements(1, count))));
  // If it is read, the refusal is another one.
  const notRead = Buffer.from([0xff]);

  it.each<[Method, string, (count: number) => Uint8Array, number, string, string]>([
    ['batchGetUsers', 'ids', (count) => elements(1, count), 1000, 'ids', 'must have at most 1000 ids'],
    [
      'resolveUsers',
      'ids',
      (count) => elements(2, count),
      1000,
      'ids',
      'must have at most 1000 ids and emails together',
    ],
    [
      'resolveUsers',
      'emails',
      (count) => elements(3, count),
      1000,
      'ids',
      'must have at most 1000 ids and emails together',
    ],
    ['batchCreateUsers', 'users', (count) => elements(1, count), 1000, 'users', 'must have at most 1000 users'],
    ['importUsers', 'users', (count) => elements(2, count), 5000, 'users', 'must have at most 5000 users'],
    [
      'updateUser',
      'paths',
      (count) => field(2, elements(1, count)),
      5000,
      'update_mask',
      'must have at most 5000 paths',
    ],
    // The list itself is one value.
    [
      'createUser',
      'values',
      (count) => field(1, values(count - 1)),
      8192,
      'user.attributes',
      'must have at most 8192 values',
    ],
    [
      'updateUser',
      'values',
      (count) => field(1, values(count - 1)),
      8192,
      'user.attributes',
      'must have at most 8192 values',
    ],
    [
      'batchCreateUsers',
      'values',
      (count) => Buffer.concat([field(1), field(1, values(count - 1))]),
      50_000,
      'users[1].attributes',
      'must have at most 50000 values in the attributes of all users together',
    ],
  ])('is refused by %s at the first %s beyond its limit', (method, _, bytesOf, max, path, description) => {
    expect(refusalOf(method, Buffer.concat([bytesOf(max), notRead]))).toEqual(malformed);
    expect(refusalOf(method, Buffer.concat([bytesOf(max + 1), notRead]))).toEqual({ field: path, description });
  });

  it('is refused for repetitions of a singular field, and for unknown fields', () => {
    const tooMany = { field: '', description: expect.stringContaining('too many repeated or unknown fields') };
    for (const bytesOf of [
      (count: number) => elements(2, count),
      (count: number) => elements(15, count),
      (count: number) => field(1, elements(2, count - 1)),
      (count: number) => elements(1, count),
    ]) {
      expect(refusalOf('createUser', Buffer.concat([bytesOf(999), notRead]))).toEqual(malformed);
      expect(refusalOf('createUser', Buffer.concat([bytesOf(1000), notRead]))).toEqual(tooMany);
    }
    const inValues = (count: number) => field(1, field(6, entry('k', field(6, field(1, elements(4, count)), notRead))));
    expect(refusalOf('createUser', inValues(1010))).toEqual(tooMany);
  });

  it('may have as many values as 16 KiB of attributes can hold', () => {
    const list = Array.from({ length: 8000 }, () => 1);
    expect(read('createUser', encode('createUser', { user: { attributes: { list } } })).user?.attributes).toEqual({
      list,
    });
  });
});

describe('a value without a kind', () => {
  it('is undefined, so that the parsers refuse it', () => {
    const list = field(6, field(1), field(1, textValue('x')));
    const attributes = field(6, entry('a', Buffer.alloc(0)), entry('b'), entry('list', list));
    expect(read('createUser', field(1, attributes)).user?.attributes).toStrictEqual({
      a: undefined,
      b: undefined,
      list: [undefined, 'x'],
    });
  });
});
