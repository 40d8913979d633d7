/** A sample of the directory's users, for the attributes that occur and their values. */
import type { User } from '../../generated/users/v1/user.js';
import type { Directory } from './directory.js';

/** One page of ListUsers: about 100 KB, and a few milliseconds for the server. */
const newestMax = 300;
const spreadMax = 100;
/**
 * Users who were created together, by an import or at the beginning of a year, often have the same attributes. So the sample
 * also has the oldest users, and users by their emails, which do not depend on time.
 */
const spread = [
  { orderBy: 'create_time' },
  ...['a', 'f', 'l', 'r'].map((letter) => ({ orderBy: 'email', filter: `email >= "${letter}"` })),
];

/** After this time, the next use reads the sample again. */
const freshMs = 60_000;

interface KnownSample {
  readonly directory: Directory;
  /** The generation of the session that read the sample. Another caller may see other attributes. */
  readonly generation: number;
  readonly readAt: number;
  readonly users: Promise<readonly User[]>;
}

let known: KnownSample | undefined;

/** Reads a sample, or returns a recent one. Each user is in it once. */
export function readSampledUsers(directory: Directory, signal?: AbortSignal): Promise<readonly User[]> {
  if (known === undefined || !isRecent(known, directory)) {
    const { generation } = directory.session;
    known = { directory, generation, readAt: performance.now(), users: readSample(directory) };
    // The next use tries again.
    known.users.catch(forgetSampledUsers);
  }
  const { users } = known;
  return signal === undefined ? users : Promise.race([users, whenAborted(signal)]);
}

function isRecent({ directory, generation, readAt }: KnownSample, now: Directory): boolean {
  return directory === now && generation === now.session.generation && performance.now() - readAt < freshMs;
}

/** Call this after this page has changed users. */
export function forgetSampledUsers(): void {
  known = undefined;
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Reads the newest 300 users first, and up to 500 others if there are more. */
async function readSample(directory: Directory): Promise<readonly User[]> {
  const newest = { orderBy: 'create_time desc', pageSize: newestMax };
  const { users, nextPageToken } = await directory.listUsers(newest);
  if (nextPageToken === '') return users;
  // Without some of them, the sample is smaller.
  const pages = await Promise.allSettled(spread.map((query) => directory.listUsers({ ...query, pageSize: spreadMax })));
  const others = pages.flatMap((page) => (page.status === 'fulfilled' ? page.value.users : []));
  const all = [...users, ...others];
  return [...new Map(all.map((user) => [user.id, user])).values()];
}
