import { connect, type IncomingHttpHeaders } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import { createChannel, createClientFactory, Metadata as NiceMetadata } from 'nice-grpc';
import { errorDetailsClientMiddleware, type RetryInfo } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished } from 'vitest';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { createClient } from '../../src/client/index.js';
import { fieldOf } from '../../src/grpc-server/stream.js';
import { allPermissions } from '../../src/policy/method-roles.js';
import type { CallerAccess } from '../../src/rpc/caller-gate.js';
import type { CallerLimits } from '../../src/rpc/caller-limits.js';
import { ada, detailOf, failureOf, startTestServer, storedAda, type TestServer } from './harness.js';

const unlimited: CallerLimits = {
  callsPerSecondMax: 0,
  callsBurst: undefined,
  streamsMax: 1000,
  watchesMax: 1000,
  bytesMax: 1_000_000_000,
};

/** The header `caller` names the caller, and the header `late` makes the check asynchronous. */
const access: CallerAccess = {
  identify(call) {
    const actor = fieldOf(call.fields, 'caller') ?? 'nobody';
    const caller = { actor, kind: 'key' as const, roles: new Set<string>(), permissions: allPermissions };
    return fieldOf(call.fields, 'late') === undefined ? caller : sleep(50).then(() => caller);
  },
  endOf: () => undefined,
};

function serve(limits: Partial<CallerLimits>, methods = {}): Promise<TestServer> {
  const options = { access, callerLimits: { ...unlimited, ...limits } };
  return startTestServer({ getUser: async () => storedAda, ...methods }, options);
}

/** A client with a connection of its own. */
function clientOf(caller: string, { target }: TestServer, headers: Record<string, string> = {}) {
  const channel = createChannel(target, undefined, { 'grpc.use_local_subchannel_pool': 1 });
  onTestFinished(() => channel.close());
  const metadata = NiceMetadata({ caller, ...headers });
  return createClientFactory()
    .use(errorDetailsClientMiddleware)
    .create(UserServiceDefinition, channel, { '*': { metadata } });
}

const { id } = ada;

async function retryDelayOf(call: Promise<unknown>) {
  const info = detailOf(await failureOf(call), 'RetryInfo') as Partial<RetryInfo> | undefined;
  return info?.retryDelay;
}

describe('a limit of calls a second', () => {
  it('refuses the calls of one caller over all its connections, and no call of another caller', async () => {
    const server = await serve({ callsPerSecondMax: 1, callsBurst: 3 });
    const clients = [clientOf('key:one', server), clientOf('key:one', server)];
    for (const index of [0, 1, 0]) await clients[index]?.getUser({ id });
    const error = await failureOf(clientOf('key:one', server).getUser({ id }));
    expect(error.details).toBe('A caller may make 1 calls a second (CALLER_CALLS_PER_SECOND_MAX).');
    expect(detailOf(error, 'ErrorInfo')?.reason).toBe('RATE_LIMITED');
    await failureOf(clientOf('key:one', server).getUser({ id }));
    expect(server.lines.filter(({ msg }) => msg === 'a caller has reached a limit')).toEqual([
      expect.objectContaining({
        level: 'warn',
        caller: 'key:one',
        setting: 'CALLER_CALLS_PER_SECOND_MAX',
        method: 'users.v1.UserService/GetUser',
      }),
    ]);
    await clientOf('key:two', server).getUser({ id });
  });

  it('says in RetryInfo when the next call is admitted', async () => {
    const server = await serve({ callsPerSecondMax: 4, callsBurst: 1 });
    const client = clientOf('key:one', server);
    await client.getUser({ id });
    const { seconds, nanos } = (await retryDelayOf(client.getUser({ id }))) ?? { seconds: 0, nanos: 0 };
    const waitMs = seconds * 1000 + nanos / 1e6;
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(250);
    await sleep(waitMs + 1);
    await client.getUser({ id });
  });

  it('counts calls that the caller may not make', async () => {
    const nothing = { ...allPermissions, methods: new Map() };
    const caller = { actor: 'key:one', kind: 'key' as const, roles: new Set<string>(), permissions: nothing };
    const server = await startTestServer(
      {},
      {
        access: { identify: () => caller, endOf: () => undefined },
        callerLimits: { ...unlimited, callsPerSecondMax: 1 },
      },
    );
    const client = clientOf('key:one', server);
    const reasons = [];
    for (const _ of [1, 2]) reasons.push(detailOf(await failureOf(client.getUser({ id })), 'ErrorInfo')?.reason);
    expect(reasons).toEqual(['ACCESS_DENIED', 'RATE_LIMITED']);
  });

  it('never refuses a health check', async () => {
    const server = await serve({ callsPerSecondMax: 1 });
    const metadata = new Metadata();
    metadata.set('caller', 'key:one');
    for (let count = 0; count < 5; count++) {
      const { code } = await server.call('/grpc.health.v1.Health/Check', Buffer.alloc(0), metadata);
      expect(code).toBe('OK');
    }
  });

  it('counts the callers of an open server by address', async () => {
    const server = await startTestServer(
      { getUser: async () => storedAda },
      { callerLimits: { ...unlimited, callsPerSecondMax: 1 } },
    );
    await clientOf('one', server).getUser({ id });
    expect((await failureOf(clientOf('two', server).getUser({ id }))).details).toMatch(/CALLS_PER_SECOND/);
  });
});

describe('the client', () => {
  it('waits as long as RetryInfo says after RATE_LIMITED, and calls again', async () => {
    const server = await serve({ callsPerSecondMax: 1, callsBurst: 1 });
    const client = createClient({ address: server.target });
    onTestFinished(() => client.close());
    await client.getUser({ id });
    const refused = await client.getUser({ id }, { attemptsMax: 1 }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'RATE_LIMITED' });
    // A backoff without RetryInfo would make the three attempts within 300 ms.
    expect((await client.getUser({ id }, { attemptsMax: 3 })).user?.id).toBe(id);
    const tooShort = client.getUser({ id }, { deadlineMs: 100 });
    await expect(tooShort).rejects.toMatchObject({ reason: 'RATE_LIMITED' });
  });
});

describe('the limits of open streams', () => {
  const endless = {
    async *watchUsers(_: unknown, signal: AbortSignal) {
      yield { changes: [], resumeToken: 'x' };
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  };

  it('count the watches of a caller over all its connections, until they have ended', async () => {
    const server = await serve({ watchesMax: 2 }, endless);
    const stop = new AbortController();
    const watch = async (caller: string, signal = stop.signal) => {
      const responses = clientOf(caller, server).watchUsers({}, { signal })[Symbol.asyncIterator]();
      await responses.next();
      return responses;
    };
    const first = [await watch('key:one'), await watch('key:one')];
    const error = await failureOf(watch('key:one'));
    expect(error.details).toBe('A caller may have 2 open watches (CALLER_WATCHES_MAX).');
    await watch('key:two');
    await clientOf('key:one', server).getUser({ id });
    stop.abort();
    await Promise.all(first.map((responses) => responses.next().catch(() => {})));
    const again = new AbortController();
    await expect
      .poll(() => watch('key:one', again.signal).then(() => 'open', String), { timeout: 10_000 })
      .toBe('open');
    again.abort();
  });

  it('count all streams together', async () => {
    const server = await serve({ streamsMax: 1 }, endless);
    const stop = new AbortController();
    const client = clientOf('key:one', server);
    await client.watchUsers({}, { signal: stop.signal })[Symbol.asyncIterator]().next();
    const exported = client.exportUsers({})[Symbol.asyncIterator]().next();
    expect((await failureOf(exported)).details).toBe('A caller may have 1 open streams (CALLER_STREAMS_MAX).');
    stop.abort();
  });

  it('do not count a call that ended while its credentials were checked', async () => {
    const server = await serve({ watchesMax: 1 }, endless);
    for (let count = 0; count < 3; count++) {
      const late = clientOf('key:one', server, { late: 'true' }).watchUsers({}, { signal: AbortSignal.timeout(20) });
      await expect(late[Symbol.asyncIterator]().next()).rejects.toThrow();
    }
    await sleep(100);
    const stop = new AbortController();
    await clientOf('key:one', server).watchUsers({}, { signal: stop.signal })[Symbol.asyncIterator]().next();
    stop.abort();
  });
});

describe('the limit of bytes', () => {
  const bytesMax = 100_000;
  const message = `A caller may hold ${bytesMax} bytes in unread responses and unfinished requests (CALLER_BYTES_MAX).`;

  it('counts the unfinished requests of a caller over all its connections, until they have ended', async () => {
    const server = await serve({ bytesMax });
    /** Sends the first 60,000 bytes of a larger message. */
    const beginRequest = (caller: string) => {
      const session = connect(`http://${server.target}`);
      onTestFinished(() => session.destroy());
      const stream = session.request({
        ':method': 'POST',
        ':path': '/users.v1.UserService/BatchCreateUsers',
        'content-type': 'application/grpc',
        te: 'trailers',
        caller,
      });
      stream.on('error', () => {});
      const bytes = Buffer.alloc(60_000);
      bytes.writeUInt32BE(200_000, 1);
      stream.write(bytes);
      const ended = new Promise<IncomingHttpHeaders>((resolve) => stream.once('response', resolve));
      return { stream, ended };
    };
    const first = beginRequest('key:one');
    beginRequest('key:two');
    const { ended } = beginRequest('key:one');
    const status = await Promise.race([ended, first.ended]);
    expect(status['grpc-status']).toBe('8');
    expect(decodeURIComponent(String(status['grpc-message']))).toBe(message);
    await clientOf('key:one', server).getUser({ id });
    first.stream.close();
    await expect
      .poll(
        async () => {
          const next = beginRequest('key:one');
          const outcome = await Promise.race([next.ended.then(() => 'refused'), sleep(300).then(() => 'held')]);
          if (outcome === 'refused') next.stream.close();
          return outcome;
        },
        { timeout: 10_000 },
      )
      .toBe('held');
  });

  it('counts the unread responses of calls from the gateway', async () => {
    const server = await serve(
      { bytesMax },
      {
        async *watchUsers() {
          for (;;) yield { changes: [], resumeToken: 'x'.repeat(10_000) };
        },
      },
    );
    const watch = (caller: string) => {
      const host = '127.0.0.1';
      const connection = { peer: `${host}:1`, host, certificate: () => undefined, heldBytes: 0 };
      const fields = [':method', 'POST', ':path', '/users.v1.UserService/WatchUsers'];
      const stream = server.callInProcess(
        [...fields, 'content-type', 'application/grpc', 'caller', caller],
        connection,
      );
      onTestFinished(() => stream.cancel());
      void stream.send(Buffer.alloc(5));
      stream.endRequest();
      return stream;
    };
    // Each holds 64 KiB, so that the second one of the same caller is too much.
    for (const caller of ['key:one', 'key:two', 'key:one']) watch(caller);
    const reasons = () => server.callLines('warn').map(({ reason }) => reason);
    await expect.poll(reasons, { timeout: 10_000 }).toEqual(['RATE_LIMITED']);
    expect(server.lines.flatMap(({ setting, caller }) => (setting === undefined ? [] : [[setting, caller]]))).toEqual([
      ['CALLER_BYTES_MAX', 'key:one'],
    ]);
  });
});
