/** Compares the page's CSV with the command line's: both read and reject the same rows, and write the same bytes. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { formatCsvUsers as formatAsCli, csvHeader as headerOfCli, readCsvUsers } from '../../src/cli/user-csv.js';
import { User } from '../../src/client/index.js';
import type { Row } from '../../src/user-files/columns.js';
import { parseEncoding } from '../../src/user-files/file-text.js';
import { type Column, matchHeader } from '../../src/user-files/header.js';
import { createExportFile, exportFields } from '../../web/export/export-format.js';
import { createRejectedCsv, fileRowsOf, readText, refuseColumns } from '../../web/import/csv.js';
import { encodings } from '../../web/import/encodings.js';
import type { OnTaken } from '../../web/import/import-messages.js';

// As in the page, which Vite builds with csv-parse's build for browsers. The command line above has the default build.
vi.resetModules();
vi.doMock('csv-parse', () => import('csv-parse/browser/esm'));
const { openCsv, readRecords } = await import('../../src/user-files/csv.js');

/** Yields pieces of so many characters. Like a decoder, it never splits a character. */
async function* inPieces(text: string, length: number): AsyncGenerator<string> {
  const characters = [...text];
  for (let at = 0; at < characters.length; at += length) yield characters.slice(at, at + length).join('');
}

type Read = { rows: unknown[]; problem: string };

/** Collects the rows, and the error that ended them. */
async function collect(rows: AsyncIterable<unknown>): Promise<Read> {
  const read: Read = { rows: [], problem: '' };
  try {
    for await (const row of rows) read.rows.push(row);
  } catch (error) {
    // Not instanceof, because the two copies of the module have different classes.
    if (!(error instanceof Error && error.name === 'UnreadableFile')) throw error;
    read.problem = error.message;
  }
  return read;
}

async function* rowsHere(text: string, pieceLength: number): AsyncGenerator<Row> {
  let columns: Column[] | undefined;
  for await (const records of readRecords(await openCsv(inPieces(text, pieceLength)))) {
    const header = columns === undefined ? records.shift() : undefined;
    columns ??= matchHeader(header?.cells ?? []);
    yield* fileRowsOf(records, columns);
  }
}

function readHere(text: string, pieceLength: number): Promise<Read> {
  return collect(rowsHere(text, pieceLength));
}

async function readByCli(text: string, pieceLength: number): Promise<Read> {
  return collect((await readCsvUsers(inPieces(text, pieceLength), { ignoreUnknownColumns: true })).rows);
}

const cell = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' ', ',', ';', '"', '\n', '\r', '\\', '=') }),
  fc.constantFrom('', '{"a":[1,null]}', '{"__proto__":"x"}', '[1]', '{"\\"":0}', '{"a":"\\ud800"}'),
);

function quote(text: string, isQuoted: boolean): string {
  return isQuoted || /[",;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const exportFile = () =>
  createExportFile(
    'csv',
    exportFields.map(([path]) => path),
  );

describe('the rows of a file', () => {
  it('are those that roster import reads, with any line ends and any pieces of the file', async () => {
    const line = fc.record({
      cells: fc.array(fc.record({ text: cell, isQuoted: fc.boolean() }), { minLength: 1, maxLength: 6 }),
      end: fc.constantFrom('\n', '\r\n', '\r', '\n\n'),
    });
    const start = fc.constantFrom('', 'sep=,\r\n', '\n', ',,,,\n');
    await fc.assert(
      fc.asyncProperty(
        start,
        fc.array(line, { maxLength: 8 }),
        fc.integer({ min: 1, max: 40 }),
        async (begin, lines, length) => {
          const rows = lines.map(({ cells, end }) => cells.map((c) => quote(c.text, c.isQuoted)).join(',') + end);
          const text = `${begin}first_name,email,attributes,attributes.team,id\n${rows.join('')}`;
          const here = await readHere(text, length);
          expect(here).toEqual(await readByCli(text, 1000));
          expect(here.problem).toBe('');
        },
      ),
    );
  });

  it('and the position of broken quotes are the same in both, for any file', async () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'é', ' ', ';', ';', '"', '"', '\n', '\r', '\r\n'),
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 40 }), async (rest, length) => {
        const file = `first_name;email\nA;a@x\n${rest}`;
        expect(await readHere(file, length)).toEqual(await readByCli(file, 7));
      }),
      { numRuns: 1000 },
    );
  });

  it('end at broken quotes, after all previous rows', async () => {
    const header = 'first_name,email\n';
    for (const [rest, count, problem] of [
      ['A,a@x\nB,"b', 1, /line 3 .*never closed/],
      ['A,a@x\n"B"b,c\n', 1, /line 3 .*closing quote/],
      ['"A\nA",a@x\n\n,,\n"B" b,c@x\n', 1, /line 6 .*closing quote/],
      ['"""A"",",a@x\n"B""","C"d\n', 1, /line 3 .*closing quote/],
      ['A,a@x\nB,"b"c', 1, /line 3 .*closing quote/],
    ] as const) {
      for (const read of [readHere(header + rest, 5), readByCli(header + rest, 500)]) {
        const { rows, problem: found } = await read;
        expect(rows).toHaveLength(count);
        expect(found).toMatch(problem);
      }
    }
  });

  it('keep a quote within a cell that does not begin with one', async () => {
    const text =
      'first_name;email;"5"" disk";3" disk\nAnna "Anni";a@x;"x;"""" ";12"\nB"b;b@x; "y";"""z"""\nC;c@x;;""\n';
    for (const read of [readHere(text, 3), readHere(text, 500), readByCli(text, 1), readByCli(text, 500)]) {
      const { rows, problem } = await read;
      expect(problem).toBe('');
      expect(rows).toMatchObject([
        { user: { firstName: 'Anna "Anni"', email: 'a@x' }, original: ['Anna "Anni"', 'a@x', 'x;"" ', '12"'] },
        { user: { firstName: 'B"b' }, original: ['B"b', 'b@x', ' "y"', '"z"'] },
        { user: { firstName: 'C' }, original: ['C', 'c@x', '', ''] },
      ]);
    }
  });

  it('end before a row that is longer than any user, even if its quotes are closed', async () => {
    for (const end of ['', '",a@x\n']) {
      const text = `first_name,email\n"${'a'.repeat(1_100_000)}${end}`;
      for (const read of [readHere(text, 2_000_000), readHere(text, 65_536), readByCli(text, 65_536)]) {
        expect((await read).problem).toContain('line 2 on: a row is longer than 1 MiB');
      }
    }
  });

  /** A blob may deliver its bytes in any pieces. Single bytes are the hardest case. */
  function fileOf(bytes: Uint8Array): Blob {
    const stream = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    return { stream: () => stream } as unknown as Blob;
  }

  it('keep characters that two pieces of the file share, and lose its byte order mark', async () => {
    const { text } = readText(fileOf(new TextEncoder().encode('\ufefffirst_name\nÉ😀')));
    expect((await Array.fromAsync(text)).join('')).toBe('first_name\nÉ😀');
  });

  it('come from a file in another encoding if it is given', async () => {
    const { text } = readText(fileOf(Uint8Array.of(0x4a, 0xfc, 0x80)), { encoding: 'windows-1252' });
    expect((await Array.fromAsync(text)).join('')).toBe('Jü€');
  });

  it('cannot be read if the file is not UTF-8', async () => {
    const { text } = readText(new Blob([Uint8Array.of(0x41, 0x0a, 0xff)]));
    await expect(Array.fromAsync(text)).rejects.toThrow('line 2 on: it is not UTF-8');
  });
});

it('names the columns of one field, and the missing columns', () => {
  const refuse = (header: string[], onTaken: OnTaken = 'reject', canKeepNames = false) =>
    refuseColumns(matchHeader(header), onTaken, canKeepNames);
  expect(refuse(['firstName', ' email '])).toBeUndefined();
  expect(refuse(['first_name'])).toBe('Choose a column for Email.');
  expect(refuse(['email'])).toBe(
    'Choose a column for First name. If one column has whole names, choose Full name for it.',
  );
  expect(refuse(['email'], 'skip', true)).toContain('If the file only updates users, choose to update the user');
  expect(refuse(['email'], 'update', true)).toBeUndefined();
  expect(refuse(['email'], 'update')).toBe(refuse(['email']));
  expect(refuse(['first_name'], 'update', true)).toBe('Choose a column for Email.');
  expect(refuse(['x'])).toContain('Choose a column for First name and for Email. If');
  expect(refuse(['email', 'E-Mail', 'first_name'])).toBe(
    'Two columns are Email: “email” (column 1) and “E-Mail” (column 2). Ignore all but one of them.',
  );
});

it('offers encodings that exist, by their standard names', () => {
  for (const [encoding] of encodings) expect(parseEncoding(encoding)).toBe(encoding);
});

describe('the written file', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' ', ',', '"', "'", '=', '@', '\u202e') });

  it('has the bytes of roster export', () => {
    expect(exportFile().header).toBe(headerOfCli);
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
        expect(exportFile().format(messages)).toBe(formatAsCli(messages));
      }),
    );
  });

  it.each([
    ['csv', ','],
    ['excel', ','],
    ['excel', ';'],
  ] as const)('in the format %s with %j can be imported with the same texts', async (format, delimiter) => {
    const columns = ['first_name', 'attributes.team', 'attributes.a,b,,c'];
    const marks = ["'", '=', '+', '-', '@', '\t', '\r', '\n', '\0', '"', ',', ';', '1', ' '];
    const formula = fc.string({ unit: fc.constantFrom(...marks) });
    await fc.assert(
      fc.asyncProperty(formula, formula, async (name, team) => {
        const user = User.fromPartial({ firstName: name.trim(), attributes: { team, x: '=1' } });
        const file = createExportFile(format, columns, delimiter);
        const text = file.header.replace('\ufeff', '') + file.format([user]);
        const attributes = team === '' ? undefined : { team };
        const { rows } = await readHere(text + ['last', "'=2", '\n'].join(delimiter), 100);
        // An apostrophe makes the row visible.
        const isQuoted = format === 'excel' && /^[\t\r]/.test(team);
        const isBlank = `${name}${team}`.trim() === '' && !isQuoted;
        expect(rows).toMatchObject([
          ...(isBlank
            ? []
            : [{ user: { ...(name.trim() !== '' && { firstName: name.trim() }), ...(attributes && { attributes }) } }]),
          { user: { firstName: 'last', attributes: { team: '=2' } } },
        ]);
      }),
    );
    const odd = User.fromPartial({ firstName: "'=1", attributes: { team: '-5' } });
    const [name, team] = ["''=1", format === 'csv' ? '-5' : "'-5"];
    expect(createExportFile(format, columns, delimiter).format([odd])).toBe([name, team, '\n'].join(delimiter));
  });

  it('for Excel has numbers as Excel reads them, which are never formulas', () => {
    const columns = ['attributes.n', 'attributes.list'];
    const cellsOf = (n: number, delimiter: string) =>
      createExportFile('excel', columns, delimiter).format([User.fromPartial({ attributes: { n, list: [1.5] } })]);
    expect(cellsOf(-1.5, ';')).toBe('"-1,5";[1.5]\n');
    expect(cellsOf(-1.5, ',')).toBe('-1.5,[1.5]\n');
    expect(cellsOf(1e21, ';')).toBe('1e+21;[1.5]\n');
  });

  it('has an empty cell for an attribute without a value, except within JSON', () => {
    const user = User.fromPartial({ attributes: { none: null, list: [null] } });
    const columns = ['attributes.none', 'attributes.other', 'attributes.list', 'attributes'];
    for (const format of ['csv', 'excel'] as const) {
      expect(createExportFile(format, columns, ';').format([user])).toBe(
        ';;[null];"{""none"":null,""list"":[null]}"\n',
      );
    }
  });

  it('of rejected rows starts with the columns of the error, only once', () => {
    const csv = createRejectedCsv(['error_field', 'first_name', 'email'], ';');
    expect(csv.header).toBe('error_field;error_reason;error_message;first_name;email\n');
    expect(createRejectedCsv(['email'], '~').header).toBe('sep=~\nerror_field~error_reason~error_message~email\n');
    expect(csv.format(['email', 'A;B', 'a'], { field: 'email', reason: 'EMAIL_TAKEN', message: 'is "taken"' })).toBe(
      'email;EMAIL_TAKEN;"is ""taken""";"A;B";a\n',
    );
  });
});
