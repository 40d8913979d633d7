/** Tests which columns the list has if nobody has chosen them, and how they show attributes. */
import { describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { columnOf, defaultColumns, templateOf } from '../../web/columns.js';

const keys = ['department', 'title', 'location', 'floor'];

/** The width of the column of emails. */
function emailPx(widthPx: number): number {
  const ids = defaultColumns(keys, widthPx);
  const template = templateOf(
    ids.flatMap((id) => columnOf(id) ?? []),
    {},
    widthPx,
  );
  return Number.parseInt(template.split(' ')[ids.indexOf('email') + 1] ?? '', 10);
}

describe('the columns that the page chooses', () => {
  it('are as many attributes as fit', () => {
    expect(defaultColumns(keys, 500)).toEqual(['name', 'email']);
    expect(defaultColumns(keys, 700)).toEqual(['name', 'email', 'create_time']);
    expect(defaultColumns(keys, 900)).toEqual(['name', 'email', 'attributes.department', 'create_time']);
    expect(defaultColumns(keys, 1900)).toHaveLength(7);
  });

  it.each([700, 780, 840, 900, 1240, 1900])('leave room for emails in a list of %i px', (widthPx) => {
    expect(emailPx(widthPx)).toBeGreaterThanOrEqual(230);
  });
});

describe('the column of an attribute', () => {
  const textOf = (value: unknown) =>
    columnOf('attributes.a')?.textOf(User.fromPartial({ attributes: { a: value } })) ?? '';

  it.each([
    [true, 'Yes'],
    [['ops', 3], 'ops, 3'],
    [{ city: 'Berlin', floor: 4 }, 'city: Berlin, floor: 4'],
    [{ city: 'Berlin', place: { x: 1, y: 2 }, rooms: [1] }, 'city: Berlin, place: (2 fields), rooms: (1 item)'],
    [[{ x: 1 }, 'y'], '(1 field), y'],
    [{}, ''],
    [null, ''],
  ])('shows %j as "%s"', (value, text) => {
    expect(textOf(value)).toBe(text);
  });

  it('shows the whole value in its tooltip', () => {
    const user = User.fromPartial({ attributes: { a: { city: 'Berlin', place: { x: 1 } } } });
    expect(JSON.parse(columnOf('attributes.a')?.wholeTextOf(user) ?? '')).toEqual(user.attributes?.a);
  });
});
