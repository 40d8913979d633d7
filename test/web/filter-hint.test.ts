/** Tests which advice a filter without matches gets, from a few users. */
import { describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { parseFilter } from '../../src/model/filter.js';
import { type Chip, type Operator, writeChip } from '../../web/filter/filter-chips.js';
import { filterHints } from '../../web/filter/filter-hint.js';

const users = [
  { department: 'Legal', address: { city: 'Reykjavík', 'post code': '1' }, note: null },
  { department: 'Sales', startDate: '2026-01-01', tags: ['Straße'] },
].map((attributes) => User.fromPartial({ attributes }));

function fixed(filter: string): string | undefined {
  const [hint] = filterHints(filter, users);
  return hint !== undefined && 'meant' in hint ? hint.meant?.filter : undefined;
}

describe('an attribute that nobody has', () => {
  it.each([
    ['attributes.departmant == "Legal"', 'attributes.department == "Legal"'],
    [
      '!has(attributes.departmet) && attributes.departmet != "x"',
      '!has(attributes.department) && attributes.department != "x"',
    ],
    ['attributes["start_date"] > "2025"', 'attributes.startDate > "2025"'],
    ['attributes.address.ctiy == "x" || last_name == "y"', 'attributes.address.city == "x" || last_name == "y"'],
    ['attributes.address.postcode == "1"', 'attributes.address["post code"] == "1"'],
    ['attributes.Department.contains("x")', 'attributes.department.contains("x")'],
  ])('is corrected if it is spelled almost like another: %s', (filter, expected) => {
    expect(fixed(filter)).toBe(expected);
  });

  it('is named if none is spelled like it', () => {
    expect(filterHints('attributes.salary > 5', users)).toEqual([{ problem: 'attribute', written: 'salary' }]);
  });

  it('is not reported if somebody has it, also without a value, or if there are no users', () => {
    for (const filter of ['attributes.note == "x"', 'attributes.department.startsWith("x")', 'email == "attributes.x"'])
      expect(filterHints(filter, users)).toEqual([]);
    expect(filterHints('attributes.x == 1', [])).toEqual([]);
  });
});

describe('an attribute with values of another type', () => {
  const typed = [
    { skills: ['SQL'], level: 3, remote: true, zip: '0123', mixed: 1, home: { floor: 2 } },
    { skills: [], mixed: 'x', level: null },
  ].map((attributes) => User.fromPartial({ attributes }));

  it.each([
    ['attributes.skills == "SQL"', 'a list', '"SQL" in attributes.skills'],
    ['attributes.level > "3"', 'a number', 'attributes.level > 3'],
    [
      'last_name == "x" && attributes["level"] == "-1.5"',
      'a number',
      'last_name == "x" && attributes["level"] == -1.5',
    ],
    ['(attributes.home.floor<="2")', 'a number', '(attributes.home.floor <= 2)'],
    ['attributes.remote == "true"', 'a boolean', 'attributes.remote == true'],
    ['attributes.zip == 123', 'text', 'attributes.zip == "123"'],
    ['attributes.zip > 123', 'text', undefined],
    ['attributes.level == "high"', 'a number', undefined],
    ['attributes.skills > "a"', 'a list', undefined],
    ['attributes.home == "x"', 'an object', undefined],
  ])('is named, and the comparison is corrected: %s', (filter, type, expected) => {
    const [hint, ...others] = filterHints(filter, typed);
    expect(others).toEqual([]);
    expect(hint).toMatchObject({ problem: 'type', type });
    expect(hint?.problem === 'type' && hint.meant?.filter).toBe(expected);
    if (expected !== undefined) expect(() => parseFilter(expected)).not.toThrow();
  });

  it('is not named if some values have the type, or if nothing is compared with a value', () => {
    for (const filter of [
      'attributes.mixed == 7',
      'attributes.level > 3',
      'has(attributes.skills)',
      'attributes.zip ==',
    ])
      expect(filterHints(filter, typed)).toEqual([]);
  });
});

describe('a text with other accents', () => {
  const contains = (path: readonly string[], text: string) => writeChip({ path, operator: 'contains', values: [text] });

  it('is found in the attributes of the condition', () => {
    const city = ['attributes', 'address', 'city'];
    expect(fixed(contains(city, 'REYKJAVIK'))).toBe(contains(city, 'Reykjavík'));
    expect(fixed(contains(['attributes', 'tags'], 'strasse'))).toBe(contains(['attributes', 'tags'], 'Straße'));
    expect(filterHints(contains(['attributes', 'department'], 'reykjavik'), users)).toEqual([
      { problem: 'accents', isWhole: false, differences: 'accents and unusual capitals' },
    ]);
  });

  it('is not searched in emails, or if the condition has no text', () => {
    expect(filterHints(contains(['email'], 'x'), users)).toEqual([]);
    expect(filterHints('attributes.department == "x"', users)).toEqual([]);
  });
});

describe('a name that nobody has', () => {
  const people = ["O'Brien", 'MacLeod', 'DÉsirée'].map((lastName) => User.fromPartial({ lastName }));
  const chip = (operator: Operator, text: string): Chip => ({ path: ['last_name'], operator, values: [text] });
  const hintOf = (operator: Operator, text: string) =>
    filterHints(`${writeChip(chip(operator, text))} && email != "x"`, people)[0];

  it.each([
    ['contains', 'obrien', 'apostrophes', "O'Brien"],
    ['contains', 'désirée', 'capitals', 'DÉsirée'],
    ['contains', 'desiree', 'accents', 'DÉsirée'],
    ['contains', 'Zoe', 'accents and unusual capitals', undefined],
    ['is', "o'brien", 'capitals and accents', undefined],
    ['startsWith', 'macl', 'capitals and accents', undefined],
  ] as const)('may be another spelling, which the search finds: %s %s', (operator, text, differences, meant) => {
    const hint = hintOf(operator, text);
    expect(hint).toMatchObject({
      problem: 'name',
      differences,
      isWhole: operator === 'is',
      search: { query: text, filter: 'email != "x"' },
    });
    expect(hint !== undefined && 'meant' in hint ? hint.meant?.text : undefined).toBe(meant);
  });
});

describe('a text that is not searched in all attributes', () => {
  const [department, city, tags] = [['department'], ['address', 'city'], ['tags']].map((keys) => [
    'attributes',
    ...keys,
  ]);
  const search = (text: string, ...paths: (readonly string[] | undefined)[]) => {
    const [path = [], ...others] = paths.filter((each) => each !== undefined);
    return writeChip({ path, others, operator: 'contains', values: [text] });
  };

  it('names the others and the filter that searches them first, and does not blame accents', () => {
    const [hint, ...rest] = filterHints(search('boston', department, tags), users);
    expect(rest).toEqual([]);
    const postCode = ['attributes', 'address', 'post code'];
    expect(hint).toEqual({
      problem: 'unsearched',
      paths: [city, postCode],
      rest: search('boston', city, postCode, department, tags),
    });
  });

  it('also offers a spelling that somebody has', () => {
    const hints = filterHints(search('strasse', department, tags), users);
    expect(hints.map(({ problem }) => problem)).toEqual(['unsearched', 'accents']);
    expect(hints[1]).toMatchObject({ meant: { filter: search('Straße', department, tags) } });
  });
});
