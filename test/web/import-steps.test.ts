/** Tests the check before an import, updates, attributes from columns, and the correction of rejected rows. */
import { readFile } from 'node:fs/promises';
import type { Locator, Page, Route } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { matchHeader } from '../../src/user-files/header.js';
import { withEmail } from '../../web/import/import-file.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { button, counts, dialog, useCsvFiles } from './import-dialog.js';
import { useSite } from './site.js';

const cell = (page: Page, name: string): Locator => dialog(page).getByRole('textbox', { name, exact: true });

describe('the column of the email', () => {
  const fields = (header: string[], ...samples: string[][]) =>
    withEmail(matchHeader(header), samples).map(({ field }) => field);

  it('is found by its cells if its name is unknown', () => {
    expect(fields(['Name', 'Contact'], ['A', 'a@example.com'], ['B', ' b@example.com '])).toEqual(['', 'email']);
  });

  it('is not guessed if a cell is not an email, or if another column may be the email too', () => {
    expect(fields(['Contact'])).toEqual(['']);
    expect(fields(['userPrincipalName'], ['a@example.com'])).toEqual(['']);
    expect(fields(['Contact'], ['a@example.com'], [''])).toEqual(['']);
    expect(fields(['Contact', 'Mail'], ['a@example.com', 'x'])).toEqual(['', 'email']);
    expect(fields(['Contact', 'Other'], ['a@example.com', 'b@example.com'])).toEqual(['', '']);
  });
});

describe.skipIf(browserMissing !== undefined)('an import on the page', () => {
  const site = useSite();
  const choose = useCsvFiles();

  beforeEach(site.clear);

  async function open(options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(`#dialog=import`, options);
    await dialog(opened.page).waitFor();
    return opened;
  }

  async function all(): Promise<Record<string, unknown>[]> {
    const users = await Array.fromAsync(site.app.client.exportAllUsers());
    return users.map(({ firstName, email, attributes }) => ({ firstName, email, attributes }));
  }

  it('is checked first, with counts and reasons, and writes nothing before it is confirmed', async () => {
    await site.app.client.createUser({ user: { firstName: 'There', email: 'there@example.com' } });
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(
      page,
      'first_name,email\nA,a@example.com\nB,nope\nC,THERE@example.com\nD,wrong\nE,A@example.com\n,f@example.com\n',
    );
    await button(page, 'Check').click();
    await dialog(page).getByText('5 rows would be rejected').waitFor();
    expect(await counts(page)).toEqual({ 'To create': '1', 'To update': '0', 'To skip': '0', 'To reject': '5' });
    const reasons = await dialog(page).locator('.reasons tbody tr').allTextContents();
    expect(reasons).toEqual([
      expect.stringMatching(/^Email: .*22 \(line 3\)$/),
      'Email: Another user has this email.13 (line 4)',
      'Email: Another row of this file has this email.15 (line 6)',
      'First name: is empty16 (line 7)',
    ]);
    await expectAccessible();
    expect(await all()).toHaveLength(1);

    await button(page, 'Back').click();
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await dialog(page).getByText('3 rows would be rejected').waitFor();
    expect(await counts(page)).toEqual({
      'To create': '1',
      'To update': '2',
      Unchanged: '0',
      'To reject': '3',
    });
    expect(await all()).toHaveLength(1);
    // Two rows are for one user.
    await button(page, 'Import 3 rows').click();
    await dialog(page).getByText('but 3 rows were rejected').waitFor();
    expect(await counts(page)).toEqual({ Created: '1', Updated: '2', Unchanged: '0', Rejected: '3' });
    expect((await all()).map(({ firstName }) => firstName)).toEqual(['C', 'E']);
    expectNoFaults();
  });

  it('of which all rows would be rejected offers to correct them', async () => {
    const { page, expectNoFaults } = await open();
    await choose(page, 'first_name,email\n"A\nB",nope\nC,"wrong"\n');
    await button(page, 'Check').click();
    await dialog(page).getByText('Both rows would be rejected. You can correct them in the next step.').waitFor();
    expect(await dialog(page).locator('.reasons tbody td:last-child').allTextContents()).toEqual([
      '1 (line 2)',
      '2 (line 4)',
    ]);
    expect(
      await dialog(page)
        .getByRole('button', { name: /^Import/ })
        .count(),
    ).toBe(0);
    await button(page, 'Correct the rows').click();
    await cell(page, 'email in row 2').waitFor();
    expect(await all()).toEqual([]);

    // A cell keeps its line break.
    const name = cell(page, 'first_name in row 1');
    expect(await name.inputValue()).toBe('A\nB');
    await name.press('Control+End');
    await page.keyboard.type('C');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      button(page, 'Download rejected rows').click(),
    ]);
    expect(await readFile(await download.path(), 'utf8')).toContain(',"A\nBC",nope\n');
    expectNoFaults();
  });

  it('updates users without the attributes that the file does not have', async () => {
    const attributes = { level: 7, skills: ['SQL'], city: 'Oslo' };
    await site.app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com', attributes } });
    const { page, expectNoFaults } = await open();
    await choose(page, 'First name,Email,city\nAda,ada@example.com,Paris\n');
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await all()).toMatchObject([{ attributes: { ...attributes, city: 'Paris' } }]);
    expectNoFaults();
  });

  it('adds the columns that match no field as attributes, also under other names', async () => {
    const { page, expectNoFaults } = await open();
    await choose(page, 'First name,E-Mail,Team,Cost centre,id\nAda,ada@example.com,ops,7,x\n');
    await dialog(page).getByText('2 columns match no field and will be ignored.').waitFor();
    await button(page, 'Add them as attributes').click();
    await dialog(page).getByText('match no field').waitFor({ state: 'detached' });
    const field = dialog(page).getByLabel('Field of Cost centre');
    expect(await field.inputValue()).toBe('attributes.Cost centre');
    await field.selectOption('Attribute with another name…');
    await dialog(page).getByLabel('Attribute for Cost centre').fill('costCentre');
    await page.keyboard.press('Enter');
    expect(await field.inputValue()).toBe('attributes.costCentre');
    const type = dialog(page).getByLabel('Type of Cost centre').locator('option:checked');
    await expect.poll(() => type.textContent(), { timeout: 30_000 }).toBe('as number');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await all()).toEqual([
      { firstName: 'Ada', email: 'ada@example.com', attributes: { Team: 'ops', costCentre: 7 } },
    ]);
    expectNoFaults();
  });

  it('of a file without a header creates a user from its first line', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'Ada,ada@example.com,Navy,3\nEva,nope,Army,4\n');
    const warning = dialog(page).getByText('The first line contains an email address.');
    await warning.waitFor();
    expect(await dialog(page).getByText('one row', { exact: false }).count()).toBe(1);
    await expectAccessible();
    await button(page, 'The first line is a person').click();
    await warning.waitFor({ state: 'detached' });
    await expectAccessible();
    expect(await dialog(page).getByRole('button', { name: /^Add / }).count()).toBe(0);
    const fields = dialog(page).locator('.columns tbody select');
    await button(page, 'The first line names the columns').click();
    await warning.waitFor();
    await button(page, 'The first line is a person').click();
    await warning.waitFor({ state: 'detached' });
    await fields.nth(0).selectOption('First name');
    await fields.nth(1).selectOption('Email');
    await dialog(page).getByLabel('Field of Column 4').selectOption('Attribute with another name…');
    await dialog(page).getByLabel('Attribute for Column 4').fill('floor');
    await page.keyboard.press('Enter');
    const type = dialog(page).getByLabel('Type of Column 4');
    await expect.poll(() => type.inputValue(), { timeout: 30_000 }).toBe('number');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but one row was rejected').waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      button(page, 'Download rejected rows').click(),
    ]);
    const lines = (await readFile(await download.path(), 'utf8')).split('\n');
    expect(lines[0]).toBe('error_field,error_reason,error_message,first_name,email,Column 3,attributes.floor');
    expect(lines[1]).toMatch(/,Eva,nope,Army,4$/);
    await dialog(page).getByRole('row', { name: '2 (line 2)' }).waitFor();
    expect(await all()).toEqual([{ firstName: 'Ada', email: 'ada@example.com', attributes: { floor: 3 } }]);
    expectNoFaults();
  });

  const expectFocusInside = async (page: Page) =>
    expect(await dialog(page).evaluate((element) => element.contains(document.activeElement))).toBe(true);

  it('shows its rejected rows, which are corrected in place and sent again, or downloaded with the corrections', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'first_name,email,Note\nA,a@example.com,\nB,nope,\n,c@example.com,\nD,d@example.com,x,y\n');
    await button(page, 'Add it as an attribute').waitFor();
    await expectFocusInside(page);
    await button(page, 'Add it as an attribute').click();
    await button(page, 'Check').click();
    await dialog(page).getByText('would be rejected').first().waitFor();
    await expectFocusInside(page);
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but 3 rows were rejected').waitFor();
    await expectFocusInside(page);
    await expectAccessible();
    expect(await cell(page, 'email in row 2').getAttribute('aria-invalid')).toBe('true');
    expect(await cell(page, 'first_name in row 2').getAttribute('aria-invalid')).toBe('false');
    await cell(page, 'email in row 2').fill('b@example.com');
    await cell(page, 'first_name in row 3').fill('C');
    await cell(page, 'email in row 3').fill('still wrong');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      button(page, 'Download rejected rows').click(),
    ]);
    const lines = (await readFile(await download.path(), 'utf8')).split('\n');
    expect(lines[0]).toBe('error_field,error_reason,error_message,first_name,email,Note');
    expect(lines[1]).toMatch(/^email,INVALID_FIELD,.*,B,b@example.com,$/);
    expect(lines[3]).toMatch(/^,INVALID_ROW,.*,D,d@example.com,x,y$/);

    await button(page, 'Send again').click();
    await dialog(page).getByText('but 2 rows were rejected').waitFor();
    expect(await counts(page)).toEqual({ Created: '2', Updated: '0', Skipped: '0', Rejected: '2' });
    expect(await cell(page, 'first_name in row 3').inputValue()).toBe('C');
    await cell(page, 'email in row 3').fill('c@example.com');
    expect(await cell(page, 'Cell 4 in row 4').inputValue()).toBe('y');
    expect(await cell(page, 'Cell 4 in row 4').getAttribute('aria-invalid')).toBe('true');
    await cell(page, 'Note in row 4').fill('x; y');
    await button(page, 'Send again').click();
    // The last cell is not lost if another one is corrected.
    await dialog(page).getByText('but one row was rejected').waitFor();
    expect(await cell(page, 'Note in row 4').inputValue()).toBe('x; y');
    const [again] = await Promise.all([page.waitForEvent('download'), button(page, 'Download rejected rows').click()]);
    expect(await readFile(await again.path(), 'utf8')).toMatch(/\n,INVALID_ROW,.*,D,d@example\.com,x; y,y\n$/);
    await cell(page, 'Cell 4 in row 4').fill('');
    await page.keyboard.press('Enter');
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await counts(page)).toEqual({ Created: '4', Updated: '0', Skipped: '0', Rejected: '0' });
    expect((await all()).map(({ firstName }) => firstName).sort()).toEqual(['A', 'B', 'C', 'D']);
    await button(page, 'Close').last().click();
    await dialog(page).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('asks before another address or a step back discards it, also before it was sent', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'first_name,email\nA,a@example.com\nB,nope\n');
    const question = dialog(page).getByText('Discard this import?');
    for (const next of ['Check', 'Import 1 user']) {
      await button(page, next).waitFor();
      await page.evaluate(() => location.assign('#query=zoe'));
      await question.waitFor();
      await expectAccessible();
      await button(page, 'Keep editing').click();
      await question.waitFor({ state: 'detached' });
      if (next === 'Check') await button(page, next).click();
    }
    // Nothing is lost at an address that keeps the dialog.
    await page.evaluate(() => location.assign('#query=ada&dialog=import'));
    await expect.poll(() => page.getByRole('searchbox').inputValue(), { timeout: 30_000 }).toBe('ada');
    expect(await question.count()).toBe(0);
    await button(page, 'Import 1 user').waitFor();
    await page.evaluate(() => location.assign('#query=zoe'));
    await button(page, 'Discard').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect(new URL(page.url()).hash).toBe('#query=zoe');
    expect(await all()).toEqual([]);
    expectNoFaults();
  });

  describe('with corrections that were not sent', () => {
    const question = (page: Page): Locator => dialog(page).getByText('Discard your corrections?');

    async function correct(): Promise<TestPage> {
      const opened = await site.open();
      const { page } = opened;
      // With an entry of the history to go back to.
      await page.evaluate(() => {
        location.hash = 'dialog=import';
      });
      await choose(page, 'first_name,email\nA,nope\nB,wrong\n');
      await button(page, 'Check').click();
      await button(page, 'Correct the rows').click();
      await dialog(page).getByText('but 2 rows were rejected').waitFor();
      await cell(page, 'email in row 1').fill('a@example.com');
      return opened;
    }

    it('asks before it is closed', async () => {
      const { page, expectAccessible, expectNoFaults } = await correct();
      await page.keyboard.press('Escape');
      await question(page).waitFor();
      await expectAccessible();
      await page.keyboard.press('Escape');
      await question(page).waitFor({ state: 'detached' });
      const isFocused = (element: Element) => element === document.activeElement;
      expect(await cell(page, 'email in row 1').evaluate(isFocused)).toBe(true);
      await button(page, 'Close').first().click();
      await question(page).waitFor();
      await button(page, 'Keep editing').click();
      expect(await cell(page, 'email in row 1').evaluate(isFocused)).toBe(true);
      await button(page, 'Close').last().click();
      await button(page, 'Keep editing').click();
      await question(page).waitFor({ state: 'detached' });
      expect(await cell(page, 'email in row 1').evaluate(isFocused)).toBe(true);
      // The step back is blocked, so it never ends.
      void page.goBack().catch(() => {});
      await question(page).waitFor();
      await button(page, 'Keep editing').click();
      await page.evaluate(() => location.assign('#query=zoe'));
      await question(page).waitFor();
      expect(new URL(page.url()).hash).toBe('#dialog=import');
      expect(await cell(page, 'email in row 1').inputValue()).toBe('a@example.com');
      await button(page, 'Discard').click();
      await dialog(page).waitFor({ state: 'detached' });
      expectNoFaults();
    });

    it('asks again after some of them were rejected, and not after all were accepted', async () => {
      const { page, expectNoFaults } = await correct();
      await cell(page, 'email in row 2').fill('still wrong');
      await button(page, 'Send again').click();
      await dialog(page).getByText('but one row was rejected').waitFor();
      await page.keyboard.press('Escape');
      await question(page).waitFor();
      await button(page, 'Keep editing').click();
      await cell(page, 'email in row 2').fill('b@example.com');
      await page.keyboard.press('Enter');
      await dialog(page).getByText('The import is complete.').waitFor();
      await page.keyboard.press('Escape');
      await dialog(page).waitFor({ state: 'detached' });
      expectNoFaults();
    });

    it('does not ask after they were downloaded, which is possible from the question', async () => {
      const { page, expectNoFaults } = await correct();
      await page.keyboard.press('Escape');
      await question(page).waitFor();
      await Promise.all([page.waitForEvent('download'), button(page, 'Download rejected rows').click()]);
      await question(page).waitFor({ state: 'detached' });
      await cell(page, 'email in row 2').fill('b@example.com');
      expect(await question(page).count()).toBe(0);
      await Promise.all([page.waitForEvent('download'), button(page, 'Download rejected rows').click()]);
      await page.keyboard.press('Escape');
      await dialog(page).waitFor({ state: 'detached' });
      expectNoFaults();
    });
  });

  it('asks before it is closed with rejected rows, even without a correction, unless they were downloaded', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'first_name,email\nA,nope\nB,b@example.com\n');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but one row was rejected').waitFor();
    const question = dialog(page).getByText('One row was rejected. Close anyway?', { exact: true });
    await button(page, 'Close').first().click();
    await question.waitFor();
    await expectAccessible();
    await button(page, 'Keep open').click();
    await question.waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
    await question.waitFor();
    await Promise.all([page.waitForEvent('download'), button(page, 'Download rejected rows').click()]);
    await question.waitFor({ state: 'detached' });
    await cell(page, 'email in row 1').fill('a@example.com');
    await page.keyboard.press('Escape');
    await dialog(page).getByText('Discard your corrections?').waitFor();
    await button(page, 'Keep editing').click();
    await Promise.all([page.waitForEvent('download'), button(page, 'Download rejected rows').click()]);
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('counts the reasons of many rejected rows', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const wrong = Array.from({ length: 148 }, (_, at) => `U${at},nope${at}`);
    await choose(
      page,
      `first_name,email\n${[...wrong, ',a@example.com', 'B,b@example.com', 'B,B@example.com'].join('\n')}\n`,
    );
    await button(page, 'Check').click();
    await dialog(page).getByText('The server named the problems of 100 of these rows.').waitFor();
    await dialog(page).getByText('148 rows of the file have no email address.').waitFor();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but 150 rows were rejected').waitFor();
    const reasons = dialog(page).locator('.reasons tbody tr');
    expect(await reasons.allTextContents()).toEqual([
      'Email: must be one email address, like ada@example.com1481 (line 2)',
      'First name: is empty1149 (line 150)',
      'Email: Another user or another row has this email.1151 (line 152)',
    ]);
    await expectAccessible();
    await cell(page, 'email in row 1').fill('u0@example.com');
    await button(page, 'Send again').click();
    await dialog(page).getByText('but 149 rows were rejected').waitFor();
    expect(await reasons.first().textContent()).toBe(
      'Email: must be one email address, like ada@example.com1472 (line 3)',
    );
    expectNoFaults();
  });

  it('shows many rejected rows with their problems, also beside long cells', async () => {
    const rows = Array.from({ length: 40 }, (_, at) => `U${at},nope${at},${'long '.repeat(60)},b,c,d,e,f`);
    const { page } = await open({ width: 1280, height: 900 });
    await choose(page, `first_name,email,a,b,c,d,e,f\n${rows.join('\n')}\n`);
    await button(page, 'Add them as attributes').click();
    await button(page, 'Check').click();
    await button(page, 'Correct the rows').click();
    await dialog(page).getByText('but 40 rows were rejected').waitFor();
    const table = dialog(page).getByRole('region', { name: 'Rejected rows' });
    const heightOf = async () => (await table.boundingBox())?.height;
    expect(await heightOf()).toBeGreaterThan(450);
    await cell(page, 'f in row 1').focus();
    const why = table.locator('.why').first();
    const [left, inner] = [(await table.boundingBox())?.x ?? 0, (await why.boundingBox())?.x ?? -1];
    expect(inner).toBeGreaterThanOrEqual(left);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await dialog(page).evaluate((element) => element.scrollWidth > element.clientWidth)).toBe(false);
  });

  it('of 12,000 rows is checked in one call and imported with updates in batches', async () => {
    const row = (at: number) => `U${at},u${at}@example.com,${at % 7}`;
    await site.app.client.importAllUsers(
      Array.from({ length: 1_000 }, (_, at) => ({ firstName: 'Old', email: `u${at}@example.com` })),
    );
    const { page, expectNoFaults } = await open();
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await choose(page, `first_name,email,floor\n${Array.from({ length: 12_000 }, (_, at) => row(at)).join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 12,000 users').waitFor({ timeout: 120_000 });
    expect(calls.filter((url) => url.endsWith('/ImportUsers'))).toHaveLength(1);
    await button(page, 'Import 12,000 users').click();
    await dialog(page).getByText('The import is complete.').waitFor({ timeout: 240_000 });
    expect(await counts(page)).toEqual({ Created: '11,000', Updated: '1,000', Unchanged: '0', Rejected: '0' });
    expectNoFaults();
  }, 400_000);

  it('that only checks can be stopped, and reports an unreachable server', async () => {
    const { page } = await open();
    await choose(page, 'first_name,email\nA,a@example.com\n');
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/ImportUsers', async (route) => {
      await held;
      await route.abort('connectionreset').catch(() => {});
    });
    await button(page, 'Check').click();
    await dialog(page).getByText('Nothing is written yet').waitFor();
    await button(page, 'Stop').click();
    await button(page, 'Check').click();
    release();
    await dialog(page).getByText('The rows could not be checked.').waitFor();
    await dialog(page).getByText('Cannot reach the server.').waitFor();
  });

  describe('that was stopped', () => {
    /** Answers the first calls as `answer` does, and all others normally. */
    async function answerFirst(page: Page, calls: number, answer: (route: Route) => Promise<unknown>) {
      let count = 0;
      await page.route('**/BatchCreateUsers', async (route) => {
        if (++count > calls) return route.continue();
        await answer(route);
      });
    }

    const rowsOf = (count: number) => Array.from({ length: count }, (_, at) => `U${at},u${at}@example.com`);

    async function start(page: Page, rows: readonly string[]): Promise<void> {
      await choose(page, `first_name,email\n${rows.join('\n')}\n`);
      await button(page, 'Check').click();
      const run = dialog(page).getByRole('button', { name: /^Import \d/ });
      // A stop before the first call would leave all rows.
      await Promise.all([page.waitForRequest('**/BatchCreateUsers'), run.click()]);
    }

    /** Holds the next file that the page opens, until the promise is resolved. */
    function holdNextRead(page: Page) {
      return page.evaluateHandle(() => {
        const held = Promise.withResolvers<void>();
        const { stream } = Blob.prototype;
        Blob.prototype.stream = function () {
          Blob.prototype.stream = stream;
          const transform = async (chunk: Uint8Array<ArrayBuffer>, to: TransformStreamDefaultController) => {
            await held.promise;
            to.enqueue(chunk);
          };
          return stream.call(this).pipeThrough(new TransformStream({ transform }));
        };
        return held;
      });
    }

    it('continues with the rows that were not sent, which can be downloaded too', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      await answerFirst(page, 1, async (route) => {
        await held;
        await route.continue();
      });
      const rows = rowsOf(1_200);
      rows[3] = 'Bad,nope';
      await start(page, rows);
      await dialog(page).getByText('0 of 1,200 rows done').waitFor();
      await button(page, 'Stop').click();
      release();
      // The server has rejected row 4, so the other rows of the first batch were not written.
      await dialog(page)
        .getByText(/^Stopped: 1 of 1,200 rows are done\./)
        .waitFor();
      await dialog(page).getByText('1,199 rows are left.').waitFor();
      expect(await all()).toHaveLength(0);
      await expectAccessible();
      const question = dialog(page).getByText('1,199 rows are left, and one row was rejected. Close anyway?');
      await page.keyboard.press('Escape');
      await question.waitFor();
      const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download the rest').click()]);
      await question.waitFor({ state: 'detached' });
      await page.keyboard.press('Escape');
      await dialog(page).getByText('One row was rejected. Close anyway?', { exact: true }).waitFor();
      await button(page, 'Keep open').click();
      expect(download.suggestedFilename()).toBe('people-rest.csv');
      expect(await readFile(await download.path(), 'utf8')).toBe(
        `first_name,email\n${rows.toSpliced(3, 1).join('\n')}\n`,
      );

      await cell(page, 'email in row 4').fill('u3@example.com');
      await button(page, 'Continue').click();
      await dialog(page).getByText('The import is complete, but one row was rejected.').waitFor();
      expect(await counts(page)).toEqual({ Created: '1,199', Updated: '0', Skipped: '0', Rejected: '1' });
      expect(await button(page, 'Continue').count()).toBe(0);
      expect(await cell(page, 'email in row 4').inputValue()).toBe('u3@example.com');
      await button(page, 'Send again').click();
      await dialog(page).getByText('The import is complete.').waitFor();
      expect(new Set((await all()).map(({ email }) => email)).size).toBe(1_200);
      expectNoFaults();
    });

    it('keeps corrections, and later steps, if the download of the other rows takes long', async () => {
      const { page, expectNoFaults } = await open();
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      await answerFirst(page, 1, async (route) => {
        await held;
        await route.continue();
      });
      await start(page, ['Bad,nope', ...rowsOf(600)]);
      await dialog(page).getByText('0 of 601 rows done').waitFor();
      await button(page, 'Stop').click();
      release();
      await dialog(page).getByText('600 rows are left.').waitFor();

      let reading = await holdNextRead(page);
      await button(page, 'Download the rest').click();
      await cell(page, 'email in row 1').fill('bad@example.com');
      await Promise.all([page.waitForEvent('download'), reading.evaluate(({ resolve }) => resolve())]);
      await page.keyboard.press('Escape');
      await dialog(page).getByText('Discard your corrections?', { exact: true }).waitFor();
      await button(page, 'Keep editing').click();
      await cell(page, 'email in row 1').fill('still bad');
      await Promise.all([page.waitForResponse('**/BatchCreateUsers'), button(page, 'Send again').click()]);
      await dialog(page).locator('.why').waitFor();
      await page.keyboard.press('Escape');
      await dialog(page).getByText('Discard your corrections?', { exact: true }).waitFor();
      await button(page, 'Keep editing').click();

      reading = await holdNextRead(page);
      await button(page, 'Download the rest').click();
      await button(page, 'Continue').click();
      const end = dialog(page).getByText('The import is complete, but one row was rejected.');
      await end.waitFor();
      await Promise.all([page.waitForEvent('download'), reading.evaluate(({ resolve }) => resolve())]);
      await page.keyboard.press('Escape');
      await dialog(page).getByText('Discard your corrections?', { exact: true }).waitFor();
      await end.waitFor();
      expectNoFaults();
    });

    it('creates no user twice if an answer was lost before the stop', async () => {
      const { page } = await open();
      await answerFirst(page, 1_000, async (route) => {
        await route.fetch();
        await route.abort('connectionreset');
      });
      await start(page, rowsOf(600));
      await dialog(page).getByText('The server does not accept rows at the moment.').waitFor();
      await button(page, 'Stop').click();
      await dialog(page).getByText('rows 1 to 500 may or may not be in the directory').waitFor();
      await button(page, 'Close').last().click();
      await dialog(page).getByText('600 rows are left. Close anyway?').waitFor();
      await button(page, 'Keep open').click();
      expect(await all()).toHaveLength(500);
      await page.unroute('**/BatchCreateUsers');
      await button(page, 'Continue').click();
      await dialog(page).getByText('The import is complete.').waitFor();
      expect(await counts(page)).toEqual({ Created: '600', Updated: '0', Skipped: '0', Rejected: '0' });
      expect(await all()).toHaveLength(600);
    });
  });
});
