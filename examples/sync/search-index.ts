/**
 * A search index in one SQLite file: the people, and the token of the last read message of Roster's feed. Both are written
 * in one transaction, so that they match after a crash.
 */
import { DatabaseSync } from 'node:sqlite';
import type { UserFeedMessage } from '@roster-directory/client';

// A round reads all users. Users that were not seen in the latest round no longer exist. During a round there is no token.
const schema = `
  pragma journal_mode = wal;
  pragma busy_timeout = 5000;
  create table if not exists people (
    key integer primary key, id text not null unique, name text not null, email text not null, round integer not null
  );
  create virtual table if not exists words using fts5 (name, email, tokenize = "unicode61 remove_diacritics 2");
  create table if not exists state (
    only integer primary key check (only = 1), token text not null, round integer not null, applied integer not null
  );
  insert or ignore into state values (1, '', 0, 0);`;

interface State {
  token: string;
  round: number;
  /** The number of changes since the index was created. Each counts once, even after a crash. */
  applied: number;
}

export interface Found {
  id: string;
  name: string;
  email: string;
}

export function openIndex(file: string) {
  const db = new DatabaseSync(file);
  db.exec(schema);
  const readState = db.prepare('select token, round, applied from state');
  const writeState = db.prepare(
    'update state set token = ?, round = ?, applied = ? where token = ? and round = ? and applied = ?',
  );
  const put = db.prepare(`
    insert into people (id, name, email, round) values (?, ?, ?, ?)
    on conflict (id) do update set name = excluded.name, email = excluded.email, round = excluded.round
    returning key`);
  const putWords = db.prepare('insert into words (rowid, name, email) values (?, ?, ?)');
  const removeWords = db.prepare('delete from words where rowid = ?');
  const remove = db.prepare('delete from people where id = ? returning key');
  const sweep = db.prepare('delete from people where round < ? returning key');
  const find = db.prepare(`
    select id, people.name, people.email from words join people on people.key = words.rowid
    where words match ? order by rank limit 20`);
  const countPeople = db.prepare('select count(*) as count from people');

  let state = readState.get() as unknown as State;

  function transaction(change: () => State): void {
    db.exec('begin immediate');
    try {
      const next = change();
      const values = [next.token, next.round, next.applied, state.token, state.round, state.applied];
      if (writeState.run(...values).changes !== 1) throw new Error('Another process maintains this index.');
      db.exec('commit');
      state = next;
    } catch (error) {
      db.exec('rollback');
      throw error;
    }
  }

  function removeFromWords(keys: readonly Record<string, unknown>[]): void {
    for (const { key } of keys) removeWords.run(key as number);
  }

  return {
    /** Empty if all users must be read first. */
    get token(): string {
      return state.token;
    },

    get applied(): number {
      return state.applied;
    },

    get size(): number {
      return (countPeople.get() as { count: number }).count;
    },

    /** Call it before reading all users. Users that do not follow are deleted at the end. */
    beginRound(): void {
      transaction(() => ({ ...state, token: '', round: state.round + 1 }));
    },

    /** Writes the changes and the token of one message together. */
    apply({ startedOver, changes, caughtUp, resumeToken }: UserFeedMessage): void {
      transaction(() => {
        let { token, round, applied } = state;
        if (startedOver) {
          token = '';
          round++;
        }
        for (const { user } of changes) {
          if (user === undefined) continue;
          // A deleted user has only an id.
          if (user.email === '') removeFromWords(remove.all(user.id));
          else {
            const { key } = put.get(user.id, user.displayName, user.email, round) as { key: number };
            removeWords.run(key);
            putWords.run(key, user.displayName, user.email);
          }
        }
        if (caughtUp) {
          if (token === '') removeFromWords(sweep.all(round));
          token = resumeToken;
          applied += changes.length;
        }
        return { token, round, applied };
      });
    },

    /** The best 20 matches for all words. Each word may be the beginning of a longer one. */
    search(text: string): Found[] {
      const words = text.split(/\s+/).filter((word) => word !== '');
      if (words.length === 0) return [];
      return find.all(words.map((word) => `"${word.replaceAll('"', '""')}"*`).join(' ')) as unknown as Found[];
    },

    [Symbol.dispose](): void {
      db.close();
    },
  };
}
