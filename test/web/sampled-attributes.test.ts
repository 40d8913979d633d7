/** Tests that the page knows the attributes of all groups of users, not only those of the newest. */
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

describe.skipIf(browserMissing !== undefined)('after the import of many users with other attributes', () => {
  const site = useSite();

  beforeAll(async () => {
    const users = (count: number, prefix: string, attributes: (at: number) => Record<string, unknown>) =>
      Array.from({ length: count }, (_, at) => ({
        firstName: 'User',
        email: `${prefix}${at}@example.com`,
        attributes: attributes(at),
      }));
    await site.app.client.importAllUsers(users(400, 'b', (at) => ({ department: at % 2 === 0 ? 'Sales' : 'Legal' })));
    await site.app.client.importAllUsers(users(320, 'x', () => ({ cohort: 'C7' })));
  });

  it('filters by the attributes of older users, with their values', async () => {
    const { page, expectNoFaults } = await site.open();
    await page.locator('[data-id]').first().waitFor();
    await page.getByRole('button', { name: 'Filter', exact: true }).click();
    await page.getByRole('option', { name: /^department/ }).click();
    await page.getByRole('option', { name: /^Legal/ }).waitFor();
    expectNoFaults();
  });

  it('offers their columns, and those of attributes with a given name', async () => {
    const { page, expectNoFaults } = await site.open();
    await page.locator('[data-id]').first().waitFor();
    await page.getByRole('button', { name: 'Columns and density' }).click();
    await page.getByRole('checkbox', { name: 'department' }).check();
    const titles = () => page.getByRole('columnheader').allInnerTexts();
    await expect.poll(titles, pollTimeout).toContainEqual(expect.stringMatching(/^department/));
    await page.getByRole('searchbox', { name: 'Find a column' }).fill('desk number');
    await page.getByRole('button', { name: 'Show the attribute “desk number”' }).click();
    await expect.poll(titles, pollTimeout).toContainEqual(expect.stringMatching(/^desk number/));
    expect(await page.getByRole('checkbox', { name: 'desk number' }).isChecked()).toBe(true);
    expectNoFaults();
  });

  it('reads them once for all parts of the page, and again after a change by the page', async () => {
    const { page, expectNoFaults } = await site.open('#query=b1%40example.com');
    let samples = 0;
    page.on('request', (request) => {
      const isSample = request.url().endsWith('/ListUsers') && request.postData()?.includes('"pageSize":300');
      if (isSample === true) samples++;
    });
    await page.getByRole('button', { name: 'Columns and density' }).click();
    await page.getByRole('checkbox', { name: 'department' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Filter', exact: true }).click();
    await page.getByRole('option', { name: /^department/ }).waitFor();
    await page.keyboard.press('Escape');
    await page.locator('[data-id]').click();
    const panel = page.getByRole('complementary');
    const edit = panel.getByRole('button', { name: 'Edit', exact: true });
    await edit.click();
    const department = panel.getByRole('combobox', { name: 'Value of department' });
    await department.waitFor();
    expect(samples).toBe(1);
    await department.fill('Zoo');
    await department.press('Control+Enter');
    await edit.click();
    await expect.poll(() => samples, pollTimeout).toBe(2);
    expectNoFaults();
  });

  it('shows the columns that most users have from the second visit on, whatever the filter is', async () => {
    const { page, expectNoFaults } = await site.open();
    await page.locator('[data-id]').first().waitFor();
    const titles = async () => (await page.getByRole('columnheader').allInnerTexts()).map((title) => title.trim());
    expect(await titles()).not.toContain('department');
    await page.waitForFunction(() => localStorage.getItem('roster-attributes') !== null);
    expect(await titles()).not.toContain('department');
    for (const hash of ['', `#filter=${encodeURIComponent('attributes.cohort == "C7"')}`]) {
      await page.goto(`${site.app.http}/${hash}`);
      await page.reload();
      await page.locator('[data-id]').first().waitFor();
      expect(await titles()).toEqual(expect.arrayContaining(['cohort', 'department']));
    }
    expectNoFaults();
  });
});
