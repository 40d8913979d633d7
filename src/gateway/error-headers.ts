/** Headers of HTTP for some errors: how to send credentials (RFC 6750), and when to try again. */
import { Code, type ConnectError } from '@connectrpc/connect';
import { ErrorInfo, RetryInfo } from 'nice-grpc-error-details';

const realm = 'Bearer realm="roster"';

/** A name and its value for each header. Protocols whose HTTP status is always 200 send them as trailers. */
export function errorHeaders({ code, details }: Pick<ConnectError, 'code' | 'details'>): [string, string][] {
  const headers: [string, string][] = [];
  const challenge = challengeFor(code, () => decodeFirst(details, ErrorInfo)?.reason);
  if (challenge !== undefined) headers.push(['www-authenticate', challenge]);
  const delay = decodeFirst(details, RetryInfo)?.retryDelay;
  if (delay !== undefined) headers.push(['retry-after', String(Math.max(1, delay.seconds + Math.sign(delay.nanos)))]);
  return headers;
}

function challengeFor(code: Code, reasonOf: () => string | undefined): string | undefined {
  if (code === Code.Unauthenticated) {
    const reason = reasonOf();
    const wasRefused = reason === 'CREDENTIALS_INVALID' || reason === 'CREDENTIALS_EXPIRED';
    return wasRefused ? `${realm}, error="invalid_token"` : realm;
  }
  if (code !== Code.PermissionDenied || reasonOf() !== 'ACCESS_DENIED') return undefined;
  return `${realm}, error="insufficient_scope"`;
}

function decodeFirst<T>(
  details: ConnectError['details'],
  { $type, decode }: { readonly $type: string; decode(bytes: Uint8Array): T },
): T | undefined {
  for (const detail of details) {
    if ('desc' in detail || detail.type !== $type) continue;
    try {
      return decode(detail.value);
    } catch {
      // The bytes are not a message of this type.
      return undefined;
    }
  }
  return undefined;
}
