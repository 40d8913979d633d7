/**
 * Shows the list as a grid. Only the rows in view and some around them are in the document, even in a long list.
 *
 * UserList owns the data, and the grid reports to it which rows are in view. All elements with the grid's ARIA roles
 * are in this file.
 */
import { useEffect, useMemo } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { Avatar } from './avatar.js';
import { formatTime, formatWholeTime } from './format.js';
import { useGridFocus } from './grid-focus.js';
import { type GridScroll, useGridScroll } from './grid-scroll.js';
import { ArrowDownIcon, ArrowUpIcon } from './icons.js';
import { flashMs } from './row-marks.js';
import { useMedia } from './theme.js';
import type { UserList } from './user-list.js';

export interface UserGridProps {
  readonly list: UserList;
  /** Differs after each change of the list. */
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
/** The number of rows in the document before and after those in view. */
const rowsAround = 8;

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
  const scroll = useGridScroll(list, version, heightPx);
  const { active, activate, focus, onFocus, onKeyDown } = useGridFocus(list, version, scroll, onOpen);
  focusRef.current = focus;

  const { first, last, map } = scroll;
  useEffect(() => {
    if (list.generation > 0) list.show(first, Math.max(first, last));
  }, [list, first, last, version]);

  const total = list.total.kind === 'exact' ? list.total.count : -1;
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
      ref={scroll.scrollerRef}
      onScroll={scroll.onScroll}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup" class="grid-head" ref={scroll.headRef}>
        <div role="row" aria-rowindex={1} class="grid-row">
          {columns.map((column, index) => (
            <ColumnHead
              key={column.label}
              column={column}
              index={index}
              orderBy={list.query.orderBy}
              onOrder={onOrder}
            />
          ))}
        </div>
      </div>
      <div role="rowgroup" class="grid-canvas" style={{ height: `${map.heightPx}px` }}>
        {rowsInDocument(scroll, list.rows, active).map((row) => {
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
              onActivate={activate}
              onFocus={onFocus}
            />
          );
        })}
      </div>
    </div>
  );
}

/** The rows in view, some around them, and the active row, which stays in the document even if it is out of view. */
function rowsInDocument({ first, last, rowsShown }: GridScroll, rowsKnown: number, active: number): number[] {
  const from = Math.max(0, first - rowsAround);
  const to = Math.min(last + rowsAround, rowsShown - 1);
  const rows = Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
  // Insert it in order, because screen readers follow the order of the document.
  if (active < rowsKnown && active < (rows[0] ?? 0)) rows.unshift(active);
  else if (active < rowsKnown && active > (rows.at(-1) ?? 0)) rows.push(active);
  return rows;
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
  /** A card truncates the name as a whole. A row truncates first and last name separately. */
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
