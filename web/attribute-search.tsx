/** Offers to search the attributes, because the search itself compares only names, emails and ids. */
import { useState } from 'preact/hooks';
import type { Directory } from './directory.js';
import { SearchIcon } from './icons.js';
import type { ListQuery } from './list-query.js';
import { loadPart } from './load-part.js';
import type { Go } from './route.js';

export interface AttributeSearchProps {
  readonly directory: Directory;
  readonly query: ListQuery;
  readonly go: Go;
}

export function AttributeSearch({ directory, query: { query, filter }, go }: AttributeSearchProps) {
  const [problem, setProblem] = useState('');
  const search = async () => {
    try {
      const { attributeFilter } = await loadPart(() => import('./attribute-filter.js'));
      const found = await attributeFilter(directory, query, filter);
      if (found === undefined) setProblem('The users of a sample have no attributes with texts.');
      else go({ query: '', filter: found });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : '');
    }
  };
  return (
    <>
      <button type="button" class="button primary" onClick={() => void search()}>
        <SearchIcon />
        <span class="truncate">
          Search attributes for “<bdi>{query.trim()}</bdi>”
        </span>
      </button>
      {problem !== '' && (
        <p class="hint" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
