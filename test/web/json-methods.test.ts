/** Tests that the answers in JSON are the same messages as those in protobuf's binary format. */
import { expect, it } from 'vitest';
import { GetCallerResponse, ListUsersRequest, ListUsersResponse } from '../../generated/users/v1/user_service.js';
import type { Method } from '../../web/calls/connect.js';
import { getCallerMethod, listUsersMethod } from '../../web/calls/json-methods.js';
import { startTestApp } from '../support/app.js';

it('reads the same users from JSON as from the binary format', async () => {
  await using app = await startTestApp();
  const attributes = {
    team: 'search',
    level: 3.5,
    active: true,
    manager: null,
    tags: ['a', { b: [] }],
    'a "key"\n': { 'x\\y': 'with \\ and "quotes"' },
    ['__proto__']: 'a key',
    big: 1e21,
  };
  await app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com', attributes } });
  await app.client.createUser({ user: { firstName: '雪', lastName: 'O’Neill', email: 'yuki@example.com' } });
  const request = { query: '', pageSize: 1, orderBy: 'create_time', includeTotalSize: true };
  const first = await listBoth(request);
  expect(first.users[0]?.attributes).toEqual(attributes);
  expect(first.totalSize).toBe(2);
  const second = await listBoth({ ...request, pageToken: first.nextPageToken, includeTotalSize: false });
  expect(second.users[0]?.firstName).toBe('雪');
  await listBoth({ query: 'nobody' });

  async function listBoth(message: Parameters<typeof listUsersMethod.encode>[0]): Promise<ListUsersResponse> {
    const binary = ListUsersRequest.encode(ListUsersRequest.fromPartial(message)).finish();
    const expected = ListUsersResponse.decode(await call(app.http, listUsersMethod.path, 'application/proto', binary));
    const read = await callJson(app.http, listUsersMethod, message);
    // Each answer has another token for the same page.
    expect(read).toStrictEqual({ ...expected, nextPageToken: expect.any(String) });
    expect(read.nextPageToken === '').toBe(expected.nextPageToken === '');
    return read;
  }
});

it('reads the same caller from JSON as from the binary format', async () => {
  await using app = await startTestApp();
  const { path } = getCallerMethod;
  const expected = GetCallerResponse.decode(await call(app.http, path, 'application/proto', new Uint8Array()));
  expect(await callJson(app.http, getCallerMethod, {})).toStrictEqual(expected);
  const whole: GetCallerResponse = {
    ...{ actor: 'key:ci', roles: ['reader'], methods: ['users.v1.UserService/GetUser'] },
    ...{
      hiddenAttributes: ['salary'],
      protectedAttributes: ['team'],
      expireTime: new Date('2030-01-02T03:04:05.678Z'),
    },
  };
  expect(getCallerMethod.decode(new TextEncoder().encode(JSON.stringify(whole)))).toStrictEqual(whole);
});

it('rejects an answer that is not a message', () => {
  for (const text of ['', '{', 'null', '"users"']) {
    expect(() => listUsersMethod.decode(new TextEncoder().encode(text)), text).toThrow(SyntaxError);
  }
});

async function callJson<Request, Response>(
  address: string,
  { path, type, encode, decode }: Method<Request, Response>,
  message: Parameters<typeof encode>[0],
): Promise<Response> {
  return decode(await call(address, path, type, encode(message)));
}

async function call(address: string, path: string, type: string, body: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const headers = { 'content-type': type, 'connect-protocol-version': '1' };
  const answer = await fetch(address + path, { method: 'POST', headers, body: new Uint8Array(body) });
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, type]);
  return new Uint8Array(await answer.arrayBuffer());
}
