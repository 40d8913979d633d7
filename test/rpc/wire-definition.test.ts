import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchCreateUsersRequest, CreateUserRequest } from '../../generated/users/v1/user_service.js';
import { Fault } from '../../src/model/fault.js';
import type { JsonValue } from '../../src/model/user.js';
import { ada, detailOf, failureOf, startTestServer, typedClient } from './harness.js';

const path = '/users.v1.UserService/CreateUser';
const user = { firstName: 'Ada', email: 'ada@example.com' };

/** A struct with that many levels, written from the inside out: a recursive encoder would run out of stack. */
function nestedStruct(levels: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const wrap = (field: number) => {
    chunks.push(
      new BinaryWriter()
        .uint32((field << 3) | 2)
        .uint32(length)
        .finish(),
    );
    length += chunks.at(-1)?.length ?? 0;
  };
  const key = new BinaryWriter().uint32(10).string('a').finish();
  for (let level = 1; level < levels; level++) {
    wrap(5);
    wrap(2);
    chunks.push(key);
    length += key.length;
    wrap(1);
  }
  return Buffer.concat(chunks.reverse());
}

function batchWith(attributes: Uint8Array): Uint8Array {
  const first = BatchCreateUsersRequest.encode(BatchCreateUsersRequest.fromPartial({ users: [user] })).finish();
  const writer = new BinaryWriter().uint32(10).fork();
  writer.uint32(18).string('Bob').uint32(34).string('bob@example.com').uint32(50).bytes(attributes).join();
  return Buffer.concat([first, writer.finish()]);
}

describe('attributes that nest', () => {
  const batchCreate = async (levels: number) => {
    const server = await startTestServer({ batchCreateUsers: async () => [ada] });
    return server.call('/users.v1.UserService/BatchCreateUsers', batchWith(nestedStruct(levels)));
  };

  it('are taken with 32 levels', async () => {
    expect((await batchCreate(32)).code).toBe('OK');
  });

  it.each([33, 300])('are refused by their name with %i levels', async (levels) => {
    const { code, details } = await batchCreate(levels);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details).toBe('users[1].attributes: must have at most 32 levels');
  });

  it.each([5000, 100_000])('are refused with %i levels', async (levels) => {
    const { code, details } = await batchCreate(levels);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details).toContain('not nest too deeply');
  });
});

describe('a request that cannot be decoded', () => {
  it.each([
    ['garbage', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    [
      'a message that is cut off',
      CreateUserRequest.encode(CreateUserRequest.fromPartial({ user })).finish().subarray(0, -3),
    ],
    ['bytes that are no UTF-8', Buffer.concat([Buffer.from([10, 4, 18, 2]), Buffer.from([0xc3, 0x28])])],
  ])('is INVALID_ARGUMENT and not INTERNAL: %s', async (_, bytes) => {
    const server = await startTestServer();
    const { code, trailer } = await server.call(path, bytes);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('INVALID_FIELD');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('google.rpc.BadRequest');
    expect(server.callLines()[0]).toMatchObject({ status: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
  });

  it('is a status in the first contract as well, and no 400', async () => {
    const server = await startTestServer();
    const { code } = await server.call('/profileservice.ProfileService/CreateProfile', Buffer.from([0xff]));
    expect(code).toBe('INVALID_ARGUMENT');
  });

  it('leaves text outside ASCII as it was, with a byte order mark in front of it', async () => {
    let email = '';
    const server = await startTestServer({
      getUserByEmail: async (sent) => {
        email = sent;
        throw new Fault('USER_NOT_FOUND', 'nobody');
      },
    });
    const sent = '\ufeffädä@exämple.com 🎈';
    const error = await failureOf(typedClient(server.target).getUserByEmail({ email: sent }));
    expect(detailOf(error, 'ErrorInfo')).toMatchObject({ reason: 'USER_NOT_FOUND' });
    expect(email).toBe(sent);
  });
});

describe('an attribute named __proto__, in a process that has no such accessor', () => {
  const accessor = Object.getOwnPropertyDescriptor(Object.prototype, '__proto__') ?? {};
  beforeAll(() => {
    Reflect.deleteProperty(Object.prototype, '__proto__');
  });
  afterAll(() => {
    Object.defineProperty(Object.prototype, '__proto__', accessor);
  });

  it('goes both ways like any other', async () => {
    const attributes: Record<string, JsonValue> = JSON.parse('{"__proto__":{"a":1},"b":{"__proto__":"c"}}');
    let stored = {};
    const server = await startTestServer({
      createUser: async ({ fields }) => {
        stored = fields.attributes;
        return { ...ada, attributes: fields.attributes };
      },
    });
    const answer = await typedClient(server.target).createUser({ user: { ...user, attributes } });
    expect(JSON.stringify(stored)).toBe('{"__proto__":{"a":1},"b":{"__proto__":"c"}}');
    expect(JSON.stringify(answer.user?.attributes)).toBe(JSON.stringify(stored));
  });
});
