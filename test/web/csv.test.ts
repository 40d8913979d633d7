/** CSV in the page against the command line's: the same rows are read and refused, the same bytes written. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCsvUsers as formatAsCli, csvHeader as headerOfCli, readCsvUsers } from '../../src/cli/user-csv.js';
import { User } from '../../src/client/index.js';
import {
  columnsOf,
  createRejectedCsv,
  csvHeader,
  formatCsvUsers,
  guessDelimiter,
  readRecords,
  readText,
  refuseColumns,
  rowsOf,
} from '../../web/csv.js';

async function* inPieces(text: string, length: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length);
}

async function readHere(text: string, pieceLength: number, delimiter = ','): Promise<unknown[]> {
  const records = (await Array.fromAsync(readRecords(inPieces(text, pieceLength), delimiter))).flat();
  const [header, ...rest] = records;
  return rowsOf(rest, columnsOf(header?.cells ?? []));
}

async function readByCli(text: string, pieceLength: number, delimiter = ','): Promise<unknown[]> {
  return Array.fromAsync(readCsvUsers(inPieces(text, pieceLength), { delimiter }).rows);
}

const cell = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' ', ',', ';', '"', '\n', '\r', '\\', '=') }),
  fc.constantFrom('', '{"a":[1,null]}', '{"__proto__":"x"}', '[1]', '{"\\"":0}', '{"a":"\\ud800"}'),
);

function quote(text: string, isQuoted: boolean): string {
  return isQuoted || /[",;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

describe('the rows of a file', () => {
  it('are those that roster import reads, whatever ends the lines and however the file comes', async () => {
    const line = fc.record({
      cells: fc.array(fc.record({ text: cell, isQuoted: fc.boolean() }), { minLength: 1, maxLength: 6 }),
      end: fc.constantFrom('\n', '\r\n', '\r', '\n\n'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), async (lines, length) => {
        const rows = lines.map(({ cells, end }) => cells.map((c) => quote(c.text, c.isQuoted)).join(',') + end);
        const text = `first_name,email,attributes,attributes.team,id\n${rows.join('')}`;
        expect(await readHere(text, length)).toEqual(await readByCli(text, 1000));
      }),
    );
  });

  it('end where quotes are broken, at the same line as there', async () => {
    const header = 'first_name,email\n';
    for (const [rest, problem] of [
      ['A,a@x\nB,"b', /line 3 .*never closed/],
      ['A,a@x\n"B"b,c\n', /line 3 .*closing quote/],
      ['"A\nA",a@x\nB b"c,c@x\n', /line 4 .*does not begin/],
    ] as const) {
      await expect(readHere(header + rest, 5)).rejects.toThrow(problem);
      await expect(readByCli(header + rest, 5)).rejects.toThrow(problem);
    }
  });

  it('end before one that is longer than any user', async () => {
    await expect(readHere(`first_name,email\n"${'a'.repeat(1_100_000)}`, 65_536)).rejects.toThrow('longer than 1 MiB');
  });

  it('keep letters that lie across two pieces of the file, and lose its byte order mark', async () => {
    const bytes = new TextEncoder().encode('\ufefffirst_name\nÉ😀');
    // A blob gives its bytes as it likes; a source of single bytes is the hardest.
    const stream = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    const file = { stream: () => stream } as unknown as Blob;
    expect((await Array.fromAsync(readText(file))).join('')).toBe('first_name\nÉ😀');
  });

  it('are none where the file is not UTF-8', async () => {
    await expect(Array.fromAsync(readText(new Blob([Uint8Array.of(0x41, 0xff)])))).rejects.toThrow('not UTF-8');
  });
});

describe('columns', () => {
  it('are known by the names that roster import knows', () => {
    const columns = columnsOf(['firstName', ' email ', 'Team', 'attributes.a.b', 'id', 'error_field']);
    expect(columns.map(({ field, isIgnored }) => [field, isIgnored])).toEqual([
      ['first_name', false],
      ['email', false],
      ['', false],
      ['attributes.a.b', false],
      ['', true],
      ['', true],
    ]);
    expect(refuseColumns(columns)).toBeUndefined();
    expect(refuseColumns(columnsOf(['email']))).toContain('first_name');
    expect(refuseColumns(columnsOf(['email', 'email', 'first_name']))).toContain('Two columns are email');
  });

  it('are parted by what the header has most of', () => {
    expect(guessDelimiter('first_name;email;"a,b,c,d"\nx,y,z,a,b')).toBe(';');
    expect(guessDelimiter('first_name\temail')).toBe('\t');
    expect(guessDelimiter('email')).toBe(',');
  });
});

describe('what is written', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' ', ',', '"', '=', '@', '\u202e') });

  it('has the bytes of roster export', () => {
    expect(csvHeader).toBe(headerOfCli);
    const user = fc.record({
      firstName: text,
      lastName: text,
      email: text,
      attributes: fc.option(fc.dictionary(text, fc.jsonValue())),
    });
    fc.assert(
      fc.property(fc.array(user), (users) => {
        const messages = users.map((fields) =>
          User.fromPartial({ ...fields, attributes: fields.attributes ?? undefined, createTime: new Date(0) }),
        );
        expect(formatCsvUsers(messages)).toBe(formatAsCli(messages));
      }),
    );
  });

  it('of rejected rows has what is wrong in front, once', () => {
    const csv = createRejectedCsv(['error_field', 'first_name', 'email'], ';');
    expect(csv.header).toBe('error_field;error_reason;error_message;first_name;email\n');
    expect(csv.format(['email', 'A;B', 'a'], { field: 'email', reason: 'EMAIL_TAKEN', message: 'is "taken"' })).toBe(
      'email;EMAIL_TAKEN;"is ""taken""";"A;B";a\n',
    );
  });
});
