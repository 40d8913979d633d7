/** The header of the grid: each column's name, which sorts, its menu, and the handle that changes its width. */
import { useRef } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { ArrowDownIcon, ArrowUpIcon } from '../ui/icons.js';
import type { Selection } from '../users/selection.js';
import { readOrder, writeOrder } from '../users/user-order.js';
import { ColumnMenu } from './column-menu.js';
import { type Column, isSlowOrder } from './columns.js';
import { widthPxMax, widthPxMin } from './grid-settings.js';

export interface GridHeadProps {
  readonly columns: readonly Column[];
  readonly orderBy: string;
  /** A total from which orders without an index are noticeably slower. */
  readonly isLarge: boolean;
  readonly selection: Selection;
  readonly total: number | undefined;
  readonly canSelect: boolean;
  onOrder(orderBy: string): void;
  /** Starts a filter by the column with this id. */
  onFilter(id: string): void;
  onColumns(ids: readonly string[]): void;
  onWidth(id: string, px: number): void;
  /** Called for a column that should be as wide as its content. */
  onFit(column: Column): void;
}

export function GridHead(props: GridHeadProps) {
  const { columns, orderBy, onOrder, onColumns, onWidth, onFit } = props;
  const row = useRef<HTMLDivElement>(null);
  const ids = columns.map(({ id }) => id);
  const move = (id: string, to: number) => onColumns(moved(ids, id, to));
  const widthOf = (id: string) => row.current?.querySelector<HTMLElement>(`[data-column="${CSS.escape(id)}"]`);
  const widen = (id: string, px: number) => onWidth(id, bounded((widthOf(id)?.offsetWidth ?? widthPxMin) + px));
  return (
    <div role="row" aria-rowindex={1} class="grid-row" ref={row} onKeyDown={moveFocus}>
      <div role="columnheader" class="cell-select" aria-colindex={1}>
        <SelectAll {...props} />
      </div>
      {columns.map((column, index) => (
        <div
          key={column.id}
          role="columnheader"
          class={`head-cell kind-${column.kind}`}
          data-column={column.id}
          aria-colindex={index + 2}
          aria-sort={sortOf(column, orderBy)}
          onPointerDown={(event) => drag(event, row.current, (to) => move(column.id, to))}
          onKeyDown={(event) => {
            const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
            if (step === 0 || !event.shiftKey || event.altKey || event.metaKey) return;
            if (event.ctrlKey) move(column.id, index + step);
            else widen(column.id, step * 16);
            event.preventDefault();
            event.stopPropagation();
          }}
        >
          <HeadLabel {...props} column={column} />
          <ColumnMenu
            column={column}
            isFirst={index === 0}
            isLast={index === columns.length - 1}
            isLarge={props.isLarge}
            onOrder={onOrder}
            onFilter={() => props.onFilter(column.id)}
            onMove={(step) => move(column.id, index + step)}
            onWiden={(px) => widen(column.id, px)}
            onFit={() => onFit(column)}
            onHide={() => onColumns(ids.filter((id) => id !== column.id))}
          />
          {/* The menu and Shift with an arrow change the width without a pointer. */}
          <span
            class="resizer"
            aria-hidden="true"
            onPointerDown={(event) => resize(event, (px) => onWidth(column.id, px))}
            onDblClick={() => onFit(column)}
          />
        </div>
      ))}
    </div>
  );
}

function HeadLabel({ column: { label, orders, kind }, orderBy, isLarge, onOrder }: GridHeadProps & { column: Column }) {
  const { by, descends } = readOrder(orderBy);
  const sorted = orders.find((order) => order.by === by);
  const [main] = orders;
  if (main === undefined) return <span class="head-label truncate">{label}</span>;
  const next = sorted === undefined ? kind === 'time' : !descends;
  const isSlow = isLarge && isSlowOrder(main.by);
  const other = orders.find((order) => order.by !== by);
  return (
    <>
      <button
        type="button"
        class="head-label"
        title={isSlow ? 'There is no index for this order, so it is slow with many users' : undefined}
        onClick={() => onOrder(writeOrder({ by: (sorted ?? main).by, descends: next }))}
      >
        <span class="truncate">{label}</span>
        {sorted !== undefined && (descends ? <ArrowDownIcon /> : <ArrowUpIcon />)}
      </button>
      {sorted !== undefined && other !== undefined && (
        <button
          type="button"
          class="head-part truncate"
          title={`Sort by ${other.label} instead`}
          aria-label={`Sorted by ${sorted.label}. Sort by ${other.label} instead`}
          onClick={() => onOrder(writeOrder({ by: other.by, descends }))}
        >
          {sorted.label}
        </button>
      )}
    </>
  );
}

function sortOf({ orders }: Column, orderBy: string): 'ascending' | 'descending' | 'none' | undefined {
  if (orders.length === 0) return undefined;
  const { by, descends } = readOrder(orderBy);
  if (orders.every((order) => order.by !== by)) return 'none';
  return descends ? 'descending' : 'ascending';
}

function SelectAll({ selection, total, canSelect }: Pick<GridHeadProps, 'selection' | 'total' | 'canSelect'>) {
  // Also if each user was selected alone.
  const isWhole =
    !selection.isEmpty &&
    (total === undefined
      ? selection.isAll && selection.excluded.size === 0
      : selection.count(total) === total && selection.earlier.size === 0);
  return (
    <label class="check">
      <input
        type="checkbox"
        aria-label={total === undefined ? 'Select all that match' : `Select all ${formatCount(total)}`}
        checked={isWhole}
        disabled={!canSelect || (selection.isEmpty && !selection.maySelectAll)}
        indeterminate={!isWhole && !selection.isEmpty}
        onChange={() => (selection.isEmpty ? selection.selectAll() : selection.clear())}
      />
    </label>
  );
}

/** Moves the focus between the controls of the header, which are one stop of the Tab key. */
function moveFocus(event: KeyboardEvent & { readonly currentTarget: HTMLElement }): void {
  const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
  if (step === 0 || event.ctrlKey || event.shiftKey || event.altKey || event.metaKey) return;
  const controls = [...event.currentTarget.querySelectorAll<HTMLElement>('input:enabled, button')].filter(
    (control) => control.closest('[popover]') === null,
  );
  const at = controls.findIndex((control) => control.matches(':focus'));
  controls[at + step]?.focus();
  event.preventDefault();
}

function moved(ids: readonly string[], id: string, to: number): string[] {
  const others = ids.filter((other) => other !== id);
  others.splice(Math.max(0, to), 0, id);
  return others;
}

const bounded = (px: number) => Math.round(Math.min(Math.max(px, widthPxMin), widthPxMax));

function resize(event: PointerEvent & { readonly currentTarget: HTMLElement }, onWidth: (px: number) => void): void {
  const handle = event.currentTarget;
  const width = handle.parentElement?.offsetWidth ?? widthPxMin;
  const { clientX } = event;
  event.stopPropagation();
  event.preventDefault();
  handle.setPointerCapture(event.pointerId);
  handle.onpointermove = (now) => onWidth(bounded(width + now.clientX - clientX));
  handle.onlostpointercapture = () => {
    handle.onpointermove = null;
  };
}

/** A shorter movement is a click. */
const dragPxMin = 6;

/** Drags a column to another place. Calls `onDrop` with the new index among the other columns. */
function drag(
  event: PointerEvent & { readonly currentTarget: HTMLElement },
  row: HTMLElement | null,
  onDrop: (to: number) => void,
): void {
  if (event.button !== 0 || row === null || event.pointerType === 'touch') return;
  const cell = event.currentTarget;
  const others = [...row.querySelectorAll<HTMLElement>('[data-column]')].filter((other) => other !== cell);
  const ends = new AbortController();
  const { signal } = ends;
  let to: number | undefined;
  const onMove = (now: PointerEvent) => {
    if (to === undefined && Math.abs(now.clientX - event.clientX) < dragPxMin) return;
    const isAfter = (other: HTMLElement) => {
      const { left, width } = other.getBoundingClientRect();
      return now.clientX > left + width / 2;
    };
    to = others.filter(isAfter).length;
    cell.dataset.dragged = '';
    for (const [index, other] of others.entries()) {
      other.toggleAttribute('data-drop-before', index === to);
      other.toggleAttribute('data-drop-after', index === others.length - 1 && to === others.length);
    }
  };
  const onEnd = (isDropped: boolean) => {
    ends.abort();
    delete cell.dataset.dragged;
    for (const other of others) {
      other.removeAttribute('data-drop-before');
      other.removeAttribute('data-drop-after');
    }
    if (to === undefined) return;
    // The click after the drag would sort.
    window.addEventListener('click', stopOnce, { capture: true, once: true });
    setTimeout(() => window.removeEventListener('click', stopOnce, { capture: true }));
    if (isDropped) onDrop(to);
  };
  window.addEventListener('pointermove', onMove, { signal });
  window.addEventListener('pointerup', () => onEnd(true), { signal });
  window.addEventListener('pointercancel', () => onEnd(false), { signal });
  window.addEventListener('keydown', ({ key }) => key === 'Escape' && onEnd(false), { signal });
}

function stopOnce(event: MouseEvent): void {
  event.stopPropagation();
  event.preventDefault();
}
