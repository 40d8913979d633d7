/** Parses the order of a list. It accepts only known fields, so no text of a request becomes a part of a statement. */
import { type OrderField, orderFields } from '../fields.js';
import { invalid } from './fault.js';

export interface OrderTerm {
  readonly field: OrderField;
  readonly descending: boolean;
}

const termForm = /^(\S+)(?:\s+(desc))?$/;

/** Parses an order_by as in AIP-132. If it is empty, the order is create_time. Throws INVALID_ORDER_BY. */
export function parseOrderBy(text: string): OrderTerm[] {
  if (text.trim() === '') return [{ field: 'create_time', descending: false }];
  const terms: OrderTerm[] = [];
  // A list with more parts than there are fields must repeat a field, so the rest is not read.
  for (const part of text.split(',', orderFields.length + 1)) {
    const [, name, direction] = termForm.exec(part.trim()) ?? [];
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
