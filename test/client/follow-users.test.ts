/** A watch that reconnects, with a server that ends connections in every way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError, Status } from 'nice-grpc';
import { ErrorInfo, RichServerError } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Token } from '../../src/client/call.js';
import {
  type Client,
  createClient,
  type DeepPartial,
  type FollowUsersOptions,
  RosterError,
  type UserFeedMessage,
  type WatchUsersRequest,
  type WatchUsersResponse,
} from '../../src/client/index.js';
import { hang, startScriptedServer } from './scripted-server.js';

const waitOptions = { timeout: 30_000 };

/** A message, an error, or the end without one. */
type Step = DeepPartial<WatchUsersResponse> | ServerError | 'end';

interface Following extends AsyncDisposable {
  client: Client;
  requests: WatchUsersRequest[];
  /** The authorization of each call. */
  tokens: readonly (string | undefined)[];
  /** The number of calls that the client has cancelled. */
  left: () => number;
}

/** Each call runs the next list of steps and then sends nothing more. */
async function start(...calls: readonly (readonly Step[])[]): Promise<Following> {
  return startWith(undefined, ...calls);
}

async function startWith(token: Token | undefined, ...calls: readonly (readonly Step[])[]): Promise<Following> {
  const requests: WatchUsersRequest[] = [];
  const tokens: (string | undefined)[] = [];
  let left = 0;
  const server = await startScriptedServer({
    async *watchUsers(request, context) {
      requests.push(request);
      tokens.push(context.metadata.get('authorization'));
      for (const step of calls[requests.length - 1] ?? []) {
        if (step instanceof ServerError) throw step;
        if (step === 'end') return;
        yield step;
      }
      await hang(context, () => left++);
    },
  });
  const client = createClient({ address: server.address, token });
  const end = async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  };
  onTestFinished(end);
  return { client, requests, tokens, left: () => left, [Symbol.asyncDispose]: end };
}

function refusal(status: Status, reason: string): ServerError {
  return new RichServerError(status, 'No.', [ErrorInfo.fromPartial({ reason, domain: 'users.v1' })]);
}

function change(id: string) {
  return { user: { id } };
}

/** Returns the first `count` messages in short form, and the reported disconnects. */
async function follow(client: Client, count: number, options: FollowUsersOptions = {}) {
  const messages: string[] = [];
  const disconnects: RosterError[] = [];
  const feed = client.followUsers({ ...options, onDisconnect: (error) => void disconnects.push(error) });
  for await (const message of feed) {
    messages.push(brief(message));
    if (messages.length === count) break;
  }
  return { messages, disconnects };
}

/** Starts with `+` if the feed started over, and ends with `…` if it has not caught up. */
function brief({ changes, resumeToken, caughtUp, startedOver }: UserFeedMessage): string {
  const ids = changes.map(({ user }) => user?.id).join(' ');
  return `${startedOver ? '+' : ''}[${ids}] ${resumeToken}${caughtUp ? '' : '…'}`;
}

const unavailable = new ServerError(Status.UNAVAILABLE, 'Not now.');
const tokenExpired = refusal(Status.UNAUTHENTICATED, 'CREDENTIALS_EXPIRED');
const expired = refusal(Status.OUT_OF_RANGE, 'RESUME_TOKEN_EXPIRED');

describe('followUsers', () => {
  it('yields every message, and ends the call with the loop', async () => {
    const { client, requests, left } = await start([
      { resumeToken: 'a', caughtUp: true },
      { changes: [change('1'), change('2')], resumeToken: 'b', caughtUp: true },
    ]);
    const { messages, disconnects } = await follow(client, 2, { heartbeatMs: 1500 });
    expect(messages).toEqual(['[] a', '[1 2] b']);
    expect(disconnects).toEqual([]);
    expect(requests).toEqual([
      { resumeToken: '', includeExisting: false, heartbeat: { seconds: 1, nanos: 500_000_000 } },
    ]);
    await vi.waitFor(() => expect(left()).toBe(1), waitOptions);
  });

  it.each([
    ['UNAVAILABLE', unavailable],
    ['CANCELLED', new ServerError(Status.CANCELLED, 'Killed.')],
    ['an INTERNAL that is not from the directory', new ServerError(Status.INTERNAL, 'Received RST_STREAM')],
    ['WATCHER_TOO_SLOW', refusal(Status.RESOURCE_EXHAUSTED, 'WATCHER_TOO_SLOW')],
    ['RATE_LIMITED', refusal(Status.RESOURCE_EXHAUSTED, 'RATE_LIMITED')],
    ['DEADLINE_PASSED', refusal(Status.DEADLINE_EXCEEDED, 'DEADLINE_PASSED')],
    ['the end of the stream', 'end' as const],
  ])('resumes after the last token after %s', async (_, failure) => {
    const { client, requests } = await start(
      [{ resumeToken: 'a', caughtUp: true }, { changes: [change('1')], resumeToken: 'b', caughtUp: true }, failure],
      [failure],
      [{ changes: [change('2')], resumeToken: 'c', caughtUp: true }],
    );
    const { messages, disconnects } = await follow(client, 3);
    expect(messages).toEqual(['[] a', '[1] b', '[2] c']);
    expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(['', 'b', 'b']);
    expect(disconnects).toHaveLength(2);
  });

  it('prefers a given token to existing users', async () => {
    const { client, requests } = await start([{ resumeToken: 'b', caughtUp: true }]);
    expect((await follow(client, 1, { resumeToken: 'a', includeExisting: true })).messages).toEqual(['[] b']);
    expect(requests[0]).toMatchObject({ resumeToken: 'a', includeExisting: false });
  });

  it('starts over with all users if the token has expired, and reports it once', async () => {
    const { client, requests } = await start(
      [expired],
      [{}, { changes: [change('1')] }, { resumeToken: 'b', caughtUp: true }],
    );
    const { messages, disconnects } = await follow(client, 3, { resumeToken: 'a' });
    expect(messages).toEqual(['+[] …', '[1] …', '[] b']);
    expect(requests.map(({ resumeToken, includeExisting }) => [resumeToken, includeExisting])).toEqual([
      ['a', false],
      ['', true],
    ]);
    expect(disconnects[0]).toMatchObject({ reason: 'RESUME_TOKEN_EXPIRED' });
  });

  it('starts over if the connection breaks during the existing users', async () => {
    const { client, requests } = await start(
      [unavailable],
      [{}, { changes: [change('1')] }, unavailable],
      [unavailable],
      [{ changes: [change('1')] }, unavailable],
      [{ changes: [change('1')] }, { resumeToken: 'a', caughtUp: true }, unavailable],
      [{ resumeToken: 'b', caughtUp: true }],
    );
    const { messages } = await follow(client, 6, { includeExisting: true });
    // The first attempt failed before its first message, so nothing starts over.
    expect(messages).toEqual(['[] …', '[1] …', '+[1] …', '+[1] …', '[] a', '[] b']);
    expect(requests.map(({ resumeToken, includeExisting }) => [resumeToken, includeExisting])).toEqual([
      ['', true],
      ['', true],
      ['', true],
      ['', true],
      ['', true],
      ['a', false],
    ]);
  });

  it('starts from now if it has no token yet', async () => {
    const { client, requests } = await start([unavailable], [{ resumeToken: 'a', caughtUp: true }]);
    expect((await follow(client, 1)).messages).toEqual(['[] a']);
    expect(requests.map(({ includeExisting }) => includeExisting)).toEqual([false, false]);
  });

  it.each([
    ['INVALID_ARGUMENT', refusal(Status.INVALID_ARGUMENT, 'INVALID_RESUME_TOKEN')],
    ['INTERNAL', refusal(Status.INTERNAL, 'INTERNAL')],
    ['RESOURCE_EXHAUSTED', refusal(Status.RESOURCE_EXHAUSTED, 'MESSAGE_TOO_LARGE')],
    ['UNIMPLEMENTED', new ServerError(Status.UNIMPLEMENTED, 'No.')],
    ['UNAUTHENTICATED', new ServerError(Status.UNAUTHENTICATED, 'No.')],
    ['PERMISSION_DENIED', new ServerError(Status.PERMISSION_DENIED, 'No.')],
  ])('throws %s, which a retry cannot fix', async (code, failure) => {
    const { client, requests } = await start([{ resumeToken: 'a', caughtUp: true }, failure]);
    await expect(follow(client, 2)).rejects.toMatchObject({ name: 'RosterError', code });
    expect(requests).toHaveLength(1);
  });

  it('reconnects with a fresh token after the token has expired', async () => {
    let count = 0;
    const { client, requests, tokens } = await startWith(
      async () => `token-${++count}`,
      [{ resumeToken: 'a', caughtUp: true }, tokenExpired],
      [{ changes: [change('1')], resumeToken: 'b', caughtUp: true }, tokenExpired],
      [{ resumeToken: 'c', caughtUp: true }],
    );
    const { messages, disconnects } = await follow(client, 3);
    expect(messages).toEqual(['[] a', '[1] b', '[] c']);
    expect(tokens).toEqual(['Bearer token-1', 'Bearer token-2', 'Bearer token-3']);
    expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(['', 'a', 'b']);
    expect(disconnects.map(({ reason }) => reason)).toEqual(['CREDENTIALS_EXPIRED', 'CREDENTIALS_EXPIRED']);
  });

  it('throws if the next token has expired as well', async () => {
    const { client, tokens } = await startWith(
      'static',
      [{ resumeToken: 'a', caughtUp: true }, tokenExpired],
      [tokenExpired],
    );
    await expect(follow(client, 2)).rejects.toMatchObject({ reason: 'CREDENTIALS_EXPIRED' });
    expect(tokens).toHaveLength(2);
  });

  it('waits longer after each failure, and starts again with short waits after a message', async () => {
    const { client } = await start(
      [unavailable],
      [unavailable],
      [unavailable],
      [{ resumeToken: 'a', caughtUp: true }, unavailable],
      [{ resumeToken: 'b', caughtUp: true }],
    );
    const waits: number[] = [];
    const feed = client.followUsers({ onDisconnect: (_, retryInMs) => void waits.push(retryInMs) });
    for await (const { resumeToken } of feed) if (resumeToken === 'b') break;
    const [first = 0, second = 0, third = 0, again = 0] = waits;
    expect(waits).toHaveLength(4);
    expect([first, again].every((waitMs) => waitMs >= 50 && waitMs <= 100)).toBe(true);
    expect([second >= 100 && second <= 200, third >= 200 && third <= 400]).toEqual([true, true]);
  });

  it('rejects heartbeats that the contract does not allow', async () => {
    const { client } = await start();
    for (const heartbeatMs of [0, 99, 600_001, Number.NaN]) {
      await expect(follow(client, 1, { heartbeatMs })).rejects.toThrow(RangeError);
    }
  });

  it('switches to another server if there is one', async () => {
    const seen: string[] = [];
    const serve = (name: string) =>
      startScriptedServer({
        async *watchUsers({ resumeToken }) {
          seen.push(`${name} ${resumeToken}`);
          yield { resumeToken: `${resumeToken}${name}`, caughtUp: true };
          throw unavailable;
        },
      });
    await using a = await serve('a');
    await using b = await serve('b');
    using client = createClient({ address: [a.address, b.address] });
    const { messages } = await follow(client, 4);
    const names = messages.map((message) => message.at(-1));
    expect(names[0]).not.toBe(names[1]);
    expect(names.slice(0, 2)).toEqual(names.slice(2));
    expect(seen).toHaveLength(4);
  });
});

describe('a running feed', () => {
  it('ends with the reason of an abort while it waits for a message', async () => {
    const { client, left } = await start([{ resumeToken: 'a', caughtUp: true }]);
    const abort = new AbortController();
    const feed = client.followUsers({ signal: abort.signal })[Symbol.asyncIterator]();
    await feed.next();
    const next = feed.next();
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(next).rejects.toBe(reason);
    expect((await feed.next()).done).toBe(true);
    await vi.waitFor(() => expect(left()).toBe(1), waitOptions);
  });

  it('ends with an abort while it waits for another attempt, and before the first', async () => {
    const { client, requests } = await start([unavailable]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const feed = client.followUsers({
      signal: abort.signal,
      onDisconnect: () => setImmediate(() => abort.abort(reason)),
    });
    await expect(feed[Symbol.asyncIterator]().next()).rejects.toBe(reason);
    await expect(follow(client, 1, { signal: abort.signal })).rejects.toBe(reason);
    expect(requests).toHaveLength(1);
  });

  it.each([
    ['a connection', [{ resumeToken: 'a', caughtUp: true }]],
    ['no connection', [{ resumeToken: 'a', caughtUp: true }, unavailable]],
  ])('ends when the client is closed while it has %s', async (_, steps: readonly Step[]) => {
    const { client } = await start(steps);
    const feed = client.followUsers({ onDisconnect: () => client.close() })[Symbol.asyncIterator]();
    await feed.next();
    const next = feed.next();
    if (steps.length === 1) client.close();
    await expect(next).rejects.toMatchObject({ code: 'CANCELLED', message: 'This client is closed.' });
  });

  // These two tests take as long as the maximum silence: 2 * 100 ms + 5 s.
  it.concurrent('replaces a silent connection', async () => {
    const { client, requests } = await start(
      [{ resumeToken: 'a', caughtUp: true }],
      [{ resumeToken: 'b', caughtUp: true }],
    );
    const { messages, disconnects } = await follow(client, 2, { heartbeatMs: 100 });
    expect(messages).toEqual(['[] a', '[] b']);
    expect(disconnects).toHaveLength(1);
    expect(disconnects[0]).toBeInstanceOf(RosterError);
    expect(disconnects[0]).toMatchObject({ code: 'UNAVAILABLE', message: 'The server sent nothing for 5200 ms.' });
    expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(['', 'a']);
  });

  it.concurrent('does not count a slow reader as silence', async () => {
    const { client, requests } = await start([
      { resumeToken: 'a', caughtUp: true },
      { resumeToken: 'b', caughtUp: true },
    ]);
    const tokens: string[] = [];
    for await (const { resumeToken } of client.followUsers({ heartbeatMs: 100 })) {
      tokens.push(resumeToken);
      if (tokens.length === 2) break;
      await sleep(5_500);
    }
    expect(tokens).toEqual(['a', 'b']);
    expect(requests).toHaveLength(1);
  });
});
