/**
 * Calls with the session's token. They wait while the user must sign in, and fail at once if the caller may not send them.
 * A call is retried only if the server refused its token and the session has another one.
 */
import type { DeepPartial } from '../../generated/users/v1/user_service.js';
import { notAllowed } from './answer-error.js';
import { CallError } from './call-error.js';
import { type CallOptions, type Method, type SendOptions, sendUnary } from './connect.js';
import type { Session } from './session.js';

export type Unary<Request, Response> = (request: DeepPartial<Request>, options?: CallOptions) => Promise<Response>;
export type ServerStream<Request, Response> = (
  request: DeepPartial<Request>,
  options?: CallOptions,
) => AsyncGenerator<Response, void>;

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

/** Sends calls with the session's token. */
export interface Calls {
  unary<Request, Response>(
    method: Method<Request, Response>,
    /** Returns the query for a call that may be a GET. */
    queryOf?: (message: DeepPartial<Request>) => string | undefined,
  ): Unary<Request, Response>;
  /** `send` is repeated if the server refused the token and the session has another one. */
  withToken<Response>(
    path: string,
    options: CallOptions,
    send: (options: SendOptions) => Promise<Response>,
  ): Promise<Response>;
  streamWithToken<Response>(
    path: string,
    options: CallOptions | undefined,
    send: (options: SendOptions) => AsyncGenerator<Response, void>,
  ): AsyncGenerator<Response, void>;
}

export function createCalls(origin: string, session: Session): Calls {
  const { begin, learn } = createTokens(session);

  const withToken: Calls['withToken'] = async (path, { signal, deadlineMs = 0 }, send) => {
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
  };

  return {
    withToken,
    unary(method, queryOf = () => undefined) {
      return (message, options) =>
        withToken(method.path, { deadlineMs: deadlineMsDefault, ...options }, (send) =>
          sendUnary(origin, method, message, {
            ...send,
            query: send.token === undefined ? queryOf(message) : undefined,
          }),
        );
    },
    async *streamWithToken(path, { signal, deadlineMs = 0 } = {}, send) {
      const { token } = await begin({ path }, signal);
      try {
        yield* send({ signal, deadlineMs, token });
      } catch (error) {
        await learn(error, token);
        // The stream may have sent messages before this.
        throw error;
      }
    },
  };
}
