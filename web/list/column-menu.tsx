/** The menu of one column: sorts and filters by it, moves it, changes its width, hides it. */
import type { ComponentChildren } from 'preact';
import { ChevronIcon } from '../ui/icons.js';
import { PopupButton } from '../ui/popup.js';
import { writeOrder } from '../users/user-order.js';
import { type Column, isSlowOrder } from './columns.js';

export interface ColumnMenuProps {
  readonly column: Column;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly isLarge: boolean;
  onOrder(orderBy: string): void;
  onFilter(): void;
  onMove(step: number): void;
  onWiden(px: number): void;
  onFit(): void;
  onHide(): void;
}

const widenPx = 32;

const names = ['A to Z', 'Z to A'] as const;
const directionTexts = {
  name: names,
  text: names,
  time: ['Oldest first', 'Newest first'],
  attribute: ['A to Z, 1 to 9', 'Z to A, 9 to 1'],
} as const satisfies Record<Column['kind'], readonly [string, string]>;

export function ColumnMenu(props: ColumnMenuProps) {
  const { column, isFirst, isLast, onFilter, onMove, onWiden, onFit, onHide } = props;
  return (
    <PopupButton
      label={`Options of the column ${column.label}`}
      role="menu"
      buttonClass="head-menu"
      face={<ChevronIcon />}
      tabIndex={-1}
    >
      {(close) => {
        const once = (run: () => void) => () => {
          close();
          run();
        };
        return (
          <>
            <Orders {...props} once={once} />
            <Item run={once(onFilter)}>Filter by this column…</Item>
            <hr />
            <Item isDisabled={isFirst} run={once(() => onMove(-1))} keys="Ctrl+Shift+←">
              Move left
            </Item>
            <Item isDisabled={isLast} run={once(() => onMove(1))} keys="Ctrl+Shift+→">
              Move right
            </Item>
            {/* The menu stays open, because the right width takes several steps. */}
            <Item run={() => onWiden(widenPx)} keys="Shift+→">
              Wider
            </Item>
            <Item run={() => onWiden(-widenPx)} keys="Shift+←">
              Narrower
            </Item>
            <Item run={once(onFit)}>Automatic width</Item>
            {column.kind !== 'name' && <Item run={once(onHide)}>Hide</Item>}
          </>
        );
      }}
    </PopupButton>
  );
}

function Orders({
  column: { kind, orders },
  isLarge,
  onOrder,
  once,
}: ColumnMenuProps & { once: (run: () => void) => () => void }) {
  if (orders.length === 0) return undefined;
  const [up, down] = directionTexts[kind];
  const isSlow = isLarge && orders.some(({ by }) => isSlowOrder(by));
  return (
    <>
      {orders.map(({ by, label }) => {
        const sort = label === '' ? 'Sort' : `Sort by ${label}`;
        return [false, true].map((descends) => (
          <Item key={descends} run={once(() => onOrder(writeOrder({ by, descends })))}>
            {`${sort}: ${descends ? down : up}`}
          </Item>
        ));
      })}
      {kind === 'attribute' && <p class="popup-note">People without a value, or with a list, are last.</p>}
      {isSlow && <p class="popup-note">There is no index for this order, so it is slow with many users.</p>}
      <hr />
    </>
  );
}

interface ItemProps {
  readonly isDisabled?: boolean;
  readonly keys?: string;
  readonly children: ComponentChildren;
  run(): void;
}

function Item({ isDisabled = false, keys, children, run }: ItemProps) {
  return (
    <button type="button" role="menuitem" tabIndex={-1} disabled={isDisabled} onClick={run}>
      <span class="grow">{children}</span>
      {keys !== undefined && (
        <span class="faint popup-keys" aria-hidden="true">
          {keys}
        </span>
      )}
    </button>
  );
}
