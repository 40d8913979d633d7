/** Shows, instead of rows, that the list loads, that it is empty, or why it cannot be shown. */
import { type ListQuery, selectsAll } from '../address/list-query.js';
import { allPeople, type Go } from '../address/route.js';
import type { CallError } from '../calls/call-error.js';
import type { Caller } from '../calls/caller.js';
import type { Directory } from '../calls/directory.js';
import { EmptyState } from '../ui/empty-state.js';
import { ImportIcon, OfflineIcon, PlusIcon, SearchIcon, UsersIcon, WarningIcon } from '../ui/icons.js';
import { lazy, lazyPopup } from '../ui/lazy.js';

// The advice is optional, so a failure is not shown.
const FilterAdvice = lazy(
  async () => (await import('../filter/filter-advice.js')).FilterAdvice,
  () => null,
);

const OtherSearch = lazyPopup(async () => (await import('../filter/other-search.js')).OtherSearch);

export interface EmptyListProps {
  readonly directory: Directory;
  readonly query: ListQuery;
  readonly go: Go;
  readonly caller: Caller;
  /** The text that was last pasted into the search. */
  readonly pasted: string;
}

export function EmptyList({ query, caller, ...props }: EmptyListProps) {
  return selectsAll(query) ? <NoUsers go={props.go} caller={caller} /> : <NoMatches query={query} {...props} />;
}

function NoUsers({ go, caller }: Pick<EmptyListProps, 'go' | 'caller'>) {
  const mayCreate = caller.may('createUser');
  const mayImport = caller.may('batchCreateUsers');
  return (
    <EmptyState
      icon={UsersIcon}
      title="No users yet"
      actions={
        (mayCreate || mayImport) && (
          <>
            {mayCreate && (
              <button type="button" class="button primary" onClick={() => go({ user: 'new' })}>
                <PlusIcon />
                New user
              </button>
            )}
            {mayImport && (
              <button type="button" class="button" onClick={() => go({ dialog: 'import' })}>
                <ImportIcon />
                Import users
              </button>
            )}
          </>
        )
      }
    >
      <p class="soft">
        {mayCreate
          ? `Add the first user${mayImport ? ', or import many from a CSV file' : ''}.`
          : 'Users appear here when somebody adds them.'}
      </p>
    </EmptyState>
  );
}

function NoMatches({ directory, query: listQuery, go, pasted }: Omit<EmptyListProps, 'caller'>) {
  const { query, filter } = listQuery;
  const hasBoth = query !== '' && filter !== '';
  return (
    <EmptyState
      icon={SearchIcon}
      title="No matches"
      actions={
        <>
          {query !== '' && <OtherSearch directory={directory} query={listQuery} go={go} pasted={pasted} />}
          {hasBoth && (
            <button type="button" class="button" onClick={() => go({ filter: '' })}>
              Search all users
            </button>
          )}
          <button type="button" class="button" onClick={() => go({ query: '', filter: '' })}>
            Show all users
          </button>
        </>
      }
    >
      {query === '' ? (
        <p class="soft">No user matches the filter.</p>
      ) : (
        <p class="soft">
          No user{hasBoth ? ' that matches the filter' : ''} has <bdi>“{query.trim()}”</bdi> in the name or email. Check
          the spelling, or use fewer words.
        </p>
      )}
      {filter !== '' && <FilterAdvice directory={directory} filter={filter} go={go} />}
    </EmptyState>
  );
}

export interface FailedListProps {
  readonly error: CallError;
  readonly go: Go;
  onRetry(): void;
}

/** Shown if the list could not be loaded and there are no rows of another query. */
export function FailedList({ error, go, onRetry }: FailedListProps) {
  const { code, reason } = error;
  if (reason === 'INVALID_FILTER') {
    return (
      <EmptyState
        role="alert"
        icon={WarningIcon}
        title="This filter is invalid"
        actions={
          <button type="button" class="button" onClick={() => go({ filter: '' })}>
            Show all users
          </button>
        }
      >
        <p class="soft">The error is shown below the filter.</p>
      </EmptyState>
    );
  }
  const isOffline = code === 'UNAVAILABLE';
  return (
    <EmptyState
      role="alert"
      icon={isOffline ? OfflineIcon : WarningIcon}
      title="Cannot load the list"
      actions={<Remedy {...{ error, go, onRetry }} look="primary" />}
    >
      <p class="soft">{navigator.onLine ? textOf(error) : 'You are offline.'}</p>
      {isOffline && <p class="soft">The list appears when the connection is back.</p>}
    </EmptyState>
  );
}

/** Shown above the rows while the server cannot be reached. */
export function OfflineNotice({ onRetry }: { onRetry(): void }) {
  return (
    <div class="notice warning problem" role="status">
      <OfflineIcon />
      <span class="grow">
        {navigator.onLine ? 'Cannot reach the server.' : 'You are offline.'} The list may be out of date.
      </span>
      <button type="button" class="button small" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

/** Shown above the rows if a part of them could not be loaded. */
export function ProblemNotice({ error, go, onRetry }: FailedListProps) {
  return (
    <div class="notice danger problem" role="alert">
      <WarningIcon />
      <span class="grow">{textOf(error)}</span>
      <Remedy {...{ error, go, onRetry }} look="small" />
    </div>
  );
}

/** The button that can help. Another attempt cannot, if the server refuses a part of the query. */
function Remedy({ error, go, onRetry, look }: FailedListProps & { look: 'primary' | 'small' }) {
  const [label, act] = isRefused(error, 'order_by')
    ? (['Sort by newest first', () => go({ orderBy: allPeople.orderBy })] as const)
    : isRefused(error, 'query')
      ? (['Clear the search', () => go({ query: '' })] as const)
      : (['Try again', onRetry] as const);
  return (
    <button type="button" class={`button ${look}`} onClick={act}>
      {label}
    </button>
  );
}

/**
 * A link or a saved view can have a search that is too long, or name an attribute that the caller may not read. An older server
 * sorts by no attribute.
 */
function isRefused({ violations }: CallError, part: 'order_by' | 'query'): boolean {
  return violations.some(({ field }) => field === part);
}

function textOf({ message, violations }: CallError): string {
  const inSearch = violations.find(({ field }) => field === 'query');
  return inSearch === undefined ? message : `The search ${inSearch.description}.`;
}
