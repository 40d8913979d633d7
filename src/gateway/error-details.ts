/** The errors of the server behind the gateway. Their details get a JSON form, for clients that cannot decode bytes. */
import { create, fromBinary, type JsonValue, type Registry, toJson } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  BadRequest,
  ErrorInfo,
  Help,
  LocalizedMessage,
  PreconditionFailure,
  QuotaFailure,
  RequestInfo,
  ResourceInfo,
  RetryInfo,
} from 'nice-grpc-error-details';

type Details = ConnectError['details'];

/** Types that contain only strings, lists and maps, so that their objects in memory have the form of protobuf's JSON. */
const plainTypes = new Map<string, { decode(bytes: Uint8Array): object }>(
  [BadRequest, ErrorInfo, Help, LocalizedMessage, PreconditionFailure, QuotaFailure, RequestInfo, ResourceInfo].map(
    (type) => [type.$type, type],
  ),
);

/** Returns the server's error in the form that the client gets, without its metadata. */
export function passedOn(error: ConnectError, registry: Registry): ConnectError {
  // The system's message about the connection contains the server's address.
  if (error.cause instanceof Error && 'code' in error.cause) {
    const message = 'The gateway cannot reach the server, or lost the connection to it.';
    return new ConnectError(message, Code.Unavailable, undefined, undefined, error);
  }
  const passed = new ConnectError(error.rawMessage, error.code, undefined, undefined, error);
  passed.details = readableDetails(error.details, registry);
  return passed;
}

/** Adds the JSON form of each detail whose type is known. `registry` contains the types of the services. */
export function readableDetails(details: Details, registry: Registry): Details {
  return details.map((detail) => {
    if ('desc' in detail) return detail;
    try {
      const debug = asJson(detail.type, detail.value, registry);
      return debug === undefined ? detail : { ...detail, debug };
    } catch {
      // The bytes are not a message of this type.
      return detail;
    }
  });
}

function asJson(type: string, bytes: Uint8Array, registry: Registry): JsonValue | undefined {
  const known = registry.getMessage(type);
  if (known !== undefined) return toJson(known, fromBinary(known, bytes), { registry });
  if (type === RetryInfo.$type) {
    const { retryDelay } = RetryInfo.decode(bytes);
    if (retryDelay === undefined) return {};
    const { seconds, nanos } = retryDelay;
    return { retryDelay: toJson(DurationSchema, create(DurationSchema, { seconds: BigInt(seconds), nanos })) };
  }
  const decoded = plainTypes.get(type)?.decode(bytes);
  if (decoded === undefined) return undefined;
  return JSON.parse(JSON.stringify(decoded, (key, value) => (key === '$type' || isUnset(value) ? undefined : value)));
}

/** Whether protobuf omits the value from JSON. */
function isUnset(value: unknown): boolean {
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}
