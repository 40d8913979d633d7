/** The order of a list: a closed set of fields, so that nothing a caller sends becomes part of a statement. */
import { invalid } from './fault.js';

export const orderFields = ['create_time', 'update_time', 'first_name', 'last_name', 'email'] as const;
export type OrderField = (typeof orderFields)[number];

export interface OrderTerm {
  readonly field: OrderField;
  readonly descending: boolean;
}

const form = /^(\S+)(?:\s+(desc))?$/;

/** AIP-132's order_by. Empty means create_time. Throws INVALID_ORDER_BY. */
export function parseOrderBy(text: string): OrderTerm[] {
  if (text.trim() === '') return [{ field: 'create_time', descending: false }];
  const terms: OrderTerm[] = [];
  // One more than there are fields is enough to know that one comes twice.
  for (const part of text.split(',', orderFields.length + 1)) {
    const [, name, direction] = form.exec(part.trim()) ?? [];
    const field = orderFields.find((known) => known === name);
    if (field === undefined)
      throw refuse(`must be comma-separated ${orderFields.join(', ')}, each with an optional " desc"`);
    if (terms.some((term) => term.field === field)) throw refuse(`must name ${field} once`);
    terms.push({ field, descending: direction !== undefined });
  }
  return terms;
}

function refuse(description: string) {
  return invalid([{ field: 'order_by', description }], 'INVALID_ORDER_BY');
}
