/** Tests the usual attributes in the form of a new user, in a real browser. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing } from './browser.js';
import { button, field, panel } from './panel.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

describe.skipIf(browserMissing !== undefined)('the form of a new user', () => {
  const site = useSite();

  beforeAll(async () => {
    const rare = { shoe_size: 40 };
    for (const number of [1, 2, 3, 4, 5]) {
      const attributes = {
        department: 'Research',
        floor: number,
        remote: number > 2,
        since: '2024-03-01',
        address: { city: 'London' },
        ...(number === 1 ? rare : {}),
      };
      const email = `usual${number}@example.com`;
      await site.app.client.createUser({ user: { firstName: 'Ada', lastName: 'Lovelace', email, attributes } });
    }
  });

  async function withEmail(email: string): Promise<User | undefined> {
    return (await site.app.client.getUserByEmail({ email })).user;
  }

  it('has rows for the attributes that most users have, and stores only those with a value', async () => {
    const { page, expectAccessible, expectNoFaults } = await site.open('#user=new');
    await panel(page).getByLabel('Value of since').waitFor();
    expect(await panel(page).locator('.attribute-key').allTextContents()).toEqual([
      'department',
      'floor',
      'remote',
      'since',
    ]);
    expect(await panel(page).getByLabel('Type of floor').inputValue()).toBe('number');
    expect(await panel(page).getByLabel('Value of since').getAttribute('type')).toBe('date');
    await panel(page).getByText('Not set').waitFor();
    await expectAccessible();

    await field(page, 'First name').fill('Grace');
    await field(page, 'Email').fill('grace@example.com');
    await panel(page).getByLabel('Value of floor').fill('7');
    await button(page, 'Create').click();
    await panel(page).getByRole('heading', { name: 'Grace' }).waitFor();
    expect((await withEmail('grace@example.com'))?.attributes).toEqual({ floor: 7 });
    expectNoFaults();
  });

  it('stores No if somebody chose it, and forgets a removed row', async () => {
    const { page } = await site.open('#user=new');
    const remote = panel(page).getByLabel('Value of remote');
    await remote.click();
    await remote.click();
    await panel(page).getByText('No', { exact: true }).waitFor();
    await button(page, 'Remove department').click();
    expect(await panel(page).getByLabel('Value of department').count()).toBe(0);
    await field(page, 'First name').fill('Alan');
    await field(page, 'Email').fill('alan@example.com');
    await button(page, 'Create').click();
    await panel(page).getByRole('heading', { name: 'Alan' }).waitFor();
    expect((await withEmail('alan@example.com'))?.attributes).toEqual({ remote: false });
  });

  it('does not ignore a day that is incomplete', async () => {
    const { page } = await site.open('#user=new');
    await panel(page).getByLabel('Value of since').focus();
    await page.keyboard.type('12');
    await button(page, 'Create').click();
    await panel(page).getByText('Choose a day.').waitFor();
    await page.keyboard.press('Escape');
    await panel(page).getByText('Discard your changes?').waitFor();
  });

  it('shows the problems of its attributes and of its fields at once', async () => {
    const { page } = await site.open('#user=new');
    await panel(page).getByLabel('Value of floor').fill('third');
    await field(page, 'Email').fill('alan');
    await field(page, 'Image URL').fill('alan.png');
    await button(page, 'Create').click();
    const problems = panel(page).locator('.error');
    await expect
      .poll(() => problems.allTextContents(), { timeout: 30_000 })
      .toEqual([
        'First name is required.',
        'Email must be one email address, like ada@example.com.',
        'Image URL must be an absolute http or https URL, or empty.',
        'Enter a number, such as 42, -1.5 or 50000.',
      ]);
    // The server uses the same words.
    await panel(page).getByLabel('Value of floor').fill('3');
    await button(page, 'Create').click();
    await panel(page).getByText('Enter a number').waitFor({ state: 'detached' });
    await expect
      .poll(() => problems.allTextContents(), { timeout: 30_000 })
      .toEqual([
        'First name is required.',
        'Email must be one email address, like ada@example.com.',
        'Image URL must be an absolute http or https URL, or empty.',
      ]);
  });

  it('closes without a question if nothing was typed', async () => {
    const { page } = await site.open('#user=new');
    await panel(page).getByLabel('Value of floor').waitFor();
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
    await page.keyboard.press('n');
    await panel(page).getByLabel('Value of floor').fill('3');
    await page.keyboard.press('Escape');
    await panel(page).getByText('Discard your changes?').waitFor();
  });

  it('does not ignore an incomplete day if the next field has the focus before the key is released', async () => {
    const { page } = await site.open('#user=new');
    await panel(page).getByLabel('Value of since').focus();
    await page.keyboard.down('1');
    await panel(page).getByLabel('First name').focus();
    await page.keyboard.up('1');
    await page.keyboard.press('Escape');
    await panel(page).getByText('Discard your changes?').waitFor();
  });

  it('does not wait for them, and keeps what is typed meanwhile in its place', async () => {
    const { page } = await site.open();
    await page.getByRole('row').nth(1).waitFor();
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route(/\/ListUsers/, async (route) => {
      await held;
      await route.continue();
    });
    await page.keyboard.press('n');
    await field(page, 'First name').fill('Katherine');
    await button(page, 'Add attribute').click();
    await panel(page).getByLabel('Key of attribute 1').fill('floor');
    const value = panel(page).getByLabel('Value of floor');
    await value.fill('12');
    const before = await value.boundingBox();
    answer();
    await panel(page).getByLabel('Value of department').waitFor();
    expect(await value.boundingBox()).toEqual(before);
    expect(await value.inputValue()).toBe('12');
    await expect.poll(() => value.evaluate((input) => input === document.activeElement), pollTimeout).toBe(true);
    expect(await panel(page).locator('.attribute-key').allTextContents()).toEqual(['department', 'remote', 'since']);
  });

  it.each([1280, 390])('shows a long name of an attribute in one line, at a width of %i', async (width) => {
    const { page } = await site.open('#user=new', { width });
    await panel(page).getByLabel('Value of floor').waitFor();
    await button(page, 'Add attribute').click();
    const key = panel(page).getByLabel(/^Key of/);
    await key.fill('emergency_contact_phone_number');
    expect(await key.evaluate((input) => input.scrollWidth - input.clientWidth)).toBeLessThanOrEqual(0);
  });
});
