/** Decides which calls the audit log records, and with which event. */
import type { CallInfo } from '../grpc-server/observer.js';
import type { AuditDetails, AuditLog, AuditRecord } from '../telemetry/audit-log.js';
import { callerOfCall } from './caller-gate.js';

type RecordedEvent = Exclude<AuditRecord['event'], 'key' | 'refused'>;

/** The methods that are recorded. Reads of single users and of lists are not. */
export const eventsOfMethods: Readonly<Record<string, RecordedEvent>> = {
  '/users.v1.UserService/CreateUser': 'write',
  '/users.v1.UserService/UpdateUser': 'write',
  '/users.v1.UserService/DeleteUser': 'write',
  '/users.v1.UserService/BatchCreateUsers': 'write',
  '/profileservice.ProfileService/CreateProfile': 'write',
  '/users.v1.UserService/ImportUsers': 'import',
  '/users.v1.UserService/ExportUsers': 'export',
  '/users.v1.UserService/WatchUsers': 'watch',
};

// After these, the database may have committed the write, or may still do so.
const uncertainStatuses: ReadonlySet<string> = new Set([
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'UNAVAILABLE',
  'UNKNOWN',
]);

/** The part of a call's record that describes its end. */
export type CallEnd = Pick<AuditRecord, 'method' | 'reason' | 'requestId' | 'durationMs'> & { readonly status: string };

interface RecordedEnd extends CallEnd {
  /** Whether the database may have committed a write, or may still do so. */
  readonly mayBeWritten: boolean;
}

/** Records the end of a call. `details` are what its handler has done so far. */
export function recordCall(
  audit: AuditLog,
  call: CallInfo,
  { mayBeWritten, ...end }: RecordedEnd,
  details: AuditDetails | undefined,
): void {
  const caller = callerOfCall(call);
  const who = { actor: caller?.actor ?? '', credential: caller?.kind, peer: call.peer };
  if (isRefused(end)) {
    audit.recordRefusal({ event: 'refused', ...who, ...end });
    return;
  }
  const event = eventsOfMethods[call.path];
  // Without a caller, nothing of the call has run.
  if (event === undefined || caller === undefined) return;
  const outcome = mayBeWritten && uncertainStatuses.has(end.status) ? 'unknown' : undefined;
  audit.record({ event, ...who, ...end, details: { outcome, ...details } });
}

function isRefused({ status, reason }: CallEnd): boolean {
  return status === 'UNAUTHENTICATED' || status === 'PERMISSION_DENIED' || reason === 'RATE_LIMITED';
}

/** Records that a stream of many users' data begins, because it may be open for days. */
export function recordBegin(audit: AuditLog, call: CallInfo, method: string, requestId: string): void {
  const event = eventsOfMethods[call.path];
  const caller = callerOfCall(call);
  if (event === undefined || caller === undefined) return;
  const who = { actor: caller.actor, credential: caller.kind, peer: call.peer };
  audit.record({ event, ...who, method, requestId, details: { phase: 'begin' } });
}
