/**
 * Calls with the session's token. They wait while the user must sign in, and fail at once if the caller may not send them.
 * A call is retried only if the server refused its token and the session has another one.
 */
import type { DeepPartial, MessageFns } from '../generated/users/v1/user_service.js';
import { notAllowed } from './answer-error.js';
import { CallError } from './call-error.js';
import { type MethodName, methodPath } from './caller.js';
import { type CallOptions, type SendOptions, sendMessages, sendStream, sendUnary } from './connect.js';
import type { Session } from './session.js';

export type Unary<Request, Response> = (request: DeepPartial<Request>, options?: CallOptions) => Promise<Response>;
export type ServerStream<Request, Response> = (
  request: DeepPartial<Request>,
  options?: CallOptions,
) => AsyncGenerator<Response, void>;

/** `messages` are those of a client stream, each with its length. */
export type ClientStream<Response> = (messages: Blob, options?: CallOptions) => Promise<Response>;

// The server's own STATEMENT_TIMEOUT_MS is shorter. This deadline is for a response that is lost in the network.
export const deadlineMsDefault = 15_000;

/** Gets tokens for calls, and reports refused ones. */
function createTokens(session: Session) {
  /** Resolves with a function that waits for a token, once the call may be sent. */
  async function begin({ path }: { path: string }, signal: AbortSignal | undefined) {
    const { actor } = session.caller;
    /** Waits while the user must sign in. If somebody else then signs in, that person did not ask for this call. */
    const nextToken = async () => {
      const next = await session.token(signal);
      if (actor !== '' && session.caller.actor !== actor) {
        throw new CallError('UNAUTHENTICATED', 'Somebody else has signed in.');
      }
      return next;
    };
    const token = await nextToken();
    if (!session.caller.mayCall(path)) {
      void session.rereadCaller();
      throw new CallError('PERMISSION_DENIED', notAllowed, { reason: 'ACCESS_DENIED' });
    }
    return { token, nextToken };
  }

  /** Reports a failed call to the session. Throws the error if the call cannot succeed with another token. */
  async function learn(error: unknown, token: string | undefined): Promise<void> {
    if (!(error instanceof CallError)) throw error;
    if (error.reason === 'ACCESS_DENIED' || error.reason === 'ACCESS_CHANGED') void session.rereadCaller();
    if (error.code !== 'UNAUTHENTICATED') throw error;
    await session.refused(token, error.reason);
  }

  return { begin, learn };
}

/** Returns functions that create the call of a method. */
export function createCalls(origin: string, session: Session) {
  const { begin, learn } = createTokens(session);

  function unary<Request, Response>(
    name: MethodName,
    request: MessageFns<Request>,
    response: MessageFns<Response>,
    /** Returns the query for a call that may be a GET. */
    queryOf: (message: DeepPartial<Request>) => string | undefined = () => undefined,
  ): Unary<Request, Response> {
    const method = { path: methodPath(name), request, response };
    return (message, options) =>
      sendWithToken(method.path, { deadlineMs: deadlineMsDefault, ...options }, (send) =>
        sendUnary(origin, method, message, {
          ...send,
          query: send.token === undefined ? queryOf(message) : undefined,
        }),
      );
  }

  function clientStream<Response>(name: MethodName, response: MessageFns<Response>): ClientStream<Response> {
    const method = { path: methodPath(name), response };
    return (messages, options) =>
      sendWithToken(method.path, { deadlineMs: 0, ...options }, (send) => sendMessages(origin, method, messages, send));
  }

  async function sendWithToken<Response>(
    path: string,
    { signal, deadlineMs = 0 }: CallOptions,
    send: (options: SendOptions) => Promise<Response>,
  ): Promise<Response> {
    const { token, nextToken } = await begin({ path }, signal);
    try {
      return await send({ signal, deadlineMs, token });
    } catch (error) {
      await learn(error, token);
    }
    // The server had refused the call before it read the request.
    const newer = await nextToken();
    try {
      return await send({ signal, deadlineMs, token: newer });
    } catch (error) {
      if (error instanceof CallError && error.code === 'UNAUTHENTICATED') {
        await session.refused(newer, error.reason, { canRenew: false });
      }
      throw error;
    }
  }

  function stream<Request, Response>(
    name: MethodName,
    request: MessageFns<Request>,
    response: MessageFns<Response>,
  ): ServerStream<Request, Response> {
    const method = { path: methodPath(name), request, response };
    return async function* (message, { signal, deadlineMs = 0 } = {}) {
      const { token } = await begin(method, signal);
      try {
        yield* sendStream(origin, method, message, { signal, deadlineMs, token });
      } catch (error) {
        await learn(error, token);
        // The stream may have sent messages before this.
        throw error;
      }
    };
  }

  return { unary, stream, clientStream };
}
