/**
 * What the streams of users.v1 promise to every client, if the transport supports them. Each stream has its own tests
 * for the rest.
 */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  type ImportUsersRequest,
  type User,
} from '../../src/client/index.js';
import type { CallingClient } from '../support/gateway-client.js';

export interface StreamKinds {
  /** Streams of requests, such as an import. */
  readonly requests: boolean;
  /** Streams in both directions at once, such as resolving. */
  readonly both: boolean;
}

function person(): Partial<User> {
  return { firstName: 'Ada', lastName: 'Lovelace', email: `Ada.${randomUUID()}@Example.com` };
}

async function* inTurn(...values: DeepPartial<ImportUsersRequest>[]) {
  yield* values;
}

export function describeStreams(transport: string, client: () => CallingClient, kinds: StreamKinds): void {
  async function create(): Promise<User> {
    const { user } = await client().createUser({ user: person() });
    if (user === undefined) throw new Error('The answer has no user.');
    return user;
  }

  describe(`streams of users.v1 through ${transport}`, () => {
    it('export each user once, and a token from which a watch continues', async () => {
      const created = [await create(), await create()];
      const seen = new Map<string, User>();
      let watchToken = '';
      for await (const message of client().exportUsers({})) {
        for (const user of message.users) {
          expect(seen.has(user.id)).toBe(false);
          seen.set(user.id, user);
        }
        watchToken ||= message.watchToken;
      }
      expect(created.map(({ id }) => seen.get(id))).toEqual(created);
      const later = await create();
      for await (const { changes } of client().watchUsers({ resumeToken: watchToken })) {
        if (changes.some(({ user }) => user?.id === later.id)) break;
      }
    });

    it('refuse invalid requests like other calls', async () => {
      const first = client().exportUsers({ filter: '(' })[Symbol.asyncIterator]().next();
      await expect(first).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        reason: 'INVALID_FILTER',
        violations: [{ field: 'filter' }],
      });
    });

    it('send changes to a watcher until it cancels', async () => {
      const stop = new AbortController();
      const watch = client().watchUsers({}, { signal: stop.signal })[Symbol.asyncIterator]();
      expect((await watch.next()).value).toMatchObject({ caughtUp: true });
      const user = await create();
      const changed: unknown[] = [];
      while (changed.length === 0) {
        const { value } = await watch.next();
        changed.push(...(value?.changes ?? []));
      }
      expect(changed).toMatchObject([{ user }]);
      const next = watch.next();
      stop.abort();
      await expect(next).rejects.toThrow();
    });

    it.runIf(kinds.requests)('import all rows, or no rows if the import is cut off', async () => {
      const users = Array.from({ length: 300 }, person);
      const parts = [{ options: {}, users: users.slice(0, 100) }, { users: users.slice(100) }];
      const cutOff = client().importUsers(inTurn(...parts, { totalRows: 301 }));
      await expect(cutOff).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'IMPORT_INCOMPLETE' });
      const whole = await client().importUsers(inTurn(...parts, { totalRows: 300 }));
      expect(whole).toMatchObject({ committed: true, created: 300, rejected: 0 });
    });

    it.runIf(kinds.requests)('import rows for the user with another spelling of the email', async () => {
      const tag = randomUUID();
      const { user } = await client().createUser({ user: { ...person(), email: `straße.${tag}@bücher.example` } });
      const emails = [`STRASSE.${tag}@BÜCHER.example`, `Straße.${tag}@xn--bcher-kva.example`];
      const users = emails.map((email) => ({ ...person(), email }));
      const parts = [{ options: { onConflict: ImportOptions_OnConflict.ON_CONFLICT_UPDATE }, users }, { totalRows: 2 }];
      expect(await client().importUsers(inTurn(...parts))).toMatchObject({ created: 0, updated: 2, rejected: 0 });
      const { user: updated } = await client().getUser({ id: user?.id ?? '' });
      expect(updated?.email).toBe(emails[1]);
    });

    it.runIf(kinds.requests)('import rows that add to the attributes of users, or replace them', async () => {
      const { user } = await client().createUser({ user: { ...person(), attributes: { a: 1, b: 2 } } });
      const row = { firstName: user?.firstName, email: user?.email, attributes: { b: 3 } };
      const imported = async (mergeAttributes: boolean) => {
        const options = { onConflict: ImportOptions_OnConflict.ON_CONFLICT_UPDATE, mergeAttributes };
        await client().importUsers(inTurn({ options, users: [row] }, { totalRows: 1 }));
        return (await client().getUser({ id: user?.id ?? '' })).user?.attributes;
      };
      expect(await imported(true)).toEqual({ a: 1, b: 3 });
      expect(await imported(false)).toEqual({ b: 3 });
    });

    it.runIf(kinds.both)('resolve in order, with each answer before the next request', async () => {
      const [ada, grace] = [await create(), await create()];
      let answered = Promise.withResolvers<void>();
      async function* requests() {
        yield { tag: 'first', emails: [ada.email, 'nobody@example.com'] };
        await answered.promise;
        yield { tag: 'second', ids: [grace.id] };
      }
      const answers: unknown[] = [];
      for await (const answer of client().resolveUsers(requests())) {
        answers.push(answer);
        answered.resolve();
        answered = Promise.withResolvers();
      }
      expect(answers).toMatchObject([
        { tag: 'first', users: [ada], missingEmails: ['nobody@example.com'] },
        { tag: 'second', users: [grace] },
      ]);
    });
  });
}
