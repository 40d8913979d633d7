import { Metadata } from '@grpc/grpc-js';
import { ServerError, Status } from 'nice-grpc';
import { describe, expect, it, vi } from 'vitest';
import { emailTaken, Fault, type FaultReason, faultCodes } from '../../src/model/fault.js';
import { ada, detailOf, failureOf, startTestServer, typedClient } from './harness.js';

const id = ada.id;

/** Far longer than the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

describe('the status of a failed call', () => {
  it.each(Object.entries(faultCodes))('of %s is %s, with ErrorInfo and the request id', async (reason, code) => {
    const server = await startTestServer({
      getUser: async () => {
        throw new Fault(reason as FaultReason, 'Why it fails.');
      },
    });
    const error = await failureOf(typedClient(server.target).getUser({ id }));
    expect(Status[error.code]).toBe(code);
    expect(error.details).toBe('Why it fails.');
    expect(detailOf(error, 'ErrorInfo')).toMatchObject({ reason, domain: 'users.v1', metadata: {} });
    expect(detailOf(error, 'BadRequest')).toBeUndefined();
    const [line] = server.callLines();
    expect(line).toMatchObject({ status: code, reason, method: 'users.v1.UserService/GetUser' });
    expect(detailOf(error, 'RequestInfo')).toMatchObject({ requestId: line?.requestId });
  });

  it('has all bad fields at once', async () => {
    const server = await startTestServer();
    const error = await failureOf(
      typedClient(server.target).batchCreateUsers({ users: [{ firstName: 'Ada' }, { email: 'bob@example.com' }] }),
    );
    expect(Status[error.code]).toBe('INVALID_ARGUMENT');
    expect(detailOf(error, 'BadRequest')).toMatchObject({
      fieldViolations: [{ field: 'users[0].email' }, { field: 'users[1].first_name' }],
    });
  });

  it('says that a missing user is required', async () => {
    const server = await startTestServer();
    const client = typedClient(server.target);
    for (const call of [client.createUser({}), client.updateUser({})]) {
      expect((await failureOf(call)).details).toBe('user: is required');
    }
  });

  it('has the path of an email that is taken', async () => {
    const server = await startTestServer({
      createUser: async () => {
        throw emailTaken('user.email');
      },
    });
    const user = { firstName: 'Ada', email: 'ada@example.com' };
    const error = await failureOf(typedClient(server.target).createUser({ user }));
    expect(Status[error.code]).toBe('ALREADY_EXISTS');
    expect(detailOf(error, 'BadRequest')).toMatchObject({ fieldViolations: [{ field: 'user.email' }] });
  });

  it('has only violations that fit into 6 KiB of trailers, and their total number', async () => {
    const violations = Array.from({ length: 4000 }, (_, index) => ({
      field: `users[${index}].first_name`,
      description: 'must have 1 to 256 characters, at least one of them visible',
    }));
    const server = await startTestServer({
      getUser: async () => {
        throw new Fault('INVALID_FIELD', 'ü'.repeat(5000), violations);
      },
    });
    const client = typedClient(server.target);
    const error = await failureOf(client.getUser({ id }));
    const badRequest = detailOf(error, 'BadRequest') as { fieldViolations: unknown[] };
    expect(badRequest.fieldViolations.length).toBeGreaterThan(20);
    expect(badRequest.fieldViolations[0]).toMatchObject(violations[0] ?? {});
    expect(detailOf(error, 'ErrorInfo')).toMatchObject({ metadata: { violations_total: '4000' } });
    expect(error.details).toMatch(/^ü+…$/);

    const { trailer } = await server.call('/users.v1.UserService/GetUser', Buffer.from(`\n\x24${id}`));
    const details = trailer.get('grpc-status-details-bin')[0] as Buffer;
    expect(Math.ceil(details.length / 3) * 4 + encodeURI(error.details).length).toBeLessThan(6000);
  });

  it('is INTERNAL with a fixed text for a bug, and the log has the error', async () => {
    const server = await startTestServer({
      getUser: async () => {
        throw new TypeError('a secret of the implementation');
      },
    });
    const error = await failureOf(typedClient(server.target).getUser({ id }));
    const requestId = server.callLines()[0]?.requestId;
    expect(Status[error.code]).toBe('INTERNAL');
    expect(error.details).toBe(`An internal error occurred. The server's log has it under request id ${requestId}.`);
    expect(detailOf(error, 'ErrorInfo')).toMatchObject({ reason: 'INTERNAL' });
    expect(JSON.stringify(error.extra)).not.toContain('secret');
    const bug = server.lines.find(({ msg }) => msg === 'a call failed with a bug');
    expect(bug).toMatchObject({ level: 'error', requestId, error: { message: 'a secret of the implementation' } });
  });

  it('is INTERNAL for a response that cannot be encoded, and the log has the request id and the stack', async () => {
    const broken = { bytes: undefined as never, start: 0, end: 0 };
    const server = await startTestServer({
      getUser: async () => broken,
      async *exportUsers() {
        yield { users: [broken], resumeToken: '', watchToken: '' };
      },
    });
    const client = typedClient(server.target);
    const readAll = async () => {
      for await (const message of client.exportUsers({})) expect(message).toBeUndefined();
    };
    for (const [index, call] of [() => client.getUser({ id }), readAll].entries()) {
      const error = await failureOf(call());
      await vi.waitUntil(() => server.callLines().length === index + 1, waitOptions);
      const requestId = server.callLines()[index]?.requestId;
      expect(Status[error.code]).toBe('INTERNAL');
      expect(error.details).toBe(`An internal error occurred. The server's log has it under request id ${requestId}.`);
      expect(detailOf(error, 'ErrorInfo')).toMatchObject({ reason: 'INTERNAL' });
      expect(detailOf(error, 'RequestInfo')).toMatchObject({ requestId });
      const bug = server.lines.findLast(({ msg }) => msg === 'a call failed with a bug');
      expect(bug).toMatchObject({ level: 'error', requestId, error: { stack: expect.stringContaining('user-codec') } });
    }
    expect(server.callLines()).toMatchObject([{ status: 'INTERNAL' }, { status: 'INTERNAL' }]);
  });

  it('logs a cause, at most once a second as a warning', async () => {
    const server = await startTestServer({
      getUser: async () => {
        throw new Fault('DATABASE_UNAVAILABLE', 'Cannot reach the database.', [], { cause: new Error('refused') });
      },
    });
    const client = typedClient(server.target);
    const errors = await Promise.all([1, 2, 3].map(() => failureOf(client.getUser({ id }))));
    expect(JSON.stringify(errors.map(({ extra }) => extra))).not.toContain('refused');
    const causes = server.lines.filter(({ msg }) => msg === 'a call failed');
    expect(causes).toHaveLength(3);
    expect(causes[0]).toMatchObject({ level: 'warn', error: { cause: { message: 'refused' } } });
    let warnedMs = 0;
    for (const { level, time } of causes) {
      const sinceMs = Date.parse(String(time)) - warnedMs;
      // A line may be written a little later than its rate limit was checked.
      if (Math.abs(sinceMs - 1000) > 200) expect(level).toBe(sinceMs < 1000 ? 'debug' : 'warn');
      if (level === 'warn') warnedMs = Date.parse(String(time));
    }
  });

  it('of a library does not change', async () => {
    const server = await startTestServer({
      getUser: async () => {
        throw new ServerError(Status.FAILED_PRECONDITION, 'as it is');
      },
    });
    const { code, details } = await server.call('/users.v1.UserService/GetUser', Buffer.from(`\n\x24${id}`));
    expect({ code, details }).toEqual({ code: 'FAILED_PRECONDITION', details: 'as it is' });
  });
});

describe('a call that ends before its response', () => {
  const untilAborted = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

  it('is logged as CANCELLED if the client cancels it, and its signal aborts', async () => {
    let begun = false;
    let fired = false;
    const server = await startTestServer({
      getUser: async (_, signal) => {
        begun = true;
        return untilAborted(signal).finally(() => {
          fired = true;
        });
      },
    });
    const caller = new AbortController();
    const call = typedClient(server.target).getUser({ id }, { signal: caller.signal });
    await vi.waitUntil(() => begun, waitOptions);
    caller.abort();
    await expect(call).rejects.toThrow(/abort/);
    await vi.waitUntil(() => fired && server.callLines().length > 0, waitOptions);
    expect(server.callLines()).toHaveLength(1);
    expect(server.callLines()[0]).toMatchObject({ status: 'CANCELLED', reason: 'CALL_CANCELLED', level: 'info' });
    expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('is logged as DEADLINE_EXCEEDED if its deadline passes, and its signal aborts', async () => {
    let fired = false;
    const server = await startTestServer({
      getUser: (_, signal) =>
        untilAborted(signal).finally(() => {
          fired = true;
        }),
    });
    // Set the header directly, because the client would end the call at its own deadline first.
    const metadata = new Metadata();
    metadata.set('grpc-timeout', '500m');
    const answer = await server.call('/users.v1.UserService/GetUser', Buffer.from(`\n\x24${id}`), metadata);
    expect(answer.code).toBe('DEADLINE_EXCEEDED');
    expect(answer.trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('DEADLINE_PASSED');
    await vi.waitUntil(() => fired && server.callLines().length > 0, waitOptions);
    expect(server.callLines()).toHaveLength(1);
    const [line] = server.callLines();
    expect(line).toMatchObject({ status: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_PASSED' });
    expect(line?.deadlineMs).toBeGreaterThan(0);
    expect(line?.deadlineMs).toBeLessThanOrEqual(500);
  });

  it('fails as cancelled and not as a bug if a handler aborts itself', async () => {
    const server = await startTestServer({
      getUser: async () => {
        throw new DOMException('aborted', 'AbortError');
      },
    });
    const error = await failureOf(typedClient(server.target).getUser({ id }));
    expect(detailOf(error, 'ErrorInfo')).toMatchObject({ reason: 'CALL_CANCELLED' });
  });
});
