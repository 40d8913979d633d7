/**
 * Decides who may see what OPEN_ENDPOINTS does not list: every caller that the gRPC server knows. The gateway calls
 * GetCaller with the credentials of the request, so that it needs no rules of its own.
 */
import { type FileRegistry, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { codeToHttpStatus } from '@connectrpc/connect/protocol-connect';
import { passedOn } from './error-details.js';
import { errorHeaders } from './error-headers.js';
import type { HttpRequest } from './gateway.js';
import { connectionOf } from './http-connection.js';
import type { ResponseContent } from './router.js';
import type { Upstream } from './upstream.js';

/** Returns the response for a request whose caller is not known, or undefined if the caller is known. */
export type CallerCheck = (request: HttpRequest) => Promise<ResponseContent | undefined>;

const service = 'users.v1.UserService';
const timeoutMs = 5000;

const unknowable: ResponseContent = {
  status: 403,
  body: 'The server behind the gateway cannot check who sends this. To open this path, set OPEN_ENDPOINTS.\n',
};
const needsToken: ResponseContent = {
  status: 401,
  body: 'This path requires a token or an API key.\n',
  headers: Object.fromEntries(errorHeaders({ code: Code.Unauthenticated, details: [] })),
};

export function createCallerCheck(registry: FileRegistry, upstream: Upstream): CallerCheck {
  const method = registry.getService(service)?.method.getCaller;
  return async (request) => {
    // The services of another server may lack the method.
    if (method === undefined) return unknowable;
    const { authorization } = request.headers;
    const { answer } = upstream.unary({
      method,
      path: `/${service}/${method.name}`,
      connection: connectionOf(request),
      metadata: authorization === undefined ? [] : ['authorization', authorization],
      timeoutMs,
      message: new Uint8Array(),
    });
    const { result } = await answer;
    if (result instanceof ConnectError) return refusal(passedOn(result, registry));
    if (upstream.carriesConnection || isBearer(authorization)) return undefined;
    // Without a token, the server answers either everyone or the gateway, which may have a client certificate.
    const { actor } = fromBinary(method.output, result) as { actor?: string };
    return actor === '' ? undefined : needsToken;
  };
}

function isBearer(authorization: string | undefined): boolean {
  return authorization !== undefined && /^bearer +[^\s,]+$/i.test(authorization);
}

function refusal(error: ConnectError): ResponseContent {
  if (error.code === Code.Unimplemented) return unknowable;
  return {
    status: codeToHttpStatus(error.code),
    body: `${error.rawMessage}\n`,
    headers: Object.fromEntries(errorHeaders(error)),
  };
}
