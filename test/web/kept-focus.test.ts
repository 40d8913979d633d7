/** Tests in a real browser that the focus stays near a button that disappears when it is pressed. */
import type { Locator, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing, delayFrames, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const expectFocus = (element: Locator) =>
  expect.poll(() => element.evaluate((node) => node === document.activeElement), pollTimeout).toBe(true);
const dialog = (page: Page) => page.getByRole('dialog');
const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name, exact: true });
const filterOf = (text: string) => `#filter=${encodeURIComponent(text)}`;

describe.skipIf(browserMissing !== undefined)('the focus', () => {
  const site = useSite();

  beforeAll(async () => {
    await site.app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com', attributes: { a: 'b' } } });
  });

  async function open(hash: string): Promise<TestPage> {
    const opened = await site.open(hash);
    await opened.page.locator('[data-id]').first().waitFor();
    return opened;
  }

  it.each([
    ['the keyboard', (pressed: Locator) => pressed.press('Enter')],
    ['the mouse', (pressed: Locator) => pressed.click()],
  ])('goes to the columns after an import got all of them with %s', async (_, press) => {
    const { page, expectNoFaults } = await open('#dialog=import');
    const buffer = Buffer.from('email,Team\na@example.com,ops\n');
    await page.getByLabel('CSV file').setInputFiles({ name: 'u.csv', mimeType: 'text/csv', buffer });
    await press(button(page, 'Add it as an attribute'));
    await button(page, 'Add it as an attribute').waitFor({ state: 'detached' });
    await expectFocus(dialog(page).getByLabel('Field of email'));
    expectNoFaults();
  });

  it('stays among the views while one is renamed and deleted', async () => {
    const { page, expectNoFaults } = await open(filterOf('first_name != "x"'));
    await button(page, /^View: /).click();
    const name = dialog(page).getByRole('textbox', { name: 'Save as a new view' });
    await name.fill('Mine');
    await name.press('Enter');
    await dialog(page).waitFor({ state: 'detached' });
    await expectFocus(button(page, 'View: Mine'));
    await page.keyboard.press('Enter');
    await delayFrames(page);
    await button(page, 'Rename Mine').press('Enter');
    await page.keyboard.type('Ours');
    await page.keyboard.press('Enter');
    await button(page, 'Rename Ours').waitFor();
    await expectFocus(dialog(page).locator(':focus'));
    await button(page, 'Delete Ours…').press('Enter');
    await expectFocus(button(page, 'Delete Ours'));
    await page.keyboard.press('Enter');
    await button(page, 'Delete Ours').waitFor({ state: 'detached' });
    await expectFocus(dialog(page).locator(':focus'));
    expectNoFaults();
  });

  it('goes to the next value, then to the field, if the values of a filter are removed', async () => {
    const { page, expectNoFaults } = await open(filterOf('attributes.a in ["b", "c"]'));
    await button(page, /^a is one of/).press('Enter');
    await button(page, 'Remove b').press('Enter');
    await expectFocus(button(page, 'Remove c'));
    await page.keyboard.press('Enter');
    await expectFocus(dialog(page).getByRole('combobox', { name: 'Values' }));
    expectNoFaults();
  });

  it('goes to the filter button if the filters are cleared', async () => {
    const { page, expectNoFaults } = await open(filterOf('first_name != "x"'));
    await button(page, 'Clear').press('Enter');
    await button(page, 'Clear').waitFor({ state: 'detached' });
    await expectFocus(button(page, 'Filter'));
    expectNoFaults();
  });

  it('goes to the list if it can be loaded again', async () => {
    const { page } = await open('');
    await page.route('**/ListUsers', (route) => route.fulfill({ status: 500 }));
    await page.getByRole('searchbox').fill('ada');
    const retry = button(page, /again/i);
    await retry.waitFor();
    await page.unroute('**/ListUsers');
    await retry.press('Enter');
    await retry.waitFor({ state: 'detached' });
    await expectFocus(page.getByRole('main').locator(':focus'));
  });

  it('is not moved if somebody has clicked elsewhere before', async () => {
    const { page } = await open('#dialog=import');
    const buffer = Buffer.from('email,Team\na@example.com,ops\n');
    await page.getByLabel('CSV file').setInputFiles({ name: 'u.csv', mimeType: 'text/csv', buffer });
    await button(page, 'Another file').focus();
    await page.getByText('will be ignored').click();
    await button(page, 'Add it as an attribute').dispatchEvent('click');
    await button(page, 'Add it as an attribute').waitFor({ state: 'detached' });
    // Later than the page's timer.
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
    expect(await page.evaluate(() => document.activeElement?.matches('body, dialog'))).toBe(true);
  });
});
