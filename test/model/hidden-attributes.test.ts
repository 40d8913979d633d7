import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseFilter } from '../../src/model/filter.js';
import { hiddenKeyIn, withoutAttributes } from '../../src/model/hidden-attributes.js';
import { copyOfRow, isStored, type StoredUser } from '../../src/model/stored-user.js';
import { type JsonObject, noFields, type User } from '../../src/model/user.js';
import { decoded, storedUser } from '../support/stored-users.js';

const ada: User = {
  ...noFields,
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  firstName: 'Ada',
  lastName: 'Lovelace',
  email: 'ada@example.com',
  profileImageUrl: 'https://example.com/a.png',
  createTime: new Date('2026-01-01T00:00:00.123Z'),
  updateTime: new Date('2026-01-02T00:00:00.456Z'),
  version: 37,
};

const hidden = new Set(['salary', 'a"b', '', 'ü', 'two words']);

function expected(attributes: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(attributes).filter(([key]) => !hidden.has(key)));
}

describe('a user without hidden keys', () => {
  const keys = fc.oneof(
    fc.constantFrom(...hidden, 'salary2', 'salar', 'SALARY', '{', '}', ',', '\\', '"'),
    fc.string(),
  );
  const attributes = fc.dictionary(keys, fc.jsonValue({ maxDepth: 3 })) as fc.Arbitrary<JsonObject>;

  it('has all other attributes and fields, in both forms', () => {
    fc.assert(
      fc.property(attributes, (value) => {
        const user = { ...ada, attributes: JSON.parse(JSON.stringify(value)) };
        const stored = storedUser(user);
        const others = { ...user, attributes: expected(user.attributes) };
        expect(decoded(withoutAttributes(stored, hidden))).toEqual(others);
        expect(withoutAttributes(user, hidden)).toEqual(others);
        // The row itself stays as it was, because others share it.
        expect(decoded(stored)).toEqual(user);
      }),
      { numRuns: 500 },
    );
  });

  it('is the same object if it has none of them', () => {
    const stored = storedUser({ ...ada, attributes: { nested: { salary: 1 }, list: ['salary'] } });
    expect(withoutAttributes(stored, hidden)).toBe(stored);
    expect(withoutAttributes(ada, hidden)).toBe(ada);
  });

  it('keeps the digits of other numbers, and the cells after the user', () => {
    const row = storedUser({ ...ada, attributes: { salary: 1, n: 0 } });
    const text = '{"n": 12345678901234567890.000, "salary": {"a": "}"}, "z": [1, {"b": "]"}]}';
    const raw = replaceJson(row, text);
    const withMore = { ...raw, bytes: Buffer.concat([raw.bytes, Buffer.from([0, 0, 0, 1, 7])]), end: raw.end + 5 };
    const visible = withoutAttributes(withMore, hidden);
    expect(visible.bytes.toString('latin1')).toContain('{"n": 12345678901234567890.000, "z": [1, {"b": "]"}]}');
    expect(visible.bytes.subarray(-5)).toEqual(Buffer.from([0, 0, 0, 1, 7]));
    expect(isStored(visible)).toBe(true);
  });

  it('keeps JSON that is not an object, which other programs may have written', () => {
    for (const text of ['null', '[{"salary": 1}]', '"salary"', '{}']) {
      const row = replaceJson(storedUser(ada), text);
      expect(withoutAttributes(row, hidden)).toBe(row);
    }
  });
});

function replaceJson(row: StoredUser, text: string): StoredUser {
  const copy = copyOfRow(row);
  const json = Buffer.from(JSON.stringify(decoded(row).attributes));
  const at = copy.bytes.indexOf(json);
  if (at < 0) throw new Error('The row has another JSON text.');
  const length = Buffer.alloc(4);
  length.writeInt32BE(1 + Buffer.byteLength(text));
  const bytes = Buffer.concat([
    copy.bytes.subarray(0, at - 5),
    length,
    copy.bytes.subarray(at - 1, at),
    Buffer.from(text),
    copy.bytes.subarray(at + json.length),
  ]);
  return { bytes, start: 0, end: bytes.length };
}

describe('a filter with a hidden key', () => {
  it.each([
    'attributes.salary > 3',
    '3 < attributes.salary',
    'attributes.salary == attributes.other',
    'attributes.other == attributes.salary',
    'attributes.salary',
    '!attributes.salary',
    'has(attributes.salary)',
    'has(attributes["salary"])',
    'has(attributes.salary.month)',
    'attributes.salary.month == 3',
    "attributes['salary'] == null",
    'attributes.salary in [1, 2]',
    '1 in attributes.salary',
    'attributes.salary.contains("x")',
    'first_name.startsWith(attributes.salary)',
    '"x".contains(attributes.salary)',
    'email == "a" && (last_name == "b" || !(email == "c" && attributes.salary == 1))',
    'email == attributes.salary',
    'attributes["\\u0073alary"] == 3',
  ])('is found: %s', (text) => {
    const filter = parseFilter(text);
    expect(filter && hiddenKeyIn(filter, hidden)).toBe('salary');
  });

  it.each(['attributes.Salary == 3', 'attributes.other.salary == 3', 'email == "salary"', 'true', 'has(attributes.x)'])(
    'is not: %s',
    (text) => {
      const filter = parseFilter(text);
      expect(filter && hiddenKeyIn(filter, hidden)).toBeUndefined();
    },
  );
});
