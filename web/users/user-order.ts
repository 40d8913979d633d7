/** Orders users as the server does: by code point, emails in lower case, equal values by ascending id. */
import type { User } from '../../generated/users/v1/user.js';
import { type OrderField, orderFields } from '../../src/fields.js';

/** A user's position in an order. It is small, because the page keeps one for each page of the list. */
export interface OrderKey {
  readonly value: string | number;
  readonly id: string;
}

export interface UserOrder {
  keyOf(user: User): OrderKey;
  compare(a: OrderKey, b: OrderKey): number;
}

/** `orderBy` is one field, optionally followed by ` desc`. */
export function createUserOrder(orderBy: string): UserOrder {
  const [name, direction] = orderBy.split(' ');
  const field = orderFields.find((known) => known === name) ?? 'create_time';
  const sign = direction === 'desc' ? -1 : 1;
  return {
    keyOf: (user) => ({ value: sortValue(user, field), id: user.id }),
    compare: (a, b) => sign * compareValues(a.value, b.value) || compareValues(a.id, b.id),
  };
}

function sortValue(user: User, field: OrderField): string | number {
  switch (field) {
    case 'first_name':
      return user.firstName;
    case 'last_name':
      return user.lastName;
    case 'email':
      return user.email.normalize('NFC').toLowerCase();
    case 'update_time':
      return user.updateTime?.getTime() ?? 0;
    case 'create_time':
      return user.createTime?.getTime() ?? 0;
  }
}

function compareValues(a: string | number, b: string | number): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [x, y] = [String(a), String(b)];
  let at = 0;
  while (at < x.length && x.charCodeAt(at) === y.charCodeAt(at)) at++;
  return weight(x, at) - weight(y, at);
}

/** Orders UTF-16 units by code point: surrogates, although below U+E000, sort last. The end of the text sorts first. */
function weight(text: string, at: number): number {
  if (at >= text.length) return -1;
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
