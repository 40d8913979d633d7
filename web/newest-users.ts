/** The directory's newest users, as a sample of its attributes and their values. */
import type { User } from '../generated/users/v1/user.js';
import type { Directory } from './directory.js';

/** One page of ListUsers: about 100 KB, and a few milliseconds for the server. */
const usersMax = 300;

export async function readNewestUsers(directory: Directory, signal?: AbortSignal): Promise<readonly User[]> {
  const { users } = await directory.listUsers({ orderBy: 'create_time desc', pageSize: usersMax }, { signal });
  return users;
}
