import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import zlib from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BatchCreateUsersRequest, CreateUserRequest } from '../../generated/users/v1/user_service.js';
import { Fault } from '../../src/model/fault.js';
import { requestBytesMax } from '../../src/model/method-limits.js';
import type { JsonValue } from '../../src/model/user.js';
import { profileServiceDefinition } from '../../src/rpc/profile-service.js';
import { userServiceDefinition } from '../../src/rpc/user-service.js';
import { ada, detailOf, failureOf, startTestServer, storedAda, typedClient } from './harness.js';

const path = '/users.v1.UserService/CreateUser';
const user = { firstName: 'Ada', email: 'ada@example.com' };

/** A struct with this many levels, built from the inside out, because a recursive encoder would exhaust the stack. */
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

describe('nested attributes', () => {
  const batchCreate = async (levels: number) => {
    const server = await startTestServer({ batchCreateUsers: async () => [ada] });
    return server.call('/users.v1.UserService/BatchCreateUsers', batchWith(nestedStruct(levels)));
  };

  it('are accepted with 32 levels', async () => {
    expect((await batchCreate(32)).code).toBe('OK');
  });

  it.each([33, 300, 5000, 100_000])('are refused with the name of the field for %i levels', async (levels) => {
    const { code, details } = await batchCreate(levels);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details).toBe('users[1].attributes: must have at most 32 levels of nesting');
  });
});

describe('a request that cannot be decoded', () => {
  it.each([
    ['garbage', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['a truncated message', CreateUserRequest.encode(CreateUserRequest.fromPartial({ user })).finish().subarray(0, -3)],
    ['invalid UTF-8', Buffer.concat([Buffer.from([10, 4, 18, 2]), Buffer.from([0xc3, 0x28])])],
  ])('is INVALID_ARGUMENT and not INTERNAL: %s', async (_, bytes) => {
    const server = await startTestServer();
    const { code, trailer } = await server.call(path, bytes);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('INVALID_FIELD');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('google.rpc.BadRequest');
    expect(server.callLines()[0]).toMatchObject({ status: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
  });

  it('is a gRPC status in the first contract too, and not a 400', async () => {
    const server = await startTestServer();
    const { code } = await server.call('/profileservice.ProfileService/CreateProfile', Buffer.from([0xff]));
    expect(code).toBe('INVALID_ARGUMENT');
  });

  it('does not change text outside ASCII, even after a byte order mark', async () => {
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

describe('an attribute named __proto__', () => {
  it('is accepted and returned like any other', async () => {
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

/** Bytes of a user with a google.protobuf.Value without a kind. */
const kindless = {
  'at the top level': Buffer.from([50, 5, 10, 3, 10, 1, 97]),
  'in an object': Buffer.from([50, 14, 10, 12, 10, 1, 97, 18, 7, 42, 5, 10, 3, 10, 1, 98]),
  'in a list': Buffer.from([50, 11, 10, 9, 10, 1, 97, 18, 4, 50, 2, 10, 0]),
};

/** A field with a message of less than 128 bytes. */
const inField = (number: number, ...parts: Uint8Array[]): Buffer => {
  const bytes = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
};

describe.each(Object.entries(kindless))('a value without a kind %s', (_, attributes) => {
  const named = Buffer.concat([inField(2, Buffer.from('Ada')), inField(4, Buffer.from('ada@example.com')), attributes]);
  const withId = Buffer.concat([inField(1, Buffer.from(ada.id)), named]);
  const mask = (path: string) => inField(2, inField(1, Buffer.from(path)));

  it.each([
    ['CreateUser', inField(1, named), 'user.attributes'],
    ['BatchCreateUsers', Buffer.concat([inField(1), inField(1, named)]), 'users[1].attributes'],
    ['UpdateUser', inField(1, withId), 'user.attributes'],
    ['UpdateUser', Buffer.concat([inField(1, withId), mask('*')]), 'user.attributes'],
    ['UpdateUser', Buffer.concat([inField(1, withId), mask('attributes')]), 'user.attributes'],
    ['UpdateUser', Buffer.concat([inField(1, withId), mask('attributes.a')]), 'user.attributes'],
  ])('is refused by %s with the name of the field', async (method, bytes, field) => {
    const server = await startTestServer();
    const { code, trailer } = await server.call(`/users.v1.UserService/${method}`, bytes);
    expect(code).toBe('INVALID_ARGUMENT');
    const details = trailer.get('grpc-status-details-bin')[0]?.toString();
    expect(details).toContain(field);
    expect(details).toContain('must set the kind of every google.protobuf.Value');
  });
});

describe('a request above the limit of its method', () => {
  const limitText = 'A request of this method must have at most 4096 bytes. Send a smaller request.';

  it('is refused with the limit', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const { code, details, trailer } = await server.call('/users.v1.UserService/GetUser', Buffer.alloc(4097));
    expect({ code, details }).toEqual({ code: 'RESOURCE_EXHAUSTED', details: limitText });
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('MESSAGE_TOO_LARGE');
    expect(server.callLines()[0]).toMatchObject({ status: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' });
  });

  it('is refused if it inflates beyond the limit', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const bytes = zlib.gzipSync(Buffer.alloc(3 * 1024 * 1024));
    expect(bytes.length).toBeLessThan(4096);
    const session = connectHttp2(`http://${server.target}`);
    onTestFinished(() => session.destroy());
    const stream = session.request({
      ':method': 'POST',
      ':path': '/users.v1.UserService/GetUser',
      'content-type': 'application/grpc',
      'grpc-encoding': 'gzip',
      te: 'trailers',
    });
    const frame = Buffer.alloc(5);
    frame[0] = 1;
    frame.writeUInt32BE(bytes.length, 1);
    stream.end(Buffer.concat([frame, bytes]));
    const headers = await new Promise<IncomingHttpHeaders>((resolve) => stream.on('response', resolve));
    expect(headers['grpc-status']).toBe('8');
    expect(decodeURI(String(headers['grpc-message']))).toBe(limitText);
  });

  it('ends a stream of requests', async () => {
    const server = await startTestServer({
      async *resolveUsers(requests) {
        for await (const _ of requests) yield* [];
      },
    });
    const { code, details } = await server.call('/users.v1.UserService/ResolveUsers', Buffer.alloc(2 * 1024 * 1024));
    expect(code).toBe('RESOURCE_EXHAUSTED');
    expect(details).toContain('must have at most 1114112 bytes');
  });

  it('may have 4 MiB if the method accepts many users', async () => {
    const server = await startTestServer();
    // These bytes are not a message, so their size is not the reason for the refusal.
    const { code } = await server.call('/users.v1.UserService/BatchCreateUsers', Buffer.alloc(4 * 1024 * 1024, 0xff));
    expect(code).toBe('INVALID_ARGUMENT');
  });

  it('is refused by every method, because each has a limit', () => {
    const served = [...Object.values(userServiceDefinition), ...Object.values(profileServiceDefinition)];
    expect(served.filter(({ path }) => requestBytesMax[path] === undefined)).toEqual([]);
  });
});
