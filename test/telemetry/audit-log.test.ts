/** The lines of the audit log, and how many refused calls it records. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type AuditRecord, openAuditLog, recordOnce } from '../../src/telemetry/audit-log.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-audit-'));
  path = join(folder, 'audit.log');
});
afterEach(() => rm(folder, { recursive: true }));

const linesOf = async () =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

const write: AuditRecord = { event: 'write', actor: 'key:billing', credential: 'key', method: 'm', status: 'OK' };
const refusal: AuditRecord = { event: 'refused', actor: '', method: 'm', status: 'UNAUTHENTICATED' };

function opened() {
  const audit = openAuditLog({ file: path });
  if (audit === undefined) throw new Error('The audit log is off.');
  return audit;
}

describe('the audit log', () => {
  it('is off by default', () => {
    expect(openAuditLog('off')).toBeUndefined();
  });

  it('writes one line of JSON for each record, with at most 100 ids and their number', async () => {
    const audit = opened();
    const ids = Array.from({ length: 101 }, (_, n) => `id-${n}`);
    audit.record({ ...write, requestId: 'r-1', peer: '10.0.0.1:5', durationMs: 1.23456, details: { ids } });
    audit.record({ event: 'import', actor: '', method: 'm', status: 'OK', details: { created: 3, committed: true } });
    await audit.close();
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/);
    expect(await linesOf()).toEqual([
      {
        time,
        log: 'audit',
        ...write,
        requestId: 'r-1',
        peer: '10.0.0.1:5',
        durationMs: 1.23,
        users: 101,
        ids: ids.slice(0, 100),
      },
      { time, log: 'audit', event: 'import', actor: '', method: 'm', status: 'OK', created: 3, committed: true },
    ]);
  });

  it('bounds the refused calls, counts the rest, and keeps those of known callers apart', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const audit = opened();
    for (let n = 0; n < 1000; n++) audit.recordRefusal(refusal);
    audit.recordRefusal({ ...refusal, actor: 'key:billing', credential: 'key' });
    vi.advanceTimersByTime(10_000);
    audit.recordRefusal(refusal);
    vi.useRealTimers();
    await audit.close();
    const lines = await linesOf();
    expect(lines.filter(({ event }) => event === 'omitted')).toMatchObject([
      { reason: 'TOO_MANY_REFUSALS', callers: 'unknown', records: 950 },
    ]);
    expect(lines.filter(({ actor }) => actor === 'key:billing')).toHaveLength(1);
    expect(lines).toHaveLength(50 + 1 + 1 + 1);
  });

  it('keeps the refused calls of known callers apart, up to a number of callers', async () => {
    const audit = opened();
    const known = (actor: string) => audit.recordRefusal({ ...refusal, actor, credential: 'key' });
    for (let n = 0; n < 60; n++) known('key:busy');
    known('key:curious');
    for (let n = 0; n < 1000; n++) known(`corp:${n}`);
    await audit.close();
    const lines = await linesOf();
    expect(lines.filter(({ actor, event }) => event === 'refused' && actor === 'key:curious')).toHaveLength(1);
    expect(lines.filter(({ event }) => event === 'omitted')).toMatchObject([
      { callers: 'known', actor: 'key:busy', records: 10 },
      { callers: 'known', records: 1000 - 18 - 50 },
    ]);
    expect(lines).toHaveLength(50 + 1 + 18 + 50 + 2);
  });

  it('counts the refused calls of its last seconds when it is closed', async () => {
    const audit = opened();
    for (let n = 0; n < 60; n++) audit.recordRefusal(refusal);
    await audit.close();
    expect((await linesOf()).at(-1)).toMatchObject({ event: 'omitted', records: 10 });
  });

  it('logs an error once if it cannot write, and when it works again how many records are lost', async () => {
    const logged: [object, string][] = [];
    const log = {
      error: (fields: object, message: string) => void logged.push([fields, message]),
      info: (fields: object, message: string) => void logged.push([fields, message]),
    };
    let failures = 0;
    const audit = openAuditLog({ file: join(folder, 'missing', 'audit.log') }, { log, onFailure: () => failures++ });
    audit?.record(write);
    await vi.waitUntil(() => failures > 1, { timeout: 30_000 });
    await audit?.close();
    expect(logged).toEqual([
      [{ error: expect.objectContaining({ code: 'ENOENT' }) }, expect.stringContaining('cannot write the audit log')],
      [{ lost: 1 }, expect.stringContaining('are lost')],
    ]);
  });
});

describe('a record of a command', () => {
  it('is written before the command ends, or fails', async () => {
    const record: AuditRecord = {
      event: 'key',
      actor: '',
      method: 'roster key create',
      status: 'OK',
      details: { key: 'abc' },
    };
    await recordOnce({ file: path }, record);
    expect(await linesOf()).toMatchObject([{ event: 'key', method: 'roster key create', key: 'abc' }]);
    await expect(recordOnce({ file: join(folder, 'missing', 'x') }, record)).rejects.toMatchObject({ code: 'ENOENT' });
    await recordOnce('off', record);
  });
});
