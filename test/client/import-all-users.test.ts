/** Imports of iterables, with a server that records requests, fails, or reads nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError, Status } from 'nice-grpc';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ImportUsersRequest } from '../../generated/users/v1/user_service.js';
import { type Client, createClient, ImportOptions_OnConflict } from '../../src/client/index.js';
import { startTestApp } from '../support/app.js';
import { hang, type Script, startScriptedServer } from './scripted-server.js';

const waitOptions = { timeout: 30_000 };

async function start(importUsers: Script['importUsers']): Promise<Client> {
  const server = await startScriptedServer({ importUsers });
  const client = createClient({ address: server.address });
  onTestFinished(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });
  return client;
}

/** A server that records its requests. */
async function startReader(): Promise<{ client: Client; requests: ImportUsersRequest[] }> {
  const requests: ImportUsersRequest[] = [];
  const client = await start(async (stream) => {
    for await (const request of stream) requests.push(request);
    return { committed: true, created: requests.at(-1)?.totalRows };
  });
  return { client, requests };
}

function numbered(count: number) {
  return Array.from({ length: count }, (_, row) => ({ firstName: 'Ada', email: `ada${row}@example.com` }));
}

/** An endless source of users that records whether it was closed. */
function endless() {
  const source = {
    rows: 0,
    returned: false,
    async *users() {
      try {
        for (;;) yield { firstName: 'a'.repeat(250), email: `ada${source.rows++}@example.com` };
      } finally {
        source.returned = true;
      }
    },
  };
  return source;
}

describe('importAllUsers', () => {
  it('sends every user once, the options first and the number of rows last', async () => {
    const { client, requests } = await startReader();
    const users = numbered(2500);
    const response = await client.importAllUsers(users, { onConflict: 'update', keepGoing: true });
    expect(response).toMatchObject({ committed: true, created: 2500 });
    expect(requests.flatMap((request) => request.users).map(({ email }) => email)).toEqual(
      users.map(({ email }) => email),
    );
    expect(requests.length).toBeGreaterThan(1);
    expect(requests[0]?.options).toEqual({
      onConflict: ImportOptions_OnConflict.ON_CONFLICT_UPDATE,
      keepGoing: true,
      validateOnly: false,
      mergeAttributes: false,
    });
    expect(requests.slice(1).filter(({ options }) => options !== undefined)).toEqual([]);
    expect(requests.map(({ totalRows }) => totalRows).filter((rows) => rows !== undefined)).toEqual([2500]);
    expect(requests.at(-1)?.totalRows).toBe(2500);
  });

  it('without users sends one message', async () => {
    const { client, requests } = await startReader();
    await client.importAllUsers(endlessUntil(0), { validateOnly: true, mergeAttributes: false });
    expect(requests).toEqual([
      {
        options: { onConflict: 0, keepGoing: false, validateOnly: true, mergeAttributes: false },
        users: [],
        totalRows: 0,
      },
    ]);
  });

  async function* endlessUntil(count: number) {
    yield* numbered(count);
  }

  it.each([
    ['three bytes a character', { firstName: '€'.repeat(256), lastName: '€'.repeat(256) }],
    ['lists of numbers', { attributes: { list: Array.from({ length: 2000 }, (_, index) => index) } }],
    ['many small keys', { attributes: Object.fromEntries(numbered(1000).map((_, index) => [`${index}`, true])) }],
    ['deep lists', { attributes: { deep: [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]] } }],
  ])('keeps messages far below 4 MiB if users have %s', async (_, fields) => {
    const { client, requests } = await startReader();
    await client.importAllUsers(numbered(400).map((user) => ({ ...user, ...fields })));
    const sizes = requests.map((request) => ImportUsersRequest.encode(request).finish().length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1024 * 1024);
    expect(requests.at(-1)?.totalRows).toBe(400);
  });

  it('reports how many users were sent', async () => {
    const { client } = await startReader();
    const progress: number[] = [];
    await client.importAllUsers(numbered(2500), { onProgress: (rowsSent) => void progress.push(rowsSent) });
    expect(progress.length).toBeGreaterThan(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBe(2500);
  });

  it('sends the users of a slow source without waiting for a full message', async () => {
    let seen = false;
    const client = await start(async (stream) => {
      for await (const _ of stream) seen = true;
      return {};
    });
    let rows = 0;
    async function* trickle() {
      while (!seen && rows < 900) {
        yield { email: `ada${rows++}@example.com` };
        await sleep(10);
      }
    }
    await client.importAllUsers(trickle());
    expect(rows).toBeLessThan(900);
  });

  it('sends empty messages while its source pauses, and then its users', async () => {
    const requests: ImportUsersRequest[] = [];
    const client = await start(async (stream) => {
      for await (const request of stream) requests.push(request);
      return {};
    });
    const progress: number[] = [];
    async function* halting() {
      await vi.waitFor(() => expect(requests.length).toBeGreaterThanOrEqual(2), waitOptions);
      yield* numbered(300);
      const before = requests.length;
      await vi.waitFor(() => expect(requests.length).toBeGreaterThan(before + 2), waitOptions);
      yield* numbered(3);
    }
    await client.importAllUsers(halting(), { keepGoing: true, onProgress: (rowsSent) => void progress.push(rowsSent) });
    const expected = { options: undefined, users: [], totalRows: undefined };
    expect(requests[0]).toEqual({
      ...expected,
      options: { onConflict: 0, keepGoing: true, validateOnly: false, mergeAttributes: false },
    });
    expect(requests[1]).toEqual(expected);
    expect(requests.slice(2).filter(({ users }) => users.length === 0).length).toBeGreaterThan(0);
    expect(requests.flatMap((request) => request.users).map(({ email }) => email)).toEqual(
      [...numbered(300), ...numbered(3)].map(({ email }) => email),
    );
    expect(requests.map(({ totalRows }) => totalRows).filter((rows) => rows !== undefined)).toEqual([303]);
    expect(requests.at(-1)?.totalRows).toBe(303);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBe(303);
  });

  it('sends users of a source that never waits', async () => {
    let seen = false;
    const client = await start(async (stream) => {
      for await (const _ of stream) seen = true;
      return {};
    });
    let rows = 0;
    function* busy() {
      while (!seen && rows < 190) {
        const untilMs = performance.now() + 20;
        while (performance.now() < untilMs);
        yield { email: `ada${rows++}@example.com` };
      }
    }
    await client.importAllUsers(busy());
    // All 190 users would fit into one message.
    expect(rows).toBeLessThan(190);
  });

  it('survives a source that pauses for longer than the server waits for a message', async () => {
    await using app = await startTestApp({ STREAM_STALL_TIMEOUT_MS: '2500' });
    async function* halting() {
      await sleep(5000);
      yield* numbered(300);
      await sleep(5000);
      yield { firstName: 'Ida', email: 'ida@example.com' };
    }
    const response = await app.client.importAllUsers(halting());
    expect(response).toMatchObject({ committed: true, created: 301 });
  });

  it('has no deadline unless the call sets one', async () => {
    const client = await start((_, context) => hang(context));
    await expect(client.importAllUsers(endless().users(), { deadlineMs: 100 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
  });
});

describe('a source', () => {
  it.each([
    ['an error', new Error('no such row')],
    ['an AbortError', new DOMException('stopped', 'AbortError')],
  ])('that throws %s cancels the import, which throws that error', async (_, failure) => {
    const arrived = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    let complete = false;
    const client = await start(async (stream, context) => {
      context.signal.addEventListener('abort', () => left.resolve());
      for await (const { totalRows } of stream) {
        complete ||= totalRows !== undefined;
        arrived.resolve();
      }
      // Node sends what looks like a normal end before it cancels. That is why total_rows exists.
      left.resolve();
      return {};
    });
    async function* broken() {
      yield* numbered(1500);
      await arrived.promise;
      throw failure;
    }
    await expect(client.importAllUsers(broken())).rejects.toBe(failure);
    await left.promise;
    expect(complete).toBe(false);
  });

  it('waits for a server that does not read, and is closed when the server fails', async () => {
    const failServer = Promise.withResolvers<void>();
    const client = await start(async () => {
      await failServer.promise;
      throw new ServerError(Status.UNAVAILABLE, 'Not now.');
    });
    const source = endless();
    const imported = client.importAllUsers(source.users());
    // The source has stopped if two checks see the same number.
    let before = -1;
    await vi.waitFor(
      () => {
        const [seen, last] = [source.rows, before];
        before = seen;
        expect(seen).toBeGreaterThan(0);
        expect(seen).toBe(last);
      },
      { ...waitOptions, interval: 300 },
    );
    // The buffers of a message, the stream and the sockets, at about 300 bytes for each user.
    expect(source.rows).toBeLessThan(30_000);
    failServer.resolve();
    await expect(imported).rejects.toMatchObject({ code: 'UNAVAILABLE', message: 'Not now.' });
    await vi.waitFor(() => expect(source.returned).toBe(true), waitOptions);
  });

  it.each([0, 1, 3])(
    'is closed if the server rejects the import after %d messages, and the error is thrown',
    async (count) => {
      const client = await start(async (stream) => {
        let left = count;
        if (left > 0) {
          for await (const _ of stream) if (--left === 0) break;
        }
        throw new ServerError(Status.INVALID_ARGUMENT, 'No.');
      });
      const source = endless();
      await expect(client.importAllUsers(source.users())).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: 'No.',
      });
      await vi.waitFor(() => expect(source.returned).toBe(true), waitOptions);
    },
  );

  it('that is stuck is closed as well, and its late answer is ignored', async () => {
    const client = await start(async () => {
      throw new ServerError(Status.RESOURCE_EXHAUSTED, 'No.');
    });
    const late = Promise.withResolvers<IteratorResult<{ email: string }>>();
    let nextCalls = 0;
    const returned = vi.fn(async () => {
      late.reject(new Error('closed'));
      return { done: true as const, value: undefined };
    });
    const stuck = {
      [Symbol.asyncIterator]: () => ({
        next() {
          nextCalls++;
          return late.promise;
        },
        return: returned,
      }),
    };
    await expect(client.importAllUsers(stuck)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(returned).toHaveBeenCalledTimes(1);
    expect(nextCalls).toBe(1);
  });

  it('that yields nothing does not delay an error of the server', async () => {
    const client = await start(async () => {
      throw new ServerError(Status.RESOURCE_EXHAUSTED, 'No.');
    });
    async function* silent() {
      yield {};
      await new Promise(() => {});
    }
    await expect(client.importAllUsers(silent())).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  });

  it('is closed by an abort', async () => {
    const abort = new AbortController();
    const client = await start((_, context) => hang(context));
    const source = endless();
    const imported = client.importAllUsers(source.users(), { signal: abort.signal });
    await vi.waitFor(() => expect(source.rows).toBeGreaterThan(0), waitOptions);
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(imported).rejects.toBe(reason);
    await vi.waitFor(() => expect(source.returned).toBe(true), waitOptions);
  });

  it('is closed with the client, and the server sees an end of the stream without total_rows', async () => {
    const arrived = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<number | undefined>();
    const client = await start(async (stream) => {
      let totalRows: number | undefined;
      try {
        for await (const message of stream) {
          arrived.resolve();
          totalRows = message.totalRows;
        }
      } finally {
        gone.resolve(totalRows);
      }
      return {};
    });
    const source = endless();
    const imported = client.importAllUsers(source.users());
    await arrived.promise;
    client.close();
    await expect(imported).rejects.toMatchObject({ code: 'CANCELLED', message: 'This client is closed.' });
    expect(await gone.promise).toBeUndefined();
    await vi.waitFor(() => expect(source.returned).toBe(true), waitOptions);
  });
});
