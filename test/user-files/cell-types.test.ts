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
  ['boolean', 'true', true],
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
  ['number', ['n/a', '3,5', '1,000', '1 000', '007', '+3', '.5', '5.', '0x10', 'Infinity', 'NaN', 'null', '3 4', '٣']],
  ['number', ['1e400', '9007199254740993', '9.007199254740993e15', ' ']],
  ['boolean', ['1', '0', 'y', 'on', 'null', 'yes, no', '"true"']],
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
