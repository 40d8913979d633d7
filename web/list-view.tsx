/** The list with its search, its button for new users, and its texts for an empty list. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useBulkActions } from './bulk-actions.js';
import type { Caller } from './caller.js';
import { formatCount } from './format.js';
import { createGridSettings } from './grid-settings.js';
import { ImportIcon, PlusIcon, UsersIcon } from './icons.js';
import { isSameQuery, type ListQuery, selectsAll } from './list-query.js';
import { pageSize } from './page-loader.js';
import { type Go, listQueryOf, type Route } from './route.js';
import { SearchBar } from './search-bar.js';
import type { Selection } from './selection.js';
import { SelectionBar } from './selection-bar.js';
import { UserGrid } from './user-grid.js';
import type { UserList } from './user-list.js';

export interface ListViewProps {
  readonly list: UserList;
  readonly version: number;
  readonly route: Route;
  readonly go: Go;
  readonly caller: Caller;
  readonly selection: Selection;
  onOpen(id: string): void;
}

/** A choice that the user made with the keyboard before the response to `query` arrived. */
interface PendingChoice {
  readonly query: ListQuery;
  /** A row, or the only match. */
  readonly row: number | 'only';
  readonly opens: boolean;
}

export function ListView({ list, version, route, go, caller, selection, onOpen }: ListViewProps) {
  const [settings] = useState(createGridSettings);
  const search = useRef<HTMLInputElement>(null);
  const focusGrid = useRef<(row?: number) => void>(undefined);
  const [choice, setChoice] = useState<PendingChoice>();
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (document.querySelector('dialog[open]') !== null || isEditable(event.target)) return;
      if (event.key === '/') search.current?.select();
      else if (event.key === 'n' && caller.may('createUser')) go({ user: 'new' });
      else return;
      event.preventDefault();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, [go, caller]);

  const { rows, arrivals, queryError, pageError, isRequesting } = list;
  const isSearch = !selectsAll(list.query);

  const onChoose = (query: string, key: 'ArrowDown' | 'Enter') => {
    const wanted = { ...listQueryOf(route), query };
    if (key === 'ArrowDown' && list.isShowing(wanted)) focusGrid.current?.();
    else setChoice((before) => nextChoice(before, wanted, key));
  };
  const onCancelChoice = () => setChoice(undefined);
  useLayoutEffect(() => {
    if (choice === undefined || list.isRequesting || !isSameQuery(choice.query, list.requestedQuery)) return;
    setChoice(undefined);
    // The server rejected the query, so the list still shows the previous one.
    if (!list.isShowing(choice.query)) return;
    if (choice.row !== 'only') focusGrid.current?.(choice.row);
    else if (list.rows !== 1 || list.hasMore || !isSearch) return;
    const user = list.userAt(choice.row === 'only' ? 0 : Math.min(choice.row, list.rows - 1));
    if (choice.opens && user !== undefined) onOpen(user.id);
  }, [choice, version]);

  const total = list.total.kind === 'exact' ? list.total.count : undefined;
  const bulk = useBulkActions({
    ...{ directory: list.directory, caller, selection, query: list.query, total },
    onChanged: () => list.refresh(),
  });
  const isFilterInvalid = queryError?.reason === 'INVALID_FILTER';
  // The error of the query is newer than that of a page of the previous one.
  const problem = (isFilterInvalid && list.generation > 0 ? undefined : queryError) ?? pageError;
  const isEmpty = list.generation > 0 && rows === 0 && !list.hasMore;
  const showArrivals = () => {
    if (list.query.orderBy !== 'create_time desc') go({ orderBy: 'create_time desc' });
    else list.request(list.query);
  };
  return (
    <main class="list-view" aria-label="People">
      <SearchBar
        directory={list.directory}
        route={route}
        go={go}
        isRequesting={isRequesting && list.generation > 0}
        queryError={isRequesting ? undefined : queryError}
        isOutdated={list.generation > 0 && list.isOutdated}
        searchRef={search}
        onChoose={onChoose}
        onCancel={onCancelChoice}
      />
      <p class="visually-hidden" role="status">
        {list.isShowing(list.requestedQuery) ? resultText(list, isSearch) : ''}
      </p>
      {problem !== undefined && list.generation > 0 && (
        <div class="notice danger problem" role="alert">
          <span class="grow">{problem.message}</span>
          <button type="button" class="button" onClick={() => list.retry()}>
            Try again
          </button>
        </div>
      )}
      <div class={`grid-frame${list.isOutdated ? ' outdated' : ''}`}>
        {arrivals.count > 0 && (
          <button type="button" class="button arrivals" onClick={showArrivals}>
            {formatCount(arrivals.count)}
            {arrivals.isMany && '+'} new · show
          </button>
        )}
        {isEmpty ? (
          <Empty query={list.query} go={go} caller={caller} />
        ) : list.generation === 0 && problem !== undefined ? (
          <div class="empty" role="alert">
            <h2>{isFilterInvalid ? 'This filter is invalid' : 'Cannot load the list'}</h2>
            <p class="soft">{isFilterInvalid ? 'The error is shown below the filter.' : problem.message}</p>
            <button type="button" class="button" onClick={() => (isFilterInvalid ? go({ filter: '' }) : list.retry())}>
              {isFilterInvalid ? 'Show all users' : 'Try again'}
            </button>
          </div>
        ) : list.generation === 0 ? (
          <Loading />
        ) : (
          <UserGrid
            list={list}
            version={version}
            isDimmed={isRequesting}
            settings={settings}
            selection={selection}
            onOpen={onOpen}
            onOrder={(orderBy) => go({ orderBy })}
            focusRef={focusGrid}
          />
        )}
        <SelectionBar selection={selection} total={total}>
          {bulk.buttons}
        </SelectionBar>
        {bulk.dialog}
      </div>
    </main>
  );
}

function nextChoice(before: PendingChoice | undefined, query: ListQuery, key: 'ArrowDown' | 'Enter'): PendingChoice {
  const row = before?.row ?? 'only';
  if (key === 'Enter') return { query, row, opens: true };
  return { query, row: row === 'only' ? 0 : row + 1, opens: false };
}

function resultText({ total, rows, hasMore }: UserList, isSearch: boolean): string {
  const noun = isSearch ? 'matches' : 'users';
  if (total.kind === 'exact') return total.count === 1 ? '1 result' : `${formatCount(total.count)} ${noun}`;
  return hasMore ? `More than ${formatCount(Math.min(rows, pageSize))} ${noun}` : `${formatCount(rows)} ${noun}`;
}

function Empty({ query, go, caller }: { query: ListQuery; go: Go; caller: Caller }) {
  if (!selectsAll(query)) {
    return (
      <div class="empty">
        <h2>No matches</h2>
        {query.query !== '' && <p class="soft">Every word must occur in a name or in the email.</p>}
        <button type="button" class="button" onClick={() => go({ query: '', filter: '' })}>
          Show all users
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <span class="empty-sign">
        <UsersIcon />
      </span>
      <h2>No users yet</h2>
      {caller.may('createUser') && (
        <p class="soft">Add the first user by hand, or import many users from a CSV file.</p>
      )}
      <div class="line wrap">
        {caller.may('createUser') && (
          <button type="button" class="button primary" onClick={() => go({ user: 'new' })}>
            <PlusIcon />
            New user
          </button>
        )}
        {caller.may('batchCreateUsers') && (
          <button type="button" class="button" onClick={() => go({ dialog: 'import' })}>
            <ImportIcon />
            Import from CSV
          </button>
        )}
      </div>
    </div>
  );
}

/** A placeholder before the first response, in the shape of the rows. */
function Loading() {
  return (
    <div class="grid" aria-hidden="true">
      {Array.from({ length: 12 }, (_, row) => (
        <div key={row} class="grid-row skeleton still">
          <div class="cell-select" />
          <div class="cell-name">
            <span class="avatar" />
            <span class="bar" />
          </div>
          <div class="cell">
            <span class="bar" />
          </div>
        </div>
      ))}
    </div>
  );
}

function isEditable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, [contenteditable]') !== null;
}
