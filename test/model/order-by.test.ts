/** Tests the orders that a list may have. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderFields } from '../../src/fields.js';
import { Fault } from '../../src/model/fault.js';
import { parseOrderBy } from '../../src/model/order-by.js';

describe('parseOrderBy', () => {
  it.each(['', ' ', '\t '])('reads %j as the order of creation', (text) => {
    expect(parseOrderBy(text)).toEqual([{ field: 'create_time', descending: false }]);
  });

  it('reads every list of different fields, with any blanks around commas', () => {
    const blanks = fc.string({ unit: fc.constantFrom(' ', '\t'), maxLength: 3 });
    const term = (field: (typeof orderFields)[number]) =>
      fc.record({
        field: fc.constant(field),
        descending: fc.boolean(),
        before: blanks,
        between: blanks,
        after: blanks,
      });
    const terms = fc
      .shuffledSubarray([...orderFields], { minLength: 1 })
      .chain((fields) => fc.tuple(...fields.map((field) => term(field))));
    fc.assert(
      fc.property(terms, (list) => {
        const text = list
          .map((t) => `${t.before}${t.field}${t.descending ? ` ${t.between}desc` : ''}${t.after}`)
          .join(',');
        expect(parseOrderBy(text)).toEqual(list.map(({ field, descending }) => ({ field, descending })));
      }),
    );
  });

  it.each([
    'id',
    'no_such_field',
    'CREATE_TIME',
    'createTime',
    'create_time asc',
    'create_time DESC',
    'create_time desc desc',
    'create_timedesc',
    'desc',
    'create_time;',
    'email,',
    ',email',
    'email,,first_name',
    ',',
    'email first_name',
    'attributes.a',
    'u.email',
    'email) --',
    'toString',
    'email\0',
  ])('refuses %j', (text) => {
    expect(faultOf(text)).toMatchObject({
      reason: 'INVALID_ORDER_BY',
      code: 'INVALID_ARGUMENT',
      violations: [
        { field: 'order_by', description: expect.stringContaining('must be a comma-separated list of first_name') },
      ],
    });
  });

  it.each(['email,email', 'email desc, email', 'email, first_name, email desc', Array(100_000).fill('email').join()])(
    'refuses a field that comes twice (case %#)',
    (text) => {
      expect(faultOf(text)).toMatchObject({
        reason: 'INVALID_ORDER_BY',
        violations: [{ field: 'order_by', description: 'must name email only once' }],
      });
    },
  );

  it('does not repeat the request in the error', () => {
    expect(faultOf('ada@example.com').message).not.toContain('ada');
  });
});

function faultOf(text: string): Fault {
  try {
    parseOrderBy(text);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('the order was taken');
}
