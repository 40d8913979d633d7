/**
 * Writes the change log, with a part of each statement that writes users. trim-changes.ts trims the log.
 *
 * An entry holds no personal data: only the user's id, the type of the change, its time, and who made it in which call.
 */
import { arrayParameter } from '../database/columns.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { Fault } from '../model/fault.js';
import { escapeCopy } from './copy-pieces.js';

/** The values of the column `type`. */
export const changeTypes = { created: 2, updated: 3, deleted: 4 } as const;

export type ChangeType = keyof typeof changeTypes;

const typeNames = new Map<number, ChangeType>(
  (Object.keys(changeTypes) as ChangeType[]).map((name) => [changeTypes[name], name]),
);

export function changeTypeOf(type: number): ChangeType {
  const name = typeNames.get(type);
  if (name !== undefined) return name;
  throw new Fault(
    'DATABASE_UNAVAILABLE',
    'The change log has entries from a newer version of Roster. Use a server of that version.',
  );
}

const changeTimes: Readonly<Record<ChangeType, string>> = {
  created: 'create_time',
  updated: 'update_time',
  deleted: 'now()',
};

/**
 * An insert that logs each row of `source`. It must be part of the statement that writes those rows: an entry then gets
 * its seq after the write has locked the user, so that the entries of one user are in the order of their transactions.
 *
 * `author` is SQL for the actor and the call's request id.
 */
export function logChanges(type: ChangeType, source: string, author: string): string {
  return `insert into changes (user_id, type, change_time, actor, request_id)
      select id, ${changeTypes[type]}, ${changeTimes[type]}, ${author} from ${source}`;
}

/** The columns of the authors of several calls, which share a statement. A create has a `request_id` of its own. */
export const authorColumns = 'actor, call_id';

/** The array parameters from `$first` on for `authorColumns`. */
export function authorArrays(first: number): string {
  return `${arrayParameter(first, 'text')}, ${arrayParameter(first + 1, 'text')}`;
}

/** The values for `authorArrays`. */
export function authorValues(rows: readonly { readonly author?: ChangeAuthor | undefined }[]): (string | null)[][] {
  return [rows.map(({ author }) => author?.actor || null), rows.map(({ author }) => author?.requestId || null)];
}

/** The parameters from `$first` on for the author of all rows of a statement. */
export function oneAuthor(first: number): string {
  return `$${first}::text, $${first + 1}::text`;
}

/** The values for `oneAuthor`. */
export function oneAuthorValues(author: ChangeAuthor | undefined): (string | null)[] {
  return [author?.actor || null, author?.requestId || null];
}

/** The target of a COPY that logs users which the same transaction has created. */
export const createdTarget = 'changes (user_id, type, actor, request_id)';

/** Returns a function that returns a line of that COPY. */
export function createdLines(author: ChangeAuthor | undefined): (id: string) => string {
  const [actor, requestId] = oneAuthorValues(author).map((text) => (text === null ? '\\N' : escapeCopy(text)));
  return (id) => `${id}\t${changeTypes.created}\t${actor}\t${requestId}\n`;
}
