/**
 * Offers filters for what the search itself does not find: texts in attributes, and the users of several emails, because the
 * search looks for one user who has all of its words.
 */
import { useState } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { SearchIcon } from '../ui/icons.js';
import { type AttributeSearchProps, searchAttributes } from './attribute-search.js';
import { emailsIn, filterByEmails, wholeText } from './emails-in-text.js';

export interface OtherSearchProps extends AttributeSearchProps {
  /** The text that was last pasted into the search. */
  readonly pasted: string;
}

export function OtherSearch({ pasted, ...props }: OtherSearchProps) {
  const { query, filter } = props.query;
  const emails = emailsIn(wholeText(query, pasted));
  if (emails.length < 2) return <AttributeSearch {...props} />;
  const found = filterByEmails(emails, filter);
  const all = formatCount(emails.length);
  const left = emails.length - found.count;
  return (
    <>
      {found.count > 0 && (
        <button type="button" class="button primary" onClick={() => props.go({ query: '', filter: found.filter })}>
          <SearchIcon />
          {left === 0 ? `Find these ${all} emails` : `Find the first ${formatCount(found.count)} of ${all} emails`}
        </button>
      )}
      {left > 0 && <p class="hint">A filter has no room for the other {formatCount(left)}.</p>}
    </>
  );
}

function AttributeSearch(props: AttributeSearchProps) {
  const { query } = props.query;
  const [problem, setProblem] = useState('');
  const search = () =>
    searchAttributes(props).catch((error: unknown) => setProblem(error instanceof Error ? error.message : ''));
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
