/**
 * The list as a grid. Only the rows in view and some around them are in the document, even in a long list.
 *
 * One row is in the tab order, and stays in the document even if it is out of view; keys select another. The list owns
 * the data; the grid only reports which rows are in view.
 */
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { Avatar } from './avatar.js';
import { formatTime, formatWholeTime } from './format.js';
import { ArrowDownIcon, ArrowUpIcon } from './icons.js';
import { flashMs } from './row-marks.js';
import { createScrollMap } from './scroll-map.js';
import { useMedia } from './theme.js';
import type { UserList } from './user-list.js';

export interface UserGridProps {
  readonly list: UserList;
  /** Another number after each change of the list. */
  readonly version: number;
  readonly isDimmed: boolean;
  onOpen(id: string): void;
  onOrder(orderBy: string): void;
  /** Receives a function that moves the focus into the grid. */
  readonly focusRef: { current: ((row?: number) => void) | undefined };
}

/** The same as --row in the style sheet. */
const rowPx = 48;
const cardPx = 68;
/** Rows in the document before and after those in view. */
const rowsAround = 8;
/** Placeholder rows at the end while the list has more. */
const rowsPromised = 30;

const columns = [
  { label: 'First name', field: 'first_name', descendsFirst: false },
  { label: 'Last name', field: 'last_name', descendsFirst: false },
  { label: 'Email', field: 'email', descendsFirst: false },
  { label: 'Attributes', field: '', descendsFirst: false },
  { label: 'Created', field: 'create_time', descendsFirst: true },
  { label: 'Updated', field: 'update_time', descendsFirst: true },
];

export function UserGrid({ list, version, isDimmed, onOpen, onOrder, focusRef }: UserGridProps) {
  const isCards = useMedia('(max-width: 639px)');
  const heightPx = isCards ? cardPx : rowPx;
  const scroller = useRef<HTMLDivElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const [map] = useState(createScrollMap);
  const [viewPx, setViewPx] = useState(600);
  const [topPx, setTopPx] = useState(0);
  const [wanted, setActive] = useState(0);
  // If the active row was removed, another one must take its place in the tab order.
  const active = Math.max(0, Math.min(wanted, list.rows - 1));
  /** The row that gets the focus as soon as it is the active one. */
  const focusNext = useRef<number>(undefined);

  const rowsShown = list.rows + (list.hasMore ? rowsPromised : 0);
  map.resize(rowsShown * heightPx, viewPx);
  const first = Math.min(Math.floor(topPx / heightPx), Math.max(0, rowsShown - 1));
  const last = Math.min(Math.ceil((topPx + viewPx) / heightPx), rowsShown) - 1;

  const scrollTo = (px: number) => {
    const element = scroller.current;
    if (element === null) return;
    element.scrollTop = map.goTo(px);
    setTopPx(Math.max(0, Math.min(px, rowsShown * heightPx - viewPx)));
  };

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const measure = () => setViewPx(element.clientHeight - (head.current?.offsetHeight ?? 0));
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);

  // A new result begins at the top.
  const anchor = useRef({ generation: 0, heightPx, firstPx: 0, ids: [] as string[], first: 0, activeId: '' });
  useLayoutEffect(() => {
    const was = anchor.current;
    // The focus stays with its user if the user's row has moved.
    const activeRow = was.generation === list.generation ? list.rowOf(was.activeId) : 0;
    if (activeRow >= 0 && activeRow !== active) {
      setActive(activeRow);
      if (rowAround(document.activeElement) !== null) focusNext.current = activeRow;
    }
    if (was.generation !== list.generation) {
      scrollTo(0);
    } else if (was.heightPx !== heightPx) {
      scrollTo(was.first * heightPx);
    } else if (topPx > 0) {
      // Rows inserted or removed above the view must not move it: the first row that still exists stays in place.
      const index = was.ids.findIndex((id) => id !== '' && list.rowOf(id) >= 0);
      const row = list.rowOf(was.ids[index] ?? '');
      const movedRows = row - (was.first + index);
      if (index >= 0 && movedRows !== 0 && was.firstPx === topPx) {
        scrollTo(topPx + movedRows * heightPx);
      }
    }
  }, [version, list.generation, heightPx]);
  useLayoutEffect(() => {
    const ids: string[] = [];
    for (let row = first; row <= last; row++) ids.push(list.userAt(row)?.id ?? '');
    const activeId = list.userAt(active)?.id ?? '';
    anchor.current = { generation: list.generation, heightPx, firstPx: topPx, ids, first, activeId };
  });

  useEffect(() => {
    if (list.generation > 0) list.show(first, Math.max(first, last));
  }, [list, first, last, version]);

  const onScroll = () => {
    const element = scroller.current;
    if (element === null) return;
    const { topPx: px, scrollTo: again } = map.scrolled(element.scrollTop);
    if (again !== undefined) element.scrollTop = again;
    setTopPx(px);
  };

  const reveal = (row: number) => {
    const target = Math.max(0, Math.min(row, list.rows - 1));
    // The active row does not change, so there is no render after which it could get the focus.
    if (target === active) focusActive();
    else focusNext.current = target;
    setActive(target);
    if (target * heightPx < topPx) scrollTo(target * heightPx);
    else if ((target + 1) * heightPx > topPx + viewPx) scrollTo((target + 1) * heightPx - viewPx);
  };
  const focusActive = () => {
    focusNext.current = undefined;
    scroller.current?.querySelector<HTMLElement>('[data-active]')?.focus({ preventScroll: true });
  };
  // The focused row may have been removed.
  const hadFocus = scroller.current?.contains(document.activeElement) === true;
  useLayoutEffect(() => {
    if (focusNext.current === active || (hadFocus && document.activeElement === document.body)) focusActive();
  });
  focusRef.current = (row) => {
    const target = row === undefined ? Math.max(first, Math.min(active, last)) : Math.min(row, list.rows - 1);
    reveal(target);
  };

  const onFocus = useCallback((row: number, from: EventTarget | null) => {
    // A closing dialog restores the focus to an element whose user may be in another row now.
    if (from instanceof Element && from.closest('dialog') !== null) focusActive();
    else setActive(row);
  }, []);

  const rowsInView = Math.max(1, Math.floor(viewPx / heightPx) - 1);
  const onKeyDown = (event: KeyboardEvent) => {
    const focused = rowAround(event.target);
    if (focused === null || event.altKey || event.metaKey) return;
    const steps: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + rowsInView,
      PageUp: active - rowsInView,
      Home: 0,
      End: list.rows - 1,
    };
    const target = steps[event.key];
    if (target !== undefined) reveal(target);
    else if (event.key === 'Enter' || event.key === ' ') {
      // Open the user on the screen, even if the list has changed since the last render.
      const { id } = focused.dataset;
      if (id !== undefined) onOpen(id);
    } else return;
    event.preventDefault();
  };

  const rows: number[] = [];
  for (let row = Math.max(0, first - rowsAround); row <= Math.min(last + rowsAround, rowsShown - 1); row++)
    rows.push(row);
  // Insert it in order, because screen readers follow the order of the document.
  if (active < list.rows && active < (rows[0] ?? 0)) rows.unshift(active);
  else if (active < list.rows && active > (rows.at(-1) ?? 0)) rows.push(active);

  const total = list.total.kind === 'exact' ? list.total.count : -1;
  const { orderBy } = list.query;
  const now = performance.now();
  return (
    <div
      class="grid"
      role="grid"
      aria-label="Users"
      aria-rowcount={total < 0 ? -1 : total + 1}
      aria-colcount={columns.length}
      aria-busy={isDimmed}
      data-dimmed={isDimmed}
      ref={scroller}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup" class="grid-head" ref={head}>
        <div role="row" aria-rowindex={1} class="grid-row">
          {columns.map((column, index) => (
            <ColumnHead key={column.label} column={column} index={index} orderBy={orderBy} onOrder={onOrder} />
          ))}
        </div>
      </div>
      <div role="rowgroup" class="grid-canvas" style={{ height: `${map.heightPx}px` }}>
        {rows.map((row) => {
          const user = list.userAt(row);
          const id = user?.id ?? '';
          const changedAt = list.changedAt(id);
          return (
            <Row
              key={row}
              row={row}
              user={user}
              isCard={isCards}
              yPx={row * heightPx - map.offsetPx}
              isActive={row === active}
              isLeaving={list.isLeaving(id)}
              flashedAt={now - changedAt < flashMs ? changedAt : 0}
              onOpen={onOpen}
              onActivate={setActive}
              onFocus={onFocus}
            />
          );
        })}
      </div>
    </div>
  );
}

function rowAround(target: EventTarget | null): HTMLElement | null {
  return target instanceof HTMLElement ? target.closest<HTMLElement>('[role=row][data-row]') : null;
}

interface ColumnHeadProps {
  readonly column: (typeof columns)[number];
  readonly index: number;
  readonly orderBy: string;
  onOrder(orderBy: string): void;
}

function ColumnHead({ column: { label, field, descendsFirst }, index, orderBy, onOrder }: ColumnHeadProps) {
  const [by, direction] = orderBy.split(' ');
  const isSorted = field !== '' && by === field;
  const descends = direction === 'desc';
  const next = isSorted ? !descends : descendsFirst;
  return (
    <div
      role="columnheader"
      class={`cell-${index}`}
      aria-colindex={index + 1}
      aria-sort={field === '' ? undefined : isSorted ? (descends ? 'descending' : 'ascending') : 'none'}
    >
      {field === '' ? (
        label
      ) : (
        <button type="button" onClick={() => onOrder(`${field}${next ? ' desc' : ''}`)}>
          {label}
          {isSorted && (descends ? <ArrowDownIcon /> : <ArrowUpIcon />)}
        </button>
      )}
    </div>
  );
}

interface RowProps {
  readonly row: number;
  readonly user: User | undefined;
  /** A card truncates the whole name, a row each part of it. */
  readonly isCard: boolean;
  readonly yPx: number;
  readonly isActive: boolean;
  readonly isLeaving: boolean;
  readonly flashedAt: number;
  onOpen(id: string): void;
  onActivate(row: number): void;
  onFocus(row: number, from: EventTarget | null): void;
}

/** Returns the same element if nothing has changed, so that Preact does not compare it. */
function Row({ row, user, isCard, yPx, isActive, isLeaving, flashedAt, onOpen, onActivate, onFocus }: RowProps) {
  return useMemo(() => {
    const shared = {
      role: 'row',
      'aria-rowindex': row + 2,
      'data-row': row,
      'data-active': isActive ? '' : undefined,
      tabIndex: isActive ? 0 : -1,
      style: { transform: `translateY(${yPx}px)` },
      onFocus: (event: FocusEvent) => onFocus(row, event.relatedTarget),
    } as const;
    if (user === undefined) {
      return (
        <div {...shared} class="grid-row skeleton" aria-busy="true">
          <div role="gridcell" class="cell-name" aria-colindex={1} aria-colspan={2}>
            <span class="avatar" />
            <span class="bar" />
            <span class="visually-hidden">Loading</span>
          </div>
          <div role="gridcell" class="cell-2" aria-colindex={3}>
            <span class="bar" />
          </div>
        </div>
      );
    }
    const { id } = user;
    // The class alternates with each change, which restarts the animation.
    const flash = flashedAt === 0 ? '' : Math.round(flashedAt) % 2 === 0 ? ' flash-even' : ' flash-odd';
    return (
      <div
        {...shared}
        class={`grid-row${flash}${isLeaving ? ' leaving' : ''}`}
        data-id={id}
        onClick={(event) => {
          // The browser handles clicks with a modifier key.
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          // Otherwise the link would discard the search.
          event.preventDefault();
          // The user is selecting text.
          if (getSelection()?.isCollapsed === false) return;
          onActivate(row);
          onOpen(id);
        }}
      >
        <div role="gridcell" class="cell-name" aria-colindex={1} aria-colspan={2}>
          <Avatar user={user} />
          {/* Without the text's direction, the browser would truncate its beginning. */}
          <a href={`#user=${id}`} tabIndex={-1} title={user.displayName} dir={isCard ? 'auto' : undefined}>
            <span class="truncate" dir={isCard ? undefined : 'auto'}>
              {user.firstName}
            </span>{' '}
            <span class="truncate" dir={isCard ? undefined : 'auto'}>
              {user.lastName}
            </span>
          </a>
          {isLeaving && <span class="badge danger">Deleted</span>}
        </div>
        <div role="gridcell" class="cell-2 truncate" aria-colindex={3} title={user.email}>
          {user.email}
        </div>
        <div role="gridcell" class="cell-3" aria-colindex={4}>
          {attributesOf(user).map(([key, value]) => (
            <span key={key} class="badge" title={`${key}: ${value}`}>
              <span class="truncate" dir="auto">
                {value}
              </span>
            </span>
          ))}
        </div>
        <div role="gridcell" class="cell-4 numeric" aria-colindex={5} title={formatWholeTime(user.createTime)}>
          {formatTime(user.createTime)}
        </div>
        <div role="gridcell" class="cell-5 numeric" aria-colindex={6} title={formatWholeTime(user.updateTime)}>
          {formatTime(user.updateTime)}
        </div>
      </div>
    );
  }, [row, user, isCard, yPx, isActive, isLeaving, flashedAt, onOpen, onActivate, onFocus]);
}

/** Returns up to two short attributes, which is as many as fit. */
function attributesOf(user: User): [string, string][] {
  const found: [string, string][] = [];
  for (const [key, value] of Object.entries(user.attributes ?? {})) {
    if (found.length === 2) break;
    if (typeof value === 'string' && value !== '' && value.length <= 40) found.push([key, value]);
    else if (typeof value === 'number') found.push([key, String(value)]);
  }
  return found;
}
