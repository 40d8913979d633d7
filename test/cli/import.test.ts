/** `roster import` against a real server: the directory afterwards, the output and the exit code. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { startTestServer } from '../rpc/harness.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type Ran, roster, start } from './command-line.js';

let app: TestApp;
let folder: string;
beforeAll(async () => {
  app = await startTestApp();
  folder = await mkdtemp(join(tmpdir(), 'roster-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await app[Symbol.asyncDispose]();
});

async function fileOf(content: string | Uint8Array, extension = 'csv'): Promise<string> {
  const path = join(folder, `${randomUUID()}.${extension}`);
  await writeFile(path, content);
  return path;
}

function importFile(file: string, ...flags: string[]): Promise<Ran> {
  return roster(['import', file, ...flags], { env: { ROSTER_ADDRESS: app.address } });
}

/** Runs the command line that global-setup has compiled in its own process, after a command of the shell. */
function inShell(before: string, ...args: string[]): Promise<Ran> {
  const shell = `${before}; exec "$0" "$@"`;
  const main = resolve(import.meta.dirname, '../../dist/src/main.js');
  const env = { PATH: process.env.PATH, ROSTER_ADDRESS: app.address };
  return new Promise((done) => {
    const child = execFile('bash', ['--norc', '-c', shell, process.execPath, main, ...args], { env }, (_, out, err) => {
      done({ code: child.exitCode ?? -1, out, err });
    });
  });
}

/** Removes the lines that depend on the machine's speed from the standard error output. */
function withoutProgress(text: string): string {
  return text.replaceAll(/^(?:Checking|Finishing|Importing|Writing): .*\n/gm, '');
}

/** Rows with emails that no other test has. A bad row has no email. */
function csvOf(rows: number, isBad: (row: number) => boolean = () => false): { text: string; suffix: string } {
  const suffix = `${randomUUID()}.example`;
  const lines = Array.from({ length: rows }, (_, row) => `Ada,${isBad(row) ? '' : `${row}@${suffix}`}`);
  return { text: `first_name,email\n${lines.join('\n')}\n`, suffix };
}

async function countOf(suffix: string): Promise<number | undefined> {
  const request = { filter: `email.endsWith("@${suffix}")`, includeTotalSize: true };
  return (await app.client.listUsers(request)).totalSize;
}

describe('roster import', () => {
  it('adds the users of a spreadsheet unchanged', async () => {
    const email = `${randomUUID()}@example.com`;
    const file = await fileOf(
      `\ufeffGiven name;last_name;email;attributes.team;attributes\r\n"\\N ""A;""";"\\.";${email};ops;"{""a"":[1.5,null]}"\r\n`,
    );
    const ran = await importFile(file, '--delimiter', ';', '--column', 'first_name=Given name');
    expect({ ...ran, err: withoutProgress(ran.err) }).toEqual({
      code: 0,
      out: '1 created, 0 updated, 0 skipped, 0 rejected\n',
      err: `The file is read as UTF-8, with semicolons between the cells.
Columns: "Given name" is first_name, last_name, email, attributes.team, attributes.
`,
    });
    expect((await app.client.getUserByEmail({ email })).user).toMatchObject({
      firstName: '\\N "A;"',
      lastName: '\\.',
      attributes: { team: 'ops', a: [1.5, null] },
    });
  });

  it('adds the users of NDJSON from the standard input', async () => {
    const email = `${randomUUID()}@example.com`;
    const started = start(['import', '-', '--format', 'ndjson', '--json'], { env: { ROSTER_ADDRESS: app.address } });
    started.stdin.write(`{"firstName":"A","email":"${email}"}\n{"first_na`);
    started.stdin.end(`me":"B","email":"b${email}"}`);
    const { code, out, err } = await started.ended;
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toEqual({
      committed: true,
      created: '2',
      updated: '0',
      skipped: '0',
      rejected: '0',
      errors: [],
    });
  });

  it('writes nothing if a row is bad, says which, and ends with 7', async () => {
    const { text, suffix } = csvOf(30, (row) => row === 1 || row === 28);
    const rows = text.replaceAll(/^Ada/gm, ',Ada').replace(',Ada', '"\n\n",Ada');
    const file = await fileOf(rows.replace('first_name,email\n', 'id,first_name,email\n\n'));
    const ran = await importFile(file);
    expect(ran.code).toBe(7);
    expect(withoutProgress(ran.err)).toBe(
      'Columns: first_name, email. Left out: "id".\nerror: 2 rows were rejected, so nothing was written.\n',
    );
    expect(ran.out).toMatch(
      /^28 would be created, .*2 rejected\n {2}row 2 \(line 6\): email: .*\n {2}row 29 \(line 33\): /,
    );
    expect(await countOf(suffix)).toBe(0);
    const asJson = await importFile(file, '--json');
    expect(JSON.parse(asJson.out)).toMatchObject({
      committed: false,
      rejected: '2',
      errors: [{ row: '1', line: 6, field: 'email', reason: 'INVALID_FIELD' }, { row: '28' }],
      columns: [
        { name: 'id', field: '' },
        { name: 'first_name', field: 'first_name' },
        { name: 'email', field: 'email' },
      ],
    });
    expect(JSON.parse(asJson.err)).toMatchObject({ error: { exitCode: 7 } });
  });

  it('keeps going, and counts an unreadable row as rejected', async () => {
    const { text, suffix } = csvOf(20, (row) => row === 9);
    const ran = await importFile(await fileOf(text.replace('Ada,4@', 'Ada,,4@')), '--keep-going');
    expect(ran.code).toBe(7);
    expect(ran.out).toMatch(
      /^18 created, .*2 rejected\n {2}row 5 \(line 6\): The row has 3 cells.*\n {2}row 10 \(line 11\)/,
    );
    expect(await countOf(suffix)).toBe(18);
  });

  it.each(['csv', 'ndjson'])(
    'keeps every rejected row in a %s file that can be corrected and imported',
    async (format) => {
      const { text, suffix } = csvOf(700, (row) => row % 2 === 1);
      const asNdjson = () =>
        text
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => JSON.stringify({ firstName: 'Ada', email: line.slice(4) }))
          .join('\n');
      const file = await fileOf(format === 'csv' ? text : asNdjson(), format);
      const rejected = join(folder, `${randomUUID()}.${format}`);
      const ran = await importFile(file, '--keep-going', '--rejected', rejected);
      expect(ran.code).toBe(7);
      expect(ran.out).toMatch(
        /^350 created, 0 updated, 0 skipped, 350 rejected\n {2}row 2 \(line \d\): email: .*\n {2}row 4 /,
      );
      expect(await countOf(suffix)).toBe(350);

      let next = 1000;
      const bad = await readFile(rejected, 'utf8');
      const corrected = bad.replaceAll(
        format === 'csv' ? /Ada,$/gm : /"email":"(?=")/g,
        (match) => `${match}${next++}@${suffix}`,
      );
      const again = await importFile(await fileOf(corrected, format));
      expect(again).toMatchObject({ code: 0, out: '350 created, 0 updated, 0 skipped, 0 rejected\n' });

      // A file of rejected rows is never overwritten, and none is left if no row was rejected.
      expect(await importFile(file, '--keep-going', '--rejected', rejected)).toMatchObject({ code: 2 });
      const unused = join(folder, randomUUID());
      expect(await importFile(await fileOf(csvOf(3).text), '--keep-going', '--rejected', unused)).toMatchObject({
        code: 0,
      });
      await expect(readFile(unused)).rejects.toThrow('ENOENT');
    },
  );

  it('keeps an attribute __proto__, and so does an export', async () => {
    const email = `${randomUUID()}@example.com`;
    const file = await fileOf(`first_name,email,attributes.__proto__\nAda,${email},x\n`);
    expect(await inShell(':', 'import', file)).toMatchObject({ code: 0 });
    const { out } = await inShell(':', 'export', '--filter', `email == "${email}"`);
    expect(out).toContain('"attributes":{"__proto__":"x"}');
  });

  it('handles a taken email as --on-conflict says, and writes nothing in a dry run', async () => {
    const { text, suffix } = csvOf(3);
    const dry = await importFile(await fileOf(text), '--dry-run');
    expect(dry).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^3 would be created, .*\nDry run: nothing was/),
    });
    expect(await countOf(suffix)).toBe(0);
    await importFile(await fileOf(text));
    const changed = await fileOf(text.replace('Ada,0', 'Eve,0'));
    const taken = await importFile(changed);
    expect(taken).toMatchObject({ code: 7 });
    expect(taken.out).toContain('3 rejected');
    expect((await importFile(changed, '--on-conflict', 'skip')).out).toMatch(/^0 created, 0 updated, 3 skipped/);
    expect((await importFile(changed, '--on-conflict', 'update')).out).toMatch(/^0 created, 1 updated, 2 skipped/);
  });

  it('keeps the attributes that the file does not have, unless told otherwise', async () => {
    const email = `${randomUUID()}@example.com`;
    const header = 'first_name,email,attributes.team,attributes.level';
    await importFile(await fileOf(`${header}\nAda,${email},ops,senior\n`));
    const update = async (text: string, ...flags: string[]) => {
      const ran = await importFile(await fileOf(text), '--on-conflict', 'update', ...flags);
      expect(ran.out).toMatch(/^0 created, 1 updated/);
      const { users } = await app.client.listUsers({ filter: `email == "${email}"` });
      return users[0]?.attributes;
    };
    const city = `first_name,email,attributes.city\nAda,${email},London\n`;
    expect(await update(city)).toEqual({ team: 'ops', level: 'senior', city: 'London' });
    expect(await update(city, '--replace-attributes')).toEqual({ city: 'London' });
  });
});

describe('a file from a common tool is imported', () => {
  const name = randomUUID();
  it.each<[string, string | Uint8Array, string[], string]>([
    [
      'with blank rows, as Excel writes them',
      `first_name,last_name,email,attributes.team\r\nOla,Nord,excel@${name}.example,A\r\n,,,\r\n,,,\r\n`,
      [],
      'Columns: first_name, last_name, email, attributes.team.\n',
    ],
    [
      'with a line sep=;, which Excel reads',
      `\ufeffsep=;\r\nfirst_name;last_name;email\r\nOla;Nord;sep@${name}.example\r\n`,
      [],
      'The file is read as UTF-8, with semicolons between the cells.\nColumns: first_name, last_name, email.\n',
    ],
    [
      'in UTF-16, as Active Directory writes it',
      Buffer.from(`\ufeff"givenName"\t"sn"\t"mail"\r\n"Jürgen"\t"Groß"\t"ad@${name}.example"\r\n`, 'utf16le'),
      [],
      'The file is read as UTF-16LE, with tabs between the cells.\n' +
        'Columns: "givenName" is first_name, "sn" is last_name, "mail" is email.\n',
    ],
    [
      'in windows-1252, as Excel in German writes it',
      Buffer.from(`First Name;Surname;E-Mail\r\nJ\xfcrgen;Gro\xdf;de@${name}.example\r\n`, 'latin1'),
      ['--encoding', 'windows-1252'],
      'The file is read as windows-1252, with semicolons between the cells.\n' +
        'Columns: "First Name" is first_name, "Surname" is last_name, "E-Mail" is email.\n',
    ],
    [
      'with names in another case and a comma at the end of each line',
      `First_Name,LAST_NAME,Email,\nOla,Nord,case@${name}.example,\n`,
      [],
      'Columns: "First_Name" is first_name, "LAST_NAME" is last_name, "Email" is email.\n',
    ],
    [
      'with columns that only Okta has',
      `login,firstName,lastName,email,displayName\nx,Ola,Nord,okta@${name}.example,Ola\n`,
      ['--ignore-unknown-columns'],
      'Columns: "firstName" is first_name, "lastName" is last_name, email. Left out: "login", "displayName".\n',
    ],
  ])('%s', async (_, content, flags, shown) => {
    const file = await fileOf(content);
    const dry = await importFile(file, '--dry-run', ...flags);
    expect({ code: dry.code, err: withoutProgress(dry.err) }).toEqual({ code: 0, err: shown });
    const ran = await importFile(file, ...flags);
    expect({ ...ran, err: withoutProgress(ran.err) }).toEqual({
      code: 0,
      out: '1 created, 0 updated, 0 skipped, 0 rejected\n',
      err: shown,
    });
    expect(await importFile(file, '--no-progress', '--on-conflict', 'skip', ...flags)).toMatchObject({ err: '' });
  });

  it('with its letters unchanged', async () => {
    const { users } = await app.client.listUsers({ filter: `email.endsWith("@${name}.example")`, orderBy: 'email' });
    expect(users.map(({ firstName, lastName }) => `${firstName} ${lastName}`)).toEqual([
      'Jürgen Groß',
      'Ola Nord',
      'Jürgen Groß',
      'Ola Nord',
      'Ola Nord',
      'Ola Nord',
    ]);
  });

  it('and its rejected rows can be imported by the same command', async () => {
    const email = `${randomUUID()}@example.com`;
    const file = await fileOf(Buffer.from(`First name;Mail\r\nJ\xfcrgen;nobody\r\n`, 'latin1'));
    const rejected = join(folder, `${randomUUID()}.csv`);
    const flags = ['--encoding', 'windows-1252', '--keep-going'];
    expect(await importFile(file, ...flags, '--rejected', rejected)).toMatchObject({ code: 7 });
    const corrected = (await readFile(rejected, 'utf8')).replace('nobody', email);
    expect(await importFile(await fileOf(corrected), ...flags)).toMatchObject({ code: 0 });
    expect((await app.client.getUserByEmail({ email })).user?.firstName).toBe('Jürgen');
  });
});

describe('broken quotes hide no other rejected row', () => {
  const broken = () =>
    csvOf(6, (row) => row === 1)
      .text.replace('Ada,4@', '"Ada,4@')
      .replace('Ada,2@', 'Ada,x,2@');
  const report =
    /^2 would be created, .* 2 rejected\n {2}row 2 \(line 3\): email: .*\n {2}row 3 \(line 4\): The row has 3/;

  it.each([[[]], [['--keep-going']], [['--dry-run']]])('with %j, and nothing is written', async (flags) => {
    const text = broken();
    const ran = await importFile(await fileOf(text), ...flags);
    expect(ran.out).toMatch(report);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/^Nothing was written\.\nerror: .* from line 6 on: a quote is opened and never closed\.$/m);
    expect(await countOf(/@(\S+)/.exec(text)?.[1] ?? '')).toBe(0);
  });

  it('in the file of rejected rows', async () => {
    const rejected = join(folder, randomUUID());
    const text = broken();
    const ran = await importFile(await fileOf(text), '--keep-going', '--rejected', rejected);
    expect(ran.code).toBe(2);
    expect(ran.out).toMatch(/^2 created, 0 updated, 0 skipped, 2 rejected\n/);
    expect(ran.err).toContain('The first 4 rows of the file were processed. The rest was not written.');
    expect((await readFile(rejected, 'utf8')).trim().split('\n')).toHaveLength(3);
    expect(await countOf(/@(\S+)/.exec(text)?.[1] ?? '')).toBe(2);
  });

  it('but only the place is known for the standard input, which cannot be read again', async () => {
    const started = start(['import', '-', '--format', 'csv', '--keep-going'], { env: { ROSTER_ADDRESS: app.address } });
    started.stdin.end(broken());
    const { code, out, err } = await started.ended;
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('from line 6 on');
  });
});

describe('roster import writes nothing and ends', () => {
  it.each<[string, string | Uint8Array, string[], number, RegExp, string?]>([
    ['broken quotes', 'first_name,email\n"A"a,a@x\n', ['--keep-going'], 2, /from line 2 on/],
    ['an unknown column', 'first_name,email,Team\n', [], 2, /Unknown columns: "Team"/],
    [
      'a row that is not JSON',
      '{"firstName":"A","email":"a@x"}\n{',
      ['--format', 'ndjson'],
      7,
      /Row 2 \(line 2\): The line is/,
      '1 would be created, 0 updated, 0 skipped, 1 rejected\n  row 2 (line 2): The line is not JSON.\n',
    ],
    [
      'bytes that are not UTF-8',
      Buffer.from('first_name,email\nZo\xeb,z@x\n', 'latin1'),
      [],
      2,
      /^Nothing was written\.\nerror: .* from line 2 on: it is not UTF-8\. .* --encoding windows-1252\.$/m,
    ],
    ['an unknown encoding', 'first_name,email\n', ['--encoding', 'ebcdic'], 2, /name of an encoding/],
    ['--rejected without --keep-going', 'first_name,email\n', ['--rejected', 'x'], 2, /needs --keep-going/],
    ['a column mapped to an unknown field', 'first_name,email\n', ['--column', 'id=ID'], 2, /must be field=name/],
  ])('at %s', async (_, content, flags, code, message, out = '') => {
    const before = (await app.client.listUsers({ includeTotalSize: true })).totalSize;
    const ran = await importFile(await fileOf(content), ...flags);
    expect(ran).toMatchObject({ code, out });
    expect(ran.err).toMatch(message);
    expect((await app.client.listUsers({ includeTotalSize: true })).totalSize).toBe(before);
  });

  it('without a file, a format or a server', async () => {
    expect(await importFile(join(folder, 'missing.csv'))).toMatchObject({
      code: 2,
      err: expect.stringMatching(/ENOENT/),
    });
    expect(await importFile(folder)).toMatchObject({ code: 2 });
    expect(await importFile('-')).toMatchObject({ code: 2, err: expect.stringMatching(/--format csv/) });
    const ran = await roster(['import', await fileOf(csvOf(1).text), '--address', 'localhost:1']);
    expect(ran).toMatchObject({ code: 5, out: '' });
    expect(ran.err).not.toContain('not known');
  });
});

describe('an import that is interrupted', () => {
  it('says that nothing was written if not all rows were sent', async () => {
    const { text, suffix } = csvOf(2500);
    const started = start(['import', '-', '--format', 'csv'], { env: { ROSTER_ADDRESS: app.address }, columns: 80 });
    started.stdin.write(text);
    await expect.poll(() => started.output().err, { timeout: 30_000 }).toMatch(/2,\d+ rows/);
    started.signals.emit('SIGINT');
    const { code, out, err } = await started.ended;
    expect({ code, out }).toEqual({ code: 130, out: '' });
    expect(err).toMatch(/Interrupted: nothing was written\.\n$/);
    expect(await countOf(suffix)).toBe(0);
  });

  it.each(['interrupted', 'unanswered'])(
    'says that the result is unknown if it was %s while the server wrote',
    async (how) => {
      let isComplete = false;
      const server = await startTestServer({
        async importUsers(requests, signal) {
          for await (const { totalRows } of requests) isComplete ||= totalRows !== undefined;
          if (how === 'unanswered') throw new Fault('DATABASE_UNAVAILABLE', 'It went away.');
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      });
      const file = await fileOf(csvOf(3).text);
      const started = start(['import', file, '--json'], { env: { ROSTER_ADDRESS: server.target } });
      await expect.poll(() => isComplete, { timeout: 30_000 }).toBe(true);
      if (how === 'interrupted') started.signals.emit('SIGTERM', 'SIGTERM');
      const { code, out, err } = await started.ended;
      expect({ code, out }).toEqual({ code: how === 'interrupted' ? 143 : 5, out: '' });
      expect(JSON.parse(err.split('\n')[0] ?? '')).toMatchObject({
        state: 'UNKNOWN',
        message: expect.stringMatching(/--dry-run/),
      });
    },
  );

  it('says that valid rows were written if the disk has no room for the others', async () => {
    const { text, suffix } = csvOf(1000, (row) => row % 2 === 1);
    const args = ['import', await fileOf(text), '--keep-going', '--rejected', join(folder, randomUUID()), '--json'];
    const { code, err } = await inShell('ulimit -f 4', ...args);
    expect(code).toBe(1);
    expect(await countOf(suffix)).toBe(500);
    expect(JSON.parse(err.split('\n')[0] ?? '')).toMatchObject({
      state: 'PARTLY_WRITTEN',
      message: expect.stringMatching(
        /^Among rows 1 to 1,000, the valid ones were written, but some rejected ones are not in the file/,
      ),
    });
  });

  it('says how many rows are done if it writes in parts', async () => {
    const { text, suffix } = csvOf(5001, (row) => row === 0);
    const rejected = join(folder, randomUUID());
    const args = ['import', '-', '--format', 'csv', '--keep-going', '--rejected', rejected];
    const started = start(args, { env: { ROSTER_ADDRESS: app.address } });
    started.stdin.write(text);
    // Written after the command has received the answer for the part.
    await expect.poll(() => readFile(rejected, 'utf8').catch(() => ''), { timeout: 30_000 }).not.toBe('');
    expect(await countOf(suffix)).toBe(4999);
    started.signals.emit('SIGINT');
    const { code, err } = await started.ended;
    expect(code).toBe(130);
    expect(err).toMatch(/^Interrupted: the first 5,000 rows of the file were processed\. The rest was not written\./m);
  });
});
