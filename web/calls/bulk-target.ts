/** The users of an action on many: chosen ones, or all that match the list's query. */
import type { User } from '../../generated/users/v1/user.js';
import { type ListQuery, selectsAll } from '../address/list-query.js';
import { formatCount } from '../text/format.js';
import type { Selection } from '../users/selection.js';
import { isAborted } from './call-error.js';
import type { Directory } from './directory.js';
import { type RetryOptions, retried } from './retry.js';
import { sentFilterOf } from './sent-filter.js';

/** A selection at the time when the action was chosen. */
export interface BulkTarget extends Pick<Selection, 'ids' | 'isAll' | 'excluded'> {
  readonly query: ListQuery;
  /** Undefined if the number of matches is not known. */
  readonly count: number | undefined;
}

/** `total` is the number of users that match. */
export function targetOf(selection: Selection, query: ListQuery, total: number | undefined): BulkTarget {
  const { ids, isAll, excluded } = selection;
  return { ids, isAll, excluded, query, count: selection.count(total) };
}

export function targetOfAll(query: ListQuery): BulkTarget {
  return { ids: new Set(), isAll: true, excluded: new Set(), query, count: undefined };
}

export function targetOfIds(ids: Iterable<string>, { query }: BulkTarget): BulkTarget {
  const set = new Set(ids);
  return { ids: set, isAll: false, excluded: new Set(), query, count: set.size };
}

/** Such as “12 users”. */
export function describeTarget({ count, query }: BulkTarget): string {
  if (count !== undefined) return usersText(count);
  return selectsAll(query) ? 'all users' : 'all users that match';
}

export function usersText(count: number): string {
  return count === 1 ? '1 user' : `${formatCount(count)} users`;
}

// A message holds about 200 of the largest users. The server sends fewer than requested if more do not fit.
const pageSize = 500;
const idsMax = 200;

/**
 * Yields the users in parts. Users that match are read from the newest to the oldest: this order does not change while the
 * action writes them, and users that are created meanwhile are left out. Chosen users that no longer exist are left out.
 */
export async function* readTarget(
  directory: Directory,
  target: BulkTarget,
  options: RetryOptions,
): AsyncGenerator<readonly User[]> {
  const { signal } = options;
  if (!target.isAll) {
    const ids = [...target.ids];
    for (let at = 0; at < ids.length; at += idsMax) {
      const request = { ids: ids.slice(at, at + idsMax) };
      yield (await retried(() => directory.batchGetUsers(request, { signal }), options)).users;
    }
    return;
  }
  const query = { ...target.query, orderBy: 'create_time desc' };
  for await (const users of readMatches(directory, query, options)) {
    yield users.filter(({ id }) => !target.excluded.has(id));
  }
}

/** Yields all users that match, page by page. */
export async function* readMatches(
  directory: Directory,
  { query, filter: shown, orderBy }: ListQuery,
  options: RetryOptions,
): AsyncGenerator<readonly User[]> {
  const { signal } = options;
  // The page tokens are valid only for this filter, also if a new day begins meanwhile.
  const filter = await sentFilterOf(shown);
  let pageToken = '';
  do {
    const request = { query, filter, orderBy, pageSize, pageToken };
    const page = await retried(() => directory.listUsers(request, { signal }), options);
    yield page.users;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

export type KnownUser = Pick<User, 'id' | 'etag' | 'displayName' | 'email'>;

/** Reads the etags of all users before the action begins. Returns undefined if the signal was aborted. */
export async function readEtags(
  directory: Directory,
  target: BulkTarget,
  options: RetryOptions & { onCount(count: number): void },
): Promise<KnownUser[] | undefined> {
  const known: KnownUser[] = [];
  try {
    for await (const users of readTarget(directory, target, options)) {
      for (const { id, etag, displayName, email } of users) known.push({ id, etag, displayName, email });
      options.onCount(known.length);
    }
    return known;
  } catch (error) {
    if (options.signal.aborted || isAborted(error)) return undefined;
    throw error;
  }
}
