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
    'attributes',
    'attributes.',
    'attributes.a b',
    'attributes["a"',
    'attributes["a]',
    'attributes[a]',
    'attributes[""a"]',
    String.raw`attributes["\"]`,
    String.raw`attributes["\q"]`,
    String.raw`attributes["\u0000"]`,
    String.raw`attributes["\ud800"]`,
    'attributes.a;',
    'first_name.a',
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

  it.each(['email,email', 'email desc, email', 'email, first_name, email desc', Array(300).fill('email').join()])(
    'refuses a field that comes twice (case %#)',
    (text) => {
      expect(faultOf(text)).toMatchObject({
        reason: 'INVALID_ORDER_BY',
        violations: [{ field: 'order_by', description: 'must name email only once' }],
      });
    },
  );

  it.each([
    ['attributes.city', [{ attribute: ['city'], descending: false }]],
    [' attributes.a_1.b  desc ', [{ attribute: ['a_1', 'b'], descending: true }]],
    [String.raw`attributes["a, \"b\" desc"]["é"] desc`, [{ attribute: ['a, "b" desc', 'é'], descending: true }]],
    [
      'attributes[""],email,attributes.email desc',
      [
        { attribute: [''], descending: false },
        { field: 'email', descending: false },
        { attribute: ['email'], descending: true },
      ],
    ],
  ])('reads the attributes of %j', (text, terms) => {
    expect(parseOrderBy(text)).toEqual(terms);
  });

  it.each([
    ['attributes.a, attributes["a"] desc', 'must name each attribute only once'],
    [[1, 2, 3, 4, 5, 6].map((key) => `attributes._${key}`).join(), 'must name at most 5 attributes'],
    [`attributes${'.a'.repeat(33)}`, 'must name at most 32 keys in one attribute'],
    [`attributes${'["'.repeat(2000)}`, 'must have at most 2048 characters'],
    [`${'"'.repeat(2048)}`, expect.stringContaining('must be a comma-separated list')],
    [`a${' '.repeat(2040)}desc`, expect.stringContaining('must be a comma-separated list')],
  ])('refuses the attributes of case %#', (text, description) => {
    expect(faultOf(text)).toMatchObject({
      reason: 'INVALID_ORDER_BY',
      violations: [{ field: 'order_by', description }],
    });
  });

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
