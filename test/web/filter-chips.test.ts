/** Tests that a filter of chips is valid for the server, and is read back as the same chips. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { parseFilter } from '../../src/model/filter.js';
import { CallError } from '../../web/calls/call-error.js';
import { offeredValues } from '../../web/filter/chip-values.js';
import {
  type Chip,
  type ChipValue,
  type FieldPath,
  type Operator,
  writeChip,
  writeChips,
} from '../../web/filter/filter-chips.js';
import { mistakeOf } from '../../web/filter/filter-mistake.js';
import { readChips } from '../../web/filter/read-chips.js';
import { quoted, stringValue, tokensOf } from '../../web/text/cel-tokens.js';
import { sentFilter } from '../../web/text/relative-days.js';

const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replaceAll('\0', '')),
  fc.constantFrom(
    '',
    '"',
    "'",
    '\\',
    '\\"',
    '" || true || "',
    'O’Brien',
    '\u202e',
    '\r\n',
    '"""',
    '// no comment',
    '👩‍🔬',
  ),
);
const notEmpty = texts.filter((text) => text !== '');
const numbers = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
  fc.constantFrom(0, 1e20, -1e20, 1e21, 2 ** 63, -(2 ** 63), 2 ** 64, 5e-324),
);
const keys = fc.oneof(fc.constantFrom('department', 'in', 'for', 'null', 'a key', '__proto__', 'x"y', '7'), notEmpty);
const attributes = fc.array(keys, { minLength: 1, maxLength: 3 }).map((path): FieldPath => ['attributes', ...path]);
const columns = fc
  .constantFrom('first_name', 'last_name', 'display_name', 'email', 'profile_image_url')
  .map((name) => [name]);
const ids = fc.uuid().map((id): Chip => ({ path: ['id'], operator: 'is', values: [id] }));
const times = fc.date({ min: new Date('1970-01-01'), max: new Date('2099-12-31'), noInvalidDate: true });
const days = times.map((time) => time.toISOString().slice(0, 10));

const relativeDays = fc
  .tuple(fc.constantFrom('today', 'this_year'), fc.integer({ min: -900, max: 900 }))
  .map(([unit, offset]) => (offset === 0 ? unit : `${unit} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)}`));

const chip = (path: FieldPath, operator: Operator, ...values: readonly ChipValue[]): Chip => ({
  path,
  operator,
  values,
});
const several = (values: fc.Arbitrary<ChipValue>) => fc.array(values, { minLength: 1, maxLength: 4 });
const fields = fc.oneof(columns, attributes);
const timeColumns = fc.constantFrom(['create_time'], ['update_time']);
const operators = (...names: Operator[]) => fc.constantFrom(...names);

const chips: fc.Arbitrary<Chip> = fc.oneof(
  ids,
  fc.tuple(columns, operators('is', 'isNot'), several(notEmpty)).map(([p, o, v]) => chip(p, o, ...v)),
  fc
    .tuple(
      attributes,
      operators('is', 'isNot', 'includes', 'includesNot'),
      several(fc.oneof(texts, numbers, fc.boolean())),
    )
    .map(([p, o, v]) => chip(p, o, ...v)),
  fc
    .tuple(fields, operators('contains', 'containsNot', 'startsWith', 'endsWith'), notEmpty)
    .map(([p, o, v]) => chip(p, o, v)),
  fc
    .tuple(
      fc.uniqueArray(attributes, { minLength: 2, maxLength: 3, selector: (path) => JSON.stringify(path) }),
      notEmpty,
    )
    .map(([[path = [], ...others], text]): Chip => ({ path, others, operator: 'contains', values: [text] })),
  fc.tuple(fields, operators('isEmpty', 'isNotEmpty')).map(([p, o]) => chip(p, o)),
  fc.tuple(attributes, operators('atLeast', 'atMost', 'more', 'less'), numbers).map(([p, o, v]) => chip(p, o, v)),
  fc.tuple(attributes, numbers, numbers).map(([p, a, b]) => chip(p, 'between', a, b)),
  fc.tuple(timeColumns, operators('before', 'since'), times).map(([p, o, t]) => chip(p, o, t.toISOString())),
  fc.tuple(timeColumns, times, times).map(([p, a, b]) => chip(p, 'within', a.toISOString(), b.toISOString())),
  fc.tuple(attributes, operators('before', 'since'), days).map(([p, o, day]) => chip(p, o, day)),
  fc.tuple(attributes, days, days).map(([p, a, b]) => chip(p, 'within', a, b)),
  fc
    .tuple(fc.oneof(timeColumns, attributes), operators('before', 'since'), relativeDays)
    .map(([p, o, day]) => chip(p, o, day)),
  fc.tuple(fc.oneof(timeColumns, attributes), relativeDays, relativeDays).map(([p, a, b]) => chip(p, 'within', a, b)),
);

describe('the values for a typed text', () => {
  const known = ['Field Sales', 'Sales', 'Salle', 'Ops', 'Éclair'];

  it.each([
    ['', known, undefined, undefined],
    ['sal', ['Sales', 'Salle', 'Field Sales'], 'sal', 'Sales'],
    [' SALES ', ['Sales', 'Field Sales'], 'SALES', 'Sales'],
    ['Salle', ['Salle'], undefined, 'Salle'],
    ['ecl', ['Éclair'], 'ecl', 'Éclair'],
    ['eld', ['Field Sales'], 'eld', 'Field Sales'],
    ['Legal', [], 'Legal', 'Legal'],
    ['’', [], '’', '’'],
  ])('%j begin with it, or contain it, or are the text itself', (text, values, literal, suggested) => {
    expect(offeredValues('text', text, known)).toEqual({ values, literal, suggested });
  });

  it('suggest a whole number as it is', () => {
    expect(offeredValues('number', '5', [50, 15])).toEqual({ values: [50, 15], literal: 5, suggested: 5 });
    expect(offeredValues('number', '50', [500, 50])).toEqual({ values: [50, 500], literal: undefined, suggested: 50 });
    expect(offeredValues('number', 'many', [50])).toEqual({ values: [], literal: undefined, suggested: undefined });
  });

  it('suggest no incomplete id, and only the two values of a yes or no', () => {
    expect(offeredValues('id', '0199', []).suggested).toBeUndefined();
    expect(offeredValues('boolean', 'true', [true, false]).suggested).toBe(true);
    expect(offeredValues('boolean', 'n', [true, false])).toEqual({
      values: [false],
      literal: undefined,
      suggested: false,
    });
  });
});

/** The filter as the server understands it. */
function meaningOf(text: string): unknown {
  try {
    return parseFilter(text);
  } catch (error) {
    if (error instanceof Fault) return error.message.replace(/ \(at character \d+\)/, '');
    throw error;
  }
}

describe('chips', () => {
  it('are read back from the filter that they are', () => {
    fc.assert(
      fc.property(fc.array(chips, { maxLength: 4 }), (before) => {
        expect(readChips(writeChips(before))).toEqual(before);
      }),
      { numRuns: 2_000 },
    );
  });

  it('are a filter that the server accepts, with the same values', () => {
    fc.assert(
      fc.property(chips, (before) => {
        const text = sentFilter(writeChip(before));
        fc.pre([...text].length <= 2048);
        const constants = JSON.stringify(parseFilter(text));
        if (before.operator === 'is' && before.path[0] === 'attributes') {
          for (const value of before.values) expect(constants).toContain(JSON.stringify(value));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('are written as short as somebody would write them', () => {
    expect(
      writeChips([
        chip(['attributes', 'department'], 'is', 'ops'),
        chip(['attributes', 'cost center'], 'is', 'a', 'b'),
        chip(['last_name'], 'isNot', 'O"Brien'),
        chip(['attributes', 'vip'], 'is', true),
        chip(['attributes', 'tags'], 'includes', 'new'),
        chip(['create_time'], 'since', '2026-01-01T00:00:00.000Z'),
        chip(['update_time'], 'since', 'today - 6'),
        chip(['attributes', 'started'], 'within', 'this_year', 'today + 1'),
      ]),
    ).toBe(
      [
        'attributes.department == "ops"',
        'attributes["cost center"] in ["a", "b"]',
        'last_name != "O\\"Brien"',
        'attributes.vip == true',
        '"new" in attributes.tags',
        'create_time >= timestamp("2026-01-01T00:00:00.000Z")',
        'update_time >= timestamp(today - 6)',
        '(attributes.started >= this_year && attributes.started < today + 1)',
      ].join(' && '),
    );
  });

  it('are read from other spellings of the same', () => {
    expect(readChips(" ( attributes['department']=='ops' )\n&& !('a' in attributes.tags)")).toEqual([
      chip(['attributes', 'department'], 'is', 'ops'),
      chip(['attributes', 'tags'], 'includesNot', 'a'),
    ]);
    expect(readChips('create_time>=timestamp( today-6 )')).toEqual([chip(['create_time'], 'since', 'today - 6')]);
    expect(readChips('last_name == ""')).toEqual([chip(['last_name'], 'isEmpty')]);
    expect(readChips(' \n')).toEqual([]);
  });

  it('are read from conditions in any order, with parentheses around any of them', () => {
    const department = chip(['attributes', 'department'], 'is', 'ops');
    const hasManager = chip(['attributes', 'manager'], 'isNotEmpty');
    const level = chip(['attributes', 'level'], 'between', 1, 2);
    const has = 'has(attributes.manager)';
    const notBlank = '!(attributes.manager in ["", null])';
    const inLevel = '(attributes.level >= 1 && attributes.level <= 2)';
    for (const [text, expected] of [
      ['(attributes.department == "ops" && last_name == "")', [department, chip(['last_name'], 'isEmpty')]],
      [`(attributes.department == "ops") && ((${inLevel}))`, [department, level]],
      [
        `((${inLevel} && ( ${has} && ${notBlank} )) && attributes.department == "ops")`,
        [level, hasManager, department],
      ],
      [`${has} && ${notBlank}`, [hasManager]],
      [`attributes.department == "ops" && ${has} && ${notBlank} && ${inLevel}`, [department, hasManager, level]],
    ] as const) {
      expect(readChips(text), text).toEqual(expected);
    }
    expect(readChips(`${has} && attributes.department == "ops"`)).toBeUndefined();

    const group = (texts: readonly string[], cuts: readonly number[]): string => {
      const [cut = 0, ...others] = cuts;
      if (texts.length < 2 || cut % texts.length === 0) return texts.join(' && ');
      const at = cut % texts.length;
      return `( ${group(texts.slice(0, at), others)})&&(${group(texts.slice(at), others)}\n)`;
    };
    // Parentheses around two comparisons of one field may join them to one chip.
    const flat = (text: string) => text.replaceAll(/[()\s]/g, '');
    fc.assert(
      fc.property(fc.array(chips, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(9)), (before, cuts) => {
        const text = group(before.map(writeChip), cuts);
        const read = readChips(text);
        expect(read && flat(writeChips(read)), text).toBe(flat(text));
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    'attributes.a == 1 || attributes.b == 2',
    'attributes.a != "x"',
    'attributes.retired',
    'last_name >= "M"',
    'create_time == timestamp("2026-01-01T00:00:00Z")',
    'create_time >= today - 6',
    'create_time >= timestamp("today - 6")',
    'create_time >= timestamp(today - 6.5)',
    'attributes.started >= timestamp(today - 6)',
    'attributes.started == today',
    'attributes.started >= today - 1 - 1',
    'attributes.a == null',
    'attributes.a == attributes.b',
    '"a" == attributes.b',
    'nonsense == "x"',
    'attributes == "x"',
    'last_name.first == "x"',
    'last_name == r"x"',
    'last_name == "x" // a comment',
    'last_name == "x" &&',
    'last_name == "x',
    'attributes.a in []',
    'attributes.a.contains("x") || attributes.b.contains("y")',
    'attributes.a.b("x")',
  ])('are not read from a text with another shape: %s', (text) => {
    expect(readChips(text)).toBeUndefined();
  });

  it('are not read from a text with deep nesting', () => {
    expect(readChips(`${'('.repeat(2_000)}true`)).toBeUndefined();
    expect(readChips('!'.repeat(2_000))).toBeUndefined();
  });

  it('never read more into a text than the server does', () => {
    const damages = fc.tuple(fc.nat(), fc.nat(), fc.constantFrom('remove', 'repeat', 'replace'));
    fc.assert(
      fc.property(chips, chips, damages, (one, other, [at, from, damage]) => {
        const tokens = tokensOf(writeChips([one, other])).map((token) => token.text);
        const source = tokens[from % tokens.length] ?? '';
        const damaged = tokens.flatMap((token, index) => {
          if (index !== at % tokens.length) return [token];
          return damage === 'remove' ? [] : damage === 'repeat' ? [token, token] : [source];
        });
        const text = damaged.join('');
        const found = readChips(text);
        fc.pre(found !== undefined && [...text].length < 1_500);
        expect(meaningOf(sentFilter(writeChips(found ?? [])))).toEqual(meaningOf(sentFilter(text)));
      }),
      { numRuns: 500 },
    );
  });
});

describe('tokens', () => {
  it('are the whole text, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(
          tokensOf(text)
            .map((token) => token.text)
            .join(''),
        ).toBe(text);
      }),
    );
  });

  it('of strings have the value that was quoted', () => {
    fc.assert(fc.property(texts, (text) => void expect(stringValue(quoted(text))).toBe(text)));
    expect(stringValue(String.raw`"\x41\u0041\U0001F600\101\?"`)).toBe('AA😀A?');
    expect(stringValue(String.raw`"\q"`)).toBeUndefined();
  });
});

describe('a mistake in a filter', () => {
  const sampled = [['city'], ['address', 'street'], ['Start date'], ['street']].map((keys) => ({
    path: ['attributes', ...keys],
    kind: 'text' as const,
  }));

  /** The mistake for the server's own error about this filter. */
  function mistakeIn(filter: string): { text: string; marked: string } {
    try {
      parseFilter(sentFilter(filter));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const { violations } = error;
      const found = mistakeOf(new CallError('INVALID_ARGUMENT', error.message, { violations }), filter, sampled);
      return { text: found?.text ?? '', marked: found?.at === undefined ? '' : filter.slice(found.at) };
    }
    throw new Error('The filter is valid.');
  }

  it.each([
    ['last_name = "x"', 'Write == instead of =.', '= "x"'],
    ['last_name == "x" and email == "y"', 'Write && instead of and.', 'and email == "y"'],
    ['last_name == "x', 'A quote is missing at the end of this text.', '"x'],
    ["last_name == '", 'A quote is missing at the end of this text.', "'"],
    ['last_name ==', 'The expression is not complete. Something is missing at the end.', '=='],
    ['(last_name == "x"', 'The closing ) is missing.', '(last_name == "x"'],
    ['last_name == "x")', 'Nothing is open that this ) could close.', ')'],
    ['last_name == "x" "y"', 'The expression cannot be read at the marked place.', '"y"'],
    ['last_name == 7', 'The filter must not compare a string with a number.', '7'],
    ['"😀" == last_name && id == "x"', 'The filter must compare id with a UUID.', '"x"'],
    // The text that was sent is longer.
    [
      '"😀" == last_name && create_time >= timestamp(today - 6) && id == "x"',
      'The filter must compare id with a UUID.',
      '"x"',
    ],
    [
      'update_time < timestamp(this_year) && attributes.a >= today-6 "y"',
      'The expression cannot be read at the marked place.',
      '"y"',
    ],
    ['last_name == today - 6 &&', 'The expression is not complete. Something is missing at the end.', '&&'],
    [
      'create_time >= today - 6',
      'Created and Updated are times. Put the day into timestamp(…), such as timestamp(today - 6).',
      'today - 6',
    ],
    ['email != "" && city == "x"', '“city” is not a field. Did you mean attributes.city?', 'city == "x"'],
    ['street == "x"', '“street” is not a field. Did you mean attributes.address.street?', 'street == "x"'],
    [
      'start_date > "2025"',
      '“start_date” is not a field. Did you mean attributes["Start date"]?',
      'start_date > "2025"',
    ],
    ['atributes.level == 5', '“atributes” is not a field. Did you mean attributes?', 'atributes.level == 5'],
    ['name == "Ada"', '“name” is not a field. Did you mean display_name?', 'name == "Ada"'],
    ['last_nmae == "x"', '“last_nmae” is not a field. Did you mean last_name?', 'last_nmae == "x"'],
    ['citty == "x"', '“citty” is not a field. Did you mean attributes.city?', 'citty == "x"'],
    ['firstName == "x"', '“firstName” is not a field. Did you mean first_name?', 'firstName == "x"'],
    [
      'nothing == "x"',
      'The filter must name one of the fields id, first_name, last_name, email, profile_image_url, display_name, create_time, update_time and attributes.KEY; strings need quotes.',
      'nothing == "x"',
    ],
    ['id == today - 6', 'The filter must compare id with a UUID.', 'today - 6'],
    ['last_name == "x" AND email == "y"', 'Write && instead of AND.', 'AND email == "y"'],
    ['last_name == "x" Or email == "y"', 'Write || instead of Or.', 'Or email == "y"'],
    ['NOT last_name == "x"', 'Write ! instead of NOT.', 'NOT last_name == "x"'],
    ['last_name IN ["x"]', 'Write in instead of IN.', 'IN ["x"]'],
    ['attributes.or == "x" || last_name = "y"', 'Write == instead of =.', '= "y"'],
    ['last_name == “x”', 'Write " instead of “.', '“x”'],
    ['last_name == Ada', 'A text needs quotes. Did you mean "Ada"?', 'Ada'],
    ['attributes.city in [Paris, "x"]', 'A text needs quotes. Did you mean "Paris"?', 'Paris, "x"]'],
    ['last_name.contains(Ada)', 'A text needs quotes. Did you mean "Ada"?', 'Ada)'],
    ['attributes.vip == True', 'Did you mean true?', 'True'],
    ['first_name == José', 'A text needs quotes. Did you mean "José"?', 'José'],
    ['(first_name != Émile) && id == "x"', 'A text needs quotes. Did you mean "Émile"?', 'Émile) && id == "x"'],
    [
      'attributes.city == New York AND email == "y"',
      'A text needs quotes. Did you mean "New York"?',
      'New York AND email == "y"',
    ],
    ['email == ada@example.com', 'A text needs quotes. Did you mean "ada@example.com"?', 'ada@example.com'],
    [
      'attributes.level > 50,000 && email == "y"',
      'A number has no separators except the decimal point. Did you mean 50000?',
      '50,000 && email == "y"',
    ],
    [
      'attributes.level > -1,234,567.5',
      'A number has no separators except the decimal point. Did you mean -1234567.5?',
      '-1,234,567.5',
    ],
    ['attributes.level > 1,5', 'A number has no separators except the decimal point. Did you mean 1.5?', '1,5'],
    ['name.contains("x")', '“name” is not a field. Did you mean display_name?', 'name.contains("x")'],
    ['city.contains("x")', '“city” is not a field. Did you mean attributes.city?', 'city.contains("x")'],
    ['last_name == O’Brien', 'A text needs quotes. Did you mean "O’Brien"?', 'O’Brien'],
    ['attributes.level > 5 6', 'The expression cannot be read at the marked place.', '6'],
  ])('is explained and marked in %s', (filter, text, marked) => {
    expect(mistakeIn(filter)).toEqual({ text, marked });
  });
});
