/** Says by what the list is sorted if no column shows it. On a phone, the field for the order does. */
import { allPeople, type Go } from '../address/route.js';
import { ArrowDownIcon, ArrowUpIcon, CloseIcon } from '../ui/icons.js';
import { readOrder } from '../users/user-order.js';
import type { Column } from './columns.js';
import type { UserList } from './user-list.js';

/** The order that every list has at first needs no column. */
export function isHiddenOrder(orderBy: string, columns: readonly Column[]): boolean {
  const { by } = readOrder(orderBy);
  return orderBy !== allPeople.orderBy && columns.every(({ orders }) => orders.every((order) => order.by !== by));
}

export interface HiddenOrderProps {
  readonly list: UserList;
  readonly go: Go;
  /** Moves the focus to the rows, because the button disappears. */
  onLeave(): void;
}

export function HiddenOrder({ list, go, onLeave }: HiddenOrderProps) {
  const { by, descends, keys } = readOrder(list.query.orderBy);
  const other = 'Sort by newest first instead';
  const label = keys?.join(' › ') ?? fieldTexts[by] ?? by;
  return (
    <button
      type="button"
      class="button hidden-order"
      aria-label={`Sorted by ${label}, ${descends ? 'descending' : 'ascending'}. ${other}`}
      title={`Sorted by ${label}. ${other}`}
      onClick={() => {
        go({ orderBy: allPeople.orderBy });
        onLeave();
      }}
    >
      <span class="truncate">
        Sorted by <bdi>{label}</bdi>
      </span>
      {descends ? <ArrowDownIcon /> : <ArrowUpIcon />}
      <CloseIcon />
    </button>
  );
}

const fieldTexts: Readonly<Record<string, string>> = {
  first_name: 'first name',
  last_name: 'last name',
  create_time: 'time of creation',
  update_time: 'time of update',
};
