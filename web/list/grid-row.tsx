/** One row of the grid: a user, or a placeholder while the user is loading. On a phone it looks like a card. */
import type { ComponentChild } from 'preact';
import { useMemo } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { attributeKeyOf } from '../../src/fields.js';
import { withoutOverrides } from '../text/bidi.js';
import { Avatar } from '../ui/avatar.js';
import type { Column } from './columns.js';
import type { MatchedAttribute, MatchOf } from './matched-attribute.js';
import type { LeavingReason } from './row-marks.js';

export interface RowProps {
  readonly row: number;
  readonly user: User | undefined;
  readonly columns: readonly Column[];
  /** Finds the attribute because of which the user matches; undefined if no row needs one. */
  readonly matchOf: MatchOf | undefined;
  /** Whether the columns between the name and the time share one line. */
  readonly isCard: boolean;
  /** Whether a click toggles the user instead of opening it, as in other apps on a phone after a selection has begun. */
  readonly isToggle: boolean;
  readonly yPx: number;
  readonly isActive: boolean;
  readonly isSelected: boolean;
  readonly canSelect: boolean;
  /** Whether the panel beside the list shows this user. */
  readonly isOpen: boolean;
  readonly leaving: LeavingReason | undefined;
  readonly flashedAt: number;
  onOpen(id: string): void;
  onActivate(row: number): void;
  /** `isRange` if all rows from the last selected one to this one change. */
  onSelect(row: number, isRange: boolean): boolean;
  onFocus(row: number, from: EventTarget | null): void;
}

/** Returns the same element if nothing has changed, so that Preact does not compare it. */
export function Row(props: RowProps) {
  const { row, user, columns, matchOf, isCard, isToggle, yPx, isActive, isSelected, canSelect } = props;
  const { isOpen, leaving, flashedAt, onOpen, onActivate, onSelect, onFocus } = props;
  return useMemo(() => {
    const shared = {
      role: 'row',
      'aria-rowindex': row + 2,
      'aria-selected': user === undefined ? undefined : isSelected,
      'data-row': row,
      'data-active': isActive ? '' : undefined,
      'aria-current': isOpen ? 'true' : undefined,
      tabIndex: isActive ? 0 : -1,
      style: { '--y': `${yPx}px` },
      onFocus: (event: FocusEvent) => onFocus(row, event.relatedTarget),
    } as const;
    const line = (cells: readonly ComponentChild[]) => (isCard ? cardLine(columns, cells) : cells);
    if (user === undefined) return <Placeholder shared={shared} columns={columns} line={line} />;
    const { id } = user;
    // The class alternates with each change, which restarts the animation.
    const flash = flashedAt === 0 ? '' : Math.round(flashedAt) % 2 === 0 ? ' flash-even' : ' flash-odd';
    return (
      <div
        {...shared}
        class={`grid-row${flash}${leaving === undefined ? '' : ` leaving ${leaving}`}`}
        data-id={id}
        onClick={(event) => {
          // The browser handles clicks with a modifier key.
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          // Otherwise the link would discard the search.
          event.preventDefault();
          // The user is selecting text.
          if (getSelection()?.isCollapsed === false) return;
          onActivate(row);
          if (isToggle) onSelect(row, false);
          else onOpen(id);
        }}
      >
        <SelectCell {...{ user, isSelected, canSelect }} onSelect={(isRange) => onSelect(row, isRange)} />
        {line(
          columns.map((column, index) => (
            <Cell
              key={column.id}
              column={column}
              index={index + 2}
              user={user}
              match={column.kind === 'name' ? matchOf?.(user) : undefined}
              leaving={leaving}
            />
          )),
        )}
      </div>
    );
  }, [
    row,
    user,
    columns,
    matchOf,
    isCard,
    isToggle,
    yPx,
    isActive,
    isSelected,
    canSelect,
    isOpen,
    leaving,
    flashedAt,
    onOpen,
    onActivate,
    onSelect,
    onFocus,
  ]);
}

/** Puts the cells of a card that are neither the name nor a time into one line. */
function cardLine(columns: readonly Column[], cells: readonly ComponentChild[]): ComponentChild[] {
  const ofKind = (...kinds: Column['kind'][]) =>
    cells.filter((_, index) => kinds.some((k) => k === columns[index]?.kind));
  return [
    ...ofKind('name'),
    <div key="line" class="card-line">
      {ofKind('text', 'attribute')}
    </div>,
    ...ofKind('time'),
  ];
}

interface SelectCellProps {
  readonly user: User;
  readonly isSelected: boolean;
  readonly canSelect: boolean;
  onSelect(isRange: boolean): boolean;
}

function SelectCell({ user, isSelected, canSelect, onSelect }: SelectCellProps) {
  return (
    <div
      role="gridcell"
      class="cell-select"
      aria-colindex={1}
      // A click beside the box must not open the user.
      onClick={(event) => event.stopPropagation()}
    >
      <label class="check">
        <input
          type="checkbox"
          tabIndex={-1}
          aria-label={`Select ${user.displayName}`}
          checked={isSelected}
          disabled={!canSelect}
          onClick={(event) => {
            // The browser has toggled the box, but a range can leave the row as it was.
            event.currentTarget.checked = onSelect(event.shiftKey);
            // The keys continue from this row. Safari would leave the focus where it was.
            event.currentTarget.closest<HTMLElement>('[data-row]')?.focus({ preventScroll: true });
          }}
        />
      </label>
    </div>
  );
}

interface CellProps {
  readonly column: Column;
  readonly index: number;
  readonly user: User;
  readonly match: MatchedAttribute | undefined;
  readonly leaving: LeavingReason | undefined;
}

function Cell({ column: { kind, id, textOf, wholeTextOf }, index, user, match, leaving }: CellProps) {
  const text = withoutOverrides(textOf(user));
  if (kind === 'name') {
    return (
      <div role="gridcell" class={match === undefined ? 'cell-name' : 'cell-name with-match'} aria-colindex={index}>
        <Avatar user={user} />
        {/* Without the text's direction, the browser would truncate its beginning. */}
        <a href={`#user=${user.id}`} tabIndex={-1} title={text}>
          <span class="truncate" dir="auto">
            {text}
          </span>
        </a>
        {match !== undefined && (
          <span class="cell-match truncate" dir="auto" title={match.whole}>
            <bdi>{match.label}</bdi>: {match.text}
          </span>
        )}
        {leaving === 'deleted' && <span class="badge danger">Deleted</span>}
        {leaving === 'unmatched' && <span class="badge">No longer matches</span>}
        {leaving === 'foreign' && <span class="badge">Does not match</span>}
      </div>
    );
  }
  const isTime = kind === 'time';
  return (
    <div
      role="gridcell"
      class={`cell truncate kind-${kind} cell-${attributeKeyOf(id) === undefined ? id : 'attribute'}${isTime ? ' numeric' : ''}`}
      aria-colindex={index}
      title={wholeTextOf(user)}
      dir={isTime ? undefined : 'auto'}
    >
      {text}
    </div>
  );
}

interface PlaceholderProps {
  readonly shared: Readonly<Record<string, unknown>>;
  readonly columns: readonly Column[];
  line(cells: readonly ComponentChild[]): readonly ComponentChild[];
}

function Placeholder({ shared, columns, line }: PlaceholderProps) {
  return (
    <div {...shared} class="grid-row skeleton" aria-busy="true">
      <div role="gridcell" class="cell-select" aria-colindex={1} />
      {line(
        columns.map(({ id, kind }, index) =>
          kind === 'name' ? (
            <div key={id} role="gridcell" class="cell-name" aria-colindex={index + 2}>
              <span class="avatar" />
              <span class="bar" />
              <span class="visually-hidden">Loading</span>
            </div>
          ) : (
            <div key={id} role="gridcell" class={`cell kind-${kind}`} aria-colindex={index + 2}>
              <span class="bar" />
            </div>
          ),
        ),
      )}
    </div>
  );
}
