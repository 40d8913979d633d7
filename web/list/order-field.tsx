/** On a phone, chooses the order of the list, because cards have no titles to click. */
import type { Go, Route } from '../address/route.js';
import { useStore } from '../ui/use-store.js';
import { readOrder } from '../users/user-order.js';
import { columnOf } from './columns.js';
import type { GridSettings } from './grid-settings.js';

export interface OrderFieldProps {
  readonly route: Route;
  readonly go: Go;
  readonly settings: GridSettings;
  /** The columns of a card if the person has chosen none. */
  readonly defaultIds: readonly string[];
}

const orders = [
  ['create_time desc', 'Newest first'],
  ['create_time', 'Oldest first'],
  ['update_time desc', 'Newest update first'],
  ['update_time', 'Oldest update first'],
  ['last_name', 'Last name A–Z'],
  ['last_name desc', 'Last name Z–A'],
  ['first_name', 'First name A–Z'],
  ['first_name desc', 'First name Z–A'],
  ['email', 'Email A–Z'],
  ['email desc', 'Email Z–A'],
] as const;

/** The attributes of the columns, and the one that sorts the list: each with its label. */
function attributesOf(columnIds: readonly string[], orderBy: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const column of columnIds.map(columnOf)) {
    if (column?.kind === 'attribute') for (const { by } of column.orders) found.set(by, column.label);
  }
  const { by, keys } = readOrder(orderBy);
  return keys === undefined ? found : found.set(by, keys.join(' › '));
}

export function OrderField({ route: { orderBy }, go, settings, defaultIds }: OrderFieldProps) {
  useStore(settings);
  const attributes = attributesOf(settings.look.columns ?? defaultIds, orderBy);
  return (
    <label class="order">
      <span class="visually-hidden">Order</span>
      <select class="input" value={orderBy} onChange={(event) => go({ orderBy: event.currentTarget.value })}>
        {orders.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
        {attributes.size > 0 && (
          <optgroup label="Attributes">
            {[...attributes].flatMap(([by, label]) => [
              <option key={by} value={by}>{`${label} A–Z, 1–9`}</option>,
              <option key={`${by} desc`} value={`${by} desc`}>{`${label} Z–A, 9–1`}</option>,
            ])}
          </optgroup>
        )}
      </select>
    </label>
  );
}
