/** Tests keys between two others in an order of the list. */
import { describe, expect, it } from 'vitest';
import { keyBetween } from '../../web/users/key-between.js';
import { conditionBefore, conditionFrom, greatestId, keyBefore } from '../../web/users/order-keys.js';
import { createUserOrder, type OrderKey } from '../../web/users/user-order.js';

const id = (end: string) => `01a2202d-6858-77d5-8af9-fd55d920d${end}`;
const at = (value: string | number, end = '000'): OrderKey => ({ value, id: id(end) });

describe('a key between two others', () => {
  it.each([
    ['first_name', at('Ada'), at('Zoe')],
    ['first_name desc', at('Zoe'), at('Ada')],
    ['first_name', at('Ann'), at('Anna')],
    ['first_name', at('Mary'), at('敏')],
    ['email', at('a@example.com'), at('a@example.org')],
    ['create_time desc', at(2_000_000), at(1_000_000)],
    ['create_time', at(1_000_000, '000'), at(1_000_000, 'fff')],
    ['last_name', at('Kim', '000'), at('Kim', 'fff')],
  ] as const)('is in the order of %s between %o and %o, and halving ends next to every key', (orderBy, first, last) => {
    const { compare } = createUserOrder(orderBy);
    const middle = keyBetween(first, last, 0.5);
    expect(compare(first, middle)).toBeLessThan(0);
    expect(compare(middle, last)).toBeLessThan(0);
    const low = keyBetween(first, last, 0.1);
    expect(compare(low, middle)).toBeLessThanOrEqual(0);
    expect(compare(middle, keyBetween(first, last, 0.9))).toBeLessThanOrEqual(0);
  });

  it('before a key has no other key between', () => {
    const { compare } = createUserOrder('last_name');
    expect(compare(keyBefore(at('Kim', 'a00')), at('Kim', 'a00'))).toBeLessThan(0);
    expect(compare(keyBefore(at('Kim', 'a00')), at('Kim', '9ff'))).toBe(0);
  });

  it('is a condition of a filter', () => {
    const key = at('O"Brien', 'abc');
    expect(conditionFrom('last_name', key)).toBe(
      `last_name >= "O\\"Brien" && (last_name > "O\\"Brien" || id >= "${id('abc')}")`,
    );
    expect(conditionBefore('create_time desc', at(0))).toBe(
      `create_time >= timestamp("1970-01-01T00:00:00.000Z") && ` +
        `(create_time > timestamp("1970-01-01T00:00:00.000Z") || id < "${id('000')}")`,
    );
  });

  it('knows the greatest id of a time', () => {
    expect(greatestId(0x01a2202d6858) > id('fff')).toBe(true);
    expect(greatestId(0x01a2202d6857) < id('000')).toBe(true);
  });
});
