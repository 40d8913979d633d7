/** Asks the index, which the other process keeps: `node search.ts ada love`. Roster need not even be there. */
import { openIndex } from './search-index.ts';

using index = openIndex(process.env.INDEX_FILE ?? 'users.db');
for (const { id, name, email } of index.search(process.argv.slice(2).join(' '))) console.log(id, name, email);
