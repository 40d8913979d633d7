/** A sample of the directory's users, for the attributes that occur and their values. */
import type { User } from '../generated/users/v1/user.js';
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

/** Reads the newest 300 users first, and up to 500 others if there are more. Each user is in it once. */
export async function readSampledUsers(directory: Directory, signal?: AbortSignal): Promise<readonly User[]> {
  const newest = { orderBy: 'create_time desc', pageSize: newestMax };
  const { users, nextPageToken } = await directory.listUsers(newest, { signal });
  if (nextPageToken === '') return users;
  // Without some of them, the sample is smaller.
  const pages = await Promise.allSettled(
    spread.map((query) => directory.listUsers({ ...query, pageSize: spreadMax }, { signal })),
  );
  const others = pages.flatMap((page) => (page.status === 'fulfilled' ? page.value.users : []));
  const all = [...users, ...others];
  return [...new Map(all.map((user) => [user.id, user])).values()];
}
