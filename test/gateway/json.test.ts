/** Tests that the gateway reads and writes JSON as protobuf defines it, and handles other calls while it does. */
import { readFileSync } from 'node:fs';
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { EmptySchema, FileDescriptorSetSchema, ListValueSchema, StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { jsonOfAnswer } from '../../src/gateway/json-answer.js';
import { readJsonMessage } from '../../src/gateway/json-message.js';
import { parseJsonInPieces } from '../../src/gateway/json-parser.js';
import { descriptorsPath } from '../../src/gateway/own-files.js';
import { isExactNumber } from '../../src/json.js';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorsPath())));
const typeOf = (name: string) => registry.getMessage(`users.v1.${name}`) as DescMessage;

afterEach(() => void vi.restoreAllMocks());

/** Lets the clock advance by 1 ms whenever it is read, so that work pauses at the same places on every machine. */
function stepClock(): void {
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs++);
}

/** Counts how often other events are handled until the work is done. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await work();
  isDone = true;
  return turns;
}

/** As text, because matchers ignore the key __proto__ of objects with a prototype. */
const canonical = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(canonical)}]`
    : typeof value === 'object' && value !== null
      ? `{${Object.entries(value)
          .map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`)
          .sort()}}`
      : JSON.stringify(value);

const parse = (text: string) => parseJsonInPieces(Buffer.from(text));

describe('the JSON of a request', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 4 }).filter((written) => written.isWellFormed()),
    fc.string({ unit: fc.constantFrom('\\', '"', '\n', '\u0001', '/', 'é', '{', ',', '1'), maxLength: 3 }),
    fc.constant('__proto__'),
  );
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.constantFrom(null, true, false, 0, 1.5, 1e300, 5e-324),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(text, tie('value'), { maxKeys: 5, noNullPrototype: true }),
    ),
  }));

  it('is read as JSON.stringify writes it, also with whitespace and a byte order mark', async () => {
    await fc.assert(
      fc.asyncProperty(value, async (written) => {
        expect(canonical(await parse(JSON.stringify(written)))).toBe(canonical(written));
        expect(canonical(await parse(`\ufeff \r\n\t${JSON.stringify(written, null, 1)} `))).toBe(canonical(written));
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused if JSON.parse refuses it', async () => {
    // Positive exponents could make a number infinite, which is refused with another text.
    const parts = [
      '[',
      ']',
      '{',
      '}',
      ',',
      ':',
      '"',
      '"a"',
      '"\\',
      'u00e9',
      '1',
      '-',
      '.',
      'e-5',
      '00',
      'true',
      'null',
    ];
    const part = fc.constantFrom(...parts, ' ', '\n', '\f', '\u00a0', '\u0000', 'é', '//');
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (chosen) => {
        const written = chosen.join('');
        let expected: string | undefined;
        try {
          expected = canonical(JSON.parse(written));
        } catch {}
        const read = await parse(written).then(canonical, (error: Error) => error.message);
        expect(read).toBe(expected ?? 'The request is not valid JSON.');
      }),
      { numRuns: 5000 },
    );
  });

  it('has the last value of a repeated key', async () => {
    expect(await parse('{"a":1,"\\u0061":{"b":2}}')).toEqual({ a: { b: 2 } });
  });

  it('may have a number with millions of digits, but no integer that a double cannot hold', async () => {
    const digits = '1'.repeat(4_000_000);
    expect(await parse(`[0.${digits}]`)).toEqual([0.1111111111111111]);
    await expect(parse(`[${digits}]`)).rejects.toThrow('A number is too large');
  });

  it('has only numbers that a double can hold', async () => {
    await fc.assert(
      fc.asyncProperty(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), async (integer) => {
        const read = parse(`{"a":[${integer}]}`).then(canonical, () => 'refused');
        expect(await read).toBe(isExactNumber(String(integer)) ? `{"a":[${Number(integer)}]}` : 'refused');
      }),
    );
  });

  it('is read with pauses, wherever its elements are', async () => {
    stepClock();
    const items = (item: (index: number) => string) => Array.from({ length: 1000 }, (_, index) => item(index)).join();
    const bodies = [
      `{"users":[${items(() => '{}')}]}`,
      `{"users":[{"attributes":{${items((index) => `"\\u00e9${index}":1`)}}}]}`,
      `{"unknown":[${items(() => '"\\n"')}]}`,
    ];
    for (const body of bodies) {
      const read = () => readJsonMessage(typeOf('ImportUsersRequest'), Buffer.from(body), registry);
      // One for each 10 ms of the clock.
      expect(await turnsDuring(read)).toBeGreaterThan(50);
    }
  });
});

describe('the JSON of an answer', () => {
  const user = (index: number) => ({
    id: `id-${index}`,
    firstName: 'Ada "é"',
    attributes: { ['__proto__']: index, list: [1, null, { a: true }] },
    createTime: { seconds: 1_700_000_000n, nanos: 5_000_000 },
  });
  const answers: [string, object][] = [
    ['GetUserResponse', { user: user(1) }],
    ['GetUserResponse', {}],
    ['ListUsersResponse', { users: [user(1), {}, user(2)], nextPageToken: 'next', totalSize: 3n }],
    ['ListUsersResponse', { totalSize: 0n }],
    ['BatchGetUsersResponse', { users: [user(1)], missingIds: ['a', 'b'] }],
    ['WatchUsersResponse', { changes: [{ kind: 2, user: user(1) }], resumeToken: 'next', caughtUp: true }],
  ];

  async function written(type: DescMessage, bytes: Uint8Array): Promise<string> {
    return String(await jsonOfAnswer(type, fromBinary(EmptySchema, bytes), registry));
  }

  it.each(answers)('is what protobuf writes for a %s: %o', async (name, fields) => {
    const message = create(typeOf(name), fields as MessageInitShape<DescMessage>);
    const expected = JSON.stringify(toJson(typeOf(name), message, { registry }));
    expect(await written(typeOf(name), toBinary(typeOf(name), message))).toBe(expected);
  });

  it('may be of a type with its own format', async () => {
    const list: JsonValue = [1, 'a', null, [true]];
    expect(await written(ListValueSchema, toBinary(ListValueSchema, fromJson(ListValueSchema, list)))).toBe(
      JSON.stringify(list),
    );
    const struct = { a: { b: [] } };
    expect(await written(StructSchema, toBinary(StructSchema, fromJson(StructSchema, struct)))).toBe(
      JSON.stringify(struct),
    );
  });

  it('does not contain fields that the descriptors lack', async () => {
    expect(await written(typeOf('GetUserResponse'), Uint8Array.of(0x98, 0x06, 1))).toBe('{}');
  });

  it('is an internal error if protobuf has no JSON for it', async () => {
    const user = { attributes: { a: Number.NaN } };
    const bytes = toBinary(typeOf('GetUserResponse'), create(typeOf('GetUserResponse'), { user }));
    await expect(written(typeOf('GetUserResponse'), bytes)).rejects.toThrow('[internal] ');
  });

  it('is written with pauses', async () => {
    stepClock();
    const users = Array.from({ length: 1000 }, (_, index) => user(index));
    const type = typeOf('BatchGetUsersResponse');
    const bytes = toBinary(type, create(type, { users } as MessageInitShape<DescMessage>));
    expect(await turnsDuring(() => written(type, bytes))).toBeGreaterThan(50);
  });
});
