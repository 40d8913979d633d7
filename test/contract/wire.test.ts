/** Requests that no generated client sends, byte by byte: over gRPC, and over Connect through the gateway. */
import { randomUUID } from 'node:crypto';
import { ChannelCredentials, Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CreateUserResponse } from '../../generated/users/v1/user_service.js';
import { rawCall } from '../rpc/harness.js';
import { startTestApp, type TestApp } from '../support/app.js';

let app: TestApp;
let grpc: Client;
beforeAll(async () => {
  app = await startTestApp();
  grpc = new Client(app.address, ChannelCredentials.createInsecure());
});
afterAll(async () => {
  grpc.close();
  await app[Symbol.asyncDispose]();
});

/** A response, or the text of an error with its details. */
type Answer = { response: Uint8Array } | { error: string };

async function overGrpc(method: string, bytes: Uint8Array): Promise<Answer> {
  const { response, details, trailer } = await rawCall(grpc, `/users.v1.UserService/${method}`, bytes);
  return response === undefined ? { error: `${details} ${trailer.get('grpc-status-details-bin')}` } : { response };
}

async function overConnect(method: string, bytes: Uint8Array): Promise<Answer> {
  const answer = await fetch(`${app.http}/users.v1.UserService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/proto' },
    body: Buffer.from(bytes),
  });
  return answer.ok ? { response: await answer.bytes() } : { error: await answer.text() };
}

/** A field with fewer than 128 bytes. */
function field(number: number, ...parts: (Uint8Array | string)[]): Buffer {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

const entry = (key: string, value: Uint8Array): Buffer => field(6, field(1, field(1, key), field(2, value)));
const email = (): Buffer => field(4, `${randomUUID()}@example.com`);

describe.each([
  ['gRPC', overGrpc],
  ['Connect', overConnect],
])('through %s, a request', (_, call) => {
  it('with a user in several parts creates one user', async () => {
    const parts = [field(2, 'Ada'), email(), entry('a', field(3, '1')), entry('b', field(3, '2'))];
    const answer = await call('CreateUser', Buffer.concat(parts.map((part) => field(1, part))));
    if (!('response' in answer)) throw new Error(answer.error);
    expect(CreateUserResponse.decode(answer.response).user).toMatchObject({
      firstName: 'Ada',
      attributes: { a: '1', b: '2' },
    });
  });

  it('may have any value in output-only fields', async () => {
    const time = Buffer.from([8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    const user = Buffer.concat([field(2, 'Ada'), email(), field(8, time), field(9, time)]);
    expect(await call('CreateUser', field(1, user))).toHaveProperty('response');
  });
});

const valuesWithoutKind = [
  ['at the top level', Buffer.alloc(0)],
  ['in an object', field(5, field(1, field(1, 'b'), field(2)))],
  ['in a list', field(6, field(1))],
] as const;

describe.each([
  ['gRPC', overGrpc],
  ['Connect', overConnect],
])('through %s, a value in attributes', (_protocol, call) => {
  it.each(valuesWithoutKind)('without a kind %s is refused', async (_where, value) => {
    const user = Buffer.concat([field(2, 'Ada'), email(), entry('a', value)]);
    const refusal = { error: expect.stringContaining('must set the kind of every google.protobuf.Value') };
    expect(await call('CreateUser', field(1, user))).toEqual(refusal);
    expect(await call('BatchCreateUsers', field(1, user))).toEqual(refusal);
    const { user: ada } = await app.client.createUser({
      user: { firstName: 'Ada', email: `${randomUUID()}@example.com`, attributes: { a: 1 } },
    });
    const update = field(1, field(1, ada?.id ?? ''), entry('a', value));
    for (const path of ['attributes', 'attributes.a']) {
      expect(await call('UpdateUser', Buffer.concat([update, field(2, field(1, path))]))).toEqual(refusal);
    }
    expect((await app.client.getUser({ id: ada?.id })).user).toEqual(ada);
  });
});

describe('a heartbeat that is not a valid duration', () => {
  it.each([
    ['2 ** 62 seconds', Buffer.from([8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40])],
    ['-2 ** 63 seconds', Buffer.from([8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])],
    ['10 ** 9 nanos', Buffer.from([16, 0x80, 0x94, 0xeb, 0xdc, 0x03])],
  ])('is named in the violation: %s', async (_, duration) => {
    expect(await overGrpc('WatchUsers', field(3, duration))).toEqual({
      error: expect.stringMatching(/^heartbeat: must /),
    });
  });
});
