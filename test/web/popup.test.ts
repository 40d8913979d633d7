/** Tests the panels that open below a button in a real browser: what closes them, and where the focus goes. */
import type { Locator, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const hasFocus = (element: Locator) => element.evaluate((node) => node === document.activeElement);
const expectFocus = (element: Locator) => expect.poll(() => hasFocus(element), pollTimeout).toBe(true);

const columns = (page: Page) => page.getByRole('button', { name: 'Columns and density' });
const views = (page: Page) => page.getByRole('button', { name: /^View: / });
const filter = (page: Page) => page.getByRole('button', { name: 'Filter', exact: true });
const chip = (page: Page, name: RegExp) => page.getByRole('button', { name });
const options = (page: Page) => page.getByRole('button', { name: 'Options of the column Email' });
const dialog = (page: Page) => page.getByRole('dialog');
const palette = (page: Page) => page.getByRole('dialog', { name: 'Commands' });

describe.skipIf(browserMissing !== undefined)('a panel below a button', () => {
  const site = useSite();
  const chips = `#filter=${encodeURIComponent('first_name != "x" && last_name != "y"')}`;

  beforeAll(async () => {
    await site.app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
  });

  async function open(hash = ''): Promise<TestPage> {
    const opened = await site.open(hash);
    await opened.page.locator('[data-id]').first().waitFor();
    return opened;
  }

  it.each([
    ['the columns', columns, 'dialog'],
    ['the views', views, 'dialog'],
    ['a new filter', filter, 'dialog'],
    ['a filter', (page: Page) => chip(page, /^First name/), 'dialog'],
    ['a column', options, 'menu'],
  ] as const)(
    'of %s gives the focus back, and closes by its button, Escape or a click elsewhere',
    async (_, button, role) => {
      const { page, expectNoFaults } = await open(chips);
      const panel = page.getByRole(role);
      const show = async () => {
        await button(page).click();
        await panel.waitFor();
        await expectFocus(panel.locator(':focus'));
      };
      await show();
      await page.keyboard.press('Escape');
      await panel.waitFor({ state: 'detached' });
      await expectFocus(button(page));
      await show();
      await button(page).click();
      await panel.waitFor({ state: 'detached' });
      await expectFocus(button(page));
      await show();
      await page.locator('.brand').click();
      await panel.waitFor({ state: 'detached' });
      await show();
      const search = page.getByRole('searchbox', { name: 'Search by name or email' });
      await search.focus();
      await panel.waitFor({ state: 'detached' });
      await expectFocus(search);
      expectNoFaults();
    },
  );

  it.each([
    ['the columns', columns],
    ['a new filter', filter],
    ['a column', options],
  ])('of %s makes room for the commands, which give the focus back to the button', async (_, button) => {
    const { page, expectNoFaults } = await open(chips);
    await button(page).click();
    await page.locator(':popover-open').waitFor();
    await page.keyboard.press('Control+k');
    await palette(page).waitFor();
    expect(await page.locator('.popup').count()).toBe(0);
    await page.keyboard.press('Escape');
    await palette(page).waitFor({ state: 'detached' });
    await expectFocus(button(page));
    expectNoFaults();
  });

  it('is replaced by that of another filter with one click', async () => {
    const { page, expectNoFaults } = await open(chips);
    await chip(page, /^First name/).click();
    await page.getByRole('dialog', { name: 'Filter by First name' }).waitFor();
    await chip(page, /^Last name/).click();
    await page.getByRole('dialog', { name: 'Filter by Last name' }).waitFor();
    expect(await dialog(page).count()).toBe(1);
    await expectFocus(dialog(page).getByRole('combobox', { name: 'Values' }));
    expectNoFaults();
  });

  it('moves the focus with the arrow keys, but not in a field that uses them', async () => {
    const { page } = await open(chips);
    await views(page).click();
    const name = dialog(page).getByRole('textbox', { name: 'Save as a new view' });
    await name.fill('abc');
    await page.keyboard.press('Home');
    await page.keyboard.type('x');
    expect(await name.inputValue()).toBe('xabc');
    await page.keyboard.press('ArrowDown');
    await expectFocus(dialog(page).getByRole('button', { name: 'Save', exact: true }));
    await page.keyboard.press('Escape');
    await chip(page, /^First name/).click();
    const operator = dialog(page).getByRole('combobox', { name: 'Operator' });
    await operator.focus();
    await page.keyboard.press('ArrowDown');
    await expectFocus(operator);
  });
});
