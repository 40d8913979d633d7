/**
 * What goes into the trailers of a call that failed: google.rpc.Status with the details that the contract promises.
 *
 * Whatever it is given, the trailers stay under 6 KiB on the wire: clients and proxies refuse more than 8 KiB.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Status } from 'nice-grpc';
import { BadRequest, BadRequest_FieldViolation, ErrorInfo, RequestInfo } from 'nice-grpc-error-details';
import type { FaultReason, Violation } from '../model/fault.js';

export const errorDetailsKey = 'grpc-status-details-bin';
/** ErrorInfo.domain, for calls of every service here. */
export const errorDomain = 'users.v1';

// In base64 it grows by a third: 4.5 KiB, which with the message and the rest is less than 6.
const statusBytesMax = 3400;
const statusMessageBytesMax = 1024;

export interface ErrorStatus {
  readonly code: Status;
  readonly message: string;
  readonly reason: FaultReason;
  readonly requestId: string;
  readonly violations?: readonly Violation[];
}

/**
 * The value of grpc-status-details-bin. Violations that do not fit are left out, and ErrorInfo.metadata then has
 * `violations_total`.
 */
export function encodeErrorStatus({ code, message, ...status }: ErrorStatus): Uint8Array {
  const writer = new BinaryWriter().uint32(8).int32(code).uint32(18).string(boundMessage(message));
  for (const { type, value } of errorDetails(status)) writeDetail(writer, type, value);
  return writer.finish();
}

/** One of google.rpc.Status.details. */
export interface ErrorDetail {
  /** As in `google.rpc.ErrorInfo`. */
  readonly type: string;
  readonly value: Uint8Array;
}

/** The details that the contract promises for every error. */
export function errorDetails({
  reason,
  requestId,
  violations = [],
}: Pick<ErrorStatus, 'reason' | 'requestId' | 'violations'>): ErrorDetail[] {
  const fitting = violations.slice(0, fittingCount(violations, statusBytesMax - statusMessageBytesMax));
  const metadata: Record<string, string> =
    fitting.length < violations.length ? { violations_total: String(violations.length) } : {};
  const errorInfo = ErrorInfo.fromPartial({ reason, domain: errorDomain, metadata });
  const details: ErrorDetail[] = [{ type: ErrorInfo.$type, value: ErrorInfo.encode(errorInfo).finish() }];
  if (fitting.length > 0) {
    const badRequest = BadRequest.fromPartial({ fieldViolations: fitting });
    details.push({ type: BadRequest.$type, value: BadRequest.encode(badRequest).finish() });
  }
  details.push({
    type: RequestInfo.$type,
    value: RequestInfo.encode(RequestInfo.fromPartial({ requestId })).finish(),
  });
  return details;
}

// Any, as a repeated field with number 3 of google.rpc.Status.
function writeDetail(writer: BinaryWriter, type: string, value: Uint8Array): void {
  const any = writer.uint32(26).fork();
  any.uint32(10).string(`type.googleapis.com/${type}`).uint32(18).bytes(value).join();
}

function fittingCount(violations: readonly Violation[], bytesMax: number): number {
  // What the other details and the framing take.
  let bytes = 400;
  let count = 0;
  for (const violation of violations) {
    bytes += BadRequest_FieldViolation.encode(BadRequest_FieldViolation.fromPartial(violation)).finish().length + 4;
    if (bytes > bytesMax) break;
    count++;
  }
  return count;
}

/** A message that takes at most 1 KiB of a header, where it is percent-encoded, and that can be encoded at all. */
export function boundMessage(message: string): string {
  const text = message.toWellFormed();
  // Percent-encoding makes nine bytes of one UTF-16 unit at most.
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
