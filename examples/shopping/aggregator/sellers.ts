/**
 * Sellers from Roster: all requests use one stream of ResolveUsers, which the first request opens. So a request needs no
 * separate call, and Roster looks up concurrent requests together.
 */
import { type Client, Metadata, RosterError, type User } from '@roster-directory/client';
import type { Seller } from '../generated/shop/v1/shop.ts';
import type { Call } from './call.ts';

interface PendingRequest {
  readonly ids: readonly string[];
  resolve(users: readonly User[]): void;
  reject(error: unknown): void;
}

export interface Sellers extends Disposable {
  get(ids: readonly string[], call: Call): Promise<readonly Seller[]>;
}

export function createSellers(client: Client): Sellers {
  const closing = new AbortController();
  let stream: ReturnType<typeof openStream> | undefined;

  return {
    async get(ids, call) {
      // If the stream ends (a restart of Roster, its maximum connection age), the next request opens another one.
      stream ??= openStream(client, { ...call, signal: closing.signal }, () => {
        stream = undefined;
      });
      const users = await stream.request(ids, call);
      return users.map(({ id, displayName }) => ({ id, displayName }));
    },
    // An open stream keeps its connection and so the process alive.
    [Symbol.dispose]: () => closing.abort(),
  };
}

function openStream(client: Client, { traceparent, signal }: Call, onEnd: () => void) {
  // Both contain only requests that still wait, so a hanging Roster does not leak memory here.
  const unsent = new Map<string, PendingRequest>();
  const unanswered = new Map<string, PendingRequest>();
  let wake = () => {};

  async function* requests() {
    for (;;) {
      for (const [tag, request] of unsent) {
        unsent.delete(tag);
        unanswered.set(tag, request);
        yield { tag, ids: [...request.ids] };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }

  async function readAnswers(): Promise<never> {
    // Metadata belongs to the stream: this is the span that opened it.
    const options = { metadata: Metadata({ traceparent }), signal };
    for await (const { tag, users } of client.resolveUsers(requests(), options)) {
      unanswered.get(tag)?.resolve(users);
      unanswered.delete(tag);
    }
    throw new RosterError('users.v1.UserService/ResolveUsers', 'UNAVAILABLE', 'The stream has ended.');
  }

  readAnswers().catch((error: unknown) => {
    onEnd();
    for (const { reject } of [...unanswered.values(), ...unsent.values()]) reject(error);
  });

  return {
    async request(ids: readonly string[], { signal, traceparent: tag }: Call): Promise<readonly User[]> {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<readonly User[]>();
      const abort = () => reject(signal.reason);
      signal.addEventListener('abort', abort);
      // The tag is the request's span. It identifies the answer, and is the only trace context of a request.
      unsent.set(tag, { ids, resolve, reject });
      wake();
      try {
        return await promise;
      } finally {
        signal.removeEventListener('abort', abort);
        unsent.delete(tag);
        unanswered.delete(tag);
      }
    },
  };
}
