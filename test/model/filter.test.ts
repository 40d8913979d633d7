/** Tests the parsing of filters. test/store/filter-sql.test.ts tests which users they match. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { type Filter, parseFilter } from '../../src/model/filter.js';

const column = (name: string) => ({ kind: 'column', name });
const attribute = (...path: string[]) => ({ kind: 'attribute', path });
const text = (value: string) => ({ kind: 'constant', type: 'string', value });
const number = (value: number) => ({ kind: 'constant', type: 'number', value });
const yes = { kind: 'constant', type: 'boolean', value: true };
const nothing = { kind: 'constant', type: 'null', value: null };
const time = (value: string) => ({ kind: 'constant', type: 'timestamp', value });
const compare = (left: object, comparison: string, right: object) => ({ kind: 'compare', comparison, left, right });
const uuid = '0190a5b0-1234-7abc-8def-0123456789ab';

function refusalOf(filter: string): string {
  try {
    parseFilter(filter);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect(error.reason).toBe('INVALID_FILTER');
    expect(error.violations).toEqual([{ field: 'filter', description: expect.any(String) }]);
    return error.violations[0]?.description ?? '';
  }
  throw new Error('the filter was accepted');
}

describe('parseFilter', () => {
  it.each(['', ' ', '\n\t ', '// nothing', ' // nothing\n// more\r\n '])('reads %j as no filter', (filter) => {
    expect(parseFilter(filter)).toBeUndefined();
  });

  it.each<[string, object]>([
    ['last_name == "Lovelace"', compare(column('last_name'), '==', text('Lovelace'))],
    ["last_name=='Love\\'lace'", compare(column('last_name'), '==', text("Love'lace"))],
    ['first_name != """a "quoted" name"""', compare(column('first_name'), '!=', text('a "quoted" name'))],
    ['first_name == r"a\\b"', compare(column('first_name'), '==', text('a\\b'))],
    ['"m" < display_name', compare(column('display_name'), '>', text('m'))],
    ['"m" >= email', compare(column('email'), '<=', text('m'))],
    ['first_name == last_name', compare(column('first_name'), '==', column('last_name'))],
    ['.first_name == "a"', compare(column('first_name'), '==', text('a'))],
    [`id == "${uuid.toUpperCase()}"`, compare(column('id'), '==', text(uuid))],
    ['id < "01"', compare(column('id'), '<', text('01'))],
    ['create_time < update_time', compare(column('create_time'), '<', column('update_time'))],
    [
      'create_time > timestamp("2026-01-01T01:00:00+01:00")',
      compare(column('create_time'), '>', time('2026-01-01T00:00:00.000000Z')),
    ],
    [
      'timestamp("2024-02-29T23:59:59.1234Z") > update_time',
      compare(column('update_time'), '<', time('2024-02-29T23:59:59.123500Z')),
    ],
    [
      'create_time == timestamp("0001-01-01T00:00:00.123000000Z")',
      compare(column('create_time'), '==', time('0001-01-01T00:00:00.123000Z')),
    ],
    ['attributes.level > 3', compare(attribute('level'), '>', number(3))],
    ['-3.5 < attributes.a.b', compare(attribute('a', 'b'), '>', number(-3.5))],
    ['attributes.a == - (3)', compare(attribute('a'), '==', number(-3))],
    ['attributes.a == 0x10u', compare(attribute('a'), '==', number(16))],
    ['attributes.a == 9223372036854775807', compare(attribute('a'), '==', number(2 ** 63))],
    ['attributes["key with blanks"].b == null', compare(attribute('key with blanks', 'b'), '==', nothing)],
    ['attributes["__proto__"].constructor != "x"', compare(attribute('__proto__', 'constructor'), '!=', text('x'))],
    ['attributes.a <= attributes.b', compare(attribute('a'), '<=', attribute('b'))],
    ['email == attributes.login', compare(column('email'), '==', attribute('login'))],
    ['attributes.active', compare(attribute('active'), '==', yes)],
    ['attributes["active"]', compare(attribute('active'), '==', yes)],
    ['!attributes.active', { kind: 'not', term: compare(attribute('active'), '==', yes) }],
    ['! attributes.active', { kind: 'not', term: compare(attribute('active'), '==', yes) }],
    ['!!attributes.active', compare(attribute('active'), '==', yes)],
    ['has(attributes.a.b)', { kind: 'has', attribute: attribute('a', 'b') }],
    ['has(attributes["a b"])', { kind: 'has', attribute: attribute('a b') }],
    ['has(attributes["a b"].c)', { kind: 'has', attribute: attribute('a b', 'c') }],
    ['attributes.has.contains("x")', { kind: 'match', match: 'contains', left: attribute('has'), right: text('x') }],
    [
      'email.endsWith("@example.com")',
      { kind: 'match', match: 'endsWith', left: column('email'), right: text('@example.com') },
    ],
    [
      '"Ada Lovelace".startsWith(first_name)',
      { kind: 'match', match: 'startsWith', left: text('Ada Lovelace'), right: column('first_name') },
    ],
    [
      'attributes.x in [1, "a", null, true, -2.5]',
      {
        kind: 'member',
        left: attribute('x'),
        of: [number(1), text('a'), nothing, yes, number(-2.5)],
      },
    ],
    [`id in ["${uuid.toUpperCase()}",]`, { kind: 'member', left: column('id'), of: [text(uuid)] }],
    ['first_name in []', { kind: 'member', left: column('first_name'), of: [] }],
    ['"vip" in attributes.tags', { kind: 'element', element: text('vip'), list: attribute('tags') }],
    ['-1 in attributes["a b"].c', { kind: 'element', element: number(-1), list: attribute('a b', 'c') }],
    [
      String.raw`first_name == "\a\b\f\n\r\t\v\\\?\"\'\`\x41\X42\u0043\U00000044\105"`,
      compare(column('first_name'), '==', text('\u0007\b\f\n\r\t\v\\?"\'`ABCDE')),
    ],
    [String.raw`first_name == r"\q"`, compare(column('first_name'), '==', text(String.raw`\q`))],
    ['true', { kind: 'and', terms: [] }],
    ['false', { kind: 'or', terms: [] }],
    [
      'attributes.a || attributes.b && attributes.c || attributes.d',
      {
        kind: 'or',
        terms: [
          compare(attribute('a'), '==', yes),
          { kind: 'and', terms: [compare(attribute('b'), '==', yes), compare(attribute('c'), '==', yes)] },
          compare(attribute('d'), '==', yes),
        ],
      },
    ],
    [
      'attributes.a // one\n // two\n && // "((("\n\t attributes.b // end',
      { kind: 'and', terms: [compare(attribute('a'), '==', yes), compare(attribute('b'), '==', yes)] },
    ],
  ])('reads %s', (filter, expected) => {
    expect(parseFilter(filter)).toEqual(expected);
  });

  it.each<[string, RegExp]>([
    ['first_name', /must compare .*\(at character 1\)/],
    ['"ada"', /must be a condition/],
    ['1', /must be a condition/],
    ['[true]', /must be a condition/],
    ['{"a": true}', /must be a condition/],
    ['google.protobuf.Timestamp{seconds: 1} == create_time', /must have a field or a constant/],
    ['1 == 1', /two constants/],
    ['true == true', /two constants/],
    ['"a".startsWith("a")', /two constants/],
    ['1 in [1]', /field before "in"/],
    ['nick_name == "x"', /must name one of the fields id, first_name.*at character 1\)/],
    ['first_name == Lovelace', /strings need quotes.*at character 15\)/],
    ['constructor == "x"', /must name one of the fields/],
    ['__proto__ == "x"', /must name one of the fields/],
    ['toString == "x"', /must name one of the fields/],
    ['first_name.x == "x"', /no other field has keys/],
    ['user.first_name == "x"', /no other field has keys/],
    ['attributes == "x"', /must name a key of attributes/],
    ['attributes', /must name a key of attributes/],
    ['has(attributes)', /must name a key/],
    ['has(first_name)', /must name a key/],
    ['has(first_name.x)', /must name a key/],
    ['has(attributes.a, attributes.b)', /must be a condition/],
    ['has(has(attributes.a).b)', /must name a key/],
    ['has(attributes.a) == true', /must have a field or a constant/],
    ['has()', /must be a condition/],
    ['attributes[0] == 1', /must have a string in brackets/],
    ['attributes[first_name] == 1', /must have a string in brackets/],
    ['attributes["a\\u0000"] == 1', /U\+0000/],
    ['attributes.a[attributes.b]', /must have a string in brackets/],
    [`attributes${'.a'.repeat(33)} == 1`, /at most 32 keys/],
    ['first_name == "\\u0000"', /U\+0000/],
    ['first_name == "\0"', /U\+0000/],
    ['first_name == "\\ud800"', /CEL/],
    [String.raw`first_name == "\q"`, /invalid escape.*at character 16\)/],
    [String.raw`first_name == "\\\q"`, /invalid escape.*at character 18\)/],
    [String.raw`first_name == """\q"""`, /invalid escape/],
    [String.raw`first_name == "\8"`, /invalid escape/],
    [String.raw`first_name == "\12"`, /invalid escape/],
    [String.raw`first_name == "\400"`, /invalid escape/],
    [String.raw`first_name == "\x4"`, /invalid escape/],
    [String.raw`first_name == "\u12"`, /invalid escape/],
    [String.raw`attributes["\q"] == 1`, /invalid escape/],
    ['"a" in first_name', /an attribute or a list of constants after "in"/],
    ['"a" in attributes', /must name a key of attributes/],
    ['timestamp("2026-01-01T00:00:00Z") in attributes.times', /timestamp in attributes/],
    ['first_name == "\ud800"', /well-formed/],
    ['first_name == "\\U00110000"', /CEL/],
    ['first_name == 1', /a string with a number/],
    ['first_name == null', /a string with a null/],
    ['first_name == true', /a string with a boolean/],
    ['first_name in ["a", 1]', /a string with a number/],
    ['first_name in "abc"', /list of constants/],
    ['first_name in attributes.names', /list of constants/],
    ['first_name in [last_name]', /only constants in a list/],
    ['first_name in [["a"]]', /must have a field or a constant/],
    ['first_name == b"ada"', /must have a constant: a string, a number/],
    ['id == "ada"', /UUID/],
    ['id != ""', /UUID/],
    [`id in ["${uuid}", "${uuid}0"]`, /UUID/],
    ['create_time > "2026-01-01T00:00:00Z"', /timestamp\("/],
    ['create_time > 5', /timestamp\("/],
    ['create_time > attributes.time', /timestamp\("/],
    ['attributes.time > timestamp("2026-01-01T00:00:00Z")', /create_time and update_time/],
    ['attributes.time in [timestamp("2026-01-01T00:00:00Z")]', /create_time and update_time/],
    ['first_name > create_time', /create_time and update_time/],
    ['create_time.startsWith("2026")', /strings on both sides/],
    ['first_name.startsWith(1)', /strings on both sides/],
    ['first_name.startsWith()', /must be a condition/],
    ['first_name.startsWith("a", "b")', /must be a condition/],
    ['startsWith(first_name, "a")', /must be a condition/],
    ['first_name.matches("(a+)+$")', /must be a condition/],
    ['first_name.size() == 3', /must have a field or a constant/],
    ['size(first_name) == 3', /must have a field or a constant/],
    ['first_name + last_name == "ab"', /must have a field or a constant/],
    ['attributes.a - 1 == 2', /must have a field or a constant/],
    ['-attributes.a == 2', /must have a constant: a string, a number/],
    ['attributes.a == -"x"', /must have a constant: a string, a number/],
    ['attributes.a ? attributes.b : attributes.c', /must be a condition/],
    ['attributes.a.exists(x, x == 1)', /must be a condition/],
    ['attributes.a.all(x, x == 1)', /must be a condition/],
    ['attributes.a.map(x, x)', /must be a condition/],
    ['attributes.a.filter(x, x)', /must be a condition/],
    ['attributes.a == 1 == true', /must have a field or a constant/],
    ['attributes.a < null', /must compare null only with == or !=/],
    ['null >= attributes.a', /must compare null only with == or !=/],
    ['attributes.a == 9223372036854775808', /64 bits/],
    ['attributes.a == -9223372036854775809', /64 bits/],
    ['attributes.a == 18446744073709551616u', /64 bits/],
    [`attributes.a == ${'9'.repeat(2000)}`, /64 bits/],
    ['attributes.a == 1e999', /finite/],
    ['attributes.a == -1e999', /finite/],
    ['timestamp("2026-01-01T00:00:00Z")', /must be a condition/],
    ['create_time == timestamp(create_time)', /must have a constant: a string, a number/],
    ['create_time == timestamp(5)', /RFC 3339/],
    ['first_name == "a', /error is at character 12/],
    ['first_name = "a"', /error is at character 12/],
    ['first_name == "\u{1f600}"   \n  ) ', /error is at character 24/],
    ['(first_name == "a"', /CEL/],
    ['SELECT 1; --', /CEL/],
    ['attributes.`a b` == 1', /CEL/],
  ])('refuses %s', (filter, why) => {
    expect(refusalOf(filter)).toMatch(why);
  });

  it.each([
    '',
    'yesterday',
    '2026-01-01',
    '2026-01-01T00:00:00',
    '2026-01-01 00:00:00Z',
    '2026-02-30T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T23:60:00Z',
    '2026-01-01T23:59:60Z',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00.Z',
    '0000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    '+12026-01-01T00:00:00Z',
    'infinity',
    'epoch',
  ])('refuses %j as a time', (value) => {
    expect(refusalOf(`create_time == timestamp("${value}")`)).toMatch(/RFC 3339|years/);
  });

  it('refuses a filter of more than 2048 code points', () => {
    const filter = (count: number) => `first_name == "${'\u{1f600}'.repeat(count)}"`;
    expect(parseFilter(filter(2048 - 16))).toBeDefined();
    expect(refusalOf(filter(2048 - 15))).toBe('must have at most 2048 characters');
    expect(refusalOf('('.repeat(10_000_000))).toBe('must have at most 2048 characters');
  });

  it('allows 32 levels of parentheses, brackets and negation', () => {
    const within = (open: string, close: string, count: number) =>
      `${open.repeat(count)}attributes.a${close.repeat(count)}`;
    expect(parseFilter(within('(', ')', 32))).toEqual(parseFilter('attributes.a'));
    expect(refusalOf(within('(', ')', 33))).toBe('must have at most 32 levels of nesting');
    expect(parseFilter(within('!(', ')', 32))).toEqual(parseFilter('attributes.a'));
    expect(parseFilter(`${'('.repeat(32)}1 != attributes.a${')'.repeat(32)}`)).toEqual(
      parseFilter('attributes.a != 1'),
    );
    expect(refusalOf(within('!(', ')', 33))).toBe('must have at most 32 levels of nesting');
    expect(parseFilter(within('!', '', 32))).toEqual(parseFilter('attributes.a'));
    expect(refusalOf(within('!', '', 33))).toBe('must have at most 32 levels of nesting');
    expect(parseFilter(`${'('.repeat(31)}attributes.a in [1]${')'.repeat(31)}`)).toBeDefined();
    expect(refusalOf(`${'('.repeat(32)}attributes.a in [1]${')'.repeat(32)}`)).toBe(
      'must have at most 32 levels of nesting',
    );
  });

  it('counts no levels in strings, comments and chains', () => {
    const brackets = '('.repeat(100);
    for (const quoted of [`"${brackets}\\"((("`, `'"${brackets}'`, `"""\n"${brackets}"""`, `r"\\${brackets}"`]) {
      expect(parseFilter(`first_name == ${quoted} // ${brackets}"`)).toBeDefined();
    }
    for (const operator of ['||', '&&']) {
      const chain = Array.from({ length: 145 }, () => 'attributes.a').join(operator);
      expect(parseFilter(chain)).toMatchObject({ terms: { length: 145 } });
    }
    const nested = (count: number): string => (count === 0 ? 'attributes.a' : `attributes.a||(${nested(count - 1)})`);
    expect(parseFilter(nested(30))).toMatchObject({ kind: 'or', terms: { length: 31 } });
  });

  // The limit allows for a slow machine. Without protection, some of these take seconds or exhaust the stack.
  it('refuses or reads hostile filters quickly', () => {
    const openings = [
      '(',
      '[',
      '{',
      '{1:',
      '!(',
      '-(',
      'f(',
      'a[',
      'a.exists(x,',
      'a.map(x,',
      'has(',
      'A{a:',
      '!',
      '-',
      '"',
      "'",
    ];
    const closings = ['', ')', '"', '$', ' '.repeat(1000)];
    const chains = [
      'true||',
      'true&&',
      'a?b:',
      'a==',
      'a+',
      '!a||',
      'a.',
      'a[0]',
      '1,',
      '"",',
      '\\',
      '"\\',
      '//',
      '//\n',
      ' ',
      '\n',
      "'''",
      '"""',
    ];
    const hostile = [...openings, ...chains].flatMap((part) =>
      closings.flatMap((close) => {
        const end = close.length > 1 ? close : close.repeat(1000);
        const most = part.repeat(Math.floor(2048 / part.length));
        return [
          most,
          part.repeat(32) + end,
          part.repeat(Math.floor((2048 - end.length) / part.length)) + end,
          `attributes.a in [${part.repeat(Math.floor(2000 / part.length))}1]`,
          ('('.repeat(31) + most).slice(0, 2000) + ')'.repeat(31),
          ('!('.repeat(16) + most).slice(0, 2000),
        ];
      }),
    );
    let slowestMs = 0;
    for (const filter of hostile) {
      const start = process.cpuUsage();
      try {
        parseFilter(filter);
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
      }
      // CPU time, because wall-clock time depends on other processes.
      const { user, system } = process.cpuUsage(start);
      slowestMs = Math.max(slowestMs, (user + system) / 1000);
    }
    expect(slowestMs).toBeLessThan(1000);
  });

  it('throws only Faults, which contain no part of the filter', () => {
    const parts = fc.constantFrom(
      ...'( ) [ ] { } ! - + . , ? : == != < >= || && in " \' """ r" \\ // \n id email attributes create_time'.split(
        ' ',
      ),
      ...['attributes.SECRET', 'SECRET', '"SECRET"', '1', '2u', '0.5', 'true', 'null', 'has(', 'timestamp(', ' ', '\0'],
      ...['.startsWith(', '.exists(x,', '\ud800', '"\\u0000"', '"SECRET'],
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 60 }), (pieces) => {
        try {
          parseFilter(pieces.join(''));
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          expect(error.reason).toBe('INVALID_FILTER');
          expect(error.message).not.toContain('SECRET');
          expect(error.message.length).toBeLessThan(300);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('returns only trees that the Filter type promises', () => {
    const check = (filter: Filter): void => {
      if (filter.kind === 'and' || filter.kind === 'or') {
        for (const term of filter.terms) {
          expect(term.kind).not.toBe(filter.kind);
          check(term);
        }
      }
      if (filter.kind === 'not') check(filter.term);
    };
    const texts = fc.letrec<{ text: string }>((tie) => ({
      text: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom('attributes.a', 'true', 'false', '1 == attributes.b'),
        fc.tuple(tie('text'), fc.constantFrom('&&', '||'), tie('text')).map((parts) => parts.join(' ')),
        tie('text').map((inner) => `(${inner})`),
        tie('text').map((inner) => `!(${inner})`),
      ),
    }));
    fc.assert(
      fc.property(texts.text, (filter) => {
        fc.pre(filter.length <= 2048);
        const parsed = parseFilter(filter);
        if (parsed !== undefined) check(parsed);
      }),
    );
  });
});
