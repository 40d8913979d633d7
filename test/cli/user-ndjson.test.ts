/** Users as NDJSON: independent lines, and reading an export back unchanged. */
import { describe, expect, it } from 'vitest';
import { formatNdjsonUsers, readNdjsonUsers } from '../../src/cli/user-ndjson.js';
import { User } from '../../src/client/index.js';
import type { ColumnOptions, Row } from '../../src/user-files/columns.js';

async function* inPieces(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += 7) yield text.slice(at, at + 7);
}

async function read(text: string, options: ColumnOptions = {}): Promise<Row[]> {
  return Array.fromAsync(readNdjsonUsers(inPieces(text), options).rows);
}

it('accepts names as in JSON and as in the contract, and treats null as unset', async () => {
  const text = `{"firstName":"Ada","lastName":null,"email":"a@x","attributes":{"a":[null,1.5]}}\r

{"first_name":"B","email":"b@x","id":"7","createTime":"2026-01-01T00:00:00Z","attributes":null,"error":{}}`;
  expect(await read(text)).toMatchObject([
    { line: 1, user: { firstName: 'Ada', email: 'a@x', attributes: { a: [null, 1.5] } } },
    { line: 3, user: { firstName: 'B', email: 'b@x' } },
  ]);
});

it('removes white space only around the email', async () => {
  const [row] = await read('{"firstName":" Ada ","lastName":" ","email":"a@x ","attributes":{"a":" b "}}');
  expect(row?.user).toEqual({ firstName: ' Ada ', lastName: ' ', email: 'a@x', attributes: { a: ' b ' } });
});

it('maps names, and leaves out unknown ones with ignoreUnknownColumns', async () => {
  const options = {
    column: new Map([
      ['Given', 'first_name'],
      ['Floor', 'attributes.floor'],
    ]),
    ignoreUnknownColumns: true,
  };
  const [row] = await read('{"Given":"Ada","first_name":"no","email":"a@x","Floor":3}', options);
  expect(row?.user).toEqual({ firstName: 'Ada', email: 'a@x', attributes: { floor: 3 } });
});

describe('a bad line does not affect the next line', () => {
  it.each([
    ['{"firstName":', { field: '', reason: 'INVALID_ROW' }],
    ['[{}]', { field: '', reason: 'INVALID_ROW' }],
    ['{"age":3}', { field: 'age', reason: 'INVALID_ROW' }],
    ['{"firstName":3}', { field: 'first_name', reason: 'INVALID_FIELD' }],
    ['{"attributes":[]}', { field: 'attributes', reason: 'INVALID_FIELD' }],
    ['{"firstName":"\\ud800"}', { field: '', reason: 'INVALID_ROW' }],
    [
      '{"attributes":{"id":9007199254740993}}',
      { field: 'attributes', message: expect.stringContaining('as a string') },
    ],
    ['{"attributes":{"a":[{"id":-1e400}]}}', { field: 'attributes', message: expect.stringContaining('as a string') }],
  ])('%s', async (line, problem) => {
    const rows = await read(`${line}\n{"firstName":"A","email":"a@x"}\n`);
    expect(rows[0]?.problem).toMatchObject(problem);
    expect(rows[1]?.user).toEqual({ firstName: 'A', email: 'a@x' });
  });
});

it('accepts a long number in a member that is ignored', async () => {
  const [row] = await read('{"firstName":"A","account":9007199254740993}', { ignoreUnknownColumns: true });
  expect(row?.user).toEqual({ firstName: 'A' });
});

it('keeps the digits of a number that cannot be read in a rejected line', async () => {
  const file = readNdjsonUsers(inPieces('{"firstName":"A","attributes":{"id":9007199254740993}}\n'), {});
  const [row] = await Array.fromAsync(file.rows);
  const rejected = row?.problem && file.formatRejected(row, row.problem);
  expect(JSON.parse(String(rejected)).attributes).toEqual({ id: '9007199254740993' });
});

it('writes a rejected line with its problem', async () => {
  const file = readNdjsonUsers(inPieces('{"firstName":"A","error":{"old":1}}\nno json\n'), {});
  const rejected: string[] = [];
  for await (const row of file.rows) {
    rejected.push(file.formatRejected(row, row.problem ?? { field: 'email', reason: 'INVALID_FIELD', message: 'No.' }));
  }
  expect(rejected).toEqual([
    '{"error":{"field":"email","reason":"INVALID_FIELD","message":"No."},"firstName":"A"}\n',
    '{"error":{"field":"","reason":"INVALID_ROW","message":"The line is not JSON."},"text":"no json"}\n',
  ]);
});

it('fails at an endless line', async () => {
  async function* endless() {
    while (true) yield 'x'.repeat(65_536);
  }
  await expect(Array.fromAsync(readNdjsonUsers(endless(), {}).rows)).rejects.toThrow(/longer than 1 MiB/);
});

it('reads back what it writes, without characters that control a terminal', async () => {
  const user = User.fromPartial({
    firstName: '\u2028\u2029\\N"',
    email: 'é👩‍👩‍👧@x',
    attributes: { '\u009b': '\u0000\r\n\t', big: 1e300 },
  });
  const text = formatNdjsonUsers([user]);
  expect(text).not.toMatch(/[^\P{Cc}\n]|[\u2028\u2029]/u);
  const [row] = await read(text);
  expect(User.fromPartial(row?.user ?? {})).toEqual(user);
});
