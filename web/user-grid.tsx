/**
 * Shows the list as a grid. Only the rows in view and some around them are in the document, even in a long list.
 *
 * UserList owns the data, and the grid reports to it which rows are in view.
 */
import { useEffect, useMemo, useRef } from 'preact/hooks';
import {
  cardColumns,
  columnOf,
  defaultCardColumns,
  defaultColumns,
  keysOf,
  minWidthOf,
  templateOf,
} from './columns.js';
import { useGridFocus } from './grid-focus.js';
import { GridHead } from './grid-head.js';
import { Row } from './grid-row.js';
import { type GridScroll, useGridScroll } from './grid-scroll.js';
import type { GridSettings } from './grid-settings.js';
import { flashMs } from './row-marks.js';
import type { Selection } from './selection.js';
import { useRowSelection } from './use-row-selection.js';
import { useStore } from './use-store.js';
import type { UserList } from './user-list.js';
import { ViewMenu } from './view-menu.js';

export interface UserGridProps {
  readonly list: UserList;
  /** Differs after each change of the list. */
  readonly version: number;
  /** The id of the user whose panel is open; empty if there is no panel. */
  readonly openId: string;
  readonly isDimmed: boolean;
  /** Whether the rows are cards, as on a phone. */
  readonly isCards: boolean;
  readonly settings: GridSettings;
  readonly selection: Selection;
  /** Receives the ids of the columns. */
  readonly shownColumns: { current: readonly string[] };
  onOpen(id: string): void;
  onOrder(orderBy: string): void;
  /** Starts a filter by the column with this id. */
  onFilter(id: string): void;
  /** Receives a function that moves the focus into the grid. */
  readonly focusRef: { current: ((row?: number) => void) | undefined };
}

const rowPx = { comfortable: 48, compact: 36 } as const;
const cardPx = 68;
/** As for the indexes of lists (docs/lists.md). */
const largeTotal = 20_000;

export function UserGrid(props: UserGridProps) {
  const { list, version, openId, isDimmed, isCards, settings, selection, onOpen, onOrder, focusRef } = props;
  useStore(settings);
  const { density, widths } = settings.look;
  const heightPx = isCards ? cardPx : rowPx[density];
  const scroll = useGridScroll(list, version, heightPx);
  const { onSelect, onSelectKey } = useRowSelection(list, selection);
  const { active, activate, focus, onFocus, onKeyDown } = useGridFocus(list, version, scroll, onOpen, onSelectKey);
  focusRef.current = focus;
  useOpenRow(list.rowOf(openId), openId, activate, scroll.reveal);
  const columnIds = useColumnIds(list, settings, scroll.widthPx, isCards);
  const columns = useMemo(() => columnIds.flatMap((id) => columnOf(id) ?? []), [columnIds]);
  props.shownColumns.current = columns.map(({ id }) => id);

  useLoadedRows(list, scroll, version);

  const onColumns = (ids: readonly string[]) => settings.change({ columns: ids });
  const onWidth = (id: string, px: number | undefined) => {
    const { [id]: _, ...others } = settings.look.widths;
    settings.change({ widths: px === undefined ? others : { ...others, [id]: px } });
  };
  const total = list.total.kind === 'exact' ? list.total.count : undefined;
  const widthPxMin = minWidthOf(columns, widths);
  const now = performance.now();
  return (
    <>
      {!isCards && <ViewMenu columnIds={columnIds} settings={settings} keys={() => keysOf(list.loadedUsers())} />}
      <div
        class="grid"
        role="grid"
        aria-label="Users"
        aria-rowcount={total === undefined ? -1 : total + 1}
        aria-colcount={columns.length + 1}
        aria-multiselectable="true"
        aria-busy={isDimmed}
        data-dimmed={isDimmed}
        data-density={density}
        data-wide={!isCards && widthPxMin > scroll.widthPx}
        data-selecting={!selection.isEmpty}
        style={{
          '--columns': templateOf(columns, widths, scroll.widthPx),
          '--row': `${heightPx}px`,
          '--width': isCards ? '0px' : `${widthPxMin}px`,
        }}
        ref={scroll.scrollerRef}
        onScroll={scroll.onScroll}
        onKeyDown={onKeyDown}
      >
        <div role="rowgroup" class="grid-head" ref={scroll.headRef}>
          <GridHead
            columns={columns}
            orderBy={list.query.orderBy}
            isLarge={total === undefined || total > largeTotal}
            selection={selection}
            total={total}
            onOrder={onOrder}
            onFilter={props.onFilter}
            onColumns={onColumns}
            onWidth={onWidth}
          />
        </div>
        <div role="rowgroup" class="grid-canvas" style={{ height: `${scroll.map.heightPx}px` }}>
          {rowsInDocument(scroll, list.rows, active).map((row) => {
            const user = list.userAt(row);
            const id = user?.id ?? '';
            const changedAt = list.changedAt(id);
            return (
              <Row
                key={row}
                row={row}
                user={user}
                columns={columns}
                isCard={isCards}
                yPx={row * heightPx - scroll.map.offsetPx}
                isActive={row === active}
                isOpen={id !== '' && id === openId}
                isSelected={user !== undefined && selection.has(id)}
                leaving={list.leavingReason(id)}
                flashedAt={now - changedAt < flashMs ? changedAt : 0}
                onOpen={onOpen}
                onActivate={activate}
                onSelect={onSelect}
                onFocus={onFocus}
              />
            );
          })}
        </div>
      </div>
    </>
  );
}

/** Loads the rows in view. */
function useLoadedRows(list: UserList, { first, last }: GridScroll, version: number): void {
  useEffect(() => {
    if (list.generation > 0) list.show(first, Math.max(first, last));
  }, [list, first, last, version]);
}

/** Makes the row of a user active and shows it when the user's panel opens. */
function useOpenRow(row: number, openId: string, activate: (row: number) => void, reveal: (row: number) => void): void {
  useEffect(() => {
    if (row < 0) return;
    activate(row);
    reveal(row);
  }, [openId]);
}

/** The number of users whose attributes decide which columns the page chooses. */
const sampleMax = 200;

/**
 * The chosen columns; on a card, those of them that it shows. Without a choice, those that fit, which change only with the
 * width, so that none moves.
 */
function useColumnIds(list: UserList, settings: GridSettings, widthPx: number, isCards: boolean): readonly string[] {
  const keys = useRef<readonly string[]>([]);
  const hasUsers = list.userAt(0) !== undefined;
  if (keys.current.length === 0 && hasUsers) keys.current = keysOf([...list.loadedUsers()].slice(0, sampleMax));
  const { columns } = settings.look;
  return useMemo(
    () => (isCards ? cardColumns(columns ?? defaultCardColumns) : (columns ?? defaultColumns(keys.current, widthPx))),
    [columns, keys.current, widthPx, isCards],
  );
}

/** The rows in view, some around them, and the active row, which stays in the document even if it is out of view. */
function rowsInDocument({ first, last, around, rowsShown }: GridScroll, rowsKnown: number, active: number): number[] {
  const from = Math.max(0, first - around);
  const to = Math.min(last + around, rowsShown - 1);
  const rows = Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
  // Insert it in order, because screen readers follow the order of the document.
  if (active < rowsKnown && active < (rows[0] ?? 0)) rows.unshift(active);
  else if (active < rowsKnown && active > (rows.at(-1) ?? 0)) rows.push(active);
  return rows;
}
