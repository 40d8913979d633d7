/** Searches the index that sync.ts maintains: `node search.ts ada love`. Roster need not run. */
import { openIndex } from './search-index.ts';

using index = openIndex(process.env.INDEX_FILE ?? 'users.db');
for (const { id, name, email } of index.search(process.argv.slice(2).join(' '))) console.log(id, name, email);
