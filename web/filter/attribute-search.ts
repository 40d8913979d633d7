/** Searches the attributes, because the search itself compares only names, emails and ids. */
import type { ListQuery } from '../address/list-query.js';
import type { Go } from '../address/route.js';
import type { Directory } from '../calls/directory.js';
import { loadPart } from '../calls/load-part.js';

export interface AttributeSearchProps {
  readonly directory: Directory;
  readonly query: Pick<ListQuery, 'query' | 'filter'>;
  readonly go: Go;
}

/** Shows the users who match the filter and have the query in an attribute. Rejects with an Error whose text is for the user. */
export async function searchAttributes({
  directory,
  query: { query, filter },
  go,
}: AttributeSearchProps): Promise<void> {
  const { attributeFilter } = await loadPart(() => import('./attribute-filter.js'));
  const found = await attributeFilter(directory, query, filter);
  if (found === undefined) throw new Error('No user in the sample has an attribute with a text.');
  go({ view: 'list', query: '', filter: found });
}
