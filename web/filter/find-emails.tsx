/** Offers a filter for a search with several emails, because the search looks for one user who has all of its words. */
import { formatCount } from '../text/format.js';
import { SearchIcon } from '../ui/icons.js';
import { AttributeSearch, type AttributeSearchProps } from './attribute-search.js';
import { emailsIn, filterByEmails, wholeText } from './emails-in-text.js';

export interface FindEmailsProps extends AttributeSearchProps {
  /** What was last pasted into the search. */
  readonly pasted: string;
}

export function FindEmails({ pasted, ...props }: FindEmailsProps) {
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
