/**
 * Finds users by the words of a search that are ids. Such a word matches only its user, and no text. If it also matched
 * texts, Postgres would have to read the whole table if there is no search index.
 */
import type { RunStatement } from '../database/database.js';
import type { Constant, Filter } from '../model/filter.js';
import { uuidForm } from '../model/user.js';

export interface Search {
  readonly filter: Filter | undefined;
  readonly words: readonly string[];
}

const existingIdsStatement = {
  name: 'existing-ids',
  text: 'select id from users where id = any (CAST($1 AS uuid[]))',
};

/** Replaces the words that are ids of users by conditions on the id. Any other UUID stays a word. */
export async function resolveIds<S extends Search>(run: RunStatement, search: S): Promise<S> {
  const candidates = search.words.map((word) => word.toLowerCase()).filter((word) => uuidForm.test(word));
  if (candidates.length === 0) return search;
  const rows = await run(existingIdsStatement, [candidates]);
  if (rows.length === 0) return search;
  const ids = new Set(rows.map(([id]) => id));
  const isId = (word: string) => ids.has(word.toLowerCase());
  const { filter, words } = search;
  const others = filter === undefined ? [] : filter.kind === 'and' ? filter.terms : [filter];
  const terms = [...words.filter(isId).map(idFilter), ...others];
  return { ...search, filter: { kind: 'and', terms }, words: words.filter((word) => !isId(word)) };
}

function idFilter(id: string): Filter {
  const right: Constant = { kind: 'constant', type: 'string', value: id.toLowerCase() };
  return { kind: 'compare', comparison: '==', left: { kind: 'column', name: 'id' }, right };
}
