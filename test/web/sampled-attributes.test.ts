/** Tests that the page knows the attributes of all groups of users, not only those of the newest. */
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

describe.skipIf(browserMissing !== undefined)('the columns of the first visits', () => {
  const site = useSite();

  it('follow the attributes until there are more than a few users', async () => {
    const { client, http } = site.app;
    const add = (count: number, attributes: Record<string, string>) =>
      client.importAllUsers(
        Array.from({ length: count }, (_, at) => ({
          firstName: 'User',
          email: `${Object.keys(attributes)[0]}${at}@example.com`,
          attributes,
        })),
      );
    await add(1, { trial: 'yes' });
    const { page, expectNoFaults } = await site.open();
    const titles = async () => (await page.getByRole('columnheader').allInnerTexts()).map((title) => title.trim());
    await expect.poll(titles, pollTimeout).toContain('trial');
    await add(100, { team: 'Red' });
    await page.goto(`${http}/`);
    await page.reload();
    await expect.poll(titles, pollTimeout).toContain('team');
    await add(300, { floor: '1st' });
    await page.reload();
    await page.locator('[data-id]').first().waitFor();
    expect(await titles()).toContain('team');
    expect(await titles()).not.toContain('floor');
    expectNoFaults();
  });
});

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

  it('keeps the columns of the first visit after imports and reloads, until somebody chooses automatic ones again', async () => {
    const { page, expectNoFaults } = await site.open();
    const titles = async () => (await page.getByRole('columnheader').allInnerTexts()).map((title) => title.trim());
    await expect.poll(titles, pollTimeout).toContain('cohort');
    expect(await titles()).not.toContain('department');
    const hobbies = Array.from({ length: 150 }, (_, at) => ({
      firstName: 'New',
      email: `new${at}@example.com`,
      attributes: { hobby: 'chess' },
    }));
    await site.app.client.importAllUsers(hobbies);
    for (const hash of ['', `#filter=${encodeURIComponent('attributes.department == "Legal"')}`, '']) {
      await page.goto(`${site.app.http}/${hash}`);
      await page.reload();
      await page.locator('[data-id]').first().waitFor();
      expect(await titles()).toContain('cohort');
      expect(await titles()).not.toContain('hobby');
      expect(await titles()).not.toContain('department');
    }
    await page.getByRole('button', { name: 'Columns and density' }).click();
    expect(await page.getByRole('checkbox', { name: 'hobby' }).isChecked()).toBe(false);
    await page.getByRole('button', { name: 'Choose columns automatically' }).click();
    const all = ['cohort', 'department', 'hobby'];
    await expect.poll(titles, pollTimeout).toEqual(expect.arrayContaining(all));
    await page.reload();
    await page.locator('[data-id]').first().waitFor();
    expect(await titles()).toEqual(expect.arrayContaining(all));
    expectNoFaults();
  });
});
