/** The watchers of a round: some follow through the fault, and one resumes after it with a token from just before it. */
import type { User } from '../../generated/users/v1/user.js';
import { type Client, createClient, RosterError } from '../../src/client/index.js';
import { faultsOf } from '../support/feed-checker.js';
import { startWatcher, type Watcher } from '../support/feed-watchers.js';
import type { DirectoryState } from './directory-state.js';
import { versionIn } from './history.js';
import { poll } from './poll.js';

export interface RoundWatchers {
  readonly all: readonly Watcher[];
  /** How often a watcher has been told to start over with all users. */
  startsOver(): number;
  /** Creates a user, and waits until every watcher has received it. Resolves with its id. */
  catchUp(): Promise<string>;
  stop(): Promise<void>;
}

export async function startWatchers(addresses: readonly string[]): Promise<RoundWatchers> {
  const client = createClient({ address: addresses });
  const all = [
    startWatcher({ name: 'a watcher that begins now', client, start: 'now', heartbeatMs: 500 }),
    startWatcher({ name: 'a watcher that begins with existing users', client, start: 'existing', heartbeatMs: 500 }),
  ];
  await Promise.all(all.map(({ begun }) => begun));
  return {
    all,
    startsOver: () => all.reduce((sum, watcher) => sum + watcher.startsOver, 0),
    async catchUp() {
      const id = await writeMarker(client);
      await poll('every watcher has received the last change', 60_000, async () => {
        return all.every((watcher) => watcher.hasSeen(id)) || undefined;
      });
      return id;
    },
    async stop() {
      await Promise.allSettled(all.map((watcher) => watcher.stop()));
      client.close();
    },
  };
}

async function writeMarker(client: Client): Promise<string> {
  const email = `${crypto.randomUUID()}@example.com`;
  const { user } = await client.createUser({ user: { firstName: 'Marker', email } }, { attemptsMax: 20 });
  return user?.id ?? '';
}

/** The faults in what the watchers received. A watcher that was told to start over has only its copy compared. */
export function faultsOfWatchers({ all }: RoundWatchers, { log, users }: DirectoryState): string[] {
  const truth = new Map(users.map(({ id, version, updateTimeMs }) => [id, `version ${version} of ${updateTimeMs}`]));
  const copied = (user?: User) => user && `version ${versionIn(user.etag)} of ${user.updateTime?.getTime()}`;
  return all.flatMap((watcher) => {
    const { recording, copy, isFull, startsOver } = watcher;
    const faults = startsOver > 0 ? [] : faultsOf(recording, log).map(({ kind, userId }) => `${kind}: ${userId}`);
    if (isFull || startsOver > 0) {
      for (const id of new Set([...truth.keys(), ...copy.keys()])) {
        const [expected, found] = [truth.get(id), copied(copy.get(id))];
        if (expected !== found) faults.push(`its copy of ${id} has ${found}, and the table ${expected}`);
      }
    }
    return faults.map((fault) => `${recording.name}: ${fault}`);
  });
}

export interface TokenKeeper {
  hasSeen(userId: string): boolean;
  /** Stops the watch, and returns the token of its last message. */
  stop(): Promise<string>;
}

/** Watches until it is stopped, for a client that resumes later. */
export async function startTokenKeeper(addresses: readonly string[]): Promise<TokenKeeper> {
  const client = createClient({ address: addresses });
  const stopping = new AbortController();
  const begun = Promise.withResolvers<void>();
  const seen = new Set<string>();
  let token = '';
  const watch = async () => {
    for await (const { changes, resumeToken } of client.followUsers({ heartbeatMs: 100, signal: stopping.signal })) {
      if (stopping.signal.aborted || resumeToken === '') continue;
      for (const { user } of changes) seen.add(user?.id ?? '');
      token = resumeToken;
      begun.resolve();
    }
  };
  const watching = watch().catch((error) => {
    if (!stopping.signal.aborted) begun.reject(error);
  });
  await begun.promise;
  return {
    hasSeen: (userId) => seen.has(userId),
    async stop() {
      stopping.abort();
      await watching;
      client.close();
      return token;
    },
  };
}

/** Whether the server refuses to resume because changes before the token may be missing from its change log. */
export async function isTokenExpired(addresses: readonly string[], resumeToken: string): Promise<boolean> {
  using client = createClient({ address: addresses });
  return await poll('a watch can be resumed', 30_000, async () => {
    try {
      for await (const _ of client.watchUsers({ resumeToken })) return false;
    } catch (error) {
      if (error instanceof RosterError && error.reason === 'RESUME_TOKEN_EXPIRED') return true;
      throw error;
    }
    return undefined;
  });
}
