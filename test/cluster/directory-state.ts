/** Reads the change log and the users from the primary, without Roster. */
import pg from 'pg';
import { byUser, type LivingUser, type Logged, loggedTypes } from '../support/feed-checker.js';
import { poll } from './poll.js';
import { primaryUrl } from './start-roster.js';

export interface DirectoryState {
  /** The changes of each user, in order of seq. */
  readonly log: Map<string, Logged[]>;
  readonly users: readonly LivingUser[];
}

export async function readDirectory(): Promise<DirectoryState> {
  return poll('the primary can be read', 30_000, async () => {
    const client = new pg.Client({ connectionString: primaryUrl });
    client.on('error', () => {});
    await client.connect();
    try {
      await client.query('begin isolation level repeatable read');
      const changes = await client.query<{ xid: string; user_id: string; type: number; change_time: Date }>(
        'select xid::text, user_id, type, change_time from changes order by seq',
      );
      const users = await client.query<{ id: string; version: number; update_time: Date }>(
        'select id, version, update_time from users',
      );
      return {
        log: byUser(
          changes.rows.map(({ xid, user_id: userId, type, change_time: time }) => ({
            xid: BigInt(xid),
            userId,
            type: loggedTypes[type] ?? 'existing',
            timeMs: time.getTime(),
          })),
        ),
        users: users.rows.map(({ id, version, update_time: time }) => ({ id, version, updateTimeMs: time.getTime() })),
      };
    } finally {
      await client.end();
    }
  });
}
