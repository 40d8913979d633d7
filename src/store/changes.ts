/**
 * Writes the change log, with a part of each statement that writes users. trim-changes.ts trims the log.
 *
 * An entry holds no personal data: only the user's id, the type of the change and its time.
 */

/** The values of the column `type`. */
export const changeTypes = { created: 2, updated: 3, deleted: 4 } as const;

export type ChangeType = keyof typeof changeTypes;

const changeTimes: Readonly<Record<ChangeType, string>> = {
  created: 'create_time',
  updated: 'update_time',
  deleted: 'now()',
};

/**
 * An insert that logs each row of `source`. It must be part of the statement that writes those rows: an entry then gets
 * its seq after the write has locked the user, so that the entries of one user are in the order of their transactions.
 */
export function logChanges(type: ChangeType, source: string): string {
  return `insert into changes (user_id, type, change_time) select id, ${changeTypes[type]}, ${changeTimes[type]} from ${source}`;
}

/** The target of a COPY that logs users which the same transaction has created. */
export const createdTarget = 'changes (user_id, type)';

/** A line of that COPY. */
export function createdLine(id: string): string {
  return `${id}\t${changeTypes.created}\n`;
}
