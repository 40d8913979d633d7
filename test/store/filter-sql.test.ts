/** Which users filters match in a real Postgres, compared with a naive implementation of the contract. */

import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { filterFields } from '../../src/fields.js';
import { Fault } from '../../src/model/fault.js';
import { type Constant, type Filter, type Operand, parseFilter } from '../../src/model/filter.js';
import type { JsonObject, JsonValue } from '../../src/model/user.js';
import { filterSql } from '../../src/store/filter-sql.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

interface Row {
  id: string;
  first_name: string;
  last_name: string;
  email: string;
  profile_image_url: string;
  attributes: JsonObject;
  create_time: string;
  update_time: string;
}

const noUser: Row = {
  id: '00000000-0000-7000-8000-000000000000',
  first_name: 'x',
  last_name: '',
  email: 'x@x',
  profile_image_url: '',
  attributes: {},
  create_time: '2026-01-01T00:00:00.000Z',
  update_time: '2026-01-01T00:00:00.000Z',
};

function idOf(index: number): string {
  return `0190a5b0-0000-7000-8000-0000000000${(index * 7 + 10).toString(16).padStart(2, '0')}`;
}

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  // The tests of plans need the default statistics. With real ones, Postgres knows that the table is small.
  await database.query('alter table users set (autovacuum_enabled = off)');
});
afterAll(() => database[Symbol.asyncDispose]());
beforeEach(() => keep([]));

/** Makes these rows the only users. */
async function keep(rows: readonly Partial<Row>[]): Promise<Row[]> {
  const users = rows.map((row, index) => ({ ...noUser, id: idOf(index), email: `${index}@x`, ...row }));
  await database.query('delete from users');
  const columns = Object.keys(noUser).join(', ');
  await database.query(
    `insert into users (${columns}) select ${columns} from jsonb_populate_recordset(null::users, $1)`,
    [JSON.stringify(users)],
  );
  return users;
}

function toSql(filter: Filter): { sql: string; values: unknown[] } {
  const values: unknown[] = [];
  const sql = filterSql(filter, (value) => `$${values.push(value)}`);
  return { sql, values };
}

function parse(text: string): Filter {
  const filter = parseFilter(text);
  if (filter === undefined) throw new Error('the filter is blank');
  return filter;
}

async function idsThatMatch(text: string): Promise<string[]> {
  const { sql, values } = toSql(parse(text));
  const found = await database.query<{ id: string }>(`select u.id from users u where ${sql} order by u.id`, values);
  return found.map(({ id }) => id);
}

/** The positions of the matching users. */
async function matches(rows: readonly Partial<Row>[], text: string): Promise<number[]> {
  const users = await keep(rows);
  const ids = await idsThatMatch(text);
  return users.flatMap(({ id }, index) => (ids.includes(id) ? [index] : []));
}

describe('filterSql', () => {
  it('never matches a comparison with a missing attribute or one of another type, but matches its negation', async () => {
    const values: JsonValue[] = [1, 2, '1', true, false, null, [1], { a: 1 }];
    const rows = [{}, ...values.map((x) => ({ attributes: { x } }))];
    for (const [filter, found] of [
      ['attributes.x == 1', [1]],
      ['attributes.x != 1', [2]],
      ['!(attributes.x == 1)', [0, 2, 3, 4, 5, 6, 7, 8]],
      ['!(attributes.x != 1)', [0, 1, 3, 4, 5, 6, 7, 8]],
      ['!(attributes.x == 1 && attributes.y == 2)', [0, 1, 2, 3, 4, 5, 6, 7, 8]],
      ['!(attributes.x == 1 || attributes.y == 2)', [0, 2, 3, 4, 5, 6, 7, 8]],
      ['!(!(attributes.y == 1) && true)', []],
      ['attributes.x > 1', [2]],
      ['attributes.x <= 1', [1]],
      ['!(attributes.x <= 1)', [0, 2, 3, 4, 5, 6, 7, 8]],
      ['attributes.x == "1"', [3]],
      ['attributes.x != "2"', [3]],
      ['attributes.x >= "0"', [3]],
      ['attributes.x.startsWith("")', [3]],
      ['!attributes.x.startsWith("")', [0, 1, 2, 4, 5, 6, 7, 8]],
      ['attributes.x', [4]],
      ['!attributes.x', [0, 1, 2, 3, 5, 6, 7, 8]],
      ['attributes.x != true', [5]],
      ['attributes.x < true', [5]],
      ['attributes.x == null', [6]],
      ['attributes.x != null', []],
      ['attributes.x in [1, "1", null, true]', [1, 3, 4, 6]],
      ['!(attributes.x in [1, "1", null, true])', [0, 2, 5, 7, 8]],
      ['attributes.x in []', []],
      ['has(attributes.x)', [1, 2, 3, 4, 5, 6, 7, 8]],
      ['!has(attributes.x)', [0]],
      ['has(attributes.x.a)', [8]],
      ['attributes.x.a == 1', [8]],
      ['has(attributes.x["0"])', []],
      ['attributes.x == attributes.x', [1, 2, 3, 4, 5, 6, 7, 8]],
      ['attributes.x <= attributes.x', [1, 2, 3, 4, 5]],
      ['attributes.x != attributes.y', []],
      ['first_name != attributes.x', [3]],
    ] as const) {
      expect([filter, await matches(rows, filter)]).toEqual([filter, found]);
    }
  });

  it('compares two attributes only if they have the same type', async () => {
    const pairs: [JsonValue, JsonValue][] = [
      [1, 1],
      [1, 2],
      [1, '1'],
      ['a', 'B'],
      [true, false],
      [null, null],
      [9, 10],
      ['9', '10'],
    ];
    const rows = pairs.map(([a, b]) => ({ attributes: { a, b } }));
    expect(await matches(rows, 'attributes.a == attributes.b')).toEqual([0, 5]);
    expect(await matches(rows, 'attributes.a != attributes.b')).toEqual([1, 3, 4, 6, 7]);
    expect(await matches(rows, 'attributes.a < attributes.b')).toEqual([1, 6]);
    expect(await matches(rows, 'attributes.a >= attributes.b')).toEqual([0, 3, 4, 7]);
    expect(await matches(rows, 'attributes.a.contains(attributes.b)')).toEqual([]);
  });

  it('looks for an element in a list', async () => {
    const values: JsonValue[] = [['vip', 1, true], ['vips', '1', null], 'vip', { vip: 'vip' }, [['vip']], [], null];
    const rows = [{}, ...values.map((tags) => ({ first_name: 'vip', attributes: { tags, wanted: 'vip' } }))];
    for (const [filter, found] of [
      ['"vip" in attributes.tags', [1]],
      ['!("vip" in attributes.tags)', [0, 2, 3, 4, 5, 6, 7]],
      ['1 in attributes.tags', [1]],
      ['1.0 in attributes.tags', [1]],
      ['"1" in attributes.tags', [2]],
      ['true in attributes.tags', [1]],
      ['null in attributes.tags', [2]],
      ['"vip" in attributes.tags.vip', []],
      ['attributes.tags.contains("vip")', [1, 3]],
      ['attributes.tags.contains("ip")', [3]],
      ['!attributes.tags.contains("vip")', [0, 2, 4, 5, 6, 7]],
      ['attributes.tags.contains(first_name)', [1, 3]],
      ['attributes.tags.contains(attributes.wanted)', [1, 3]],
      ['attributes.tags.startsWith("vip")', [3]],
    ] as const) {
      expect([filter, await matches(rows, filter)]).toEqual([filter, found]);
    }
  });

  it('compares numbers by value', async () => {
    const numbers = [0, -0, 0.1, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, 9007199254740992, -1.5];
    const rows = numbers.map((n) => ({ attributes: { n } }));
    expect(await matches(rows, 'attributes.n == 0.0')).toEqual([0, 1]);
    expect(await matches(rows, 'attributes.n == 0.1')).toEqual([2]);
    expect(await matches(rows, 'attributes.n >= 1000000000000000000000.0')).toEqual([3, 6]);
    expect(await matches(rows, 'attributes.n == 1.7976931348623157e308')).toEqual([6]);
    expect(await matches(rows, 'attributes.n <= 5e-324 && attributes.n > 0')).toEqual([5]);
    expect(await matches(rows, 'attributes.n == 9007199254740993')).toEqual([7]);
    expect(await matches(rows, 'attributes.n < -1 && attributes.n < - 1')).toEqual([8]);
  });

  it('compares texts by code point', async () => {
    const names = ['a', 'B', 'b', 'é', 'e\u0301', '\uffee', '\u{1f600}'];
    const rows = names.map((name) => ({ first_name: name, attributes: { name } }));
    for (const left of ['first_name', 'display_name', 'attributes.name']) {
      expect(await matches(rows, `${left} < "a"`)).toEqual([1]);
      expect(await matches(rows, `${left} == "é"`)).toEqual([3]);
      expect(await matches(rows, `${left} > "\uffee"`)).toEqual([6]);
    }
    expect(await matches(rows, 'attributes.name == first_name')).toHaveLength(7);
  });

  it('takes the texts to match literally', async () => {
    const names = ['%', '_', '\\', "'", '"', 'a%b', "');--", '$1', ':p', '?', '{}', '\u{1f600}'];
    const rows = names.map((name) => ({ first_name: name, attributes: { [name]: name } }));
    for (const [index, name] of names.entries()) {
      const text = JSON.stringify(name);
      expect(await matches(rows, `first_name == ${text}`)).toEqual([index]);
      expect(await matches(rows, `attributes[${text}].endsWith(${text})`)).toEqual([index]);
      const containing = names.flatMap((other, at) => (other.includes(name) ? [at] : []));
      expect(await matches(rows, `first_name.contains(${text})`)).toEqual(containing);
    }
    expect(await matches(rows, 'first_name.startsWith("a%") && first_name.endsWith("%b")')).toEqual([5]);
    expect(await matches(rows, 'first_name.endsWith("longer than any")')).toEqual([]);
    expect(await matches(rows, 'first_name.endsWith("")')).toHaveLength(names.length);
    expect(await matches(rows, '"a%b?".startsWith(first_name)')).toEqual([5]);
  });

  it('compares emails by the key that makes them unique', async () => {
    const rows = ['Ada@Example.com', 'bob@example.com', 'E\u0301va@example.com', 'İ@example.com'].map((email) => ({
      email,
      first_name: email,
      attributes: { email: email.toLowerCase() },
    }));
    expect(await matches(rows, 'email == "aDA@example.COM"')).toEqual([0]);
    expect(await matches(rows, 'email != "aDA@example.COM"')).toEqual([1, 2, 3]);
    expect(await matches(rows, 'email in ["BOB@example.com", "éva@EXAMPLE.com"]')).toEqual([1, 2]);
    expect(await matches(rows, 'email.endsWith("@EXAMPLE.com")')).toEqual([0, 1, 2, 3]);
    expect(await matches(rows, 'email.startsWith("É")')).toEqual([2]);
    expect(await matches(rows, 'email.contains("DA@")')).toEqual([0]);
    expect(await matches(rows, 'email < "B"')).toEqual([0]);
    expect(await matches(rows, 'email == "İ@example.com"')).toEqual([3]);
    expect(await matches(rows, 'email == first_name && attributes.email == email')).toEqual([0, 1, 2, 3]);
  });

  it('accepts ids in either case, and display names', async () => {
    const rows = [
      { id: '0190a5b0-0000-7000-8000-00000000000a', first_name: 'Ada', last_name: 'Lovelace' },
      { id: '0190a5b0-0000-7000-8000-00000000000f', first_name: 'Ada' },
    ];
    expect(await matches(rows, 'id == "0190A5B0-0000-7000-8000-00000000000A"')).toEqual([0]);
    expect(await matches(rows, 'id > "0190A5B0-0000-7000-8000-00000000000A"')).toEqual([1]);
    expect(await matches(rows, 'id in ["0190A5B0-0000-7000-8000-00000000000A"]')).toEqual([0]);
    expect(await matches(rows, 'id.startsWith("0190A5") && id.endsWith("A")')).toEqual([0]);
    expect(await matches(rows, 'id < "0190B"')).toEqual([0, 1]);
    expect(await matches(rows, 'display_name == "Ada Lovelace"')).toEqual([0]);
    expect(await matches(rows, 'display_name == "Ada"')).toEqual([1]);
    expect(await matches(rows, 'display_name == first_name')).toEqual([1]);
  });

  it('compares times exactly, even if they are finer than those in the table', async () => {
    const rows = [{ create_time: '2026-01-01T00:00:00.000Z' }, { create_time: '2026-01-01T00:00:00.001Z' }];
    expect(await matches(rows, 'create_time == timestamp("2026-01-01T01:00:00+01:00")')).toEqual([0]);
    expect(await matches(rows, 'create_time in [timestamp("2026-01-01T00:00:00.001000Z")]')).toEqual([1]);
    for (const fraction of ['0000000001', '000999999', '0009999999999999', '0004']) {
      const time = `timestamp("2026-01-01T00:00:00.${fraction}Z")`;
      expect(await matches(rows, `create_time < ${time}`)).toEqual([0]);
      expect(await matches(rows, `create_time <= ${time}`)).toEqual([0]);
      expect(await matches(rows, `create_time > ${time}`)).toEqual([1]);
      expect(await matches(rows, `create_time == ${time}`)).toEqual([]);
      expect(await matches(rows, `create_time != ${time}`)).toEqual([0, 1]);
    }
    expect(await matches(rows, 'create_time > timestamp("0001-01-01T00:00:00Z")')).toEqual([0, 1]);
    expect(await matches(rows, 'create_time < timestamp("9999-12-31T23:59:59.999999999Z")')).toEqual([0, 1]);
    expect(await matches(rows, 'update_time < create_time')).toEqual([1]);
  });

  it('runs the largest filters', async () => {
    for (const filter of [
      Array.from({ length: 100 }, () => 'attributes.a == 1').join('||'),
      `attributes.a in [${'1,'.repeat(1000)}]`,
      `email in [${'"a",'.repeat(500)}]`,
      `${'!('.repeat(32)}attributes.a${')'.repeat(32)}`,
      `attributes${'.a'.repeat(32)} < attributes${'.b'.repeat(32)}`,
      `${'(true&&(false||'.repeat(16)}attributes.a${'))'.repeat(16)}`,
    ]) {
      expect(await matches([{ attributes: { a: true } }], filter)).toEqual(
        filter.startsWith('!') ? [0] : expect.any(Array),
      );
    }
  });

  it('finds users by email and by id through their indexes', async () => {
    for (const [text, index] of [
      ['email == "a@x"', 'users_email_key'],
      ['email in ["a@x", "b@x"] && attributes.a', 'users_email_key'],
      [`id == "${idOf(1)}"`, 'users_pkey'],
      [`id in ["${idOf(1)}"] && !attributes.a`, 'users_pkey'],
    ] as const) {
      const { sql, values } = toSql(parse(text));
      // EXPLAIN accepts no parameters.
      const literal = sql.replace(/\$(\d+)/g, (_, position) => `'${values[position - 1]}'`);
      const plan = await database.query(`explain (format json) select from users u where ${literal}`);
      expect(JSON.stringify(plan)).toContain(index);
    }
  });

  it('uses an index of the operator on a list attribute', async () => {
    await database.query(`create index tags on users using gin ((attributes -> 'tags'))`);
    // Leaves only a bitmap scan of that index.
    await database.query('set enable_seqscan = off');
    await database.query('set enable_indexscan = off');
    const { sql, values } = toSql(parse('"vip" in attributes.tags'));
    const literal = sql.replace(/\$(\d+)/g, (_, position) => `'${values[position - 1]}'`);
    const plan = await database.query(`explain (format json) select from users u where ${literal}`);
    await database.query('reset enable_indexscan');
    await database.query('drop index tags');
    expect(JSON.stringify(plan)).toContain('"tags"');
  });

  it('puts no value of a filter into the SQL text', () => {
    const texts = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => text.isWellFormed() && !text.includes('\0'));
    fc.assert(
      fc.property(texts, texts, (key, value) => {
        const mark = (text: string) => JSON.stringify(`:secret?$1${text}`);
        const text = `attributes[${mark(key)}] == ${mark(value)} || email.contains(${mark(value)}) || first_name in [${mark(key)}] || ${mark(value)} in attributes[${mark(key)}] || attributes[${mark(key)}].contains(${mark(value)})`;
        const sql = filterSql(parse(text), () => '<>');
        expect(sql).not.toMatch(/[:?$]|secret/);
      }),
    );
  });

  it('agrees with a naive implementation of the contract', async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        arbitraryUsers,
        fc.array(arbitraryFilter, { minLength: 8, maxLength: 8 }),
        async (rows, texts) => {
          const users = await keep(rows);
          for (const text of texts) {
            const filter = parseOrRefuse(text);
            if (filter === undefined) continue;
            compared++;
            const expected = users.filter((user) => holds(filter, user)).map(({ id }) => id);
            expect([text, await idsThatMatch(text)]).toEqual([text, expected.sort()]);
          }
        },
      ),
      { numRuns: 150 },
    );
    // Rejected filters test nothing, so this checks that enough filters are valid.
    expect(compared).toBeGreaterThan(300);
  });
});

// --- The naive implementation ----------------------------------------------------------------------------------

const texts = [
  '',
  'a',
  'A',
  'b',
  'ab',
  'aB',
  '%',
  '_',
  '\\',
  "'",
  'é',
  'É',
  'e\u0301',
  '\u{1f600}',
  '\uffee',
  '1',
  idOf(0),
];
const times = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z', '1999-12-31T23:59:59.999Z'];
const scalars = [...texts, 0, 1, -1, 0.5, 1e21, true, false, null];
const keys = ['a', 'b', 'a b', '0', '__proto__'];

const arbitraryJson: fc.Arbitrary<JsonValue> = fc.letrec<{ json: JsonValue }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<JsonValue>(...scalars),
    fc.array(tie('json'), { maxLength: 2 }),
    fc
      .array(fc.tuple(fc.constantFrom(...keys), tie('json')), { maxLength: 3 })
      .map((entries) => Object.fromEntries(entries)),
  ),
})).json;

// Without letters whose lower case differs between ICU and JavaScript.
const emailKey = (email: string) => email.normalize('NFC').toLowerCase();

const arbitraryUsers: fc.Arbitrary<Partial<Row>[]> = fc.uniqueArray(
  fc.record({
    first_name: fc.constantFrom(...texts),
    last_name: fc.constantFrom(...texts),
    email: fc.constantFrom(...texts),
    profile_image_url: fc.constantFrom(...texts),
    create_time: fc.constantFrom(...times),
    update_time: fc.constantFrom(...times),
    attributes: fc
      .array(fc.tuple(fc.constantFrom(...keys), arbitraryJson), { maxLength: 4 })
      .map((entries) => Object.fromEntries(entries)),
  }),
  { maxLength: 8, selector: ({ email }) => emailKey(email) },
);

const arbitraryAttribute = fc
  .array(fc.constantFrom(...keys), { minLength: 1, maxLength: 2 })
  .map(
    (path) =>
      `attributes${path.map((key) => (/^[a-z]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`)).join('')}`,
  );

const arbitraryConstant = fc.oneof(
  fc.constantFrom(...scalars).map((value) => (value === 1e21 ? '1e21' : JSON.stringify(value))),
  fc
    .constantFrom(...times, '2026-01-01T00:00:00.0005Z', '2026-01-01T00:00:00.0009999999Z')
    .map((time) => `timestamp("${time}")`),
);

const arbitraryOperand = fc.oneof(
  fc.constantFrom(...Object.keys(filterFields)),
  { arbitrary: arbitraryAttribute, weight: 3 },
  { arbitrary: arbitraryConstant, weight: 3 },
);

const arbitraryFilter: fc.Arbitrary<string> = fc.letrec<{ filter: string }>((tie) => ({
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc
      .tuple(arbitraryOperand, fc.constantFrom('==', '!=', '<', '<=', '>', '>='), arbitraryOperand)
      .map((parts) => parts.join(' ')),
    fc
      .tuple(arbitraryOperand, fc.constantFrom('startsWith', 'endsWith', 'contains'), arbitraryOperand)
      .map(([left, match, right]) => `${left}.${match}(${right})`),
    fc
      .tuple(arbitraryOperand, fc.array(arbitraryConstant, { maxLength: 3 }))
      .map(([left, of]) => `${left} in [${of.join(', ')}]`),
    fc.tuple(arbitraryConstant, arbitraryAttribute).map(([element, list]) => `${element} in ${list}`),
    arbitraryAttribute,
    arbitraryAttribute.map((attribute) => `has(${attribute})`),
    fc
      .tuple(tie('filter'), fc.constantFrom('&&', '||'), tie('filter'))
      .map(([l, operator, r]) => `(${l}) ${operator} (${r})`),
    tie('filter').map((filter) => `!(${filter})`),
  ),
})).filter;

function parseOrRefuse(text: string): Filter | undefined {
  try {
    return parseFilter(text);
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

function holds(filter: Filter, user: Row): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.terms.every((term) => holds(term, user));
    case 'or':
      return filter.terms.some((term) => holds(term, user));
    case 'not':
      return !holds(filter.term, user);
    case 'has':
      return read(filter.attribute, user) !== undefined;
    case 'member':
      return filter.of.some((constant: Constant) => compares('==', filter.left, constant, user));
    case 'compare':
      return compares(filter.comparison, filter.left, filter.right, user);
    case 'element':
      return listHas(filter.list, filter.element, user);
    case 'match': {
      if (filter.match === 'contains' && listHas(filter.left, filter.right, user)) return true;
      const [left, right] = folded(filter.left, filter.right, user);
      if (typeof left !== 'string' || typeof right !== 'string') return false;
      if (filter.match === 'startsWith') return left.startsWith(right);
      return filter.match === 'endsWith' ? left.endsWith(right) : left.includes(right);
    }
  }
}

function listHas(list: Operand, element: Operand, user: Row): boolean {
  const [values, value] = [read(list, user), read(element, user)];
  return Array.isArray(values) && values.some((other) => other === value);
}

function compares(comparison: string, leftOperand: Operand, rightOperand: Operand, user: Row): boolean {
  const [left, right] = folded(leftOperand, rightOperand, user);
  if (left === undefined || right === undefined || jsonType(left) !== jsonType(right)) return false;
  if (comparison === '==') return canonical(left) === canonical(right);
  if (comparison === '!=') return canonical(left) !== canonical(right);
  if (typeof left === 'object' || typeof right === 'object') return false;
  const sign =
    typeof left === 'string' && typeof right === 'string' ? byCodePoint(left, right) : Number(left) - Number(right);
  return { '<': sign < 0, '<=': sign <= 0, '>': sign > 0, '>=': sign >= 0 }[comparison] ?? false;
}

function folded(left: Operand, right: Operand, user: Row): [JsonValue | undefined, JsonValue | undefined] {
  const fold = (value: JsonValue | undefined) => {
    if (typeof value !== 'string') return value;
    const names = [left, right].map((operand) => (operand.kind === 'column' ? operand.name : undefined));
    if (names.includes('email')) return emailKey(value);
    return names.includes('id') ? value.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : value;
  };
  return [fold(read(left, user)), fold(read(right, user))];
}

function read(operand: Operand, user: Row): JsonValue | undefined {
  switch (operand.kind) {
    case 'constant':
      return operand.value;
    case 'column':
      if (operand.name === 'display_name')
        return [user.first_name, user.last_name].filter((n, i) => i === 0 || n).join(' ');
      // With microseconds, like timestamps in a filter.
      return filterFields[operand.name] === 'timestamp' ? user[operand.name].replace('Z', '000Z') : user[operand.name];
    case 'attribute': {
      let value: JsonValue | undefined = user.attributes;
      for (const key of operand.path) {
        const object: JsonValue | undefined = value;
        if (jsonType(object) !== 'object' || !Object.hasOwn(object as JsonObject, key)) return undefined;
        value = (object as JsonObject)[key];
      }
      return value;
    }
  }
}

function jsonType(value: JsonValue | undefined): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function canonical(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key] ?? null)}`)
    .join()}}`;
}

function byCodePoint(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
