/** The typed client's calls on a real socket: deadlines, aborts, retries, tokens, TLS, errors, streams and pages. */
import { ServerCredentials } from '@grpc/grpc-js';
import { ServerError, Status } from 'nice-grpc';
import { BadRequest, ErrorInfo, RequestInfo, RichServerError } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Client, type ClientOptions, createClient, Metadata, RosterError } from '../../src/client/index.js';
import { createAuthority } from '../certificates.js';
import { hang, type Script, type ScriptedServer, startScriptedServer } from './scripted-server.js';

async function start(script: Script, options: ClientOptions = {}): Promise<{ server: ScriptedServer; client: Client }> {
  const server = await startScriptedServer(script);
  return { server, client: open({ address: server.address, ...options }, server) };
}

function open(options: ClientOptions, ...servers: ScriptedServer[]): Client {
  const client = createClient(options);
  onTestFinished(async () => {
    client.close();
    for (const server of servers) await server[Symbol.asyncDispose]();
  });
  return client;
}

async function failureOf(call: Promise<unknown>): Promise<RosterError> {
  const error = await call.then(
    () => new Error('The call succeeded.'),
    (error: unknown) => error,
  );
  if (error instanceof RosterError) return error;
  throw error;
}

function unavailable(): never {
  throw new ServerError(Status.UNAVAILABLE, 'Not now.');
}

/** Fails the given number of times, then answers. */
function failing<Response>(times: number, response: Response): () => Promise<Response> {
  return async () => (times-- > 0 ? unavailable() : response);
}

const ada = { id: '0198c0de-0000-7000-8000-000000000000', firstName: 'Ada', email: 'ada@example.com' };

describe('a deadline', () => {
  it('is sent to the server and enforced by the client', async () => {
    let onCancelled: () => void = () => {};
    const left = new Promise<void>((resolve) => {
      onCancelled = resolve;
    });
    const { server, client } = await start({ getUser: (_, context) => hang(context, onCancelled) });
    const error = await failureOf(client.getUser({ id: ada.id }, { deadlineMs: 200 }));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', status: 4, method: 'users.v1.UserService/GetUser' });
    await left;
    expect(server.calls[0]?.leftMs).toBeLessThanOrEqual(200);
  });

  it('is 10 seconds by default', async () => {
    const { server, client } = await start({ getUser: async () => ({ user: ada }) });
    await client.getUser({ id: ada.id });
    expect(server.calls[0]?.leftMs).toBeLessThanOrEqual(10_000);
    expect(server.calls[0]?.leftMs).toBeGreaterThan(0);
  });

  it.each([0, Number.POSITIVE_INFINITY])('of %d means no deadline', async (deadlineMs) => {
    const { server, client } = await start({ getUser: async () => ({ user: ada }) }, { deadlineMs });
    await client.getUser({ id: ada.id });
    expect(server.calls[0]?.leftMs).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([1e8, 597 * 3_600_000, 2 ** 31, 1e15])('of %d ms does not overflow', async (deadlineMs) => {
    const { server, client } = await start({ getUser: async () => ({ user: ada }) });
    await client.getUser({ id: ada.id }, { deadlineMs });
    expect(server.calls[0]?.leftMs).toBeGreaterThan(1e8 - 60_000);
  });

  it('that is invalid throws a RangeError', async () => {
    expect(() => createClient({ deadlineMs: -1 })).toThrow(RangeError);
    const { client } = await start({});
    await expect(client.getUser({}, { deadlineMs: Number.NaN })).rejects.toThrow(RangeError);
  });

  it('also ends the wait for a token', async () => {
    const { client } = await start({}, { token: () => new Promise(() => {}) });
    const error = await failureOf(client.getUser({}, { deadlineMs: 50 }));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
  });
});

describe('an abort', () => {
  it('stays an AbortError and reaches the server', async () => {
    const abort = new AbortController();
    const left = Promise.withResolvers<void>();
    const { client } = await start({
      getUser: (_, context) => {
        abort.abort();
        return hang(context, left.resolve);
      },
    });
    await expect(client.getUser({}, { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    await left.promise;
  });

  it('before the call prevents the call', async () => {
    const { server, client } = await start({ getUser: async () => ({ user: ada }) });
    const reason = new Error('enough');
    await expect(client.getUser({}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.calls).toEqual([]);
  });
});

describe('a call that is UNAVAILABLE', () => {
  it('is retried if it is a read', async () => {
    const { server, client } = await start({ getUser: failing(2, { user: ada }) });
    const { user } = await client.getUser({ id: ada.id });
    expect(user).toMatchObject(ada);
    expect(server.calls.map(({ method }) => method)).toEqual(['GetUser', 'GetUser', 'GetUser']);
  });

  it('sends the remaining time to the server', async () => {
    const { server, client } = await start({ getUser: failing(2, { user: ada }) });
    await client.getUser({ id: ada.id }, { deadlineMs: 60_000 });
    // Each wait is at least 50 ms.
    expect(server.calls[2]?.leftMs).toBeLessThanOrEqual(60_000 - 100);
  });

  it('is thrown after three attempts', async () => {
    const { server, client } = await start({ listUsers: unavailable });
    const error = await failureOf(client.listUsers({}));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: 'Not now.' });
    expect(server.calls).toHaveLength(3);
  });

  it('is retried with the same request id of the client if it is a create', async () => {
    const requestIds: string[] = [];
    const answer = failing(2, { user: ada });
    const { client } = await start({
      createUser: ({ requestId }) => {
        requestIds.push(requestId);
        return answer();
      },
    });
    await client.createUser({ user: ada });
    expect(requestIds[0]).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(new Set(requestIds).size).toBe(1);
    expect(requestIds).toHaveLength(3);
  });

  it('has the request id of the caller if it is a create, and none without retries', async () => {
    const requestIds: string[] = [];
    const { client } = await start({
      batchCreateUsers: async ({ requestId }) => {
        requestIds.push(requestId);
        return {};
      },
    });
    await client.batchCreateUsers({ requestId: 'mine' });
    await client.batchCreateUsers({}, { attemptsMax: 1 });
    expect(requestIds).toEqual(['mine', '']);
  });

  it('is not retried if a second run could do harm', async () => {
    const { server, client } = await start({ updateUser: unavailable, deleteUser: unavailable });
    await failureOf(client.updateUser({ user: ada }));
    await failureOf(client.deleteUser({ id: ada.id }));
    expect(server.calls).toHaveLength(2);
  });

  it('is retried if it is a delete with allowMissing', async () => {
    const { server, client } = await start({ deleteUser: failing(1, {}) });
    await client.deleteUser({ id: ada.id, allowMissing: true });
    expect(server.calls).toHaveLength(2);
  });

  it.each([Status.INTERNAL, Status.UNKNOWN, Status.RESOURCE_EXHAUSTED, Status.CANCELLED])(
    'differs from one with status %d, which is not retried',
    async (status) => {
      const { server, client } = await start({
        getUser: () => {
          throw new ServerError(status, 'No.');
        },
      });
      expect(await failureOf(client.getUser({}))).toMatchObject({ status });
      expect(server.calls).toHaveLength(1);
    },
  );
});

describe('an error', () => {
  it('has all details from the server', async () => {
    const { client } = await start({
      createUser: () => {
        throw new RichServerError(Status.INVALID_ARGUMENT, 'user.email: is required', [
          ErrorInfo.fromPartial({ reason: 'INVALID_FIELD', domain: 'users.v1', metadata: { limit: '3' } }),
          BadRequest.fromPartial({ fieldViolations: [{ field: 'user.email', description: 'is required' }] }),
          RequestInfo.fromPartial({ requestId: 'r-1' }),
        ]);
      },
    });
    const error = await failureOf(client.createUser({}));
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'RosterError',
      message: 'user.email: is required',
      code: 'INVALID_ARGUMENT',
      status: 3,
      reason: 'INVALID_FIELD',
      violations: [{ field: 'user.email', description: 'is required' }],
      metadata: { limit: '3' },
      requestId: 'r-1',
      method: 'users.v1.UserService/CreateUser',
    });
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('is UNAVAILABLE if no server listens', async () => {
    const server = await startScriptedServer({});
    await server[Symbol.asyncDispose]();
    const error = await failureOf(open({ address: server.address }).getUser({}));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', reason: undefined, violations: [] });
  });

  it('is CANCELLED on a closed client', async () => {
    const { client } = await start({ getUser: async () => ({ user: ada }) });
    await client.getUser({});
    client[Symbol.dispose]();
    expect(await failureOf(client.getUser({}))).toMatchObject({ code: 'CANCELLED' });
  });

  it('has the request id of the caller', async () => {
    const { client } = await start({ getUser: (_, context) => hang(context) });
    const metadata = Metadata({ 'x-request-id': 'mine' });
    expect(await failureOf(client.getUser({}, { deadlineMs: 50, metadata }))).toMatchObject({ requestId: 'mine' });
  });
});

describe('a token', () => {
  const readers = { text: 'abc', function: () => 'abc', 'asynchronous function': async () => 'abc' };

  it.each(Object.entries(readers))('that is a %s is sent as a bearer', async (_, token) => {
    let sent: string | undefined;
    const { client } = await start(
      {
        getUser: async (_, { metadata }) => {
          sent = metadata.get('authorization');
          return { user: ada };
        },
      },
      { token },
    );
    await client.getUser({});
    expect(sent).toBe('Bearer abc');
  });

  it('whose function fails is UNAUTHENTICATED', async () => {
    const cause = new Error('no such secret');
    const { client } = await start({}, { token: () => Promise.reject(cause) });
    expect(await failureOf(client.getUser({}))).toMatchObject({ code: 'UNAUTHENTICATED', cause });
  });

  it('does not leave this machine without TLS', () => {
    for (const address of [
      'roster.example:50051',
      'dns:///roster.example',
      '10.0.0.1:1',
      ['localhost', '10.0.0.1:1'],
    ]) {
      expect(() => createClient({ address, token: 'abc' })).toThrow(TypeError);
      createClient({ address, token: 'abc', tls: true }).close();
      createClient({ address, token: 'abc', insecureToken: true }).close();
    }
    for (const address of ['localhost', '127.1.2.3:5', '[::1]:50051', 'dns:///localhost:1', 'unix:///run/roster']) {
      createClient({ address, token: 'abc' }).close();
    }
  });
});

describe('TLS', () => {
  const authority = createAuthority();
  const issued = authority.issue('server');
  const pem = (text: string) => Buffer.from(text);
  const serverCredentials = (clientCa: string | null) =>
    ServerCredentials.createSsl(
      clientCa === null ? null : pem(clientCa),
      [{ private_key: pem(issued.key), cert_chain: pem(issued.cert) }],
      clientCa !== null,
    );
  const script: Script = { getUser: async () => ({ user: ada }) };

  it('trusts the given authority', async () => {
    const server = await startScriptedServer(script, { credentials: serverCredentials(null) });
    const client = open({ address: server.address, tls: { ca: authority.cert } }, server);
    expect((await client.getUser({})).user).toMatchObject(ada);
  });

  it('trusts no other authority, and no certificate with another name', async () => {
    const server = await startScriptedServer(script, { credentials: serverCredentials(null) });
    const distrusting = open({ address: server.address, tls: true, attemptsMax: 1 }, server);
    expect(await failureOf(distrusting.getUser({}))).toMatchObject({ code: 'UNAVAILABLE' });
    const tls = { ca: pem(authority.cert), serverName: 'elsewhere.example' };
    const misled = open({ address: server.address, tls, attemptsMax: 1 });
    expect(await failureOf(misled.getUser({}))).toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('presents the certificate of the client', async () => {
    const server = await startScriptedServer(script, { credentials: serverCredentials(authority.cert) });
    const { cert, key } = authority.issue('client');
    const client = open({ address: server.address, tls: { ca: authority.cert, cert, key } }, server);
    expect((await client.getUser({})).user).toMatchObject(ada);
    const stranger = open({ address: server.address, tls: { ca: authority.cert }, attemptsMax: 1 });
    expect(await failureOf(stranger.getUser({}))).toMatchObject({ code: 'UNAVAILABLE' });
    expect(() => createClient({ tls: { cert } })).toThrow(TypeError);
  });
});

describe('a stream', () => {
  it('ends on both sides when the client is closed', async () => {
    let onCancelled: () => void = () => {};
    const left = new Promise<void>((resolve) => {
      onCancelled = resolve;
    });
    const { client } = await start({
      async *resolveUsers(requests, context) {
        for await (const { tag } of requests) {
          yield { tag };
          await hang(context, onCancelled);
        }
      },
    });
    const opened = client.resolveUsers(
      (async function* () {
        yield { tag: 'first' };
        await new Promise(() => {});
      })(),
    );
    const answers = opened[Symbol.asyncIterator]();
    expect(await answers.next()).toMatchObject({ value: { tag: 'first' } });
    const next = answers.next();
    client.close();
    await expect(next).rejects.toMatchObject({ code: 'CANCELLED', message: 'This client is closed.' });
    await left;
  });

  it('of an export that resumes also ends when the client is closed', async () => {
    let onCancelled: () => void = () => {};
    const left = new Promise<void>((resolve) => {
      onCancelled = resolve;
    });
    const { client } = await start({
      async *exportUsers(_, context) {
        yield { users: [ada], resumeToken: 'first' };
        await hang(context, onCancelled);
      },
    });
    const users = client.exportAllUsers()[Symbol.asyncIterator]();
    expect(await users.next()).toMatchObject({ done: false });
    const next = users.next();
    client.close();
    await expect(next).rejects.toMatchObject({ code: 'CANCELLED', message: 'This client is closed.' });
    await left;
  });

  it('has the token, and no deadline unless the call sets one', async () => {
    const tokens: unknown[] = [];
    const { server, client } = await start(
      {
        async *watchUsers(_, { metadata, signal }) {
          tokens.push(metadata.get('authorization'));
          yield { caughtUp: true };
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      },
      { token: 'abc' },
    );
    for await (const { caughtUp } of client.watchUsers({})) {
      expect(caughtUp).toBe(true);
      break;
    }
    const received: boolean[] = [];
    const error = await failureOf(
      (async () => {
        for await (const { caughtUp } of client.watchUsers({}, { deadlineMs: 500 })) received.push(caughtUp);
      })(),
    );
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', method: 'users.v1.UserService/WatchUsers' });
    expect(server.calls[0]?.leftMs).toBe(Number.POSITIVE_INFINITY);
    expect(server.calls[1]?.leftMs).toBeLessThanOrEqual(500);
    expect(tokens).toEqual(['Bearer abc', 'Bearer abc']);
  });

  it('is never retried, and fails with a RosterError', async () => {
    const { server, client } = await start({
      importUsers: unavailable,
      async *exportUsers() {
        yield { resumeToken: 'a' };
        unavailable();
      },
    });
    const error = await failureOf(client.importUsers((async function* () {})(), { attemptsMax: 3 }));
    expect(error.code).toBe('UNAVAILABLE');
    const received: string[] = [];
    const exported = await failureOf(
      (async () => {
        for await (const { resumeToken } of client.exportUsers({})) received.push(resumeToken);
      })(),
    );
    expect(exported.code).toBe('UNAVAILABLE');
    expect(received).toEqual(['a']);
    expect(server.calls).toHaveLength(2);
  });

  it('works in both directions', async () => {
    const { client } = await start({
      async *resolveUsers(requests) {
        for await (const { tag } of requests) yield { tag };
      },
    });
    const requests = async function* () {
      yield { tag: 'a' };
      yield { tag: 'b' };
    };
    const tags: string[] = [];
    for await (const { tag } of client.resolveUsers(requests())) tags.push(tag);
    expect(tags).toEqual(['a', 'b']);
  });
});

describe('listAllUsers', () => {
  const pages = [
    { users: [{ id: '1' }, { id: '2' }], nextPageToken: 'p2' },
    { users: [], nextPageToken: 'p3' },
    { users: [{ id: '3' }] },
  ];

  it('reads all pages with the same request, and no page before it is needed', async () => {
    const requests: unknown[] = [];
    const { client } = await start({
      listUsers: async ({ filter, pageToken, pageSize }) => {
        requests.push({ filter, pageToken, pageSize });
        return pages[pageToken === '' ? 0 : pageToken === 'p2' ? 1 : 2] ?? {};
      },
    });
    const ids: string[] = [];
    for await (const user of client.listAllUsers({ filter: 'f' })) {
      if (ids.length === 0) expect(requests).toHaveLength(1);
      ids.push(user.id);
    }
    expect(ids).toEqual(['1', '2', '3']);
    expect(requests).toEqual([
      { filter: 'f', pageToken: '', pageSize: 200 },
      { filter: 'f', pageToken: 'p2', pageSize: 200 },
      { filter: 'f', pageToken: 'p3', pageSize: 200 },
    ]);
  });
});
