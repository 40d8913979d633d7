/**
 * Calls ImportUsers from a browser. Browsers cannot stream a request over HTTP/1.1, so all its messages are in the body
 * before the call begins: as in the Connect protocol, each after its length. A Blob can be on disk.
 */
import type { User } from '../generated/users/v1/user.js';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  ImportUsersRequest,
  ImportUsersResponse,
} from '../generated/users/v1/user_service.js';
import type { StatusName } from '../src/client/error-details.js';
import { CallError } from './call-error.js';
import type { Directory } from './directory.js';

/** How to treat a row whose email is taken, in the directory or earlier in the file. */
export type OnTaken = 'reject' | 'skip' | 'update';

const onConflictOf = {
  reject: ImportOptions_OnConflict.ON_CONFLICT_UNSPECIFIED,
  skip: ImportOptions_OnConflict.ON_CONFLICT_SKIP,
  update: ImportOptions_OnConflict.ON_CONFLICT_UPDATE,
} as const;

// As in the client for Node: the contract allows more, but larger messages are hardly faster.
const messageUsersMax = 200;
const messageBytesMax = 256 * 1024;

export interface ImportBody {
  add(user: DeepPartial<User>): void;
  /** The number of users so far. */
  readonly rows: number;
  finish(): Blob;
}

export function createImportBody(
  onTaken: OnTaken,
  options: { readonly keepGoing?: true; readonly validateOnly?: true } = {},
): ImportBody {
  const encode = (part: DeepPartial<ImportUsersRequest>) =>
    new Uint8Array(ImportUsersRequest.encode(ImportUsersRequest.fromPartial(part)).finish());
  const messages: Blob[] = [];
  // Encoded messages may be joined: protobuf then reads them as one message.
  let parts = [encode({ options: { onConflict: onConflictOf[onTaken], ...options } })];
  let users = 0;
  let bytes = 0;
  let rows = 0;
  const endMessage = () => {
    messages.push(withLength(new Blob(parts)));
    parts = [];
    users = 0;
    bytes = 0;
  };
  return {
    add(user) {
      const part = encode({ users: [user] });
      if (users >= messageUsersMax || bytes + part.length > messageBytesMax) endMessage();
      parts.push(part);
      bytes += part.length;
      users++;
      rows++;
    },
    get rows() {
      return rows;
    },
    finish() {
      parts.push(encode({ totalRows: rows }));
      endMessage();
      return new Blob(messages);
    },
  };
}

/** A byte of flags, the length in four bytes, and the message. */
function withLength(message: Blob): Blob {
  const prefix = new DataView(new ArrayBuffer(5));
  prefix.setUint32(1, message.size);
  return new Blob([prefix, message]);
}

/** Rejects with a CallError, or with an AbortError if the signal was aborted. */
export async function sendImport(
  { session }: Directory,
  body: Blob,
  signal?: AbortSignal,
): Promise<ImportUsersResponse> {
  const { actor } = session.caller;
  for (let isRetry = false; ; isRetry = true) {
    const token = await session.token(signal);
    if (actor !== '' && session.caller.actor !== actor) {
      throw new CallError('UNAUTHENTICATED', 'Somebody else has signed in.');
    }
    try {
      return await sendOnce(body, token, signal);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.reason === 'ACCESS_DENIED' || error.reason === 'ACCESS_CHANGED') void session.rereadCaller();
      if (error.code !== 'UNAUTHENTICATED') throw error;
      // The server refuses a token before it reads the request.
      await session.refused(token, error.reason, { canRenew: !isRetry });
      if (isRetry) throw error;
    }
  }
}

async function sendOnce(
  body: Blob,
  token: string | undefined,
  signal: AbortSignal | undefined,
): Promise<ImportUsersResponse> {
  const headers = new Headers({ 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' });
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  const init = { method: 'POST', headers, body, cache: 'no-store', ...(signal && { signal }) } as const;
  let response: Response;
  let answer: Uint8Array;
  try {
    response = await fetch(`${location.origin}/users.v1.UserService/ImportUsers`, init);
    answer = new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError('UNAVAILABLE', 'Cannot reach the server.');
  }
  if (response.status !== 200) throw httpError(response.status);
  if (response.headers.get('content-type') !== 'application/connect+proto') throw new CallError('UNKNOWN', notRoster);
  return readAnswer(answer);
}

const notRoster = 'The response came from a proxy or a sign-in page, not from Roster. Reload the page.';

const httpCodes: Readonly<Record<number, StatusName>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  413: 'RESOURCE_EXHAUSTED',
  429: 'UNAVAILABLE',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'UNAVAILABLE',
};

/** Converts the status of a proxy's response. Roster's own errors are in the body. */
function httpError(status: number): CallError {
  const code = httpCodes[status] ?? (status >= 500 ? 'INTERNAL' : 'UNKNOWN');
  return new CallError(code, `The server or its proxy refused the request (HTTP ${status}).`);
}

// The flag of the last message, which has the status as JSON.
const endFlag = 2;

function readAnswer(bytes: Uint8Array): ImportUsersResponse {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let response: ImportUsersResponse | undefined;
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + view.getUint32(at + 1);
    if (end > bytes.length) break;
    const message = bytes.subarray(at + 5, end);
    if (view.getUint8(at) !== endFlag) response = ImportUsersResponse.decode(message);
    else {
      const { error } = JSON.parse(new TextDecoder().decode(message)) as EndMessage;
      if (error !== undefined) throw toCallError(error);
      if (response !== undefined) return response;
    }
    at = end;
  }
  // The connection broke during the response.
  throw new CallError('UNAVAILABLE', 'Cannot reach the server.');
}

/** The last message of the Connect protocol. The gateway writes known details as JSON too. */
interface EndMessage {
  readonly error?: WireError;
}
interface WireError {
  readonly code: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly debug?: { readonly reason?: string } }[];
}

function toCallError({ code, message = '', details = [] }: WireError): CallError {
  const { debug } = details.find(({ type }) => type === 'google.rpc.ErrorInfo') ?? {};
  const name = code === 'canceled' ? 'CANCELLED' : (code.toUpperCase() as StatusName);
  return new CallError(name, message, { reason: debug?.reason ?? '' });
}
