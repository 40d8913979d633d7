/** Gives the callers of a write a consistency token, with which their next reads see it. */
import { type Database, readLogPosition } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';

type Write<T> = (database: Database) => Promise<T>;

export interface Authored {
  readonly author?: ChangeAuthor | undefined;
}

/** Runs a write of these rows. */
export type RunWrite = <T>(rows: readonly Authored[], write: Write<T>) => Promise<T>;

/** `tokenOf` makes a token of a position in the log. */
export function createWritePositions(database: Database, tokenOf: (position: bigint) => string): RunWrite {
  return async (rows, write) => {
    let position: bigint | undefined;
    const outcome = await write({
      ...database,
      async run(statement, values) {
        const answer = await database.runWithPosition(statement, values);
        position = answer.position;
        return answer.rows;
      },
    });
    // The write is committed. If its position cannot be read, its caller gets no token.
    position ??= await readLogPosition(database).catch(() => undefined);
    if (position === undefined) return outcome;
    const token = tokenOf(position);
    for (const { author } of rows) author?.onCommitted?.(token);
    return outcome;
  };
}
