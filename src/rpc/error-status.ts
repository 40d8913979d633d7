/**
 * Encodes the trailers of a failed call: google.rpc.Status with the details that the contract promises.
 *
 * The trailers always stay below 6 KiB on the wire, because clients and proxies refuse more than 8 KiB.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Status } from 'nice-grpc';
import { BadRequest, BadRequest_FieldViolation, ErrorInfo, RequestInfo, RetryInfo } from 'nice-grpc-error-details';
import type { FaultReason, Violation } from '../model/fault.js';

export const errorDetailsKey = 'grpc-status-details-bin';
/** ErrorInfo.domain for all services. */
const errorDomain = 'users.v1';

// Base64 makes 4.5 KiB of it, which is less than 6 KiB together with the message and the other trailers.
const statusBytesMax = 3400;
const statusMessageBytesMax = 1024;

export interface ErrorStatus {
  readonly code: Status;
  readonly message: string;
  readonly reason: FaultReason;
  /** Empty if the call has none. */
  readonly requestId: string;
  readonly violations?: readonly Violation[];
  /** After how long the client may try again. */
  readonly retryMs?: number;
}

/**
 * Encodes the value of grpc-status-details-bin. It leaves out violations that do not fit, and then sets
 * `violations_total` in ErrorInfo.metadata.
 */
export function encodeErrorStatus({ code, message, ...status }: ErrorStatus): Uint8Array {
  const writer = new BinaryWriter().uint32(8).int32(code).uint32(18).string(boundMessage(message));
  for (const { type, value } of errorDetails(status)) writeDetail(writer, type, value);
  return writer.finish();
}

/** One element of google.rpc.Status.details. */
export interface ErrorDetail {
  /** The full name of the message, such as `google.rpc.ErrorInfo`. */
  readonly type: string;
  readonly value: Uint8Array;
}

/** Returns the details that the contract promises for every error. Omits violations that do not fit. */
export function errorDetails({
  reason,
  requestId,
  violations = [],
  retryMs,
}: Pick<ErrorStatus, 'reason' | 'requestId' | 'violations' | 'retryMs'>): ErrorDetail[] {
  const fitting = violations.slice(0, fittingCount(violations, statusBytesMax - statusMessageBytesMax));
  const metadata: Record<string, string> =
    fitting.length < violations.length ? { violations_total: String(violations.length) } : {};
  const errorInfo = ErrorInfo.fromPartial({ reason, domain: errorDomain, metadata });
  const details: ErrorDetail[] = [{ type: ErrorInfo.$type, value: ErrorInfo.encode(errorInfo).finish() }];
  if (fitting.length > 0) {
    const badRequest = BadRequest.fromPartial({ fieldViolations: fitting });
    details.push({ type: BadRequest.$type, value: BadRequest.encode(badRequest).finish() });
  }
  if (retryMs !== undefined) {
    const value = RetryInfo.encode(RetryInfo.fromPartial({ retryDelay: durationOf(retryMs) })).finish();
    details.push({ type: RetryInfo.$type, value });
  }
  if (requestId !== '') {
    const value = RequestInfo.encode(RequestInfo.fromPartial({ requestId })).finish();
    details.push({ type: RequestInfo.$type, value });
  }
  return details;
}

/** Rounded up, so that a client that waits exactly this long is not too early. */
function durationOf(ms: number): { seconds: number; nanos: number } {
  const wholeMs = Math.ceil(ms);
  return { seconds: Math.floor(wholeMs / 1000), nanos: (wholeMs % 1000) * 1_000_000 };
}

/** Writes an Any into google.rpc.Status.details, a repeated field with number 3. */
function writeDetail(writer: BinaryWriter, type: string, value: Uint8Array): void {
  const any = writer.uint32(26).fork();
  any.uint32(10).string(`type.googleapis.com/${type}`).uint32(18).bytes(value).join();
}

function fittingCount(violations: readonly Violation[], bytesMax: number): number {
  // Starts with the size of the other details and of the framing.
  let bytes = 400;
  let count = 0;
  for (const violation of violations) {
    bytes += BadRequest_FieldViolation.encode(BadRequest_FieldViolation.fromPartial(violation)).finish().length + 4;
    if (bytes > bytesMax) break;
    count++;
  }
  return count;
}

/** Makes a message well-formed Unicode, and shortens it so that its percent-encoded header has at most 1 KiB. */
export function boundMessage(message: string): string {
  const text = message.toWellFormed();
  // Percent-encoding turns a UTF-16 unit into at most nine bytes.
  if (text.length * 9 <= statusMessageBytesMax || encodeURI(text).length <= statusMessageBytesMax) return text;
  let bytes = encodeURI('…').length;
  let end = 0;
  for (const character of text) {
    bytes += encodeURI(character).length;
    if (bytes > statusMessageBytesMax) break;
    end += character.length;
  }
  return `${text.slice(0, end)}…`;
}
