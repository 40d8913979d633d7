/** The order of a list. The set of fields is closed, so no text from a request becomes part of a statement. */
import { type OrderField, orderFields } from '../fields.js';
import { invalid } from './fault.js';

export interface OrderTerm {
  readonly field: OrderField;
  readonly descending: boolean;
}

const form = /^(\S+)(?:\s+(desc))?$/;

/** AIP-132's order_by. Empty means create_time. Throws INVALID_ORDER_BY. */
export function parseOrderBy(text: string): OrderTerm[] {
  if (text.trim() === '') return [{ field: 'create_time', descending: false }];
  const terms: OrderTerm[] = [];
  // One more part than there are fields is enough to find a repetition.
  for (const part of text.split(',', orderFields.length + 1)) {
    const [, name, direction] = form.exec(part.trim()) ?? [];
    const field = orderFields.find((known) => known === name);
    if (field === undefined)
      throw invalidOrderBy(
        `must be a comma-separated list of ${orderFields.join(', ')}, each with an optional " desc"`,
      );
    if (terms.some((term) => term.field === field)) throw invalidOrderBy(`must name ${field} only once`);
    terms.push({ field, descending: direction !== undefined });
  }
  return terms;
}

function invalidOrderBy(description: string) {
  return invalid([{ field: 'order_by', description }], 'INVALID_ORDER_BY');
}
