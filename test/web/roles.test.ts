/** Tests what the page shows to callers with different roles, in a real browser, against the whole application. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createClient, type User } from '../../src/client/index.js';
import type { BuiltInRole } from '../../src/model/caller.js';
import { browserMissing, type TestPage } from './browser.js';
import { startGuardedApp } from './guarded-app.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const dialog = (page: Page) => page.getByRole('dialog');
const panel = (page: Page) => page.getByRole('complementary');
const textbox = (page: Page, name: string) => panel(page).getByRole('textbox', { name, exact: true });
const button = (page: Page, name: string) => panel(page).getByRole('button', { name, exact: true });
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const sign = (page: Page) => page.locator('.sign').getAttribute('data-state');
const changes = (page: Page) => page.getByRole('region', { name: 'Recent changes' });

describe.skipIf(browserMissing !== undefined)('the page of a caller', () => {
  const site = useSite(startGuardedApp);
  let ada: User;
  let count = 0;

  beforeAll(async () => {
    const attributes = { level: 3, salary: 100, team: 'ops' };
    const { user } = await site.app.client.createUser({
      user: { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@example.com', attributes },
    });
    if (user === undefined) throw new Error('There is no user in the answer.');
    ada = user;
  });

  /** Opens the page and signs in with a new API key. */
  async function open(roles: readonly BuiltInRole[], hash = '') {
    const calls: string[] = [];
    const opened = await site.open();
    const { page } = opened;
    page.on('request', (request) => calls.push(new URL(request.url()).pathname.replace('/users.v1.UserService/', '')));
    if (hash !== '') await page.goto(`${site.app.http}/${hash}`);
    const name = `test-${++count}`;
    await page.getByText('Use an API key or token').click();
    const key = await site.app.addKey(name, roles);
    await page.getByLabel('API key or token').fill(key);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Sign in' }).waitFor({ state: 'detached' });
    return { ...opened, calls, name, key } satisfies TestPage & Record<string, unknown>;
  }

  describe('who may not read an attribute', () => {
    it('can leave a link that sorts by it', async () => {
      const { page } = await open(['reader'], '#order_by=attributes.salary');
      await page.getByText('must not use the attribute salary').waitFor();
      expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(0);
      await page.getByRole('button', { name: 'Sort by newest first' }).click();
      await row(page, 'Ada Lovelace').waitFor();
      await page.evaluate(() => {
        location.hash = '#order_by=attributes.salary';
      });
      await page.getByRole('alert').getByText('must not use the attribute salary').waitFor();
      await page.getByRole('alert').getByRole('button', { name: 'Sort by newest first' }).click();
      await page.getByRole('alert').waitFor({ state: 'detached' });
      await row(page, 'Ada Lovelace').waitFor();
    });
  });

  describe('who may only read', () => {
    it('offers nothing that would fail', async () => {
      const { page, calls, expectAccessible, expectNoFaults } = await open(['reader']);
      await row(page, 'Ada Lovelace').waitFor();
      expect(await page.getByRole('button', { name: 'New user' }).count()).toBe(0);
      await page.getByRole('button', { name: 'More' }).click();
      const items = await page.getByRole('menuitem').allTextContents();
      expect(items.filter((item) => /CSV/.test(item))).toEqual([]);
      await expectAccessible();
      await page.keyboard.press('Escape');
      await page.keyboard.press('n');
      await page.keyboard.press('/');
      expect(await dialog(page).or(panel(page)).count()).toBe(0);
      // It does not watch, and so nothing is refused.
      await expect.poll(() => sign(page), pollTimeout).toBe('periodic');
      expect(calls).not.toContain('WatchUsers');
      expectNoFaults();
    });

    it.each(['#user=new', '#dialog=import', '#dialog=export'])('opens nothing for %s', async (hash) => {
      const { page } = await open(['reader'], hash);
      await row(page, 'Ada Lovelace').waitFor();
      expect(await dialog(page).or(panel(page)).count()).toBe(0);
    });

    it('shows a user without fields to edit', async () => {
      const { page, expectNoFaults } = await open(['reader'], `#user=${ada.id}`);
      await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
      await panel(page).getByText('ops', { exact: true }).waitFor();
      await changes(page).waitFor();
      const buttons = await panel(page).getByRole('button').allTextContents();
      expect(buttons.filter((text) => /Edit|Save|Delete|Add|Remove/.test(text))).toEqual([]);
      // An attribute that only others may read.
      expect(await panel(page).getByText('salary').count()).toBe(0);
      await page.keyboard.press('e');
      expect(await panel(page).getByRole('textbox').count()).toBe(0);
      await button(page, 'Close').click();
      await panel(page).waitFor({ state: 'detached' });
      expectNoFaults();
    });

    it('is up to date when the page becomes visible again', async () => {
      const { page } = await open(['reader']);
      await row(page, 'Ada Lovelace').waitFor();
      await expect.poll(() => sign(page), pollTimeout).toBe('periodic');
      await page.clock.install();
      const { user } = await site.app.client.createUser({
        user: { firstName: 'Later', email: `later${++count}@example.com` },
      });
      onTestFinished(async () => void (await site.app.client.deleteUser({ id: user?.id ?? '' })));
      const show = (state: 'hidden' | 'visible') =>
        page.evaluate((visibilityState) => {
          Object.defineProperty(document, 'visibilityState', { value: visibilityState, configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }, state);
      await show('hidden');
      await page.clock.runFor(20_000);
      await expect.poll(() => sign(page), pollTimeout).toBe('paused');
      await show('visible');
      await page.clock.runFor(1_000);
      await row(page, 'Later').waitFor();
    });
  });

  describe('who may write', () => {
    it('imports without a check and without updates, because both need ImportUsers', async () => {
      const { page, calls, expectNoFaults } = await open(['reader', 'writer'], '#dialog=import');
      await dialog(page)
        .getByLabel('CSV file')
        .setInputFiles({
          name: 'people.csv',
          mimeType: 'text/csv',
          buffer: Buffer.from('first_name,email\nGrace,grace@example.com\n'),
        });
      const choices = dialog(page).getByLabel('If an email is taken').locator('option');
      await choices.first().waitFor({ state: 'attached' });
      expect(await choices.allTextContents()).toEqual(['Reject the row', 'Skip the row']);
      await dialog(page).getByRole('button', { name: 'Import', exact: true }).click();
      await dialog(page).getByText('The import is complete.').waitFor();
      expect(calls).not.toContain('ImportUsers');
      expectNoFaults();
    });

    it('reads before an import what only the page can find', async () => {
      const { page, calls, expectAccessible, expectNoFaults } = await open(['reader', 'writer'], '#dialog=import');
      const text = 'first_name,email,attributes.floor\nMae,mae@example.com,3\nMae,MAE@example.com,n/a\n';
      await dialog(page)
        .getByLabel('CSV file')
        .setInputFiles({ name: 'people.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
      await dialog(page).getByLabel('Type of attributes.floor').selectOption('as number');
      const start = dialog(page).getByRole('button', { name: 'Import', exact: true });
      await start.click();
      await dialog(page).getByText('The server checks the rows only during the import.').waitFor();
      await dialog(page)
        .getByText('One email is in more than one row: MAE@example.com in rows 1 (line 2) and 2 (line 3).')
        .waitFor();
      await dialog(page)
        .getByText('1 of 2 rows has a text that is not a number, such as “n/a” in row 2 (line 3).')
        .waitFor();
      expect(await dialog(page).locator('.counts').count()).toBe(0);
      await expectAccessible();
      await start.click();
      await dialog(page).getByText('The import is complete, but one row was rejected.').waitFor();
      expect(calls).not.toContain('ImportUsers');
      expectNoFaults();
    });

    it('can edit only the attributes that it may write, and sends only those', async () => {
      const { page, calls, expectAccessible, expectNoFaults } = await open(['reader', 'writer'], `#user=${ada.id}`);
      await button(page, 'Edit').click();
      await textbox(page, 'Value of team').waitFor();
      expect(await panel(page).getByText('level', { exact: true }).count()).toBe(1);
      expect(await page.getByLabel('Value of level').count()).toBe(0);
      expect(await page.getByRole('button', { name: 'Remove level' }).count()).toBe(0);
      await textbox(page, 'Value of team').fill('dev');
      await button(page, 'Add attribute').click();
      await panel(page)
        .getByLabel(/^Key of/)
        .last()
        .fill('salary');
      await button(page, 'Save').click();
      await page.getByText('You may not write this attribute.').waitFor();
      await expectAccessible();
      await page.getByRole('button', { name: 'Remove salary' }).click();
      await button(page, 'Save').click();
      await button(page, 'Edit').waitFor();
      const { user } = await site.app.client.getUser({ id: ada.id });
      expect(user?.attributes).toEqual({ level: 3, salary: 100, team: 'dev' });
      expect(calls.filter((call) => call === 'UpdateUser')).toHaveLength(1);
      expectNoFaults();
    });

    it('is asked only about the fields that it may write if somebody else was faster', async () => {
      const { user } = await site.app.client.createUser({
        user: { firstName: 'Grace', email: `grace${++count}@example.com`, attributes: { level: 1, team: 'ops' } },
      });
      const { page } = await open(['reader', 'writer'], `#user=${user?.id}`);
      await button(page, 'Edit').click();
      await textbox(page, 'Value of team').fill('dev');
      await site.app.client.updateUser({
        user: { id: user?.id, attributes: { level: 2, team: 'sales' } },
        updateMask: ['attributes'],
      });
      await button(page, 'Save').click();
      await page.getByText('For each field that both versions changed').waitFor();
      expect(await panel(page).getByRole('group').allTextContents()).toEqual([expect.stringContaining('team')]);
      await button(page, 'Keep all of mine').click();
      await button(page, 'Save').click();
      await button(page, 'Edit').waitFor();
      const now = await site.app.client.getUser({ id: user?.id ?? '' });
      expect(now.user?.attributes).toEqual({ level: 2, team: 'dev' });
    });
  });

  it('without a role says whom to ask', async () => {
    const { page, calls, expectAccessible } = await open([]);
    await page.getByText('You may not see the list').waitFor();
    await page.getByText('key:test-').last().waitFor();
    expect(await page.locator('.sign').count()).toBe(0);
    await expectAccessible();
    expect(calls.filter((call) => !/GetCaller|\.|^\/$/.test(call))).toEqual([]);
  });

  it('that learns of other rights by a refused call hides the rest', async () => {
    const { page, name, key } = await open(['reader', 'writer'], `#user=${ada.id}`);
    await button(page, 'Edit').click();
    await textbox(page, 'Last name').fill('King');
    await site.app.database.query(`update api_keys set roles = '{reader}' where name = $1`, [name]);
    const other = createClient({ address: site.app.address, token: key });
    onTestFinished(() => other.close());
    await expect.poll(async () => (await other.getCaller({})).roles, pollTimeout).toEqual(['reader']);
    await button(page, 'Save').click();
    await button(page, 'Save').waitFor({ state: 'detached' });
    expect(await textbox(page, 'Last name').inputValue()).toBe('King');
    await page.getByText('Your input is still here.').waitFor();
  });

  it('reads the metrics with its token', async () => {
    const { page, expectNoFaults } = await open(['admin'], '#view=metrics');
    await page.getByText('Calls per second').waitFor();
    expectNoFaults();
  });

  it('shows who has changed a user, the newest first', async () => {
    const email = `hedy${++count}@example.com`;
    const { user: { id = '' } = {} } = await site.app.client.createUser({ user: { firstName: 'Hedy', email } });
    const { page, expectAccessible } = await open(['admin'], `#user=${id}`);
    const items = () => changes(page).getByRole('listitem').allTextContents();
    await expect.poll(items, pollTimeout).toEqual([expect.stringMatching(/^Created by key:test\d+ /)]);
    await button(page, 'Edit').click();
    await textbox(page, 'Last name').fill('Lamarr');
    await button(page, 'Save').click();
    await expect
      .poll(items, pollTimeout)
      .toEqual([expect.stringMatching(/^Updated by you/), expect.stringMatching(/^Created/)]);
    // While the panel is open, it follows.
    for (const lastName of ['a', 'b', 'c', 'd', 'e']) {
      await site.app.client.updateUser({ user: { id, lastName }, updateMask: ['last_name'] });
    }
    const updates = Array.from({ length: 5 }, () => expect.stringMatching(/^Updated by key:test\d+ /));
    await expect.poll(items, pollTimeout).toEqual(updates);
    await changes(page).getByRole('button', { name: 'Show more' }).click();
    await expect
      .poll(items, pollTimeout)
      .toEqual([...updates, expect.stringMatching(/^Updated by you/), expect.stringMatching(/^Created/)]);
    await expectAccessible();
  });
});
