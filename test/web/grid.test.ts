/** Tests the grid in a real browser: its columns, its order, its density, and the selection of users. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const names = (page: Page) => page.locator('[data-id] .cell-name a').allTextContents();
const heads = async (page: Page) =>
  page.locator('[role=columnheader] .head-label').evaluateAll((labels) => labels.map((label) => label.textContent));
const head = (page: Page, label: string) => page.locator('.head-cell', { has: page.getByText(label, { exact: true }) });
const widthOf = (page: Page, label: string) => head(page, label).evaluate((cell) => cell.getBoundingClientRect().width);
const box = (page: Page, name: string) => page.getByRole('checkbox', { name: `Select ${name}` });
const bar = (page: Page) => page.getByRole('region', { name: 'Selection' });
const selected = (page: Page) => page.locator('[aria-selected=true] .cell-name a').allTextContents();
const columnButton = (page: Page) => page.getByRole('button', { name: 'Columns and density' });

async function chooseInMenu(page: Page, column: string, item: string | RegExp): Promise<void> {
  await page.getByRole('button', { name: `Options of the column ${column}` }).click();
  await page.getByRole('menu').getByRole('menuitem', { name: item }).click();
}

describe.skipIf(browserMissing !== undefined)('the grid', () => {
  const site = useSite();
  const people = ['Ada Lovelace', 'Grace Hopper', 'Alan Turing', 'Barbara Liskov', 'Edsger Dijkstra'];

  beforeAll(async () => {
    for (const [index, name] of people.entries()) {
      const [firstName = '', lastName = ''] = name.split(' ');
      const attributes = { team: `Team ${index}`, joined: '2026-01-31', remote: index === 0, tags: ['a', 'b'] };
      await site.app.client.createUser({
        user: { firstName, lastName, email: `${firstName}@example.com`.toLowerCase(), attributes },
      });
    }
  });

  async function open(hash = '#order_by=email', options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(hash, options);
    await expect.poll(async () => (await names(opened.page)).length, pollTimeout).toBeGreaterThan(0);
    return opened;
  }
  const byEmail = ['Ada Lovelace', 'Alan Turing', 'Barbara Liskov', 'Edsger Dijkstra', 'Grace Hopper'];

  it('shows attributes as columns, more of them in a wide window', async () => {
    const { page, expectNoFaults } = await open('#order_by=email', { width: 1920 });
    await expect
      .poll(() => heads(page), pollTimeout)
      .toEqual(['Name', 'Email', 'joined', 'remote', 'team', 'tags', 'Created']);
    const cells = await page.locator('[data-id]').first().locator('.cell').allTextContents();
    expect(cells.slice(0, 5)).toEqual(['ada@example.com', '31 Jan 2026', 'Yes', 'Team 0', 'a, b']);
    expect(await page.getByRole('grid').getAttribute('aria-colcount')).toBe('8');
    await page.setViewportSize({ width: 800, height: 800 });
    await expect.poll(async () => (await heads(page)).length, pollTimeout).toBeLessThan(5);
    expectNoFaults();
  });

  it('shows the chosen columns in the chosen order, also after a reload', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await columnButton(page).click();
    const panel = page.getByRole('dialog', { name: 'Columns and density' });
    await panel.getByLabel('Updated').check();
    await panel.getByLabel('remote', { exact: true }).uncheck();
    await expectAccessible();
    const up = panel.getByRole('button', { name: 'Move Updated up' });
    await up.click();
    // The button keeps the focus although its row has moved.
    await expect.poll(() => up.evaluate((button) => button === document.activeElement), pollTimeout).toBe(true);
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
    const expected = ['Name', 'Email', 'joined', 'team', 'Updated', 'Created'];
    await expect.poll(() => heads(page), pollTimeout).toEqual(expected);
    await page.reload();
    await expect.poll(() => heads(page), pollTimeout).toEqual(expected);
    await chooseInMenu(page, 'joined', 'Hide');
    await expect.poll(() => heads(page), pollTimeout).not.toContain('joined');
    await columnButton(page).click();
    await panel.getByRole('button', { name: 'Choose columns automatically' }).click();
    await expect.poll(() => heads(page), pollTimeout).toContain('joined');
    expectNoFaults();
  });

  it('drops unknown columns of a link, and always has the name', async () => {
    const { page, expectNoFaults } = await open('#order_by=email&columns=foo,email,email,bar');
    expect(await heads(page)).toEqual(['Name', 'Email']);
    await page.goto(`${site.app.http}/#order_by=email&columns=foo,bar`);
    await expect.poll(async () => (await heads(page)).length, pollTimeout).toBeGreaterThan(2);
    expect((await heads(page)).slice(0, 2)).toEqual(['Name', 'Email']);
    expectNoFaults();
  });

  it('moves and resizes columns with the mouse, also after a reload', async () => {
    const { page, expectNoFaults } = await open();
    const [, , third = ''] = await heads(page);
    await expect.poll(() => heads(page), pollTimeout).toContain('Email');
    await head(page, third ?? '').dragTo(head(page, 'Email'), { targetPosition: { x: 4, y: 10 } });
    await expect.poll(async () => (await heads(page)).slice(0, 3), pollTimeout).toEqual(['Name', third, 'Email']);
    // The drag did not sort, and selected no text.
    expect(new URL(page.url()).hash).toBe('#order_by=email');
    expect(await page.evaluate(() => getSelection()?.toString())).toBe('');
    const before = await widthOf(page, 'Email');
    const handle = await head(page, 'Email').locator('.resizer').boundingBox();
    if (handle === null) throw new Error('There is no handle.');
    await page.mouse.move(handle.x + 4, handle.y + 10);
    await page.mouse.down();
    await page.mouse.move(handle.x + 64, handle.y + 10, { steps: 4 });
    await page.mouse.up();
    await expect.poll(() => widthOf(page, 'Email'), pollTimeout).toBeCloseTo(before + 60, -1);
    const after = await widthOf(page, 'Email');
    await page.reload();
    await expect.poll(() => widthOf(page, 'Email'), pollTimeout).toBe(after);
    expect((await heads(page))[1]).toBe(third);
    await head(page, 'Email').locator('.resizer').dblclick();
    await expect.poll(() => widthOf(page, 'Email'), pollTimeout).not.toBe(after);
    expectNoFaults();
  });

  it('marks the place for a dragged column, also beside a title that sorts', async () => {
    const { page } = await open('#order_by=email&columns=name,email,attributes.team,attributes.joined');
    const from = await head(page, 'joined').boundingBox();
    await page.mouse.move((from?.x ?? 0) + 10, (from?.y ?? 0) + 10);
    await page.mouse.down();
    const markBefore = async (label: string) => {
      const box = await head(page, label).boundingBox();
      const { x, y } = { x: Math.round(box?.x ?? 0), y: Math.round(box?.y ?? 0) };
      await page.mouse.move(x + 8, y + 12, { steps: 3 });
      await page.locator('[data-drop-before]', { has: page.getByText(label, { exact: true }) }).waitFor();
      return page.screenshot({ clip: { x: x - 9, y: y + 16, width: 2, height: 8 } });
    };
    const mark = await markBefore('team');
    expect((await markBefore('Email')).equals(mark)).toBe(true);
    expect((await markBefore('Name')).equals(mark)).toBe(true);
    await page.keyboard.press('Escape');
    await page.mouse.up();
  });

  it('has a line below all titles, and keeps the names in view, if the columns need more room', async () => {
    const { page, expectNoFaults } = await open();
    await columnButton(page).click();
    await page.getByRole('dialog', { name: 'Columns and density' }).getByLabel('Updated').check();
    await page.keyboard.press('Escape');
    await page.setViewportSize({ width: 700, height: 800 });
    const grid = page.locator('.grid[data-wide=true]');
    await grid.waitFor();
    const widthOfPart = (part: string) =>
      page.locator(part).evaluate((element) => element.getBoundingClientRect().width);
    expect(await widthOfPart('.grid-head')).toBe(await widthOfPart('.grid-canvas'));
    // The titles end where the values end, and not only at the button for the columns.
    const columnAt = (fromRight: number) =>
      grid.evaluate((element, px) => {
        const { right } = element.getBoundingClientRect();
        return ['.grid-head', '[data-id]'].map((part) => {
          const box = element.querySelector(part)?.getBoundingClientRect();
          const hit = document.elementFromPoint(right - px, (box?.top ?? 0) + (box?.height ?? 0) / 2);
          return hit?.closest('.cell, .head-cell')?.getAttribute('aria-colindex') ?? 'none';
        });
      }, fromRight);
    for (const px of [2, 8, 20, 40]) expect(await columnAt(px), `${px} px`).toEqual(['none', 'none']);
    const name = page.locator('[data-id] .cell-name').first();
    const before = await name.boundingBox();
    await grid.evaluate((element) => element.scrollTo(element.scrollWidth, 0));
    await expect.poll(() => grid.evaluate((element) => element.scrollLeft), pollTimeout).toBeGreaterThan(0);
    // Except for the space before the boxes, which scrolls.
    expect(Math.abs(((await name.boundingBox())?.x ?? 0) - (before?.x ?? 0))).toBeLessThan(20);
    expectNoFaults();
  });

  it('moves, resizes and sorts columns with the keyboard', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const email = page.getByRole('button', { name: 'Email', exact: true });
    const before = await widthOf(page, 'Email');
    await email.focus();
    await page.keyboard.press('Shift+ArrowRight');
    await expect.poll(() => widthOf(page, 'Email'), pollTimeout).toBe(Math.round(before) + 16);
    await page.keyboard.press('Control+Shift+ArrowRight');
    await expect.poll(async () => (await heads(page)).indexOf('Email'), pollTimeout).toBe(2);
    await page.keyboard.press('Control+Shift+ArrowLeft');
    await expect.poll(async () => (await heads(page)).indexOf('Email'), pollTimeout).toBe(1);
    // To the menu of the name, which is before the email.
    await email.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    await page.getByRole('menu').waitFor();
    await expectAccessible();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await expect
      .poll(() => names(page), pollTimeout)
      .toEqual(['Edsger Dijkstra', 'Grace Hopper', 'Barbara Liskov', 'Ada Lovelace', 'Alan Turing']);
    expect(await page.locator('.kind-name[aria-sort]').getAttribute('aria-sort')).toBe('ascending');
    expect(await page.locator('.kind-name .head-part').textContent()).toBe('last name');
    expect(await email.evaluate((button) => button.closest('[aria-sort]')?.getAttribute('aria-sort'))).toBe('none');
    expectNoFaults();
  });

  it('says which part of the name sorts, and sorts by the other part after a click', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const orderBy = () => new URLSearchParams(new URL(page.url()).hash.slice(1)).get('order_by');
    expect(await page.locator('.head-part').count()).toBe(0);
    await page.getByRole('button', { name: 'Name', exact: true }).click();
    await page.getByRole('button', { name: 'Sorted by first name' }).click();
    await expect.poll(orderBy, pollTimeout).toBe('last_name');
    await expect.poll(async () => (await names(page))[0], pollTimeout).toBe('Edsger Dijkstra');
    const part = page.getByRole('button', { name: 'Sorted by last name. Sort by first name instead' });
    await part.waitFor();
    await expectAccessible();
    // The name reverses the order of the same part.
    await page.getByRole('button', { name: 'Name', exact: true }).click();
    await expect.poll(orderBy, pollTimeout).toBe('last_name desc');
    await page.reload();
    await part.click();
    await expect.poll(orderBy, pollTimeout).toBe('first_name desc');
    await expect.poll(async () => (await names(page))[0], pollTimeout).toBe('Grace Hopper');
    expectNoFaults();
  });

  it('keeps the density', async () => {
    const { page } = await open();
    const height = () =>
      page
        .locator('[data-id]')
        .first()
        .evaluate((row) => row.getBoundingClientRect().height);
    expect(await height()).toBe(48);
    await columnButton(page).click();
    await page.getByRole('radio', { name: 'Compact' }).press('Space');
    await expect.poll(height, pollTimeout).toBe(36);
    await page.reload();
    await expect.poll(height, pollTimeout).toBe(36);
  });

  it('selects users with the mouse, and does not open them', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await box(page, 'Ada Lovelace').click();
    await expect.poll(() => selected(page), pollTimeout).toEqual(['Ada Lovelace']);
    await box(page, 'Edsger Dijkstra').click({ modifiers: ['Shift'] });
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(0, 4));
    await expect.poll(() => bar(page).textContent(), pollTimeout).toContain('4 selected');
    await expectAccessible();
    // A range to a row that is selected already leaves it selected.
    for (let click = 0; click < 2; click++) await box(page, 'Barbara Liskov').click({ modifiers: ['Shift'] });
    expect(await box(page, 'Barbara Liskov').isChecked()).toBe(true);
    expect(await selected(page)).toEqual(byEmail.slice(0, 4));
    await box(page, 'Alan Turing').click();
    await expect.poll(() => selected(page), pollTimeout).not.toContain('Alan Turing');
    await box(page, 'Edsger Dijkstra').click({ modifiers: ['Shift'] });
    await expect.poll(() => selected(page), pollTimeout).toEqual(['Ada Lovelace']);
    await bar(page).getByRole('button', { name: 'Select all 5' }).click();
    await expect.poll(() => bar(page).textContent(), pollTimeout).toContain('All 5 selected');
    await box(page, 'Ada Lovelace').click();
    await expect.poll(() => bar(page).textContent(), pollTimeout).toContain('4 selected');
    await bar(page).getByRole('button', { name: 'Clear the selection' }).click();
    await expect.poll(() => selected(page), pollTimeout).toEqual([]);
    expect(await bar(page).count()).toBe(0);
    expect(new URL(page.url()).hash).toBe('#order_by=email');
    expectNoFaults();
  });

  it('gets the focus with the arrow down if nothing has it', async () => {
    const { page, expectNoFaults } = await open();
    await page.keyboard.press('ArrowDown');
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
    expect(await focused()).toBe('0');
    await page.keyboard.press('ArrowDown');
    await expect.poll(focused, pollTimeout).toBe('1');
    expectNoFaults();
  });

  it('selects all users with Ctrl+A even if nothing has the focus, but not from a field or a dialog', async () => {
    const { page, expectNoFaults } = await open();
    await page.keyboard.press('Control+a');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail);
    await page.keyboard.press('Escape');
    await expect.poll(() => selected(page), pollTimeout).toEqual([]);
    const search = page.getByRole('searchbox');
    await search.focus();
    await page.keyboard.press('Control+a');
    await search.blur();
    await page.keyboard.press('?');
    const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await help.waitFor();
    await page.evaluate(() => document.activeElement instanceof HTMLElement && document.activeElement.blur());
    await page.keyboard.press('Control+a');
    await help.getByRole('button', { name: 'Close' }).first().click();
    await help.waitFor({ state: 'detached' });
    expect(await selected(page)).toEqual([]);
    expectNoFaults();
  });

  it('selects users with the keyboard', async () => {
    const { page, expectNoFaults } = await open();
    await page.locator('[data-id]').first().focus();
    await page.keyboard.press('x');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(0, 1));
    await page.keyboard.press('Shift+ArrowDown');
    await page.keyboard.press('Shift+ArrowDown');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(0, 3));
    await page.keyboard.press('x');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(0, 2));
    await page.keyboard.press('Control+a');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail);
    await page.keyboard.press('Escape');
    await expect.poll(() => selected(page), pollTimeout).toEqual([]);
    await page.getByRole('checkbox', { name: 'Select all 5' }).press('Space');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail);
    expectNoFaults();
  });

  it('continues with the keys from the row whose checkbox was clicked', async () => {
    const { page, expectNoFaults } = await open();
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
    await box(page, 'Barbara Liskov').click();
    await expect.poll(focused, pollTimeout).toBe('2');
    await page.keyboard.press('ArrowDown');
    await expect.poll(focused, pollTimeout).toBe('3');
    await page.keyboard.press('x');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(2, 4));
    await page.keyboard.press('Escape');
    await expect.poll(() => selected(page), pollTimeout).toEqual([]);
    await box(page, 'Alan Turing').click();
    await box(page, 'Barbara Liskov').click({ modifiers: ['Shift'] });
    await page.keyboard.press('Shift+ArrowDown');
    await expect.poll(() => selected(page), pollTimeout).toEqual(byEmail.slice(1, 4));
    await expect.poll(focused, pollTimeout).toBe('3');
    expectNoFaults();
  });

  it('keeps users that were selected one by one with another search, and says how many of them are elsewhere', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await box(page, 'Ada Lovelace').click();
    await box(page, 'Alan Turing').click();
    const search = page.getByRole('searchbox');
    await search.fill('ada');
    await bar(page).getByText('2 selected, 1 from another search').waitFor();
    expect(await selected(page)).toEqual(['Ada Lovelace']);
    // Not all of the selected users match, and not all that match are selected.
    expect(await page.getByRole('checkbox', { name: 'Select all 1' }).isChecked()).toBe(false);
    await search.fill('grace');
    await bar(page).getByText('2 selected, 2 from another search').waitFor();
    await box(page, 'Grace Hopper').click();
    await bar(page).getByText('3 selected, 2 from another search').waitFor();
    await expectAccessible();
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    await page.getByRole('dialog', { name: 'Change an attribute of 3 users' }).waitFor();
    await page.keyboard.press('Escape');
    await search.fill('');
    await bar(page).getByText('3 selected', { exact: true }).waitFor();
    expect(await selected(page)).toEqual(['Ada Lovelace', 'Alan Turing', 'Grace Hopper']);
    await search.fill('grace');
    await bar(page).getByRole('button', { name: 'Select all 1' }).click();
    await bar(page).getByText('All 1 selected', { exact: true }).waitFor();
    // All that match would be other users.
    await search.fill('');
    await bar(page).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('forgets deleted users', async () => {
    const { page } = await open();
    const email = 'short@example.com';
    const { user } = await site.app.client.createUser({ user: { firstName: 'Short', email } });
    await box(page, 'Short').click();
    await box(page, 'Ada Lovelace').click();
    await site.app.client.deleteUser({ id: user?.id ?? '' });
    await expect.poll(() => bar(page).textContent(), pollTimeout).toContain('1 selected');
  });
});
