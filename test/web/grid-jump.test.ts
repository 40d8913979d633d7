/** Tests jumps to rows of a long list that were not loaded, in a real browser and against the whole application. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 60_000 };
const usersMany = 20_000;

interface Shown {
  readonly row: number;
  /** Empty if the row is still loading. */
  readonly name: string;
}

/** The rows in view. */
function shown(page: Page): Promise<Shown[]> {
  return page.evaluate(() => {
    const grid = document.querySelector('[role=grid]');
    const { top = 0, bottom = 0 } = grid?.getBoundingClientRect() ?? {};
    const head = grid?.querySelector('.grid-head')?.clientHeight ?? 0;
    return [...document.querySelectorAll<HTMLElement>('[role=row][data-row]')]
      .filter((row) => {
        const box = row.getBoundingClientRect();
        return box.top >= top + head - 1 && box.bottom <= bottom + 1;
      })
      .map((row) => ({ row: Number(row.dataset.row), name: row.querySelector('a')?.textContent?.trim() ?? '' }));
  });
}

/** The rows in view after all of them are loaded. */
async function loaded(page: Page): Promise<Shown[]> {
  let rows: Shown[] = [];
  await expect
    .poll(async () => {
      rows = await shown(page);
      return rows.length > 0 && rows.every(({ name }) => name !== '');
    }, pollTimeout)
    .toBe(true);
  return rows;
}

const scrollTo = (page: Page, part: number) =>
  page.evaluate((fraction) => {
    const grid = document.querySelector('[role=grid]');
    if (grid !== null) grid.scrollTop = (grid.scrollHeight - grid.clientHeight) * fraction;
  }, part);
const scrollBy = (page: Page, rows: number) =>
  page.evaluate((by) => {
    const grid = document.querySelector('[role=grid]');
    if (grid !== null) grid.scrollTop += by;
  }, rows * 48);

const numberOf = ({ name }: Shown) => Number(/\d+/.exec(name)?.[0]);

describe.skipIf(browserMissing !== undefined)('a jump in a long list', () => {
  const site = useSite();

  beforeAll(async () => {
    // All of them have the same create_time, and only 100 different last names.
    await site.app.client.importAllUsers(
      (function* () {
        for (let index = 0; index < usersMany; index++) {
          const number = String(index).padStart(5, '0');
          yield {
            firstName: `User ${number}`,
            lastName: `Family ${number.slice(0, 2)}`,
            email: `user-${number}@example.com`,
            // Two in three users are in one of ten teams.
            attributes: { number: index, ...(index % 3 > 0 && { team: `Team ${index % 10}` }) },
          };
        }
      })(),
    );
  });

  async function open(hash: string): Promise<TestPage & { calls(): number }> {
    const opened = await site.open(hash);
    const { page } = opened;
    let calls = 0;
    page.on('request', (request) => {
      if (request.url().endsWith('/ListUsers')) calls++;
    });
    await loaded(page);
    await expect
      .poll(() => page.getByRole('grid').getAttribute('aria-rowcount'), pollTimeout)
      .toBe(String(usersMany + 1));
    return { ...opened, calls: () => calls };
  }

  it.each([
    ['create_time desc', false],
    ['create_time', false],
    ['email', false],
    ['email desc', true],
    ['first_name', false],
    ['last_name', false],
    ['last_name desc', true],
    ['update_time', false],
    ['attributes.number', false],
    ['attributes.number desc', true],
  ])('reaches every part by %s', async (orderBy, descends) => {
    const { page, calls, expectNoFaults } = await open(`#order_by=${orderBy.replace(' ', '+')}`);
    // With equal last names, ids ascend in both directions.
    const isFamily = orderBy === 'last_name desc';
    const before = calls();
    for (const part of [0.5, 0.2, 0.9]) {
      await scrollTo(page, part);
      const rows = await loaded(page);
      const [first] = rows;
      if (first === undefined) throw new Error('There is no row.');
      const expected = descends ? usersMany - 1 - first.row : first.row;
      expect(Math.abs(numberOf(first) - expected)).toBeLessThan(isFamily ? 1_200 : 400);
      const step = descends && !isFamily ? -1 : 1;
      if (!isFamily) expect(rows.map(numberOf)).toEqual(rows.map((_, index) => numberOf(first) + index * step));
    }
    // The end has its right number, and so have the rows before it.
    await scrollTo(page, 1);
    const last = (await loaded(page)).at(-1);
    expect(last?.row).toBe(usersMany - 1);
    if (!isFamily && last !== undefined) expect(numberOf(last)).toBe(descends ? 0 : usersMany - 1);
    expect(calls() - before).toBeLessThan(150);
    expectNoFaults();
  });

  it.each(['attributes.team', 'attributes.team desc'])('reaches those without a value by %s', async (orderBy) => {
    const { page, expectNoFaults } = await open(`#order_by=${orderBy.replace(' ', '+')}`);
    const [first] = await loaded(page);
    expect(first).toMatchObject({
      row: 0,
      name: expect.stringContaining(orderBy === 'attributes.team' ? '00010' : '00019'),
    });
    // Inside the teams, and inside the users without one.
    const teamOf = (number: number) => (number % 3 === 0 ? undefined : number % 10);
    await scrollTo(page, 0.35);
    for (const row of await loaded(page)) expect([4, 5]).toContain(teamOf(numberOf(row)));
    for (const part of [0.8, 1]) {
      await scrollTo(page, part);
      const rows = await loaded(page);
      expect(rows.map((row) => teamOf(numberOf(row)))).toEqual(rows.map(() => undefined));
    }
    expect((await loaded(page)).at(-1)).toMatchObject({ row: usersMany - 1, name: expect.stringContaining('19998') });
    expectNoFaults();
  });

  it('has no gaps above and below the place that it leads to', async () => {
    const { page, expectNoFaults } = await open('#order_by=email');
    await scrollTo(page, 0.5);
    const [start] = await loaded(page);
    for (const rows of [-100, -100, -100, -100, 700, 300]) {
      await scrollBy(page, rows);
      const numbers = (await loaded(page)).map(numberOf);
      expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
    }
    const [end] = await loaded(page);
    if (start === undefined || end === undefined) throw new Error('There is no row.');
    expect(numberOf(end) - numberOf(start)).toBe(600);
    expectNoFaults();
  });

  it.each([
    [0, 0.5],
    [0.5, 0],
  ])('starts no range that has rows between that are not loaded (from %d to %d)', async (from, to) => {
    const { page, expectAccessible, expectNoFaults } = await open('#order_by=email');
    const boxIn = async (index: number) =>
      page.getByRole('checkbox', { name: (await loaded(page))[index]?.name ?? '' });
    const bar = page.getByRole('region', { name: 'Selection' });
    await scrollTo(page, from);
    await (await boxIn(1)).click();
    await bar.getByText('1 selected').waitFor();
    await scrollTo(page, to);
    const last = await boxIn(2);
    await last.click({ modifiers: ['Shift'] });
    await page.getByText('Only rows that are loaded can be selected as a range.').waitFor();
    await bar.getByText('1 selected').waitFor();
    expect(await last.isChecked()).toBe(false);
    await expectAccessible();
    const offer = page.getByRole('region', { name: 'Notifications' }).getByRole('button', { name: /^Select all/ });
    expect(await offer.textContent()).toBe('Select all 20,000');
    await offer.click();
    await bar.getByText('All 20,000 selected').waitFor();
    expect(await last.isChecked()).toBe(true);
    expect(await offer.count()).toBe(0);
    expectNoFaults();
  });

  it('does not offer to select all users of another search, and starts no range from a row that was dropped', async () => {
    const { page, expectNoFaults } = await open('#order_by=email');
    const text = page.getByText('Only rows that are loaded can be selected as a range.');
    const boxIn = async (index: number) =>
      page.getByRole('checkbox', { name: (await loaded(page))[index]?.name ?? '' });
    await (await boxIn(1)).click();
    // More pages than the memory keeps.
    for (let part = 0.03; part < 1; part += 0.03) {
      await scrollTo(page, part);
      await loaded(page);
    }
    const last = await boxIn(2);
    await last.click({ modifiers: ['Shift'] });
    await text.waitFor();
    expect(await last.isChecked()).toBe(false);
    await page.getByRole('searchbox').fill('00077');
    await text.waitFor({ state: 'detached' });
    // The row of another search is not where a range begins.
    await expect.poll(async () => (await shown(page)).length, pollTimeout).toBe(1);
    await (await boxIn(0)).click({ modifiers: ['Shift'] });
    await page.getByText('2 selected, 1 from another search').first().waitFor();
    expectNoFaults();
  });

  it('leads to both ends with the keyboard', async () => {
    const { page, expectNoFaults } = await open('#order_by=email');
    await page.locator('[data-id]').first().focus();
    await page.keyboard.press('End');
    expect((await loaded(page)).at(-1)).toEqual({ row: usersMany - 1, name: 'User 19999 Family 19' });
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'));
    await expect.poll(focused, pollTimeout).toBe(String(usersMany + 1));
    await page.keyboard.press('PageUp');
    await expect.poll(focused, pollTimeout).not.toBe(String(usersMany + 1));
    await page.keyboard.press('Home');
    expect((await loaded(page)).at(0)).toEqual({ row: 0, name: 'User 00000 Family 00' });
    await expect.poll(focused, pollTimeout).toBe('2');
    expectNoFaults();
  });

  it('returns to the same rows after a reload, and with the back button', async () => {
    const { page, expectNoFaults } = await open('#order_by=email');
    await scrollBy(page, 10_000);
    const [first] = await loaded(page);
    const remembered = () => page.evaluate(() => history.state?.top?.row);
    await expect.poll(remembered, pollTimeout).toBe(first?.row);
    await page.reload();
    await expect.poll(async () => (await shown(page)).at(0), pollTimeout).toEqual(first);
    // No personal data is in the address or in the history.
    expect(await page.evaluate(() => JSON.stringify(history.state))).not.toContain('@');
    await page.getByRole('searchbox').fill('00077');
    await expect.poll(async () => (await shown(page)).length, pollTimeout).toBe(1);
    await page.goBack();
    await expect.poll(async () => (await shown(page)).at(0), pollTimeout).toEqual(first);
    expectNoFaults();
  });

  it('returns to the same rows if the server counts slowly', async () => {
    const { page, expectNoFaults } = await open('#order_by=create_time');
    await scrollTo(page, 0.5);
    const rows = await loaded(page);
    await expect.poll(() => page.evaluate(() => history.state?.top?.row), pollTimeout).toBe((rows[0]?.row ?? 0) - 1);
    let counts = 0;
    await page.route('**/ListUsers', async (route) => {
      if (route.request().postData()?.includes('includeTotalSize')) {
        counts++;
        await page.waitForTimeout(2_000);
      }
      await route.continue();
    });
    await page.reload();
    await expect.poll(() => counts, pollTimeout).toBeGreaterThan(0);
    await expect.poll(() => shown(page), pollTimeout).toEqual(rows);
    await page.unrouteAll({ behavior: 'wait' });
    expect(await loaded(page)).toEqual(rows);
    expectNoFaults();
  });

  it.each(['email', 'create_time desc'])('returns to the last row after a reload, by %s', async (orderBy) => {
    const { page, expectNoFaults } = await open(`#order_by=${orderBy.replace(' ', '+')}`);
    await scrollTo(page, 1);
    const rows = await loaded(page);
    expect(rows.at(-1)?.row).toBe(usersMany - 1);
    // The first row of these is not wholly in view.
    const remembered = () => page.evaluate(() => history.state?.top?.row);
    await expect.poll(remembered, pollTimeout).toBe((rows[0]?.row ?? 0) - 1);
    await page.reload();
    await expect.poll(() => shown(page), pollTimeout).toEqual(rows);
    // The rows before them, which are loaded later, do not move them.
    await scrollBy(page, -100);
    await loaded(page);
    await scrollTo(page, 1);
    expect(await loaded(page)).toEqual(rows);
    expectNoFaults();
  });
});
