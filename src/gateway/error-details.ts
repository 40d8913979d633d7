/** Adds error details as JSON to their bytes, for callers that can read only JSON. */
import { fromBinary, type JsonValue, type Registry, toJson } from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import {
  BadRequest,
  ErrorInfo,
  Help,
  LocalizedMessage,
  PreconditionFailure,
  QuotaFailure,
  RequestInfo,
  ResourceInfo,
} from 'nice-grpc-error-details';

type Details = ConnectError['details'];

/** Types of only strings, lists and maps, which are the same in JSON as in memory. RetryInfo and DebugInfo are not. */
const plainTypes = {
  BadRequest,
  ErrorInfo,
  Help,
  LocalizedMessage,
  PreconditionFailure,
  QuotaFailure,
  RequestInfo,
  ResourceInfo,
};
const plain = new Map(Object.entries(plainTypes).map(([name, type]) => [`google.rpc.${name}`, type]));

/** `registry` has the services' own types. Details of unknown types stay unchanged. */
export function readableDetails(details: Details, registry: Registry): Details {
  return details.map((detail) => {
    if ('desc' in detail) return detail;
    try {
      const debug = asJson(detail.type, detail.value, registry);
      return debug === undefined ? detail : { ...detail, debug };
    } catch {
      // The bytes are not a message of their type.
      return detail;
    }
  });
}

function asJson(type: string, bytes: Uint8Array, registry: Registry): JsonValue | undefined {
  const known = registry.getMessage(type);
  if (known !== undefined) return toJson(known, fromBinary(known, bytes), { registry });
  const decoded = plain.get(type)?.decode(bytes);
  if (decoded === undefined) return undefined;
  return JSON.parse(JSON.stringify(decoded, (key, value) => (key === '$type' || isUnset(value) ? undefined : value)));
}

/** Whether protobuf leaves the value out of JSON. */
function isUnset(value: unknown): boolean {
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}
