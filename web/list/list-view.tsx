/** The list with its search, its button for new users, and its texts for an empty list. */
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { isSameQuery, type ListQuery, selectsAll } from '../address/list-query.js';
import { type Go, listQueryOf, type Route } from '../address/route.js';
import { useBulkActions } from '../bulk/bulk-actions.js';
import type { CallError } from '../calls/call-error.js';
import type { Caller } from '../calls/caller.js';
import { useCommands } from '../commands/commands.js';
import { formatCount } from '../text/format.js';
import { SearchIcon } from '../ui/icons.js';
import { useMedia } from '../ui/theme.js';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';
import { createGridSettings, type GridSettings } from './grid-settings.js';
import { HiddenOrder } from './hidden-order.js';
import { EmptyList, FailedList, OfflineNotice, ProblemNotice } from './list-states.js';
import { OrderField } from './order-field.js';
import { pageSize } from './page-loader.js';
import { forgetRow } from './scroll-memory.js';
import { SearchBar } from './search-bar.js';
import { SelectionBar } from './selection-bar.js';
import { type ColumnDefaults, useColumnDefaults } from './use-column-defaults.js';
import { UserGrid, type UserGridProps } from './user-grid.js';
import type { UserList } from './user-list.js';
import { ViewMenu } from './view-menu.js';
import { useViewSettings, ViewsButton } from './views-button.js';

export interface ListViewProps {
  readonly list: UserList;
  readonly version: number;
  readonly route: Route;
  readonly go: Go;
  readonly caller: Caller;
  readonly selection: Selection;
  /** Receives the ids of the columns that the list shows. */
  readonly shownColumns: { current: readonly string[] };
  /** Whether the server cannot be reached, so that the rows may be old. */
  readonly isOffline: boolean;
  onOpen(id: string): void;
}

/** A choice that the user made with the keyboard before the response to `query` arrived. */
interface PendingChoice {
  readonly query: ListQuery;
  /** A row, or the only match. */
  readonly row: number | 'only';
  readonly opens: boolean;
}

export function ListView(props: ListViewProps) {
  const { list, version, route, go, caller, selection, shownColumns, isOffline, onOpen } = props;
  const [ownSettings] = useState(createGridSettings);
  const settings = useViewSettings(ownSettings, route, go);
  const isCards = useMedia('(max-width: 639px)');
  const defaults = useColumnDefaults(list);
  const search = useRef<HTMLInputElement>(null);
  const pasted = useRef('');
  const focusGrid = useRef<(row?: number) => void>(undefined);
  const filterByColumn = useRef<(columnId: string) => void>(undefined);
  const [isOrderHidden, setOrderHidden] = useState(false);
  useSearchCommand(search);

  useStore(selection);
  const frame = useKeptFocus(list, focusGrid);

  const { rows, queryError, isRequesting } = list;
  const isSearch = !selectsAll(list.query);

  const { onChoose, onCancel } = useChoice(props, focusGrid);

  const total = list.total.kind === 'exact' ? list.total.count : undefined;
  const bulk = useBulkActions({
    ...{ directory: list.directory, caller, selection, shownColumns, query: list.query, total },
    isOutdated: list.isOutdated,
    onChanged: (deleted) => list.refresh({ deleted }),
  });
  const isEmpty = hasNoRows(list) && !list.isOutdated;
  const { failure, problem } = problemsOf(list);
  return (
    <main class="list-view" aria-label="Users">
      <SearchBar
        directory={list.directory}
        route={route}
        go={go}
        isRequesting={isRequesting && list.generation > 0}
        queryError={isRequesting ? undefined : queryError}
        isOutdated={rows > 0 && list.isOutdated}
        searchRef={search}
        filterRef={filterByColumn}
        start={
          <>
            <ViewsButton session={list.directory.session} route={route} go={go} settings={settings} />
            {isCards && <CardMenu list={list} settings={settings} defaults={defaults} />}
          </>
        }
        end={
          isCards ? (
            <OrderField route={route} go={go} settings={settings} defaultIds={defaults.card} />
          ) : (
            isOrderHidden && <HiddenOrder list={list} go={go} onLeave={() => focusGrid.current?.(0)} />
          )
        }
        onChoose={onChoose}
        onCancel={onCancel}
        onPaste={(text) => {
          pasted.current = text;
        }}
      />
      <p class="visually-hidden" role="status">
        {statusText(list, isSearch)}
      </p>
      {isOffline && list.generation > 0 && <OfflineNotice onRetry={() => list.retry()} />}
      {problem !== undefined && !isOffline && <ProblemNotice error={problem} go={go} onRetry={() => list.retry()} />}
      <div ref={frame} class={`grid-frame${list.isOutdated && failure === undefined ? ' outdated' : ''}`}>
        {list.arrivals.count > 0 && <ArrivalsButton list={list} go={go} />}
        {isEmpty ? (
          <EmptyList directory={list.directory} query={list.query} go={go} caller={caller} pasted={pasted.current} />
        ) : failure !== undefined ? (
          <FailedList error={failure} go={go} onRetry={() => list.retry()} />
        ) : list.generation === 0 ? (
          <div class="grid shell-rows" aria-hidden="true" />
        ) : (
          <UserGrid
            list={list}
            version={version}
            openId={route.user}
            isDimmed={isRequesting}
            isCards={isCards}
            settings={settings}
            defaults={defaults}
            selection={selection}
            shownColumns={shownColumns}
            onOpen={onOpen}
            onOrder={(orderBy) => go({ orderBy })}
            onOrderHidden={setOrderHidden}
            onFilter={(id) => filterByColumn.current?.(id)}
            focusRef={focusGrid}
          />
        )}
        <SelectionBar list={list} selection={selection} total={total}>
          {bulk.buttons}
        </SelectionBar>
        {bulk.dialog}
      </div>
      <p class="print-note">These are the rows that were on the screen. Export the users to get all of them.</p>
    </main>
  );
}

/** Moves from the search to the list, or opens a match, once the list shows the query. */
function useChoice({ list, version, route, onOpen }: ListViewProps, focusGrid: { current?: (row?: number) => void }) {
  const [choice, setChoice] = useState<PendingChoice>();
  useLayoutEffect(() => {
    if (choice === undefined || list.isRequesting || !isSameQuery(choice.query, list.requestedQuery)) return;
    setChoice(undefined);
    // The server rejected the query, so the list still shows the previous one.
    if (!list.isShowing(choice.query)) return;
    if (choice.row !== 'only') focusGrid.current?.(choice.row);
    else if (list.rows !== 1 || list.hasMore || selectsAll(list.query)) return;
    const user = list.userAt(choice.row === 'only' ? 0 : Math.min(choice.row, list.rows - 1));
    if (choice.opens && user !== undefined) onOpen(user.id);
  }, [choice, version]);
  return {
    onChoose(query: string, key: 'ArrowDown' | 'Enter') {
      const wanted = { ...listQueryOf(route), query };
      if (key === 'ArrowDown' && list.isShowing(wanted)) focusGrid.current?.();
      else setChoice((before) => nextChoice(before, wanted, key));
    },
    onCancel: () => setChoice(undefined),
  };
}

/** Whether the list was loaded and is empty. */
function hasNoRows(list: UserList): boolean {
  return list.generation > 0 && list.rows === 0 && !list.hasMore;
}

/** The error that is shown instead of rows, or the one that is shown above them. */
function problemsOf(list: UserList): { failure?: CallError | undefined; problem?: CallError | undefined } {
  const { queryError, pageError, isOutdated, generation } = list;
  // The error of the query is newer than that of a page of the previous one.
  if (generation === 0) return { failure: queryError ?? pageError };
  if (hasNoRows(list) && isOutdated) return { failure: queryError };
  // The filter shows what is wrong with it.
  return { problem: (queryError?.reason === 'INVALID_FILTER' ? undefined : queryError) ?? pageError };
}

function ArrivalsButton({ list, go }: Pick<ListViewProps, 'list' | 'go'>) {
  const { count, isMany, hasChanged } = list.arrivals;
  const nouns = selectsAll(list.query) ? (['user', 'users'] as const) : (['match', 'matches'] as const);
  // In this order they are at the top.
  const [orderBy, orderText] = hasChanged
    ? (['update_time desc', 'newest update first'] as const)
    : (['create_time desc', 'newest first'] as const);
  const isOtherOrder = list.query.orderBy !== orderBy;
  const show = () => {
    forgetRow();
    // A saved view has its own order.
    if (isOtherOrder) go({ orderBy, name: '' });
    else list.request(list.query);
  };
  return (
    <button type="button" class="button arrivals" onClick={show}>
      Show {formatCount(count)}
      {isMany && '+'} new {nouns[count === 1 ? 0 : 1]}
      {isOtherOrder && `, ${orderText}`}
    </button>
  );
}

interface CardMenuProps {
  readonly list: UserList;
  readonly settings: GridSettings;
  readonly defaults: ColumnDefaults;
}

/** Chooses the columns of cards, which have no titles. */
function CardMenu({ list, settings, defaults }: CardMenuProps) {
  useStore(settings);
  const columnIds = settings.look.columns ?? defaults.card;
  return <ViewMenu list={list} columnIds={columnIds} settings={settings} onAutomatic={defaults.chooseAgain} isCards />;
}

/**
 * Moves the focus to the rows, or to the first button of the empty list, if the element with the focus was removed from the
 * frame: the bar of the selection, the dialog of an action whose button has disappeared, or the grid. The rows of another
 * result are shown from the first one, as after the button for new users.
 */
function useKeptFocus(list: UserList, focusGrid: UserGridProps['focusRef']): RefObject<HTMLDivElement | null> {
  const frame = useRef<HTMLDivElement>(null);
  const generation = useRef(list.generation);
  const hadFocus = frame.current?.contains(document.activeElement) === true;
  useLayoutEffect(() => {
    const isOther = generation.current !== list.generation;
    generation.current = list.generation;
    if (!hadFocus || document.activeElement !== document.body) return;
    if (list.rows > 0) focusGrid.current?.(isOther ? 0 : undefined);
    else frame.current?.querySelector<HTMLElement>('.empty button')?.focus();
  });
  return frame;
}

function useSearchCommand(search: { readonly current: HTMLInputElement | null }): void {
  useCommands(
    () => [
      {
        id: 'search',
        label: 'Search the list',
        words: 'find people users',
        key: '/',
        icon: SearchIcon,
        run: () => search.current?.select(),
      },
    ],
    [],
  );
}

function nextChoice(before: PendingChoice | undefined, query: ListQuery, key: 'ArrowDown' | 'Enter'): PendingChoice {
  const row = before?.row ?? 'only';
  if (key === 'Enter') return { query, row, opens: true };
  return { query, row: row === 'only' ? 0 : row + 1, opens: false };
}

function statusText(list: UserList, isSearch: boolean): string {
  if (list.generation === 0) return list.isRequesting ? 'Loading the list' : '';
  return list.isShowing(list.requestedQuery) ? resultText(list, isSearch) : '';
}

function resultText({ total, rows, hasMore }: UserList, isSearch: boolean): string {
  const noun = isSearch ? 'matches' : 'users';
  if (total.kind !== 'exact' && hasMore) return `More than ${formatCount(Math.min(rows, pageSize))} ${noun}`;
  const count = total.kind === 'exact' ? total.count : rows;
  return count === 1 ? `1 ${isSearch ? 'match' : 'user'}` : `${formatCount(count)} ${noun}`;
}
