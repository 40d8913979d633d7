/**
 * Shows the list as a grid. Only the rows in view and some around them are in the document, even in a long list.
 *
 * UserList owns the data, and the grid reports to it which rows are in view.
 */
import { useEffect, useLayoutEffect, useMemo } from 'preact/hooks';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';
import { type Column, cardColumns, columnOf, defaultColumns, minWidthOf, templateOf } from './columns.js';
import { useGridFocus } from './grid-focus.js';
import { GridHead } from './grid-head.js';
import { Row } from './grid-row.js';
import { type GridScroll, useGridScroll } from './grid-scroll.js';
import type { GridSettings } from './grid-settings.js';
import { isHiddenOrder } from './hidden-order.js';
import { flashMs } from './row-marks.js';
import { useUnfocusedKeys } from './unfocused-keys.js';
import type { ColumnDefaults } from './use-column-defaults.js';
import { useColumnWidths } from './use-column-widths.js';
import { useMatchedAttribute } from './use-matched-attribute.js';
import { useRowSelection } from './use-row-selection.js';
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
  readonly defaults: ColumnDefaults;
  readonly selection: Selection;
  /** Receives the ids of the columns. */
  readonly shownColumns: { current: readonly string[] };
  onOpen(id: string): void;
  onOrder(orderBy: string): void;
  /** Called with whether no column shows the order of the list. */
  onOrderHidden(isHidden: boolean): void;
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
  const { list, version, openId, isDimmed, isCards, settings, defaults, selection } = props;
  const { onOpen, onOrder, focusRef } = props;
  useStore(settings);
  const { density, widths, contentWidths } = settings.look;
  const heightPx = isCards ? cardPx : rowPx[density];
  const scroll = useGridScroll(list, version, heightPx);
  const { isSelected, canSelect, onSelect, onSelectAll, onSelectKey } = useRowSelection(list, selection);
  const { active, activate, focus, onFocus, onKeyDown } = useGridFocus(list, version, scroll, onOpen, onSelectKey);
  focusRef.current = focus;
  useUnfocusedKeys(focus, onSelectAll, selection);
  useOpenRow(list.rowOf(openId), openId, activate, scroll.reveal);
  const columnIds = useColumnIds(settings, defaults, scroll.widthPx, isCards);
  const columns = useColumns(columnIds, scroll.widthPx, props);
  const matchOf = useMatchedAttribute(list.query.filter, columnIds);
  useLoadedRows(list, scroll, version);

  const onWidth = (id: string, px: number) => settings.change({ widths: { ...settings.look.widths, [id]: px } });
  const onFit = useColumnWidths(list, columns, settings, scroll, !isCards);
  const total = list.total.kind === 'exact' ? list.total.count : undefined;
  // The page chooses as many columns as fit.
  const gridWidths = { chosen: widths, content: contentWidths, isTight: settings.look.columns === undefined };
  const widthPxMin = minWidthOf(columns, gridWidths);
  const now = performance.now();
  return (
    <>
      {!isCards && <ViewMenu {...{ list, columnIds, settings }} onAutomatic={defaults.chooseAgain} />}
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
          '--columns': templateOf(columns, gridWidths, scroll.widthPx),
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
            {...{ selection, total }}
            canSelect={!list.isOutdated}
            onOrder={onOrder}
            onFilter={props.onFilter}
            onColumns={(ids) => settings.change({ columns: ids })}
            onWidth={onWidth}
            onFit={onFit}
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
                matchOf={matchOf}
                isCard={isCards}
                isToggle={isCards && canSelect(id) && !selection.isEmpty}
                yPx={row * heightPx - scroll.map.offsetPx}
                isActive={row === active}
                isOpen={id !== '' && id === openId}
                isSelected={user !== undefined && isSelected(id)}
                canSelect={canSelect(id)}
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

/** The chosen columns; on a card, those of them that it shows. Without a choice, those that fit. */
function useColumnIds(
  { look: { columns } }: GridSettings,
  { keys, card }: ColumnDefaults,
  widthPx: number,
  isCards: boolean,
): readonly string[] {
  return useMemo(
    () => (isCards ? cardColumns(columns ?? card) : (columns ?? defaultColumns(keys, widthPx))),
    [columns, keys, card, widthPx, isCards],
  );
}

/** Reports which columns there are, and whether none of them shows the order. A card shows no order at all. */
function useColumns(
  ids: readonly string[],
  widthPx: number,
  { list, isCards, shownColumns, onOrderHidden }: UserGridProps,
): readonly Column[] {
  const columns = useMemo(() => ids.flatMap((id) => columnOf(id) ?? []), [ids]);
  shownColumns.current = columns.map(({ id }) => id);
  // Before the width is known, the columns are other ones.
  const isHidden = widthPx > 0 && !isCards && isHiddenOrder(list.query.orderBy, columns);
  useLayoutEffect(() => onOrderHidden(isHidden), [isHidden]);
  return columns;
}

/** The rows in view, some around them, and the active row, which stays in the document even if it is out of view. */
function rowsInDocument(scroll: GridScroll, rowsKnown: number, active: number): number[] {
  const { first, last, around, rowsShown, widthPx } = scroll;
  // The columns depend on the width, so the browser would lay out these rows in vain.
  if (widthPx === 0) return [];
  const from = Math.max(0, first - around);
  const to = Math.min(last + around, rowsShown - 1);
  const rows = Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
  // Insert it in order, because screen readers follow the order of the document.
  if (active < rowsKnown && active < (rows[0] ?? 0)) rows.unshift(active);
  else if (active < rowsKnown && active > (rows.at(-1) ?? 0)) rows.push(active);
  return rows;
}
