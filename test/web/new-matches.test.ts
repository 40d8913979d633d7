/** Tests how users appear in a filtered list after they were created or changed so that they match, in a real browser. */
import type { Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { panel } from './panel.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
const filtered = (filter: string) => `#filter=${encodeURIComponent(filter)}`;
const sales = filtered('attributes.department == "Sales"');

const rows = (page: Page) => page.locator('[data-id]');
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const total = (page: Page) => page.locator('.total').textContent();
const pill = (page: Page) => page.getByRole('button', { name: /^Show .* new/ });
const bar = (page: Page) => page.getByRole('region', { name: 'Selection' });
const checked = (page: Page) => page.locator('[data-id] input:checked').count();

describe.skipIf(browserMissing !== undefined)('a list with a filter', () => {
  const site = useSite();
  beforeEach(site.clear);

  async function create(firstName: string, department?: string): Promise<User> {
    const attributes = department === undefined ? {} : { department };
    const email = `${firstName.toLowerCase()}@example.com`;
    const { user } = await site.app.client.createUser({ user: { firstName, email, attributes } });
    if (user === undefined) throw new Error('There is no user in the answer.');
    return user;
  }

  async function createMany(count: number, department: string): Promise<void> {
    await site.app.client.importAllUsers(
      Array.from({ length: count }, (_, at) => ({
        firstName: `U${at}`,
        email: `u${at}@example.com`,
        attributes: { department },
      })),
    );
  }

  const move = (id: string, department: string) =>
    site.app.client.updateUser({ user: { id, attributes: { department } }, updateMask: ['attributes.department'] });

  async function open(hash: string, options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(hash, options);
    await expect.poll(() => opened.page.locator('.sign').getAttribute('data-state'), pollTimeout).toBe('live');
    return opened;
  }

  async function fillNewUser(page: Page, firstName: string): Promise<void> {
    await page.keyboard.press('n');
    await page.getByRole('textbox', { name: 'First name' }).fill(firstName);
    await page.getByRole('textbox', { name: 'Email' }).fill(`${firstName.toLowerCase()}@example.com`);
  }

  it('shows users that others create or change so that they match, and the count agrees', async () => {
    await createMany(3, 'Sales');
    const moved = await create('Moved', 'Support');
    const { page, expectNoFaults } = await open(sales);
    await expect.poll(() => total(page), pollTimeout).toBe('3 matches');
    await create('Created', 'Sales');
    await create('Other', 'Support');
    await row(page, 'Created').waitFor();
    await move(moved.id, 'Sales');
    await row(page, 'Moved').waitFor();
    await expect.poll(() => total(page), pollTimeout).toBe('5 matches');
    expect(await rows(page).count()).toBe(5);
    await site.app.client.deleteUser({ id: moved.id });
    await expect.poll(() => total(page), pollTimeout).toBe('4 matches');
    expectNoFaults();
  });

  it('shows the first match in place of the text for no matches', async () => {
    await create('Other', 'Support');
    const { page, expectNoFaults } = await open(sales);
    await page.getByText('No user matches the filter.').waitFor();
    await create('Created', 'Sales');
    await row(page, 'Created').waitFor();
    await expect.poll(() => total(page), pollTimeout).toBe('1 match');
    expectNoFaults();
  });

  it('of more than a screen offers to show new matches, at the top of the list', async () => {
    const moved = await create('Moved', 'Support');
    await createMany(300, 'Sales');
    const { page, expectAccessible, expectNoFaults } = await open(sales);
    await expect.poll(() => total(page), pollTimeout).toBe('300 matches');
    // The list is read up to its end, so that the page knows that no other row is the user's.
    await page.locator('[role=grid]').evaluate((grid) => {
      grid.scrollTop = grid.scrollHeight;
    });
    await row(page, 'U0').last().waitFor();
    await create('Created', 'Sales');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 1 new match');
    await move(moved.id, 'Sales');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 2 new matches, newest update first');
    await expect.poll(() => total(page), pollTimeout).toBe('302 matches');
    await expectAccessible();
    await move(moved.id, 'Support');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 1 new match, newest update first');
    await move(moved.id, 'Sales');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 2 new matches, newest update first');
    await pill(page).click();
    await row(page, 'Moved').waitFor();
    const first = await rows(page).evaluateAll((all) => all.slice(0, 2).map((each) => each.textContent));
    expect(first).toEqual([expect.stringContaining('Moved'), expect.stringContaining('Created')]);
    expect(await pill(page).count()).toBe(0);
    await expect.poll(() => total(page), pollTimeout).toBe('302 matches');
    // The button also leads to the top if the order stays.
    await page.locator('[role=grid]').evaluate((grid) => {
      grid.scrollTop = 2_000;
    });
    await expect.poll(() => page.evaluate(() => history.state?.top?.row), pollTimeout).toBeGreaterThan(20);
    await create('Third', 'Sales');
    await pill(page).click();
    await row(page, 'Third').waitFor();
    expectNoFaults();
  });

  it('says that new matches need another order, and leaves the saved view if it has one', async () => {
    await createMany(300, 'Sales');
    const { page, expectNoFaults } = await open(`${sales}&order_by=email&name=Sellers`);
    const view = (name: string) => page.getByRole('button', { name: `View: ${name}`, exact: true });
    await expect.poll(() => total(page), pollTimeout).toBe('300 matches');
    await view('Sellers').waitFor();
    await create('Zoe', 'Sales');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 1 new match, newest first');
    await pill(page).click();
    await row(page, 'Zoe').waitFor();
    await view('All users').waitFor();
    const { hash } = new URL(page.url());
    expect(hash).toBe(sales.replaceAll('%20', '+'));
    await page.goBack();
    await view('Sellers').waitFor();
    // Nothing of the view changes in its own order.
    await page.goto(`${site.app.http}/${sales}&name=Sellers`);
    await row(page, 'Zoe').waitFor();
    await page.locator('[role=grid]').evaluate((grid) => {
      grid.scrollTop = 2_000;
    });
    await create('Yan', 'Sales');
    await expect.poll(() => pill(page).textContent(), pollTimeout).toBe('Show 1 new match');
    await pill(page).click();
    await row(page, 'Yan').waitFor();
    await view('Sellers').waitFor();
    expectNoFaults();
  });

  it('does not keep a user that the page has created and that does not match', async () => {
    await createMany(3, 'Sales');
    const { page, expectAccessible, expectNoFaults } = await open(
      filtered('attributes.department in ["Sales", "Law"]'),
    );
    await expect.poll(() => total(page), pollTimeout).toBe('3 matches');
    await fillNewUser(page, 'Own');
    await page.keyboard.press('Enter');
    await row(page, 'Own').getByText('Does not match').waitFor();
    expect(await total(page)).toBe('3 matches');
    expect(
      await panel(page)
        .getByText(/^\d+ of \d+$/)
        .count(),
    ).toBe(0);
    await expectAccessible();
    await row(page, 'Own').waitFor({ state: 'detached' });
    // Its panel stays.
    await panel(page).getByRole('heading', { name: 'Own' }).waitFor();
    expect(await total(page)).toBe('3 matches');
    expectNoFaults();
  });

  it('gives a new user the values of the filter, which its form can change', async () => {
    await createMany(3, 'Sales');
    const both = 'attributes.department == "Sales" && attributes.level == 5 && first_name != "Nobody"';
    await create('Senior', 'Sales');
    const { page, expectAccessible, expectNoFaults } = await open(filtered(both));
    await page.getByText('No user matches the filter.').waitFor();
    await page.keyboard.press('n');
    await expect.poll(() => panel(page).getByLabel('Value of department').inputValue(), pollTimeout).toBe('Sales');
    expect(await panel(page).getByLabel('Value of level').inputValue()).toBe('5');
    expect(await panel(page).getByLabel('Type of level').inputValue()).toBe('number');
    await expectAccessible();
    // Nothing was typed, so nothing is lost.
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
    await fillNewUser(page, 'Own');
    await page.keyboard.press('Enter');
    await row(page, 'Own').waitFor();
    await expect.poll(() => total(page), pollTimeout).toBe('1 match');
    const { user } = await site.app.client.getUserByEmail({ email: 'own@example.com' });
    expect(user?.attributes).toEqual({ department: 'Sales', level: 5 });
    expectNoFaults();
  });

  it('counts a user that the page has created and that matches', async () => {
    await createMany(3, 'Sales');
    const { page, expectNoFaults } = await open('#query=example');
    await expect.poll(() => total(page), pollTimeout).toBe('3 matches');
    await fillNewUser(page, 'Own');
    await page.keyboard.press('Enter');
    await row(page, 'Own').waitFor();
    await expect.poll(() => total(page), pollTimeout).toBe('4 matches');
    await panel(page).getByText('1 of 4').waitFor();
    expect(await page.getByText('Does not match').count()).toBe(0);
    expectNoFaults();
  });

  it.each(['all', 'each'])(
    'leaves a row out of the selection that no longer matches, with %s selected',
    async (how) => {
      await createMany(5, 'Sales');
      const { page, expectNoFaults } = await open(sales);
      await row(page, 'U2').getByRole('checkbox').check();
      if (how === 'all') {
        await bar(page).getByRole('button', { name: 'Select all 5' }).click();
        // Then its row is not counted twice as not selected.
        await row(page, 'U1').getByRole('checkbox').uncheck();
      } else await row(page, 'U3').getByRole('checkbox').check();
      const id = (await row(page, how === 'all' ? 'U1' : 'U2').getAttribute('data-id')) ?? '';
      const left = how === 'all' ? [4, '4'] : [1, '1'];
      await move(id, 'Support');
      await page.getByText('No longer matches').waitFor();
      await expect.poll(() => bar(page).locator('strong').textContent(), pollTimeout).toMatch(`${left[1]} selected`);
      expect(await checked(page)).toBe(left[0]);
      await row(page, how === 'all' ? 'U1' : 'U2').waitFor({ state: 'detached' });
      expect(await checked(page)).toBe(left[0]);
      expectNoFaults();
    },
  );

  it('unchecks a row that leaves while all matches are selected', async () => {
    await createMany(5, 'Sales');
    const { page, expectNoFaults } = await open(sales);
    await row(page, 'U2').getByRole('checkbox').check();
    await bar(page).getByRole('button', { name: 'Select all 5' }).click();
    await move((await row(page, 'U1').getAttribute('data-id')) ?? '', 'Support');
    await page.getByText('No longer matches').waitFor();
    const seen = await page.evaluate(() => ({
      checked: document.querySelectorAll('[data-id] input:checked').length,
      text: document.querySelector('.selection-bar strong')?.textContent,
    }));
    expect(seen).toEqual({ checked: 4, text: 'All 4 selected' });
    expectNoFaults();
  });

  it('does not select a user again who was unchecked, left and came back while all are selected', async () => {
    await createMany(5, 'Sales');
    const { page, expectNoFaults } = await open(sales);
    await row(page, 'U2').getByRole('checkbox').check();
    await bar(page).getByRole('button', { name: 'Select all 5' }).click();
    const id = (await row(page, 'U1').getAttribute('data-id')) ?? '';
    await row(page, 'U1').getByRole('checkbox').uncheck();
    await move(id, 'Support');
    await row(page, 'U1').waitFor({ state: 'detached' });
    const text = () => bar(page).locator('strong').textContent();
    await expect.poll(text, pollTimeout).toMatch('4 selected');
    await move(id, 'Sales');
    await row(page, 'U1').waitFor();
    expect(await row(page, 'U1').getByRole('checkbox').isChecked()).toBe(false);
    await expect.poll(text, pollTimeout).toMatch('4 selected');
    expectNoFaults();
  });

  it('lets nobody select a row that is about to leave', async () => {
    await createMany(5, 'Sales');
    const { page, expectNoFaults } = await open(sales);
    await move((await row(page, 'U1').getAttribute('data-id')) ?? '', 'Support');
    await page.getByText('No longer matches').waitFor();
    await row(page, 'U1').getByRole('checkbox').click({ force: true });
    await row(page, 'U1').waitFor({ state: 'detached' });
    expect(await bar(page).count()).toBe(0);
    expectNoFaults();
  });

  it('selects nobody of the next query while the rows are those of the one before', async () => {
    await createMany(5, 'Sales');
    const { page, expectNoFaults } = await open(sales);
    let release = () => {};
    const isReleased = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/ListUsers*', async (request) => {
      await isReleased;
      await request.continue();
    });
    await page.evaluate((hash) => {
      location.hash = hash;
    }, filtered('attributes.department != ""'));
    const all = page.getByRole('checkbox', { name: /^Select all/ });
    await expect.poll(() => all.isDisabled(), pollTimeout).toBe(true);
    await row(page, 'U1').focus();
    await page.keyboard.press('Control+A');
    await row(page, 'U1').getByRole('checkbox').check();
    expect(
      await bar(page)
        .getByRole('button', { name: /^Select all/ })
        .count(),
    ).toBe(0);
    expect(await bar(page).locator('strong').textContent()).toBe('1 selected');
    release();
    await bar(page).getByRole('button', { name: 'Select all 5' }).waitFor();
    expectNoFaults();
  });

  it('without matches says that the next filter is invalid, as after a fresh start', async () => {
    await createMany(3, 'Sales');
    const { page, expectAccessible, expectNoFaults } = await open(filtered('attributes.level > "5"'));
    await page.getByText('No user matches the filter.').waitFor();
    await page.evaluate((hash) => {
      location.hash = hash;
    }, filtered('atributes.level == 5'));
    await page.getByRole('heading', { name: 'This filter is invalid' }).waitFor();
    expect(await page.getByRole('grid').count()).toBe(0);
    await expectAccessible();
    await page.getByRole('button', { name: 'Show all users' }).click();
    await row(page, 'U0').waitFor();
    expectNoFaults();
  });
});
