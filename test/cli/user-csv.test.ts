/** Users as CSV: reading files from spreadsheets, and reading an export back unchanged. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseColumn } from '../../src/cli/column-option.js';
import { csvHeader, formatCsvUsers, readCsvUsers } from '../../src/cli/user-csv.js';
import { User } from '../../src/client/index.js';
import type { ColumnOptions, Row } from '../../src/user-files/columns.js';
import { matchHeader } from '../../src/user-files/header.js';

type Options = ColumnOptions & { delimiter?: string };

/** In pieces, so that no test passes only because a file fits into one. */
async function* inPieces(text: string, length: number): AsyncGenerator<string> {
  const characters = Array.from(text);
  for (let at = 0; at < characters.length; at += length) yield characters.slice(at, at + length).join('');
}

async function read(text: string, options: Options = {}, pieceLength = 3): Promise<Row[]> {
  const { rows } = await readCsvUsers(inPieces(text, pieceLength), options);
  return Array.fromAsync(rows);
}

async function usersOf(text: string, options?: Options): Promise<unknown[]> {
  return (await read(text, options)).map(({ user, problem }) => user ?? problem);
}

const ada = { firstName: 'Ada', email: 'ada@example.com' };

describe('the rows of a CSV file', () => {
  it.each(['\n', '\r\n', '\r'])('are found with each line end: %j', async (end) => {
    const text = ['first_name,email', 'Ada,ada@example.com', '"B ""b"", c",b@x', ''].join(end);
    expect(await usersOf(text)).toEqual([ada, { firstName: 'B "b", c', email: 'b@x' }]);
  });

  it('know the line where they begin, after blank lines and breaks within quotes', async () => {
    for (const end of ['\n', '\r\n']) {
      const lines = ['first_name,email', 'A,a@x', '', '"B', '', 'b",b@x', 'C,c@x', '"D', 'd","d', '@x"', 'E,e@x'];
      expect((await read(lines.join(end))).map(({ line }) => line)).toEqual([2, 4, 7, 8, 11]);
    }
  });

  it('leave empty cells unset, and keep blanks only in attributes and within texts', async () => {
    const header = 'first_name,last_name,email,profile_image_url,attributes.mail';
    expect(await usersOf(`${header}\n Ada  A ,,\u00a0a@x \t, http://x, a@x\n"\nB",  ,b@x,,\n`)).toEqual([
      { firstName: 'Ada  A', email: 'a@x', profileImageUrl: 'http://x', attributes: { mail: ' a@x' } },
      { firstName: 'B', email: 'b@x' },
    ]);
  });

  it('have attributes as JSON and in single columns, which override the JSON', async () => {
    const text = `first_name,email,attributes.a.b,attributes,attributes.__proto__
Ada,ada@example.com,1,"{""a.b"":0,""floor"":3}",x
Bad,b@x,,[1],
`;
    const [good, bad] = await usersOf(text);
    expect(good).toMatchObject(ada);
    const attributes = Object.entries((good as { attributes: object }).attributes);
    expect(new Map(attributes)).toEqual(
      new Map<string, unknown>([
        ['a.b', '1'],
        ['floor', 3],
        ['__proto__', 'x'],
      ]),
    );
    expect(bad).toEqual({ field: 'attributes', reason: 'INVALID_FIELD', message: 'It must be a JSON object.' });
  });

  it('are rejected if they have another number of cells than the header', async () => {
    expect(await usersOf('first_name,email\nAda\nAda,ada@example.com\na,b,c\n')).toEqual([
      { field: '', reason: 'INVALID_ROW', message: 'The row has 1 cells, the header has 2.' },
      ada,
      { field: '', reason: 'INVALID_ROW', message: 'The row has 3 cells, the header has 2.' },
    ]);
  });

  it('do not include blank rows, with any number of cells', async () => {
    const text = 'first_name,email\n,\nAda,ada@example.com\n,,,\n ,\t\n""\n   \n,"\n"\nAda,ada@example.com\n,\n';
    const rows = await read(text);
    expect(rows.map(({ user }) => user)).toEqual([ada, ada]);
    expect(rows.map(({ line }) => line)).toEqual([3, 10]);
  });

  it('may have blank cells after the last column', async () => {
    expect(await usersOf('first_name,email\nAda,ada@example.com,, \n')).toEqual([ada]);
  });

  it('are rejected with half a surrogate pair, which would change on the way', async () => {
    const [row] = await usersOf('first_name,email,attributes\nA,a@x,"{""a"":[""\\ud800""]}"\n');
    expect(row).toHaveProperty('field', 'attributes');
  });

  it('are rejected with a number in attributes that would change', async () => {
    const [row] = await usersOf('first_name,email,attributes\nA,a@x,"{""a"":9007199254740993}"\n');
    expect(row).toMatchObject({ field: 'attributes', message: expect.stringContaining('as a string') });
  });
});

describe('the header', () => {
  it('may have the names of JSON, mapped names, and fields that only the directory writes', async () => {
    const text = 'id,firstName,Mail,etag,error_field,Team\nx,Ada,ada@example.com,y,email,ops\n';
    const column = new Map([
      ['Mail', 'email'],
      ['Team', 'attributes.team'],
    ]);
    expect(await usersOf(text, { column })).toEqual([{ ...ada, attributes: { team: 'ops' } }]);
  });

  it.each<[string, Options, RegExp]>([
    ['first_name,email,Age,Äge\n', {}, /^Unknown columns: "Age", "Äge"\..*--ignore-unknown-columns/],
    ['first_name;email\n', { delimiter: ',' }, /--delimiter ';'/],
    ['first_name,last_name\n', {}, /no column for email/],
    ['Ada,Lovelace,ada@example.com\n', {}, /The first line must name the columns, but it contains an email address/],
    ['first_name,email,firstName\n', {}, /twice/],
    ['first_name,email\n', { column: new Map([['Mail', 'email']]), ignoreUnknownColumns: true }, /no column "Mail"/],
    ['', {}, /There is no header/],
  ])('%j is refused', async (text, options, message) => {
    await expect(read(text, options)).rejects.toThrow(message);
  });

  it('may have unknown columns with ignoreUnknownColumns', async () => {
    expect(await usersOf('Age,first_name,email\n3,Ada,ada@example.com\n', { ignoreUnknownColumns: true })).toEqual([
      ada,
    ]);
  });

  it('shows the delimiter, unless it is given', async () => {
    for (const delimiter of [',', ';', '\t', '|']) {
      const header = ['"x\n;,;""|"', 'first_name', 'email'].join(delimiter);
      const text = `\n${header}\n\n${['1', '"Ada"', 'ada@example.com'].join(delimiter)}\n`;
      expect(await usersOf(text, { ignoreUnknownColumns: true })).toEqual([ada]);
      expect(await usersOf(text, { ignoreUnknownColumns: true, delimiter })).toEqual([ada]);
    }
    expect(await usersOf('first_name~email\nAda~ada@example.com\n', { delimiter: '~' })).toEqual([ada]);
  });

  it('may follow a line that names the delimiter', async () => {
    for (const first of ['sep=;\r\n', 'SEP=;\n', '"sep=;"\r', 'sep=;\n\n;;\n']) {
      expect(await usersOf(`${first}first_name;email\nAda;ada@example.com\n`)).toEqual([ada]);
    }
    const rows = await read('sep=;\r\nfirst_name;email\r\nAda;ada@example.com\r\n');
    expect(rows[0]?.line).toBe(3);
    expect(await usersOf('sep=~\nfirst_name~email\nAda~ada@example.com\n')).toEqual([ada]);
  });

  it('may end with columns that have no name, and not begin with one', async () => {
    expect(await usersOf('first_name,email,,\nAda,ada@example.com,,\nAda,ada@example.com\n')).toEqual([ada, ada]);
    const [row] = await usersOf('first_name,email,\nAda,ada@example.com,x\n');
    expect(row).toMatchObject({ message: 'The row has 3 cells, the header has 2.' });
    await expect(read(',first_name,email\n0,Ada,ada@example.com\n')).rejects.toThrow('column 1, which has no name');
  });

  it('is refused if it names a field twice, with both names and a solution', async () => {
    await expect(read('first_name,mail,EmailAddress\n')).rejects.toThrow(
      'The header names email twice: "mail" (column 2) and "EmailAddress" (column 3). ' +
        'Choose one of them (--column email=mail --ignore-unknown-columns).',
    );
    await expect(read('email,first_name,email\n')).rejects.toThrow(
      'The header names email twice: "email" (column 1) and "email" (column 3). Rename or remove all but one',
    );
  });

  it('is refused in UTF-16 without a byte order mark, with the likely encoding', async () => {
    const asUtf16 = Array.from('first_name,email\n', (letter) => `${letter}\0`).join('');
    await expect(read(asUtf16)).rejects.toMatchObject({ suggestion: 'utf-16le' });
  });
});

it('fails at broken quotes with the line, and without the content of the row', async () => {
  for (const row of ['"secret"x,a@x', '"secret,a@x']) {
    const text = `first_name,email\nA,a@x\n${row}\nB,b@x\n`;
    const failure = read(text);
    await expect(failure).rejects.toThrow(/^The file cannot be read from line 3 on: /);
    await expect(failure).rejects.not.toThrow(/sec/);
  }
});

it('yields all rows before broken quotes', async () => {
  for (const pieceLength of [3, 1000]) {
    const text = 'first_name,email\nA,a@x\n\n\nB,b@x\n"C,c@x\nD,d@x\n';
    const { rows } = await readCsvUsers(inPieces(text, pieceLength), {});
    const lines: number[] = [];
    const all = (async () => {
      for await (const { line } of rows) lines.push(line);
    })();
    await expect(all).rejects.toThrow('from line 6 on: a quote is opened and never closed');
    expect(lines).toEqual([2, 5]);
  }
});

describe('the advice for an unusable header', () => {
  /** The text of the error, and the argument that a shell would pass to --column. */
  async function adviceFor(text: string): Promise<{ message: string; column: string | undefined }> {
    const message = await read(text).then(
      () => '',
      (error) => String(error.message),
    );
    const [, option] = /--column ((?:'[^']*'|\\'|[^\s),'])+)/.exec(message) ?? [];
    const column = option?.replaceAll("'\\''", '\u0000').replaceAll("'", '').replaceAll('\u0000', "'");
    return { message, column: column?.replace(/\.$/, '') };
  }

  it.each([
    'login,first_name,email',
    'Team,attributes.Team,Floor,first_name,email',
    'a=b,Cost center (old),first_name,email',
    "O'Neill's x,first_name,email",
    'login,first_name',
    'Notes,Notes,Floor,first_name,email',
    'Notes,Notes,Adresse,first_name',
    'first_name,mail,EmailAddress',
  ])('works, and takes no column away: %s', async (header) => {
    const { column = '' } = await adviceFor(`${header}\n`);
    const options = { column: parseColumn(column), ignoreUnknownColumns: true };
    const { columns = [] } = await readCsvUsers(inPieces(`${header}\n`, 100), options);
    const fields = columns.map(({ field }) => field);
    for (const { field } of matchHeader(header.split(','))) if (field !== '') expect(fields).toContain(field);
  });

  it.each(['', '"a\nb"', 'a=b'])('is to leave out a column that no option can name: %j', async (name) => {
    const { message, column } = await adviceFor(`${name},first_name,email\n`);
    expect(column).toBeUndefined();
    expect(message).toContain('spellings of them. Leave them out (--ignore-unknown-columns)');
  });
});

it('fails before a quote that is never closed fills the memory', async () => {
  await expect(read(`first_name,email\n"${'x'.repeat(1_100_000)}`, {}, 65_536)).rejects.toThrow(/longer than 1 MiB/);
});

it('writes a rejected row with its problem, and reads it again', async () => {
  const text = 'error_field;error_reason;error_message;first_name;email\nold;old;old;"A;a";a@x\n;;;B;b@x;c\n';
  const file = await readCsvUsers(inPieces(text, 5), { delimiter: ';' });
  let rejected = '';
  for await (const row of file.rows) {
    rejected += file.formatRejected(row, row.problem ?? { field: 'email', reason: 'EMAIL_TAKEN', message: 'It; is.' });
  }
  expect(rejected).toBe(
    'error_field;error_reason;error_message;first_name;email\n' +
      'email;EMAIL_TAKEN;"It; is.";"A;a";a@x\n' +
      ';INVALID_ROW;The row has 6 cells, the header has 5.;B;b@x;c\n',
  );
  expect((await read(rejected, { delimiter: ';' }))[0]).toMatchObject({ user: { firstName: 'A;a', email: 'a@x' } });
});

it('writes rejected rows with their delimiter, if their header does not show it', async () => {
  const file = await readCsvUsers(inPieces('sep=~\nfirst_name~email\nAda~nobody\n', 5), {});
  let rejected = '';
  const problem = { field: 'email', reason: 'INVALID_FIELD', message: 'No.' };
  for await (const row of file.rows) rejected += file.formatRejected(row, problem);
  expect(rejected).toMatch(/^sep=~\nerror_field~/);
  expect(await usersOf(rejected)).toEqual([{ firstName: 'Ada', email: 'nobody' }]);
});

it('reads back an export, byte for byte', async () => {
  const hard = fc.constantFrom(
    '"',
    '""',
    ',',
    '\\.',
    '\\N',
    '\\',
    "'",
    ';',
    '=1+1',
    '@',
    ' ',
    '\u2028',
    'é',
    '👩‍👩‍👧',
    '\ufeff',
    'x',
  );
  const text = fc.array(hard, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
  const breaks = fc.constantFrom('\n', '\r\n', '\r', '\t', '\u0000', '\u009b');
  // JSON has no minus zero.
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
  // The reader removes white space around names and emails.
  const trimmed = text.map((each) => each.trim());
  const user = fc.record({
    firstName: trimmed,
    email: trimmed,
    lastName: trimmed,
    attributes: fc.option(fc.dictionary(text, fc.oneof(text, breaks, number)), {
      nil: undefined,
    }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(user, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 20 }),
      async (users, length) => {
        // Every export has ids. Without one, a row of only spaces would be blank.
        const withIds = users.map((each) => User.fromPartial({ ...each, id: '7' }));
        const rows = await read(csvHeader + formatCsvUsers(withIds), {}, length);
        expect(rows.map((row) => User.fromPartial(row.user ?? {}))).toEqual(
          users.map((each) => User.fromPartial(each)),
        );
      },
    ),
    { numRuns: 200 },
  );
});
