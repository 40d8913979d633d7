/**
 * Sellers from Roster: the questions of all answers go over one stream of ResolveUsers, which is opened by the first of them
 * and then stays open. It costs neither side a call for each, and Roster looks up what comes together together.
 */
import { type Client, Metadata, RosterError, type User } from 'roster/client';
import type { Seller } from '../generated/shop/v1/shop.ts';
import type { Call } from './call.ts';

interface Question {
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
      // After an end (a restart of Roster, its limit on a connection's age) the next question opens another.
      stream ??= openStream(client, { ...call, signal: closing.signal }, () => {
        stream = undefined;
      });
      const users = await stream.ask(ids, call);
      return users.map(({ id, displayName }) => ({ id, displayName }));
    },
    // A stream that is open keeps its connection, and so the process.
    [Symbol.dispose]: () => closing.abort(),
  };
}

function openStream(client: Client, { traceparent, signal }: Call, onEnd: () => void) {
  // In both, only those who still wait: a Roster that hangs leaves nothing behind here.
  const unsent = new Map<string, Question>();
  const unanswered = new Map<string, Question>();
  let wake = () => {};

  async function* questions() {
    for (;;) {
      for (const [tag, question] of unsent) {
        unsent.delete(tag);
        unanswered.set(tag, question);
        yield { tag, ids: [...question.ids] };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }

  async function readAnswers(): Promise<never> {
    // Metadata is a stream's and not a question's: this is the span that opened it.
    const options = { metadata: Metadata({ traceparent }), signal };
    for await (const { tag, users } of client.resolveUsers(questions(), options)) {
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
    async ask(ids: readonly string[], { signal, traceparent: tag }: Call): Promise<readonly User[]> {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<readonly User[]>();
      const abort = () => reject(signal.reason);
      signal.addEventListener('abort', abort);
      // Its own span is what the answer comes back with, and what a question of this stream can carry of a trace.
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
