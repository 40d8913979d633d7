/** Tests filters by attributes that so few users have that the page's sample lacks them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

describe.skipIf(browserMissing !== undefined)('an attribute that no sampled user has', () => {
  const site = useSite();

  beforeAll(async () => {
    const others = (from: number, count: number) =>
      Array.from({ length: count }, (_, at) => ({ firstName: 'New', email: `new${from + at}@example.com` }));
    // The sample has the oldest and the newest users, and the first ones by email from some letters on.
    await site.app.client.importAllUsers(others(0, 120));
    for (const [name, days] of [
      ['Ada', 20],
      ['Grace', 30],
    ] as const) {
      const user = { firstName: name, email: `old.${name}@example.com`, attributes: { leave_days: days } };
      await site.app.client.createUser({ user });
    }
    await site.app.client.importAllUsers(others(120, 320));
  });

  it.each([
    ['typed as the field', '', '30', ['Grace']],
    ['in the menu of its column', '#columns=name,attributes.leave_days', '20', ['Ada']],
    ['that nobody has', '', 'x', []],
  ])('filters by its kind: %s', async (_, hash, value, found) => {
    const { page, expectNoFaults } = await site.open(hash);
    await page.locator('[data-id]').first().waitFor();
    if (hash === '') {
      await page.getByRole('button', { name: 'Filter', exact: true }).click();
      const key = found.length > 0 ? 'leave_days' : 'nothing_like_this';
      await page.getByRole('combobox', { name: 'Filter by' }).fill(key);
      await page.getByRole('option', { name: `Attribute “${key}”` }).waitFor();
      await page.keyboard.press('Enter');
    } else {
      await page.getByRole('button', { name: 'Options of the column leave_days' }).click();
      await page.getByRole('menuitem', { name: /^Filter by this column/ }).click();
    }
    await page.getByRole('combobox', { name: 'Operator' }).waitFor();
    const operators = await page.getByRole('combobox', { name: 'Operator' }).locator('option').allTextContents();
    expect(operators.includes('is at least')).toBe(found.length > 0);
    await page.keyboard.type(value);
    await page.keyboard.press('Enter');
    const names = () => page.locator('[data-id] .cell-name a').allTextContents();
    await expect.poll(async () => (await names()).map((name) => name.trim()), pollTimeout).toEqual(found);
    expectNoFaults();
  });
});
