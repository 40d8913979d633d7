/** An export that resumes by itself, with a server that fails at scripted points. */
import { ServerError, Status } from 'nice-grpc';
import { ErrorInfo, RichServerError } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { DeepPartial, ExportUsersRequest, ExportUsersResponse } from '../../src/client/index.js';
import { type Client, type ClientOptions, createClient } from '../../src/client/index.js';
import { type ScriptedServer, startScriptedServer } from './scripted-server.js';

type Step = DeepPartial<ExportUsersResponse> | ServerError;

/** Each call runs the next list of steps; the last list repeats. */
async function start(
  calls: readonly (readonly Step[])[],
  options: ClientOptions = {},
): Promise<{ server: ScriptedServer; client: Client; requests: ExportUsersRequest[] }> {
  const requests: ExportUsersRequest[] = [];
  const server = await startScriptedServer({
    async *exportUsers(request) {
      requests.push(request);
      for (const step of calls[Math.min(requests.length, calls.length) - 1] ?? []) {
        if (step instanceof ServerError) throw step;
        yield step;
      }
    },
  });
  const client = createClient({ address: server.address, ...options });
  onTestFinished(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });
  return { server, client, requests };
}

const unavailable = new ServerError(Status.UNAVAILABLE, 'Not now.');
const tokenExpired = new RichServerError(Status.UNAUTHENTICATED, 'No.', [
  ErrorInfo.fromPartial({ reason: 'CREDENTIALS_EXPIRED', domain: 'users.v1' }),
]);
const first: Step = { users: [{ id: '1' }, { id: '2' }], resumeToken: 'a' };
const second: Step = { users: [{ id: '3' }], resumeToken: 'b' };
const last: Step = { users: [{ id: '4' }], resumeToken: 'c', watchToken: 'w' };

async function idsOf(client: Client, ...args: Parameters<Client['exportAllUsers']>): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of client.exportAllUsers(...args)) ids.push(id);
  return ids;
}

describe('exportAllUsers', () => {
  it('yields user by user', async () => {
    const { client, requests } = await start([[first, second, last]]);
    expect(await idsOf(client, { filter: 'f' })).toEqual(['1', '2', '3', '4']);
    expect(requests).toEqual([{ filter: 'f', resumeToken: '' }]);
  });

  it('resumes with a fresh token after the token has expired, unless that has expired too', async () => {
    let count = 0;
    const token = () => `token-${++count}`;
    const steps = [[first, tokenExpired], [second, tokenExpired], [last]];
    const { client, requests } = await start(steps, { token });
    expect(await idsOf(client)).toEqual(['1', '2', '3', '4']);
    expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(['', 'a', 'b']);
    expect(count).toBe(3);
    const failing = await start([[first, tokenExpired], [tokenExpired]], { token });
    await expect(idsOf(failing.client)).rejects.toMatchObject({ reason: 'CREDENTIALS_EXPIRED' });
    expect(failing.requests).toHaveLength(2);
  });

  it('yields messages with their tokens, after the given token', async () => {
    const { client, requests } = await start([[second, last]]);
    const batches: unknown[] = [];
    for await (const batch of client.exportAllUsers({ resumeToken: 'a' }).batches()) {
      batches.push([batch.users.map(({ id }) => id), batch.resumeToken, batch.watchToken]);
    }
    expect(batches).toEqual([
      [['3'], 'b', ''],
      [['4'], 'c', 'w'],
    ]);
    expect(requests).toEqual([{ filter: '', resumeToken: 'a' }]);
  });

  it('starts a new export with each iteration', async () => {
    const { client } = await start([[first, last]]);
    const exported = client.exportAllUsers();
    expect([await Array.fromAsync(exported), await Array.fromAsync(exported)].map(({ length }) => length)).toEqual([
      3, 3,
    ]);
  });

  it('resumes after the last message after UNAVAILABLE, with the same filter', async () => {
    const { client, requests } = await start([[unavailable], [first, unavailable], [unavailable], [second, last]]);
    expect(await idsOf(client, { filter: 'f' })).toEqual(['1', '2', '3', '4']);
    expect(requests.map(({ filter, resumeToken }) => [filter, resumeToken])).toEqual([
      ['f', ''],
      ['f', ''],
      ['f', 'a'],
      ['f', 'a'],
    ]);
  });

  it('is complete with its last message, even if the connection breaks then', async () => {
    const { client, requests } = await start([[first, last, unavailable]]);
    expect(await idsOf(client)).toEqual(['1', '2', '4']);
    expect(requests).toHaveLength(1);
  });

  it('gives up after several failures in a row', async () => {
    const { client, requests } = await start([[first, unavailable], [second, unavailable], [unavailable]]);
    await expect(idsOf(client, {}, { attemptsMax: 2 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(['', 'a', 'b']);
  });

  it('gives up early before the first message, and later after it', async () => {
    const begun = await start([[first, unavailable], [unavailable], [unavailable], [last]], { attemptsMax: 2 });
    expect(await idsOf(begun.client)).toEqual(['1', '2', '4']);
    const never = await start([[unavailable]], { attemptsMax: 2 });
    await expect(idsOf(never.client)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(never.requests).toHaveLength(2);
  });

  it.each([Status.INTERNAL, Status.INVALID_ARGUMENT, Status.CANCELLED])(
    'does not resume after status %d',
    async (status) => {
      const { client, requests } = await start([[first, new ServerError(status, 'No.')]]);
      await expect(idsOf(client)).rejects.toMatchObject({ status });
      expect(requests).toHaveLength(1);
    },
  );

  it('ends with the reason of an abort, also while it waits', async () => {
    const { client } = await start([[first, unavailable], [unavailable]]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const exported = client.exportAllUsers({}, { signal: abort.signal })[Symbol.asyncIterator]();
    await exported.next();
    await exported.next();
    const next = exported.next();
    setImmediate(() => abort.abort(reason));
    await expect(next).rejects.toBe(reason);
  });

  it('has one deadline for the whole export, if the call sets one', async () => {
    const { client } = await start([[first, unavailable], [unavailable]]);
    const failure = await idsOf(client, {}, { deadlineMs: 300, attemptsMax: 1000 }).catch((error: unknown) => error);
    // Either there is no time for another attempt, or the deadline ends an attempt.
    expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain((failure as { code?: string }).code);
  });
});
