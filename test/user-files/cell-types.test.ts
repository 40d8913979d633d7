/** Converting the cells of a column for one attribute to the type of the column. */
import { expect, it } from 'vitest';
import { valueOfCell } from '../../src/user-files/cell-types.js';
import { draftOf } from '../../src/user-files/columns.js';
import { matchHeader, targetsOf } from '../../src/user-files/header.js';

it.each([
  ['number', '3', 3],
  ['number', ' 3 ', 3],
  ['number', '-0.25', -0.25],
  ['number', '1e+21', 1e21],
  ['number', '9007199254740992', 9007199254740992],
  ['number', '1 234 567', 1234567],
  ['number', '-1’234.5', -1234.5],
  ['number', '{"a":1}', { a: 1 }],
  ['number', '[1,"n/a"]', [1, 'n/a']],
  ['commaNumber', '1.234,56', 1234.56],
  ['commaNumber', '-1.234.567', -1234567],
  ['commaNumber', '1\u202f234,5', 1234.5],
  ['commaNumber', ' 1.234 ', 1234],
  ['commaNumber', '0,5', 0.5],
  ['commaNumber', '1.5', 1.5],
  ['commaNumber', '12', 12],
  ['pointNumber', '1,234.5', 1234.5],
  ['pointNumber', '1,234', 1234],
  ['pointNumber', '1.234', 1.234],
  ['pointNumber', '1e+21', 1e21],
  ['boolean', 'true', true],
  ['boolean', '1', true],
  ['boolean', ' 0', false],
  ['boolean', '{"a":1}', { a: 1 }],
  ['dayFirstDate', '31.12.2024', '2024-12-31'],
  ['dayFirstDate', ' 1/2/2024', '2024-02-01'],
  ['monthFirstDate', '1/2/2024', '2024-01-02'],
  ['monthFirstDate', '12-31-2024', '2024-12-31'],
  ['dayFirstDate', '2024-12-31', '2024-12-31'],
  ['monthFirstDate', '2024/2/29', '2024-02-29'],
  ['dayFirstDate', '31 Dec 2024', '2024-12-31'],
  ['monthFirstDate', '5-SEPT-2024', '2024-09-05'],
  ['dayFirstDate', 'December 31, 2024', '2024-12-31'],
  ['dayFirstDate', 'Jan. 2 2024', '2024-01-02'],
  ['boolean', 'FALSE', false],
  ['boolean', 'Yes', true],
  ['boolean', 'no ', false],
  ['list', '[]', []],
  ['list', '["a",1,[null]]', ['a', 1, [null]]],
  ['list', '["\\"", "é"]', ['"', 'é']],
  ['json', '{"city":"Berlin","floors":[1,{"a":null}]}', { city: 'Berlin', floors: [1, { a: null }] }],
  ['json', ' [1,2] ', [1, 2]],
] as const)('as a %s, %j becomes %j', (type, text, value) => {
  expect(valueOfCell(text, type)).toEqual(value);
});

it.each([
  [
    'number',
    [
      'n/a',
      '3,5',
      '1,000',
      '1 0000',
      '1 000’000',
      '0 123',
      '007',
      '+3',
      '.5',
      '5.',
      '0x10',
      'Infinity',
      'NaN',
      'null',
      '3 4',
      '٣',
    ],
  ],
  ['number', ['1e400', '9007199254740993', '9.007199254740993e15', ' ']],
  ['commaNumber', ['1,5,5', '1.23,4', '1.234.56', '1,234.5', '007', '01.234', '9.007.199.254.740.993', ',5', '-']],
  ['pointNumber', ['1,23', '1.234,5', '1,234,56', '12,34,567', '1,234 567']],
  [
    'dayFirstDate',
    ['12/31/2024', '31.12.24', '30.02.2024', '1.2/2024', '0.1.2024', '31 Foo 2024', '31 De 2024', '2024-13-01'],
  ],
  [
    'monthFirstDate',
    ['31/12/2024', '29 Feb 2023', 'December 2024', '2024', '20241231', 'tomorrow', '2024-12-31T00:00'],
  ],
  ['boolean', ['2', '01', 'y', 'on', 'null', 'yes, no', '"true"']],
  ['list', ['a', 'a,b', '{}', '"a"', '[a]', '["a"', 'null', '["\\ud800"]', '[1e400]', '[9007199254740993]']],
  ['json', ['a', '"a"', '3', 'true', 'null', '{', '{a:1}', '{"a":1e400}', '{"a":"\\ud800"}', '{} {}']],
  [undefined, ['3', 'true', '[]', '{}']],
] as const)('as a %s, each of %j stays the text that it is', (type, texts) => {
  for (const text of texts) expect(valueOfCell(text, type)).toBe(text);
});

it.each(['list', 'json'] as const)('as a %s, JSON that is nested far too deeply stays text', (type) => {
  for (const [start, end] of [
    ['[', ']'],
    ['{"a":', '}'],
    ['{"\\n":', '}'],
  ] as const) {
    for (const levels of [5_000, 100_000]) {
      const text = `[${start.repeat(levels)}0${end.repeat(levels)}]`;
      expect(valueOfCell(text, type)).toBe(text);
    }
  }
  const [attributes] = matchHeader(['attributes']);
  if (attributes === undefined) throw new Error('the column is missing');
  const draft = draftOf([`{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`], targetsOf([attributes]));
  expect(draft.problem?.field).toBe('attributes');
});

it('only columns with a type are converted', () => {
  const [email, level, team] = matchHeader(['email', 'attributes.level', 'attributes.team']);
  if (email === undefined || level === undefined || team === undefined) throw new Error('a column is missing');
  const cells = ['yes', '3', '3'];
  const userOf = (columns: (typeof team)[]) => draftOf(cells, targetsOf(columns)).user;
  expect(userOf([email, level, team])).toEqual({ email: 'yes', attributes: { level: '3', team: '3' } });
  expect(userOf([{ ...email, type: 'boolean' }, { ...level, type: 'number' }, team])).toEqual({
    email: 'yes',
    attributes: { level: 3, team: '3' },
  });
});

it('an empty cell stays unset, whatever its type is', () => {
  const columns = matchHeader(['attributes.level']).map((column) => ({ ...column, type: 'number' as const }));
  expect(draftOf([''], targetsOf(columns)).user).toEqual({});
});

it('a number is read without the apostrophe that CSV for Excel has', () => {
  const columns = matchHeader(['attributes.level']).map((column) => ({ ...column, type: 'number' as const }));
  expect(draftOf(["'-5"], targetsOf(columns)).user).toEqual({ attributes: { level: -5 } });
});
