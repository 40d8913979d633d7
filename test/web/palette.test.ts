/** Tests the command palette, the keyboard help and the tab's title in a real browser, against the whole application. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { keys } from '../../web/commands/keys.js';
import { browserMissing, delayFrames, type OpenOptions, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const palette = (page: Page) => page.getByRole('dialog', { name: 'Commands' });
const field = (page: Page) => palette(page).getByRole('combobox');
const options = (page: Page) => palette(page).getByRole('option').allTextContents();
const active = (page: Page) => palette(page).locator('[aria-selected=true]').textContent();
const hash = (page: Page) => new URL(page.url()).hash;

describe.skipIf(browserMissing !== undefined)('the command palette', () => {
  const site = useSite();
  let adaId: string;

  beforeAll(async () => {
    const create = async (firstName: string, lastName: string, attributes = {}) => {
      const email = `${firstName}@example.com`.toLowerCase();
      const { user } = await site.app.client.createUser({ user: { firstName, lastName, email, attributes } });
      return user?.id ?? '';
    };
    adaId = await create('Ada', 'Lovelace');
    await create('Grace', 'Hopper', { department: 'Navy' });
  });

  async function open(at = '', openOptions?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(at, openOptions);
    await opened.page.getByRole('main').waitFor();
    return opened;
  }

  async function openPalette(page: Page): Promise<void> {
    await page.keyboard.press('Control+k');
    await field(page).waitFor();
  }

  it('opens with Ctrl+K, lists the commands, and gives the focus back', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await page.keyboard.press('/');
    await openPalette(page);
    expect(await options(page)).toEqual(
      expect.arrayContaining(['New usern', 'Import users', 'Export users', 'Metrics', 'Search the list/']),
    );
    await expectAccessible();
    await page.keyboard.press('ArrowUp');
    const last = (await options(page)).at(-1);
    expect(await active(page)).toBe(last);
    await page.keyboard.press('Escape');
    await palette(page).waitFor({ state: 'detached' });
    expect(await page.evaluate(() => document.activeElement?.getAttribute('type'))).toBe('search');
    expectNoFaults();
  });

  it('opens with Ctrl+K directly after Escape in the menu, even if frames and timers are late', async () => {
    const { page, expectNoFaults } = await open();
    await page.locator('.sign[data-state=live]').waitFor();
    const { promise: pressed, resolve } = Promise.withResolvers<void>();
    await page.route(/palette-/, (route) => pressed.then(() => route.continue()));
    await delayFrames(page);
    const more = page.getByRole('button', { name: 'More', exact: true });
    await more.focus();
    for (const key of ['Enter', 'Escape', 'Control+k']) await page.keyboard.press(key);
    resolve();
    await field(page).waitFor();
    await page.keyboard.press('Escape');
    await palette(page).waitFor({ state: 'detached' });
    await expect.poll(() => more.evaluate((button) => button === document.activeElement), pollTimeout).toBe(true);
    expect(await page.getByRole('menu').count()).toBe(0);
    expectNoFaults();
  });

  it('finds a person while typing, and opens the person with Enter', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await openPalette(page);
    await page.keyboard.type('lovel');
    await expect.poll(() => active(page), pollTimeout).toContain('Ada Lovelace');
    await expectAccessible();
    await page.keyboard.press('Enter');
    await expect.poll(() => hash(page), pollTimeout).toBe(`#user=${adaId}`);
    await expect.poll(() => page.title(), pollTimeout).toBe('Ada Lovelace · Roster');
    await page.goBack();
    await expect.poll(() => page.title(), pollTimeout).toBe('Users · Roster');
    expectNoFaults();
  });

  it('searches the list for the words', async () => {
    const { page } = await open('#view=metrics');
    await openPalette(page);
    await page.keyboard.type('hopper');
    await expect.poll(() => options(page), pollTimeout).toHaveLength(2);
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await expect.poll(() => hash(page), pollTimeout).toBe('#query=hopper');
    await page.locator('[data-id]', { hasText: 'Grace' }).waitFor();
  });

  it('offers to search the attributes for words that nobody has in the name or the email', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#view=metrics');
    await openPalette(page);
    await page.keyboard.type('navy');
    await palette(page).getByRole('option', { name: 'Search attributes for “navy”' }).waitFor();
    expect(await options(page)).toEqual(['Search attributes for “navy”', 'Search the list for “navy”']);
    await expectAccessible();
    await page.keyboard.press('Enter');
    await expect.poll(() => hash(page), pollTimeout).toContain('#filter=');
    await expect.poll(() => page.locator('[data-id]').count(), pollTimeout).toBe(1);
    await page.locator('[data-id]', { hasText: 'Grace' }).waitFor();
    expectNoFaults();
  });

  it('runs commands that their words find', async () => {
    const { page, expectNoFaults } = await open();
    await openPalette(page);
    await page.keyboard.type('dark');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.evaluate(() => document.documentElement.dataset.theme)).toBe('dark');
    await openPalette(page);
    await page.keyboard.type('download');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: /Export/ }).waitFor();
    expect(await page.title()).toBe('Export users · Roster');
    // The dialog may contain something unsaved, so the palette does not open over it.
    await page.keyboard.press('Control+k');
    expect(await palette(page).count()).toBe(0);
    await page.keyboard.press('Escape');
    await openPalette(page);
    await page.keyboard.type('charts');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.title(), pollTimeout).toBe('Metrics · Roster');
    expectNoFaults();
  });

  it('first offers the actions for the open user', async () => {
    const context = { permissions: ['clipboard-read', 'clipboard-write'] };
    const { page, expectAccessible, expectNoFaults } = await open(`#user=${adaId}`, { context });
    const panel = page.getByRole('complementary');
    await panel.getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    await openPalette(page);
    const offered = ['Edit Ada Lovelace', 'Copy email', 'Copy ID', 'Delete Ada Lovelace…'];
    expect((await options(page)).slice(0, 5)).toEqual([...offered, 'New usern']);
    await expectAccessible();
    await page.keyboard.type('copy');
    await expect.poll(() => active(page), pollTimeout).toBe('Copy email');
    await page.keyboard.press('Enter');
    await page.getByText('Copied the email.').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('ada@example.com');
    await openPalette(page);
    await page.keyboard.type('erase');
    await page.keyboard.press('Enter');
    await panel.getByRole('heading', { name: 'Delete Ada Lovelace?' }).waitFor();
    await panel.getByRole('button', { name: 'Keep' }).click();
    await openPalette(page);
    await page.keyboard.type('edit');
    await page.keyboard.press('Enter');
    await panel.getByLabel('First name').waitFor();
    // The form has its own buttons.
    await openPalette(page);
    expect((await options(page)).slice(0, 3)).toEqual(['Copy email', 'Copy ID', 'New usern']);
    await page.keyboard.press('Escape');
    await panel.getByRole('button', { name: 'Close' }).click();
    await panel.waitFor({ state: 'detached' });
    await openPalette(page);
    expect((await options(page))[0]).toBe('New usern');
    expectNoFaults();
  });

  it('first offers the actions for the selected users', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const bar = page.getByRole('region', { name: 'Selection' });
    await page.getByRole('row', { name: 'Ada' }).getByRole('checkbox').click();
    await page.getByRole('row', { name: 'Grace' }).getByRole('checkbox').click();
    await bar.getByText('2 selected').waitFor();
    await openPalette(page);
    expect((await options(page)).slice(0, 5)).toEqual([
      'Export 2 selected…',
      'Change attribute of 2 selected…',
      'Delete 2 selected…',
      'Clear selection',
      'New usern',
    ]);
    await expectAccessible();
    await page.keyboard.type('set attr');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Change an attribute of 2 users' });
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await openPalette(page);
    await page.keyboard.type('clear');
    await page.keyboard.press('Enter');
    await bar.waitFor({ state: 'detached' });
    await openPalette(page);
    expect((await options(page))[0]).toBe('New usern');
    expectNoFaults();
  });

  it('focuses the search', async () => {
    const { page } = await open();
    await openPalette(page);
    await page.keyboard.type('search');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('type'))).toBe('search');
  });

  it('starts a filter, also with f', async () => {
    const { page, expectNoFaults } = await open();
    const fields = page.getByRole('dialog', { name: 'Add a filter' });
    await openPalette(page);
    await page.keyboard.type('filter');
    await page.keyboard.press('Enter');
    await fields.waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.filter-bar').waitFor({ state: 'detached' });
    await page.keyboard.press('f');
    await fields.waitFor();
    expectNoFaults();
  });

  it('says if the search for users fails', async () => {
    const { page, expectAccessible } = await open();
    await page.route('**/ListUsers', (route) => route.abort());
    await openPalette(page);
    await page.keyboard.type('zzz');
    await palette(page).getByText('Cannot search for users').first().waitFor();
    await expectAccessible();
  });

  it('opens from the menu on a phone', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('', { width: 390, height: 800 });
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'All commands' }).click();
    await field(page).waitFor();
    await expectAccessible();
    await palette(page).getByRole('option', { name: 'New user' }).click();
    await expect.poll(() => hash(page), pollTimeout).toBe('#user=new');
    await expect.poll(() => page.title(), pollTimeout).toBe('New user · Roster');
    expectNoFaults();
  });

  it('shows every key on ?', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await page.keyboard.press('?');
    const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await help.waitFor();
    expect(await help.getByRole('term').allTextContents()).toEqual(
      expect.arrayContaining(keys.map(({ effect }) => effect)),
    );
    expect(await help.getByText('Ctrl+K').count()).toBe(1);
    await expectAccessible();
    await page.keyboard.press('Escape');
    await help.waitFor({ state: 'detached' });
    expectNoFaults();
  });
});
