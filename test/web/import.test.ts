/** Tests import and export in a real browser, against the whole application. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readPreview } from '../../web/import/import-file.js';
import { roster } from '../cli/command-line.js';
import { startTestApp } from '../support/app.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { button, counts, dialog } from './import-dialog.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
// The browser's own console messages about broken connections.
const connectionLost = /Failed to load resource|ERR_/;

/** Checks the rows of the chosen file, and imports them after the check. */
async function importChecked(page: Page): Promise<void> {
  await button(page, 'Check').click();
  await dialog(page)
    .getByRole('button', { name: /^Import/ })
    .click();
}

it.each([
  ['people.xlsx', 'PK\x03\x04\x14\0\x06\0\xc3\xa9\0\x9c\n', 'This is an Excel workbook. Save it'],
  ['people.XLS', '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'This is an Excel workbook. Save it'],
  ['people.csv', 'PK\x03\x04abc', 'This is not a CSV file.'],
  ['people.csv.gz', '\x1f\x8b\x08\x08abc', 'This is not a CSV file.'],
  ['people.pdf', '%PDF-1.7\nabc', 'This is not a CSV file.'],
  ['people.jpg', '\xff\xd8\xff\xe0abc', 'This is not a CSV file.'],
  ['people.bin', 'name,email\nA\0\xff,b\n', 'This is not a CSV file.'],
])('a binary file such as %s is refused in every encoding', async (name, bytes, message) => {
  const file = new File([Buffer.from(bytes, 'latin1')], name);
  for (const encoding of ['', 'utf-8', 'windows-1252', 'shift_jis']) {
    const read = readPreview(file, {
      encoding,
      hasHeader: true,
      known: Promise.resolve(new Map()),
      readRare: async () => new Map(),
      signal: new AbortController().signal,
    });
    await expect(read, encoding).rejects.toThrow(message);
  }
});

describe.skipIf(browserMissing !== undefined)('files of users', () => {
  const site = useSite();
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'roster-web-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(site.clear);

  async function open(hash: string, options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(`#${hash}`, options);
    // A test cannot operate the system's file dialog. Without it, the page downloads the file.
    await opened.page.evaluate(() => Object.defineProperty(window, 'showSaveFilePicker', { value: undefined }));
    await dialog(opened.page).waitFor();
    return opened;
  }

  async function choose(page: Page, text: string | Buffer, name = 'people.csv'): Promise<void> {
    const file = path.join(folder, name);
    await writeFile(file, text);
    await dialog(page).getByLabel('CSV file').setInputFiles(file);
  }

  async function saved(page: Page, act: () => Promise<void>): Promise<string> {
    const [download] = await Promise.all([page.waitForEvent('download'), act()]);
    return readFile(await download.path(), 'utf8');
  }

  async function all(): Promise<Record<string, unknown>[]> {
    const users = await Array.fromAsync(site.app.client.exportAllUsers());
    return users.map(({ firstName, lastName, email, profileImageUrl, attributes }) => {
      return { firstName, lastName, email, profileImageUrl, attributes };
    });
  }

  it('are shown before anything is sent, and the user can choose the fields of their columns', async () => {
    const { page, expectNoFaults } = await open('dialog=import');
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await choose(page, '\ufeffRufname;Adresse;attributes.floor;Team;id\r\nÉva;eva@example.com;3;"a;b";7\r\n');
    await dialog(page).getByText('Choose a column for First name.').waitFor();
    await dialog(page).getByText('Éva', { exact: true }).waitFor();
    await dialog(page).getByText('ignored: only the server sets it').waitFor();
    await button(page, 'Check').click({ force: true });
    await dialog(page).getByLabel('Field of Rufname').selectOption('First name');
    // Its cells are emails.
    expect(await dialog(page).getByLabel('Field of Adresse').inputValue()).toBe('email');
    await dialog(page).getByLabel('Field of Team').selectOption('Attribute “Team”');
    expect(calls.filter((url) => url.includes('BatchCreateUsers'))).toEqual([]);
    await importChecked(page);
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await all()).toEqual([
      {
        firstName: 'Éva',
        lastName: '',
        email: 'eva@example.com',
        profileImageUrl: '',
        attributes: { floor: 3, Team: 'a;b' },
      },
    ]);
    expectNoFaults();
  });

  it('are rejected with the reason if they are not CSV', async () => {
    const { page } = await open('dialog=import');
    await choose(page, '');
    await dialog(page).getByText('it is empty').waitFor();
    await choose(page, Buffer.from('\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0', 'latin1'));
    await dialog(page).getByText('This is not a CSV file.', { exact: true }).waitFor();
    expect(await dialog(page).getByLabel('Encoding').count()).toBe(0);
    await choose(page, Buffer.from('PK\x03\x04\x14\x00\x06\x00\x08\x00\xe9\x9c', 'latin1'), 'people.xlsx');
    const advice = 'This is an Excel workbook. Save it as CSV (Comma delimited) and choose that file.';
    await dialog(page).getByText(advice, { exact: true }).waitFor();
    await choose(page, 'first_name,email\n"Ada,ada@example.com');
    await dialog(page).getByText('never closed').waitFor();
  });

  it.each<[string, string | Buffer, string]>([
    ['Excel, with blank rows', '\ufefffirst_name,last_name,email\r\nJürgen,Groß,jg@example.com\r\n,,\r\n', 'commas'],
    [
      'Excel, with a line sep=;',
      '\ufeffsep=;\r\nFirst Name;Surname;E-Mail\r\nJürgen;Groß;jg@example.com\r\n',
      'semicolons',
    ],
    [
      'Active Directory, in UTF-16',
      Buffer.from('\ufeff"givenName"\t"sn"\t"mail"\r\n"Jürgen"\t"Groß"\t"jg@example.com"\r\n', 'utf16le'),
      'tabs',
    ],
    [
      'Google',
      'First Name [Required],Last Name [Required],Email Address [Required],\rJürgen,Groß,jg@example.com,',
      'commas',
    ],
  ])('from %s are understood, and the fields of their columns are shown', async (_, text, delimiter) => {
    const { page, expectNoFaults } = await open('dialog=import');
    await choose(page, text);
    await dialog(page).getByText(`one row, cells separated by ${delimiter}`).waitFor();
    const chosen = dialog(page).locator('.columns select');
    expect(await chosen.evaluateAll((all) => all.map((select) => (select as HTMLSelectElement).value))).toEqual([
      'first_name',
      'last_name',
      'email',
    ]);
    await importChecked(page);
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await all()).toMatchObject([{ firstName: 'Jürgen', lastName: 'Groß', email: 'jg@example.com' }]);
    expectNoFaults();
  });

  it('that are not UTF-8 are read as Excel writes them in Western Europe, and so are their rejected rows', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('dialog=import');
    // The first letter that is not ASCII is after the rows that the page shows, and after the first chunk of the file.
    const others = Array.from({ length: 5_000 }, (_, at) => `U${at},u${at}@example.com\r\n`).join('');
    const people = `First name,Mail\r\nAda,ada@example.com\r\n${others}J\xfcrgen,nobody\r\n`;
    await choose(page, Buffer.from(people, 'latin1'));
    const notice =
      'The file is not UTF-8. It is read as windows-1252, for example “Jürgen”. Choose another encoding if letters look wrong.';
    await dialog(page).getByText(notice).waitFor();
    const encoding = dialog(page).getByLabel('Encoding');
    expect(await encoding.locator('option:checked').textContent()).toBe('Automatic (Western European (windows-1252))');
    await expectAccessible();
    await encoding.selectOption('Cyrillic (windows-1251)');
    await dialog(page).getByText(notice).waitFor({ state: 'detached' });
    await button(page, 'Another file').click();
    await choose(page, Buffer.from('First name;Mail\r\nAda;ada@example.com\r\nJ\xfcrgen;nobody\r\n', 'latin1'));
    await importChecked(page);
    await dialog(page).getByText('but one row was rejected').waitFor();
    expect(await counts(page)).toEqual({ Created: '1', Updated: '0', Skipped: '0', Rejected: '1' });
    const text = await saved(page, () => button(page, 'Download rejected rows').click());
    expect(text).toMatch(/^\ufefferror_field;.*\n.*;Jürgen;nobody\n$/);
    expectNoFaults();
  });

  it('in another encoding are read if it is chosen', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('dialog=import');
    await choose(page, Buffer.from('Pr\xe9nom;Mail\r\nAda;ada@example.com\r\n', 'latin1'));
    await dialog(page).getByText('for example “Prénom”').waitFor();
    await dialog(page).getByLabel('Encoding').selectOption('windows-1251');
    await dialog(page).getByLabel('Field of Prйnom').waitFor();
    await dialog(page).getByLabel('Encoding').selectOption('utf-8');
    await dialog(page).getByText('from line 1 on: it is not UTF-8. Choose the encoding').waitFor();
    await expectAccessible();
    await choose(page, Buffer.from('Prénom;Mail\r\nJürgen;j@example.com\r\n', 'utf16le'));
    await dialog(page).getByText('such as UTF-16, little-endian').waitFor();
    await dialog(page).getByLabel('Encoding').selectOption('utf-16le');
    await dialog(page).getByText('Jürgen', { exact: true }).waitFor();
    expectNoFaults();
  });

  it('in UTF-8 with damaged bytes are not taken for another encoding', async () => {
    const { page } = await open('dialog=import');
    const start = Buffer.from('First name;Mail\r\nJürgen;j@example.com\r\n');
    await choose(page, Buffer.concat([start, Buffer.from('B\xe9a;b@example.com\r\n', 'latin1')]));
    await dialog(page).getByText('from line 3 on: it is not UTF-8. Choose the encoding').waitFor();
    expect(await dialog(page).getByText('It is read as').count()).toBe(0);
  });

  it('with broken quotes are reported before anything is sent, and hide no rejected row', async () => {
    const { page, expectNoFaults } = await open('dialog=import');
    await choose(page, 'first_name,email\nAda,ada@example.com\nBad,nope\n"Eve,eve@example.com\nBob,bob@example.com\n');
    await dialog(page).getByText('from line 4 on: a quote is opened and never closed. Only the rows before').waitFor();
    await importChecked(page);
    await dialog(page)
      .getByText(/^Ended early: 2 rows are done/)
      .waitFor();
    await dialog(page).getByText('The file cannot be read from line 4 on').waitFor();
    expect(await counts(page)).toEqual({ Created: '1', Updated: '0', Skipped: '0', Rejected: '1' });
    expectNoFaults();
  });

  it('with two columns for one field are rejected until one is ignored', async () => {
    const { page } = await open('dialog=import');
    await choose(page, 'first_name,mail,EmailAddress\nAda,ada@example.com,ada@example.com\n');
    await dialog(page).getByText('Two columns are Email: “mail” (column 2) and “EmailAddress” (column 3).').waitFor();
    await dialog(page).getByLabel('Field of mail').selectOption('Ignore');
    await importChecked(page);
    await dialog(page).getByText('The import is complete.').waitFor();
  });

  it('are imported except for invalid rows, which come back as a file with the errors', async () => {
    await site.app.client.createUser({ user: { firstName: 'There', email: 'there@example.com' } });
    const { page, expectAccessible, expectNoFaults } = await open('dialog=import');
    const rows = Array.from({ length: 130 }, (_, at) => `U${at},u${at}@example.com,`);
    rows[3] = 'Bad,nope,';
    rows[5] = ',u5@example.com,[1]';
    rows[7] = 'Two,cells';
    rows[9] = '  Space , u9@example.com ,';
    rows[90] = 'Taken,THERE@example.com,';
    rows[120] = 'Twice,u0@example.com,';
    await choose(page, `first_name,email,attributes\n${rows.join('\n')}\n`);
    await importChecked(page);
    await dialog(page).getByText('but 5 rows were rejected').waitFor();
    expect(await counts(page)).toEqual({ Created: '125', Updated: '0', Skipped: '0', Rejected: '5' });
    await expectAccessible();
    const cells = await dialog(page).locator('.rejected tbody tr').allTextContents();
    expect(cells.map((text) => /^\d+/.exec(text)?.[0])).toEqual(['4', '6', '8', '91', '121']);
    expect(cells.slice(3)).toEqual([
      expect.stringContaining('Another user has this email.'),
      expect.stringContaining('Another row of this file has this email.'),
    ]);
    const text = await saved(page, () => button(page, 'Download rejected rows').click());
    expect(text.split('\n')).toEqual([
      'error_field,error_reason,error_message,first_name,email,attributes',
      expect.stringMatching(/^email,INVALID_FIELD,.*,Bad,nope,$/),
      'attributes,INVALID_FIELD,It must be a JSON object.,,u5@example.com,[1]',
      expect.stringMatching(/^,INVALID_ROW,.*,Two,cells$/),
      expect.stringMatching(/^email,EMAIL_TAKEN,.*,Taken,THERE@example.com,$/),
      expect.stringMatching(/^email,EMAIL_TAKEN,.*,Twice,u0@example.com,$/),
      '',
    ]);
    expect(await all()).toHaveLength(126);
    expect((await all()).map(({ firstName }) => firstName)).toContain('Space');
    await button(page, 'Close').last().click();
    await dialog(page).waitFor({ state: 'detached' });
    await expect.poll(() => page.locator('.total').textContent(), pollTimeout).toBe('126 users');
    expectNoFaults();
  });

  it('skip taken emails if the user chooses that', async () => {
    const { page } = await open('dialog=import');
    const rows = Array.from({ length: 300 }, (_, at) => `U${at},u${at % 200}@example.com`);
    await choose(page, `first_name,email\n${rows.join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption('Skip the row');
    await importChecked(page);
    await dialog(page).getByText('The import is complete.').waitFor();
    // More than fit into one answer.
    expect(await counts(page)).toEqual({ Created: '200', Updated: '0', Skipped: '100', Rejected: '0' });
  });

  it('create no user twice if answers are lost, and continue automatically', async () => {
    const { page, expectNoFaults } = await open('dialog=import');
    let lost = 0;
    await page.route('**/BatchCreateUsers', async (route) => {
      if (++lost > 3) return route.continue();
      if (lost !== 2) await route.fetch();
      await route.abort('connectionreset');
    });
    await choose(
      page,
      `first_name,email\n${Array.from({ length: 700 }, (_, at) => `U,u${at}@example.com`).join('\n')}\n`,
    );
    await importChecked(page);
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await counts(page)).toEqual({ Created: '700', Updated: '0', Skipped: '0', Rejected: '0' });
    expect(await all()).toHaveLength(700);
    expectNoFaults(connectionLost);
  });

  it('of 20,000 rows show their progress, and stop with the button', async () => {
    const { page, expectNoFaults } = await open('dialog=import');
    await choose(
      page,
      `first_name,email\n${Array.from({ length: 20_000 }, (_, at) => `U,u${at}@example.com`).join('\n')}\n`,
    );
    await importChecked(page);
    await expect
      .poll(
        () =>
          dialog(page)
            .getByText(/rows done, .* per second/)
            .count(),
        pollTimeout,
      )
      .toBe(1);
    await button(page, 'Stop').click();
    await dialog(page)
      .getByText(/^Stopped: .* rows are done/)
      .waitFor();
    const created = Number((await counts(page)).Created?.replaceAll(',', ''));
    expect(created).toBeGreaterThan(0);
    expect(created % 500).toBe(0);
    expect(await all()).toHaveLength(created);
    expectNoFaults();
  });

  describe('that are exported', () => {
    const odd = [
      {
        firstName: 'Ada, "the first"',
        lastName: '=1+1',
        email: '"a b"@example.com',
        attributes: { a: [1, { b: null }], '': 'é"\\\u0007' },
      },
      { firstName: '😀', lastName: "'=1", email: 'é@example.com', profileImageUrl: 'https://example.com/a,b.png' },
    ];

    it('have the bytes that roster export writes, and create the same users elsewhere', async () => {
      await site.app.client.batchCreateUsers({ users: odd });
      await site.app.client.importAllUsers(
        Array.from({ length: 2_000 }, (_, at) => ({ firstName: 'U', email: `u${at}@example.com` })),
      );
      const { page, expectAccessible, expectNoFaults } = await open('dialog=export');
      await button(page, 'All fields').click();
      await expectAccessible();
      const text = await saved(page, () => button(page, 'Export').click());
      await dialog(page).getByText('2,002 users exported.').waitFor();
      const address = ['--address', site.app.address];
      const cli = await roster(['export', '-', '--format', 'csv', '--no-progress', ...address]);
      expect(text).toBe(cli.out);

      const file = path.join(folder, 'exported.csv');
      await writeFile(file, text);
      const before = await all();
      await using elsewhere = await startTestApp();
      const ran = await roster(['import', file, '--no-progress', '--address', elsewhere.address]);
      expect(ran).toMatchObject({ code: 0 });
      const there = await Array.fromAsync(elsewhere.client.exportAllUsers());
      expect(there).toHaveLength(before.length);
      for (const [at, user] of there.entries()) expect(user).toMatchObject(before[at] ?? {});
      expectNoFaults();
    });

    it('change nothing if they are imported as they are, also with a column for each attribute', async () => {
      const attributes = {
        level: 3,
        share: -0.25,
        remote: true,
        skills: ['a, "b"', 'c'],
        sizes: [1, [2]],
        team: '7',
        home: { city: 'Łódź' },
      };
      const others = (from: number, count: number) =>
        Array.from({ length: count }, (_, at) => ({ firstName: 'New', email: `new${from + at}@example.com` }));
      await site.app.client.importAllUsers(others(0, 120));
      await site.app.client.batchCreateUsers({
        users: [
          { firstName: 'Ada', email: 'old.ada@example.com', attributes },
          { firstName: 'Eva', email: 'old.eva@example.com', attributes: { ...attributes, level: 1e21, remote: false } },
        ],
      });
      // No user of the page's sample has their attributes.
      await site.app.client.importAllUsers(others(120, 320));
      const before = await Array.fromAsync(site.app.client.exportAllUsers());
      const exporting = await open('dialog=export');
      await dialog(exporting.page).getByLabel('Format').selectOption('CSV, for a later import');
      await button(exporting.page, 'All fields').click();
      await dialog(exporting.page).getByLabel('Attributes, as JSON').uncheck();
      for (const key of Object.keys(attributes)) {
        await dialog(exporting.page).getByLabel(key, { exact: true }).check();
      }
      const text = await saved(exporting.page, () => button(exporting.page, 'Export').click());
      expect(text.split('\n')[0]).toMatch(/,attributes\.level,.*,attributes\.team$/);

      const { page, expectNoFaults } = await open('dialog=import');
      await choose(page, text);
      await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
      const types = dialog(page).locator('.column-type');
      expect(await types.evaluateAll((all) => all.map((select) => (select as HTMLSelectElement).value).sort())).toEqual(
        ['', 'boolean', 'json', 'json', 'list', 'number', 'pointNumber'],
      );
      await button(page, 'Check').click();
      await dialog(page).getByText('All rows can be imported.').waitFor();
      expect(await counts(page)).toEqual({
        'To create': '0',
        'To update': '0',
        Unchanged: '442',
        'To reject': '0',
      });
      await button(page, 'Import').click();
      await dialog(page).getByText('The import is complete.').waitFor();
      expect(await counts(page)).toEqual({ Created: '0', Updated: '0', Unchanged: '442', Rejected: '0' });
      expect(await Array.fromAsync(site.app.client.exportAllUsers())).toEqual(before);
      expectNoFaults();
    });

    it('are those of the list, searched or filtered', async () => {
      await site.app.client.batchCreateUsers({ users: odd });
      const filtered = await open(`dialog=export&filter=${encodeURIComponent('has(attributes.a)')}`);
      const text = await saved(filtered.page, () => button(filtered.page, 'Export').click());
      expect(text.trimEnd().split('\n')).toHaveLength(2);
      const searched = await open(`dialog=export&query=${encodeURIComponent('é@')}`);
      const found = await saved(searched.page, () => button(searched.page, 'Export').click());
      expect(found.trimEnd().split('\n')).toHaveLength(2);
      expect(found).toContain('😀');
    });

    it('report an invalid filter, and write nothing', async () => {
      const { page } = await open(`dialog=export&filter=${encodeURIComponent('email ==')}`);
      await button(page, 'Export').click();
      await dialog(page).getByText('No file was written').waitFor();
    });
  });
});
