/** Tests in a real browser the search of a text in more attributes than a filter has room for. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const names = async (page: Page) =>
  (await page.locator('[data-id] .cell-name a').allTextContents()).map((name) => name.trim());
const chip = (page: Page) => page.locator('[data-chip]').first();
const searchFor = async (page: Page, text: string) => {
  await page.getByRole('searchbox').fill(text);
  await page.getByRole('button', { name: `Search attributes for “${text}”` }).click();
};

describe.skipIf(browserMissing !== undefined)('a text in many attributes', () => {
  const site = useSite();

  beforeAll(async () => {
    const frequent = Array.from({ length: 7 }, (_, at) => [`attribute${at}`, 'x']);
    const rare = Array.from({ length: 20 }, (_, at) => [`rare_attribute_${String(at).padStart(2, '0')}`, 'x']);
    const people: [string, Record<string, unknown>][] = [
      // The newest users are the first of the sample, so this attribute is its last one.
      ['Ada', { address: { street: 'Hauptstraße 1' }, leave: 'seldom' }],
      ['Alan', { address: { street: 'Lindenweg 2' }, ...Object.fromEntries(rare) }],
      ['Grace', { address: { street: 'Am Markt 3' }, notes: 'Works in the afternoon' }],
    ];
    for (const [firstName, attributes] of people) {
      const user = {
        firstName,
        email: `${firstName}@example.com`,
        attributes: { ...Object.fromEntries(frequent), ...attributes },
      };
      await site.app.client.createUser({ user });
    }
  });

  it('is found in attributes that few have, and in nested ones', async () => {
    const { page, expectNoFaults } = await site.open();
    await searchFor(page, 'Hauptstraße');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada']);
    expectNoFaults();
  });

  it('names the attributes that a filter has no room for, and searches them', async () => {
    const { page, expectAccessibleIn, expectNoFaults } = await site.open();
    await searchFor(page, 'seldom');
    const notSearched = page.getByText('Not searched:');
    await notSearched.waitFor();
    await page.getByText('The page knows only the attributes of a sample of 3 users.').waitFor();
    expect(await page.getByText('distinguishes accents').count()).toBe(0);
    await expect
      .poll(() => chip(page).textContent(), pollTimeout)
      .toMatch(/^Any of \d+ of 30 attributes contains seldom$/);
    await expectAccessibleIn(['light', 'dark']);
    await page.getByRole('button', { name: 'Search these attributes' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada']);
    await page.reload();
    await expect
      .poll(() => chip(page).textContent(), pollTimeout)
      .toMatch(/^Any of \d+ of 30 attributes contains seldom$/);
    expectNoFaults();
  });

  it('can be searched in all sampled attributes, in those without room, and in any other', async () => {
    const { page, expectAccessibleIn, expectNoFaults } = await site.open();
    await page.getByRole('button', { name: 'Filter', exact: true }).click();
    await page.getByRole('combobox', { name: 'Filter by' }).fill('Text in any');
    await page.getByRole('option', { name: 'Text in any attribute' }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Value', exact: true }).fill('seldom');
    expect(await page.getByRole('dialog').getByRole('checkbox').count()).toBe(30);
    await page.getByText('A filter has room for').waitFor();
    await expectAccessibleIn(['light', 'dark']);
    await page.getByRole('textbox', { name: 'Search in another attribute' }).fill('contact.note');
    await page.keyboard.press('Enter');
    await page.getByRole('checkbox', { name: 'contact › note' }).waitFor();
    await page.getByRole('button', { name: 'Choose these' }).click();
    await page.getByRole('button', { name: 'Add filter' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada']);
    expectNoFaults();
  });
});
