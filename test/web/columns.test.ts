/** Tests which columns the list has if nobody has chosen them, how wide they are, how they are found, and what they show. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { columnOf, defaultCardColumns, defaultColumns, minWidthOf, templateOf } from '../../web/list/columns.js';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const keys = ['department', 'title', 'location', 'floor'];

/** The width of the column of emails. */
function emailPx(widthPx: number): number {
  const ids = defaultColumns(keys, widthPx);
  const template = templateOf(
    ids.flatMap((id) => columnOf(id) ?? []),
    {},
    widthPx,
  );
  return Number.parseInt(template.split(' ')[ids.indexOf('email') + 1] ?? '', 10);
}

describe('the columns that the page chooses', () => {
  it('are as many attributes as fit', () => {
    expect(defaultColumns(keys, 500)).toEqual(['name', 'email']);
    expect(defaultColumns(keys, 700)).toEqual(['name', 'email', 'create_time']);
    expect(defaultColumns(keys, 900)).toEqual(['name', 'email', 'attributes.department', 'create_time']);
    expect(defaultColumns(keys, 1900)).toHaveLength(7);
  });

  it.each([700, 780, 840, 900, 1240, 1900])('leave room for emails in a list of %i px', (widthPx) => {
    expect(emailPx(widthPx)).toBeGreaterThanOrEqual(230);
  });
});

describe('the widths of columns', () => {
  const columns = ['name', 'email', 'attributes.age', 'attributes.title'].flatMap((id) => columnOf(id) ?? []);
  const content = { name: 190, email: 250, 'attributes.age': 64, 'attributes.title': 320 };
  const widthsIn = (widthPx: number, isTight = false) =>
    templateOf(columns, { content, isTight }, widthPx)
      .split(' ')
      .slice(1)
      .map((track) => Number.parseInt(track, 10));

  it('are those of the content, and their shares of the width that remains', () => {
    const needed = 190 + 250 + 64 + 320 + minWidthOf([], {}) + columns.length * 16;
    expect(widthsIn(needed)).toEqual([190, 250, 64, 320]);
    // The shares are 1.5, 2.5, 1 and 1.
    expect(widthsIn(needed + 60)).toEqual([205, 275, 74, 330]);
  });

  it('shrink where the content is long, and no further than is good to read', () => {
    const [name = 0, email = 0, age, title = 0] = widthsIn(850);
    expect([name, age]).toEqual([190, 64]);
    expect(email).toBeLessThan(250);
    expect(title).toBeGreaterThan(150);
    expect(title).toBeLessThan(320);
    expect(widthsIn(400)).toEqual([190, 240, 64, 150]);
  });

  it('shrink further if the page has chosen the columns', () => {
    expect(widthsIn(400, true)).toEqual([180, 160, 64, 112]);
  });

  it('are those that the person has chosen', () => {
    const chosen = { 'attributes.title': 90 };
    expect(templateOf(columns, { content, chosen }, 2000).split(' ').at(-1)).toBe('90px');
  });
});

describe('the columns of a card', () => {
  const attributeOf = (...all: Record<string, unknown>[]) =>
    defaultCardColumns(all.map((attributes) => User.fromPartial({ attributes })))
      .find((id) => id.startsWith('attributes.'))
      ?.slice('attributes.'.length);

  it.each([
    ['is the most frequent one', [{ shift: 'early', town: 'Ulm' }, { town: 'Bonn' }, { town: 'Trier' }], 'town'],
    ['is one that says what a person does', [{ country: 'DE', 'Job title': 'Nurse' }], 'Job title'],
    ['is frequent', [{ town: 'Ulm', title: 'Dr.' }, { town: 'Bonn' }, { town: 'Trier' }], 'town'],
    ['is a text that is clear without a title', [{ age: 36, remote: true, badge: 'B-7', team: 'Ops' }], 'team'],
    ['is missing without such texts', [{ age: 36, since: '2026-01-31', tags: ['a'] }, {}], undefined],
  ])('have an attribute that %s', (_, users, key) => {
    expect(attributeOf(...users)).toBe(key);
  });
});

describe.skipIf(browserMissing !== undefined)('the columns of a list', () => {
  const site = useSite();
  const title = 'Senior Principal Engineer for Databases';
  const others = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`extra ${index}`, index]));

  beforeAll(async () => {
    const users = Array.from({ length: 150 }, (_, index) => ({
      firstName: 'Person',
      lastName: `Number ${index}`,
      email: `person-${String(index).padStart(3, '0')}@example.com`,
      attributes: { age: 20 + (index % 50), 'job title': title, ...others },
    }));
    const other = { firstName: 'Zoe', lastName: 'Other', email: 'zoe@example.com', attributes: { rare: 'yes' } };
    await site.app.client.importAllUsers([...users, other]);
  });

  const shown = '#order_by=email&columns=name,email,attributes.age,attributes.job%20title,create_time';
  const rows = (page: Page) => page.locator('[data-id]');
  const head = (page: Page, label: string) =>
    page.locator('.head-cell', { has: page.getByText(label, { exact: true }) });
  const widths = (page: Page) =>
    page.locator('.head-cell').evaluateAll((cells) => cells.map((cell) => cell.getBoundingClientRect().width));
  const cells = (page: Page, index: number) => rows(page).locator(`[aria-colindex="${index}"]`);
  const isTruncated = (page: Page, index: number) =>
    cells(page, index).evaluateAll((all) => all.some((cell) => cell.scrollWidth > cell.clientWidth));
  const [ageAt, titleAt] = [4, 5];

  it('sort by an attribute, with those without it at the end in both directions', async () => {
    const { page, expectNoFaults } = await site.open(shown);
    const ages = () => cells(page, ageAt).allTextContents();
    await rows(page).first().waitFor();
    await head(page, 'age').getByRole('button', { name: 'age', exact: true }).click();
    await expect.poll(async () => (await ages()).slice(0, 4), pollTimeout).toEqual(['20', '20', '20', '21']);
    await expect.poll(() => head(page, 'age').getAttribute('aria-sort'), pollTimeout).toBe('ascending');
    expect(page.url()).toContain('order_by=attributes.age');
    await page.reload();
    await expect.poll(async () => (await ages()).slice(0, 4), pollTimeout).toEqual(['20', '20', '20', '21']);

    await head(page, 'age').getByRole('button', { name: 'Options of the column age' }).click();
    await page.getByRole('menuitem', { name: 'Sort: Z to A, 9 to 1' }).click();
    await expect.poll(async () => (await ages()).slice(0, 4), pollTimeout).toEqual(['69', '69', '69', '68']);
    await page.keyboard.press('Escape');
    await rows(page).first().focus();
    await page.keyboard.press('End');
    await expect.poll(async () => (await ages()).at(-1), pollTimeout).toBe('');
    expect((await ages()).at(-2)).toBe('20');
    expectNoFaults();
  });

  it('say by what the list is sorted if they do not show it', async () => {
    const { page, expectAccessible, expectNoFaults } = await site.open(shown);
    await rows(page).first().waitFor();
    const order = page.getByRole('button', { name: /^Sorted by / });
    await head(page, 'age').getByRole('button', { name: 'age', exact: true }).click();
    await expect.poll(() => head(page, 'age').getAttribute('aria-sort'), pollTimeout).toBe('ascending');
    expect(await order.count()).toBe(0);
    await head(page, 'age').getByRole('button', { name: 'Options of the column age' }).click();
    await page.getByRole('menuitem', { name: 'Hide' }).click();
    await order.waitFor();
    expect(await order.textContent()).toBe('Sorted by age');
    expect(await order.getAttribute('aria-label')).toBe('Sorted by age, ascending. Sort by newest first instead');
    await expectAccessible();
    // On a phone, the field for the order says so.
    await page.setViewportSize({ width: 390, height: 800 });
    await order.waitFor({ state: 'detached' });
    await page.setViewportSize({ width: 1280, height: 800 });
    await order.waitFor();
    await page.getByRole('button', { name: 'Filter', exact: true }).focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await order.waitFor({ state: 'detached' });
    expect(page.url()).not.toContain('order_by');
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
    await expect.poll(focused, pollTimeout).toBe('0');
    expect(await head(page, 'Created').getAttribute('aria-sort')).toBe('descending');
    expectNoFaults();
  });

  it('say by what the list is sorted after the panel of a user has taken their place, and for a link', async () => {
    const { page, expectNoFaults } = await site.open('#order_by=attributes.age.years+desc');
    const order = page.getByRole('button', { name: 'Sorted by age › years, descending' });
    await order.waitFor();
    await page.goto(`${site.app.http}/#order_by=attributes.${'long_'.repeat(40)}`);
    const long = page.getByRole('button', { name: 'Sorted by long_' });
    await long.waitFor();
    expect((await long.boundingBox())?.width).toBeLessThanOrEqual(240);
    await page.goto(`${site.app.http}/#order_by=update_time`);
    await page.getByRole('button', { name: 'Sorted by time of update, ascending' }).waitFor();
    await page.getByRole('button', { name: 'Options of the column Created' }).waitFor();
    await page.goto(`${site.app.http}/#order_by=create_time`);
    await order.waitFor({ state: 'detached' });
    await rows(page).first().click();
    await page.getByRole('complementary').waitFor();
    await page.setViewportSize({ width: 1024, height: 800 });
    await page.getByRole('button', { name: 'Sorted by time of creation, ascending' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('complementary').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Sorted by time of creation' }).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('are as wide as their content, also after a reload, and stay so while rows change', async () => {
    const { page, expectNoFaults } = await site.open(shown);
    await rows(page).first().waitFor();
    // Much narrower than the 150 px that suit most values, also with its share of the remaining width.
    await expect.poll(async () => (await widths(page))[2] ?? 999, pollTimeout).toBeLessThan(120);
    expect(await isTruncated(page, ageAt)).toBe(false);
    expect(await isTruncated(page, titleAt)).toBe(false);
    const before = await widths(page);
    expect(before[3]).toBeGreaterThan(240);

    const id = (await rows(page).first().getAttribute('data-id')) ?? '';
    const long = 'A much longer age than anybody else has, as a text';
    await site.app.client.updateUser({ user: { id, attributes: { age: long, 'job title': title, ...others } } });
    await expect.poll(() => cells(page, ageAt).first().textContent(), pollTimeout).toBe(long);
    await page.locator('.grid').evaluate((grid) => grid.scrollTo(0, grid.scrollHeight));
    await rows(page).getByText('Number 149').waitFor();
    expect(await widths(page)).toEqual(before);
    await site.app.client.updateUser({ user: { id, attributes: { age: 20, 'job title': title, ...others } } });

    // From the first rows on.
    await page.addInitScript(() => {
      const seen = new Set<string>();
      Object.assign(globalThis, { seen });
      const look = () => {
        const grid = document.querySelector<HTMLElement>('.grid[role=grid]');
        if (grid?.querySelector('[data-id]')) seen.add(grid.style.getPropertyValue('--columns'));
        requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    await page.reload();
    await rows(page).first().waitFor();
    await expect.poll(() => widths(page), pollTimeout).toEqual(before);
    const widthsSeen = () => page.evaluate(() => [...(globalThis as unknown as { seen: Set<string> }).seen]);
    expect(await widthsSeen()).toHaveLength(1);
    expectNoFaults();
  });

  it('are not those of the few users of a search, after it', async () => {
    const { page, expectNoFaults } = await site.open('#query=zoe');
    const titles = async () => (await page.locator('.head-cell').allTextContents()).join(' ');
    await expect.poll(titles, pollTimeout).toContain('rare');
    await page.getByRole('searchbox').fill('');
    await expect.poll(titles, pollTimeout).toContain('age');
    const all = await titles();
    await page.getByRole('searchbox').fill('zoe');
    await expect.poll(() => rows(page).count(), pollTimeout).toBe(1);
    expect(await titles()).toBe(all);
    expectNoFaults();
  });

  it('take the width of their content after a double click on the edge, and from the menu', async () => {
    const { page, expectNoFaults } = await site.open(shown);
    await rows(page).first().waitFor();
    const resizer = head(page, 'job title').locator('.resizer');
    const narrow = async () => {
      const handle = await resizer.boundingBox();
      if (handle === null) throw new Error('There is no handle.');
      await page.mouse.move(handle.x + 4, handle.y + 10);
      await page.mouse.down();
      await page.mouse.move(handle.x - 160, handle.y + 10, { steps: 4 });
      await page.mouse.up();
      await expect.poll(() => isTruncated(page, titleAt), pollTimeout).toBe(true);
    };
    await expect.poll(async () => (await widths(page))[3] ?? 0, pollTimeout).toBeGreaterThan(240);
    await narrow();
    await resizer.dblclick();
    await expect.poll(() => isTruncated(page, titleAt), pollTimeout).toBe(false);
    const fit = (await widths(page))[3] ?? 0;
    await narrow();
    await page.getByRole('button', { name: 'Options of the column job title' }).click();
    await page.getByRole('menuitem', { name: 'Automatic width' }).click();
    await expect.poll(async () => (await widths(page))[3], pollTimeout).toBe(fit);
    // No more than the text, and no share of the remaining width.
    const textPx = await cells(page, titleAt)
      .first()
      .evaluate((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getBoundingClientRect().width;
      });
    expect(fit - textPx).toBeLessThan(4);
    expectNoFaults();
  });

  it('are found by their names', async () => {
    const { page, expectAccessible, expectNoFaults } = await site.open(shown);
    await page.getByRole('button', { name: 'Columns and density' }).click();
    const panel = page.getByRole('dialog', { name: 'Columns and density' });
    const boxes = panel.getByRole('checkbox');
    const field = panel.getByRole('searchbox', { name: 'Find a column' });
    const hasFocus = (locator: typeof field) => locator.evaluate((element) => element === document.activeElement);
    await expect.poll(() => hasFocus(field), pollTimeout).toBe(true);
    const all = await boxes.count();
    await page.keyboard.type('EXTRA 7');
    await expect.poll(() => boxes.count(), pollTimeout).toBe(1);
    await page.keyboard.press('Enter');
    await head(page, 'extra 7').waitFor();
    await field.fill('no such column');
    await panel.getByText('No column has this name.').waitFor();
    await expectAccessible();
    await field.fill('e');
    await page.keyboard.press('ArrowDown');
    await expect.poll(() => hasFocus(field), pollTimeout).toBe(false);
    // A letter continues the search, and a space changes the column.
    await page.keyboard.type('xtra 0');
    await expect.poll(() => field.inputValue(), pollTimeout).toBe('extra 0');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Space');
    await head(page, 'extra 0').waitFor();
    await field.fill('');
    await expect.poll(() => boxes.count(), pollTimeout).toBe(all);
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'detached' });
    expectNoFaults();
  });
});

describe('the column of an attribute', () => {
  const textOf = (value: unknown) =>
    columnOf('attributes.a')?.textOf(User.fromPartial({ attributes: { a: value } })) ?? '';

  it.each([
    [true, 'Yes'],
    [['ops', 3], 'ops, 3'],
    [{ city: 'Berlin', floor: 4 }, 'city: Berlin, floor: 4'],
    [{ city: 'Berlin', place: { x: 1, y: 2 }, rooms: [1] }, 'city: Berlin, place: (2 fields), rooms: (1 item)'],
    [[{ x: 1 }, 'y'], '(1 field), y'],
    [{}, ''],
    [null, ''],
  ])('shows %j as "%s"', (value, text) => {
    expect(textOf(value)).toBe(text);
  });

  it('shows days and moments as the panel does, and other texts as they are', () => {
    for (const text of ['2026-11-28', '2026-11-28T16:00:00Z', '2026-11-28T16:00:00.123+01:00', '2026-11-28T16:00Z']) {
      expect(textOf(text)).toMatch(/Nov/);
      const user = User.fromPartial({ attributes: { a: text } });
      expect(columnOf('attributes.a')?.wholeTextOf(user)).toBe(text);
    }
    for (const text of ['2026-02-30', '2026-02-30T16:00:00Z', '2026-11-28T26:00:00Z', '2026-11-28T16:00:00', '2026-11'])
      expect(textOf(text)).toBe(text);
  });

  it('shows the whole value in its tooltip', () => {
    const user = User.fromPartial({ attributes: { a: { city: 'Berlin', place: { x: 1 } } } });
    expect(JSON.parse(columnOf('attributes.a')?.wholeTextOf(user) ?? '')).toEqual(user.attributes?.a);
  });
});
