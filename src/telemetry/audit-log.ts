/**
 * The audit log: one JSON line for each write, import, export, watch, change of an API key, and refused call.
 *
 * It contains no data of users except ids. Apart from the names and addresses of callers, and the request ids that clients
 * choose, its values are from closed lists. If it cannot be written, the server goes on
 * (docs/decisions/0039-the-audit-log-does-not-stop-the-service.md).
 */
import { AppendFile } from './append-file.js';
import { type LogDestination, standardOutput } from './line-writer.js';
import type { Log } from './log.js';

/** The value of AUDIT_LOG. */
export type AuditTarget = 'off' | 'stdout' | { readonly file: string };

/** A line of the audit log, without its time. */
export interface AuditRecord {
  readonly event: 'write' | 'import' | 'export' | 'watch' | 'key' | 'refused';
  /** `Caller.actor`. Empty if nobody had to say who calls, or if the credentials were not accepted. */
  readonly actor: string;
  /** `Caller.kind`. Undefined if the credentials were not accepted. */
  readonly credential?: string;
  /** Such as `users.v1.UserService/CreateUser`, or the name of a command. */
  readonly method: string;
  /** Undefined at the beginning of a stream. */
  readonly status?: string;
  readonly reason?: string;
  readonly requestId?: string;
  readonly peer?: string;
  readonly durationMs?: number;
  readonly details?: AuditDetails;
}

export interface AuditDetails {
  /** Set if it is unknown whether the database has committed the write. */
  readonly outcome?: 'unknown';
  /** The users of a write. At most `idsMax` of them are written. */
  readonly ids?: readonly string[];
  /** The users that an export has sent, or the changes that a watch has sent. */
  readonly sent?: number;
  /** An import's report. */
  readonly created?: number;
  readonly updated?: number;
  readonly skipped?: number;
  readonly rejected?: number;
  readonly committed?: boolean;
  /** The id of an API key, its name, and the roles of a new one. */
  readonly key?: string;
  readonly name?: string;
  readonly roles?: readonly string[];
  /** A stream is recorded when it begins and when it ends. */
  readonly phase?: 'begin' | 'end';
}

export interface AuditLog {
  record(record: AuditRecord): void;
  /** Records a refused call, unless too many are refused. Those are only counted. */
  recordRefusal(record: AuditRecord): void;
  /** Resolves when everything has been written, or cannot be written. */
  close(): Promise<void>;
}

export interface AuditLogOptions {
  readonly log?: Pick<Log, 'error' | 'info'>;
  /** Replaces standard output. */
  readonly destination?: LogDestination;
  /** Called for each failed attempt to write. */
  onFailure?(): void;
}

const idsMax = 100;
// An attacker without credentials must not fill the disk: this is about 2 KB a second.
const refusalsMax = 50;
const refusalsEveryMs = 10_000;
// Known callers beyond these share a bound.
const boundedActorsMax = 20;

/** Returns undefined if nothing is recorded. */
export function openAuditLog(target: AuditTarget, options: AuditLogOptions = {}): AuditLog | undefined {
  if (target === 'off') return undefined;
  if (target === 'stdout') {
    return createAuditLog(options.destination ?? standardOutput, async () => {});
  }
  const { log, onFailure } = options;
  let lost = 0;
  const file = new AppendFile(target.file, {
    onFailure(error) {
      if (error !== undefined) log?.error({ error }, 'cannot write the audit log; calls are served without it');
      else {
        log?.info({ lost }, 'the audit log is written again');
        if (lost > 0) write({ event: 'omitted', reason: 'AUDIT_LOG_FAILED', records: lost });
        lost = 0;
      }
    },
    onAttemptFailed: onFailure,
    onLost(lines) {
      lost += lines;
    },
  });
  const write = (line: object) => file.write(lineOf(line));
  return createAuditLog(file, async () => {
    await file.close();
    if (lost > 0) log?.error({ lost }, 'records of the audit log are lost');
  });
}

/** Records one event of a command, which has no server. Throws if that is impossible. */
export async function recordOnce(target: AuditTarget, record: AuditRecord): Promise<void> {
  let failure: unknown;
  const audit = openAuditLog(target, {
    log: {
      info: () => {},
      error(fields) {
        failure ??= 'error' in fields ? fields.error : undefined;
      },
    },
  });
  audit?.record(record);
  await audit?.close();
  if (failure !== undefined) throw failure;
}

function createAuditLog(destination: LogDestination, close: () => Promise<void>): AuditLog {
  const write = (line: object) => destination.write(lineOf(line));
  const record = (each: AuditRecord) => write(fieldsOf(each));
  const refusals = boundRefusals(write);
  return {
    record,
    recordRefusal(refusal) {
      if (refusals.isDue(refusal)) record(refusal);
    },
    async close() {
      refusals.flush();
      await close();
    },
  };
}

/**
 * Allows `refusalsMax` records in `refusalsEveryMs`, and then writes how many more there were. A flood of one caller, or of
 * calls without valid credentials, does not hide what another caller tried.
 */
function boundRefusals(write: (line: object) => void) {
  interface Count {
    readonly callers: object;
    calls: number;
  }
  const counts = new Map<string, Count>();
  let timer: NodeJS.Timeout | undefined;
  const countOf = (key: string, callers: object): Count => {
    const found = counts.get(key);
    if (found !== undefined) return found;
    const count = { callers, calls: 0 };
    counts.set(key, count);
    return count;
  };
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    for (const { callers, calls } of counts.values()) {
      const records = calls - refusalsMax;
      if (records > 0) write({ event: 'omitted', reason: 'TOO_MANY_REFUSALS', ...callers, records });
    }
    counts.clear();
  };
  return {
    isDue({ credential, actor }: AuditRecord): boolean {
      timer ??= setTimeout(flush, refusalsEveryMs).unref();
      // No actor begins with a space.
      if (credential === undefined) return ++countOf(' unknown', { callers: 'unknown' }).calls <= refusalsMax;
      const isOwn = counts.has(actor) || counts.size < boundedActorsMax;
      const count = isOwn ? countOf(actor, { callers: 'known', actor }) : countOf(' known', { callers: 'known' });
      return ++count.calls <= refusalsMax;
    },
    flush,
  };
}

function fieldsOf({ details = {}, durationMs, ...record }: AuditRecord): object {
  const { ids, ...counts } = details;
  return {
    ...record,
    durationMs: durationMs === undefined ? undefined : Math.round(durationMs * 100) / 100,
    ...counts,
    ...(ids !== undefined && { users: ids.length, ids: ids.slice(0, idsMax) }),
  };
}

function lineOf(fields: object): string {
  return `${JSON.stringify({ time: new Date().toISOString(), log: 'audit', ...fields })}\n`;
}
