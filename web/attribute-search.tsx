/** Offers to search the attributes, because the search itself compares only names, emails and ids. */
import { useState } from 'preact/hooks';
import type { Directory } from './directory.js';
import { SearchIcon } from './icons.js';
import { loadPart } from './load-part.js';
import type { Go, Route } from './route.js';

export interface AttributeSearchProps {
  readonly directory: Directory;
  readonly route: Route;
  readonly go: Go;
}

export function AttributeSearch({ directory, route: { query, filter }, go }: AttributeSearchProps) {
  const [problem, setProblem] = useState('');
  const search = async () => {
    try {
      const { attributeFilter } = await loadPart(() => import('./attribute-filter.js'));
      const found = await attributeFilter(directory, query, filter);
      if (found === undefined) setProblem('The newest users have no attributes with texts.');
      else go({ query: '', filter: found });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : '');
    }
  };
  return (
    <div class="line wrap attribute-search">
      <button type="button" class="button small" onClick={() => void search()}>
        <SearchIcon />
        <span class="truncate">
          Search attributes for “<bdi>{query}</bdi>”
        </span>
      </button>
      {problem !== '' && (
        <p class="hint" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}
