/** Which calls the audit log records, and that a record has no personal data. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata } from 'nice-grpc';
import { describe, expect, it, vi } from 'vitest';
import type { Caller } from '../../src/model/caller.js';
import { Fault } from '../../src/model/fault.js';
import type { Directory } from '../../src/operations/directory.js';
import { anyone, methodRoles } from '../../src/policy/method-roles.js';
import { eventsOfMethods } from '../../src/rpc/call-audit.js';
import type { AuditLog, AuditRecord } from '../../src/telemetry/audit-log.js';
import { ada, startTestServer, storedAda, typedClient } from './harness.js';

const waitOptions = { timeout: 30_000 };
const planted = 'planted@example.com';
const user = { firstName: 'Planted', email: planted, attributes: { secret: 'planted' } };

function auditInto(records: AuditRecord[]): AuditLog {
  return {
    record: (record) => void records.push(structuredClone(record)),
    recordRefusal: (record) => void records.push(structuredClone(record)),
    close: async () => {},
  };
}

const billing: Caller = { ...anyone, actor: 'key:billing', kind: 'key' };

async function startAudited(methods: Partial<Directory>, caller: Caller | Fault = billing) {
  const records: AuditRecord[] = [];
  const access = { identify: () => caller, endOf: () => undefined };
  const server = await startTestServer(methods, { audit: auditInto(records), access });
  const endOf = async (method: string) => {
    await vi.waitUntil(() => server.callLines().length > 0, waitOptions);
    return records.filter((record) => record.method === `users.v1.UserService/${method}`);
  };
  return { client: typedClient(server.target), server, records, endOf };
}

const who = { actor: 'key:billing', credential: 'key', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) };

/** A directory that reports the ids of its writes. */
const writes: Partial<Directory> = {
  async createUser(_request, _signal, author) {
    author?.onUsers?.([ada.id]);
    return ada;
  },
  async deleteUser({ id }, _signal, author) {
    author?.onUsers?.([id]);
  },
};

describe('the audit log of calls', () => {
  it('has who called, the request id and the ids of a write, and nothing of its values', async () => {
    const { client, records, endOf } = await startAudited(writes);
    const metadata = Metadata({ 'x-request-id': 'job-7' });
    await client.createUser({ user }, { metadata });
    expect(await endOf('CreateUser')).toEqual([
      {
        event: 'write',
        ...who,
        method: 'users.v1.UserService/CreateUser',
        status: 'OK',
        requestId: 'job-7',
        durationMs: expect.any(Number),
        details: { ids: [ada.id] },
      },
    ]);
    expect(JSON.stringify(records)).not.toMatch(/planted|ada@/i);
  });

  it('has failed writes with their status and reason, and says if the outcome is unknown', async () => {
    const { client, records } = await startAudited({
      ...writes,
      async updateUser({ id }, _signal, author) {
        author?.onUsers?.([id]);
        throw new Fault('ETAG_MISMATCH', 'The user has changed.');
      },
      async createUser(_request, signal, author) {
        author?.onUsers?.([ada.id]);
        await sleep(60_000, undefined, { signal });
        return ada;
      },
    });
    await client.updateUser({ user: { ...user, id: ada.id }, updateMask: ['email'] }).catch(() => {});
    await client.createUser({ user: { email: planted } }).catch(() => {});
    const cancelled = new AbortController();
    const call = client.createUser({ user }, { signal: cancelled.signal }).catch(() => {});
    await sleep(100);
    cancelled.abort();
    await call;
    await vi.waitUntil(() => records.length === 3, waitOptions);
    expect(records).toMatchObject([
      { event: 'write', status: 'ABORTED', reason: 'ETAG_MISMATCH', details: { outcome: undefined, ids: [ada.id] } },
      { event: 'write', status: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', details: { outcome: undefined } },
      { event: 'write', status: 'CANCELLED', details: { outcome: 'unknown', ids: [ada.id] } },
    ]);
    expect(JSON.stringify(records)).not.toMatch(/planted/i);
  });

  it('has the counts of imports', async () => {
    const report = { committed: true, created: 2, updated: 1, skipped: 0, rejected: 1 };
    const errors = [{ row: 0, field: 'email', reason: 'INVALID_FIELD', message: planted } as const];
    const { client, endOf, records } = await startAudited({
      async importUsers(parts) {
        for await (const _ of parts);
        return { ...report, errors };
      },
    });
    await client.importUsers(
      (async function* () {
        yield { options: {}, users: [user], totalRows: 1 };
      })(),
    );
    expect(await endOf('ImportUsers')).toMatchObject([{ event: 'import', ...who, status: 'OK', details: report }]);
    expect(JSON.stringify(records)).not.toMatch(/planted/i);
  });

  it('does not say that the outcome of an import is unknown if it was refused before its commit', async () => {
    const failure = new Fault('DATABASE_UNAVAILABLE', 'The server cannot reach the database.');
    const { client, records } = await startAudited({
      async importUsers(parts, _signal, author) {
        for await (const { options } of parts) if (options?.keepGoing) author?.onCommitting?.();
        throw failure;
      },
    });
    const importOf = async function* (keepGoing: boolean) {
      yield { options: { keepGoing }, users: [user], totalRows: 1 };
    };
    await expect(client.importUsers(importOf(false))).rejects.toThrow();
    await expect(client.importUsers(importOf(true))).rejects.toThrow();
    await vi.waitUntil(() => records.length === 2, waitOptions);
    expect(records).toMatchObject([
      { event: 'import', status: 'UNAVAILABLE', details: { outcome: undefined } },
      { event: 'import', status: 'UNAVAILABLE', details: { outcome: 'unknown' } },
    ]);
  });

  it('has the beginning and the end of exports and watches, with how much they sent', async () => {
    const { client, records } = await startAudited({
      async *exportUsers() {
        yield { users: [storedAda, storedAda], resumeToken: 'a', watchToken: '' };
        yield { users: [storedAda], resumeToken: 'b', watchToken: 'c' };
      },
      async *watchUsers(_request, signal) {
        const change = { type: 'existing', userId: ada.id, user: ada, changeTime: ada.updateTime } as const;
        yield { changes: [change], resumeToken: '', caughtUp: false };
        await sleep(60_000, undefined, { signal });
      },
    });
    for await (const _ of client.exportUsers({ filter: `email == "${planted}"` }));
    for await (const _ of client.watchUsers({ includeExisting: true })) break;
    await vi.waitUntil(() => records.length === 4, waitOptions);
    expect(records).toMatchObject([
      { event: 'export', ...who, details: { phase: 'begin' } },
      { event: 'export', ...who, status: 'OK', details: { phase: 'end', sent: 3 } },
      { event: 'watch', ...who, details: { phase: 'begin' } },
      { event: 'watch', ...who, status: 'CANCELLED', details: { phase: 'end', sent: 1 } },
    ]);
    expect(records[0]?.requestId).toBe(records[1]?.requestId);
    expect(JSON.stringify(records)).not.toMatch(/planted|ada@/i);
  });

  it('has no reads', async () => {
    const { client, records } = await startAudited({
      getUser: async () => storedAda,
      listUsers: async () => ({ users: [storedAda], nextPageToken: '', totalSize: undefined }),
    });
    await client.getUser({ id: ada.id });
    await client.listUsers({ filter: `email == "${planted}"` });
    await client.getCaller({});
    expect(records).toEqual([]);
  });

  it('has refused calls, of callers that are unknown or may not make the call', async () => {
    const refused = await startAudited({}, new Fault('CREDENTIALS_INVALID', 'The token is not valid.'));
    await refused.client.getUser({ id: ada.id }).catch(() => {});
    expect(await refused.endOf('GetUser')).toEqual([
      {
        event: 'refused',
        actor: '',
        credential: undefined,
        peer: who.peer,
        method: 'users.v1.UserService/GetUser',
        status: 'UNAUTHENTICATED',
        reason: 'CREDENTIALS_INVALID',
        requestId: expect.any(String),
        durationMs: expect.any(Number),
      },
    ]);

    const nothing: Caller = { ...billing, permissions: { ...anyone.permissions, methods: new Map() } };
    const denied = await startAudited(writes, nothing);
    await denied.client.createUser({ user }).catch(() => {});
    expect(await denied.endOf('CreateUser')).toMatchObject([
      { event: 'refused', ...who, status: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' },
    ]);
    expect(JSON.stringify(denied.records)).not.toMatch(/planted/i);
  });

  it('has no calls of methods that do not exist, whose names may be anything', async () => {
    const { server, records } = await startAudited({}, new Fault('CREDENTIALS_MISSING', 'Send a token.'));
    await server.call('/planted.Service/Planted', Buffer.alloc(0));
    await vi.waitUntil(() => server.callLines().length === 1, waitOptions);
    expect(records).toEqual([]);
  });

  it('has every method that writes users or sends many', () => {
    const roles = ['writer', 'bulk'];
    const paths = Object.keys(methodRoles).filter((path) => roles.includes(methodRoles[path] ?? ''));
    expect(Object.keys(eventsOfMethods).sort()).toEqual(paths.sort());
  });
});
