/** Tests in a real browser what the forms of attributes take from other users: values to choose, types, and hints. */
import type { Locator, Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, delayFrames, type OpenOptions, type TestPage } from './browser.js';
import { button, createAda, panel } from './panel.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const combobox = (page: Page, name: string): Locator => page.getByRole('combobox', { name, exact: true });
const options = (page: Page): Locator => page.getByRole('listbox', { name: 'Suggestions' }).getByRole('option');
const value = (page: Page, key: string): Locator => page.getByLabel(`Value of ${key}`, { exact: true });
const expectFocus = (element: Locator) =>
  expect.poll(() => element.evaluate((node) => node === document.activeElement), pollTimeout).toBe(true);

describe.skipIf(browserMissing !== undefined)('the forms of attributes', () => {
  const site = useSite();

  beforeEach(async () => {
    await site.clear();
    const teams = ['ops', 'ops', 'ops', 'Sales', 'Sales', 'dev'];
    await site.app.client.importAllUsers(
      teams.map((team, at) => ({
        firstName: 'Grace',
        lastName: `Hopper ${at}`,
        email: `grace${at}@example.com`,
        attributes: { team, note: `Note ${at}`, contact: 'help@example.com', floor: at, since: '2024-03-01', on: true },
      })),
    );
  });

  /** Creates a user with these attributes, and begins to edit it. */
  async function edit(attributes: Record<string, unknown>, settings?: OpenOptions): Promise<TestPage & { id: string }> {
    const { id } = await createAda(site.app, { attributes });
    const opened = await site.open(`#user=${id}`, settings);
    await button(opened.page, 'Edit').click();
    await panel(opened.page).getByLabel('First name').waitFor();
    return { ...opened, id };
  }

  async function read(id: string): Promise<User['attributes']> {
    return (await site.app.client.getUser({ id })).user?.attributes;
  }

  it('offer the values that several users have, and Enter saves what was typed', async () => {
    const { page, id, expectAccessible, expectNoFaults } = await edit({ team: 'dev', note: 'x', contact: 'y' });
    const team = combobox(page, 'Value of team');
    await team.click();
    expect(await options(page).allTextContents()).toEqual(['ops', 'Sales']);
    expect(await team.getAttribute('aria-expanded')).toBe('true');
    await expectAccessible();
    await team.fill('sal');
    expect(await options(page).allTextContents()).toEqual(['Sales']);
    expect(await team.getAttribute('aria-activedescendant')).toBeNull();
    await page.keyboard.press('Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 'sal', note: 'x', contact: 'y' });
    expectNoFaults();
  });

  it('do not offer notes, which are all different, nor emails', async () => {
    const { page } = await edit({ team: 'dev', note: 'x', contact: 'y' });
    await combobox(page, 'Value of team').waitFor();
    expect(await combobox(page, 'Value of note').count()).toBe(0);
    expect(await combobox(page, 'Value of contact').count()).toBe(0);
  });

  it('take a value with the arrow keys and Enter, or with a click, and keep it open to changes', async () => {
    const { page, id, expectAccessible, expectNoFaults } = await edit({ team: 'dev' });
    const team = combobox(page, 'Value of team');
    await team.focus();
    // Only a click, an arrow key or typing opens the list.
    expect(await options(page).count()).toBe(0);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    const active = options(page).nth(1);
    await expect.poll(() => active.getAttribute('aria-selected'), pollTimeout).toBe('true');
    expect(await team.getAttribute('aria-activedescendant')).toBe(await active.getAttribute('id'));
    await expectAccessible();
    await page.keyboard.press('Enter');
    await expect.poll(() => team.inputValue(), pollTimeout).toBe('Sales');
    expect(await options(page).count()).toBe(0);
    await team.fill('o');
    await options(page).getByText('ops').click();
    await expect.poll(() => team.inputValue(), pollTimeout).toBe('ops');
    await expectFocus(team);
    // After the last value, the typed text is active again.
    await team.fill('s');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 's' });
    expectNoFaults();
  });

  it('close the list with Escape, and keep the text and the form', async () => {
    const { page, expectNoFaults } = await edit({ team: 'dev' });
    const team = combobox(page, 'Value of team');
    await team.fill('op');
    await options(page).first().waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Escape');
    await options(page).first().waitFor({ state: 'detached' });
    expect(await team.inputValue()).toBe('op');
    await expectFocus(team);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Escape');
    await panel(page).getByText('Discard your changes?').waitFor();
    expectNoFaults();
  });

  it('allow several lines in a field with values to choose from', async () => {
    const { page, id, expectNoFaults } = await edit({ team: 'dev' });
    await combobox(page, 'Value of team').waitFor();
    await value(page, 'team').press('End');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('ops');
    expect(await value(page, 'team').inputValue()).toBe('dev\nops');
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 'dev\nops' });
    expectNoFaults();
  });

  it('keep the lines of a text that is pasted over a value', async () => {
    const { page, id } = await edit(
      { team: 'dev' },
      { context: { permissions: ['clipboard-read', 'clipboard-write'] } },
    );
    await page.evaluate(() => navigator.clipboard.writeText('a\nb\n'));
    await combobox(page, 'Value of team').press('Control+a');
    await page.keyboard.press('Control+v');
    await expect.poll(() => value(page, 'team').inputValue(), pollTimeout).toBe('a\nb');
    await page.keyboard.type('!');
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 'a\nb!' });
  });

  it('offer values on a phone within the screen', async () => {
    const { page, id, expectAccessible, expectNoFaults } = await edit(
      { team: 'dev' },
      { width: 390, height: 500, context: { hasTouch: true } },
    );
    await combobox(page, 'Value of team').tap();
    const box = await page.getByRole('listbox', { name: 'Suggestions' }).boundingBox();
    expect(box?.x).toBeGreaterThanOrEqual(0);
    expect(box?.y).toBeGreaterThanOrEqual(0);
    expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(390);
    expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThanOrEqual(500);
    await expectAccessible();
    await options(page).getByText('Sales').tap();
    await expect.poll(() => value(page, 'team').inputValue(), pollTimeout).toBe('Sales');
    await button(page, 'Save').tap();
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 'Sales' });
    expectNoFaults();
  });

  it('give a new attribute the type that others have, unless the user has chosen one', async () => {
    const { page, id, expectAccessible, expectNoFaults } = await edit({ team: 'dev' });
    await combobox(page, 'Value of team').waitFor();
    const add = async (key: string) => {
      await button(page, 'Add attribute').click();
      await panel(page)
        .getByLabel(/^Key of/)
        .last()
        .fill(key);
      return panel(page).getByLabel(`Type of ${key}`, { exact: true });
    };
    for (const [key, type] of [
      ['floor', 'number'],
      ['since', 'date'],
      ['on', 'boolean'],
      ['note', 'text'],
    ] as const) {
      const select = await add(key);
      await expect.poll(() => select.inputValue(), pollTimeout).toBe(type);
      await button(page, `Remove ${key}`).click();
    }
    const type = await add('level');
    await type.selectOption('list');
    const key = panel(page).getByLabel(/^Key of/);
    await key.fill('floor');
    expect(await panel(page).getByLabel('Type of floor').inputValue()).toBe('list');
    const hint = panel(page).getByText('Other users have numbers here.');
    await hint.waitFor();
    await value(page, 'floor').fill('3');
    expect(await value(page, 'floor').getAttribute('aria-describedby')).toBe(await hint.getAttribute('id'));
    await expectAccessible();
    // The hint does not prevent it.
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ team: 'dev', floor: ['3'] });
    expectNoFaults();
  });

  it('give the type to a key that was typed before the types of others are known', async () => {
    const { page, expectNoFaults } = await site.open();
    await page.getByRole('row', { name: 'Hopper 5' }).waitFor();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/ListUsers', async (route) => {
      await held;
      await route.continue();
    });
    await page.keyboard.press('n');
    const key = panel(page).getByLabel('Key of attribute 1');
    await button(page, 'Add attribute').click();
    await expectFocus(key);
    await page.keyboard.type('floor');
    await delayFrames(page);
    release();
    await expect.poll(() => panel(page).getByLabel('Type of floor').inputValue(), pollTimeout).toBe('number');
    // This key is not undone by an effect of the answer.
    await page.keyboard.type('s');
    await expect.poll(() => panel(page).getByLabel('Type of floors').inputValue(), pollTimeout).toBe('text');
    expect(await key.inputValue()).toBe('floors');
    expectNoFaults();
  });

  it('say that others have another type only after the value was edited', async () => {
    const { page } = await edit({ team: 7 });
    await button(page, 'Add attribute').click();
    await panel(page)
      .getByLabel(/^Key of/)
      .fill('floor');
    await expect.poll(() => panel(page).getByLabel('Type of floor').inputValue(), pollTimeout).toBe('number');
    expect(await panel(page).getByText('Other users have').count()).toBe(0);
    await value(page, 'team').fill('8');
    await panel(page).getByText('Other users have text here.').waitFor();
    await panel(page).getByLabel('Type of team').selectOption('text');
    await panel(page).getByText('Other users have').waitFor({ state: 'detached' });
  });

  it('say that a number becomes a text, unless the type was chosen or others have texts', async () => {
    const { page, id, expectAccessible, expectNoFaults } = await edit({});
    await button(page, 'Add attribute').click();
    const key = panel(page).getByLabel(/^Key of/);
    await key.fill('salary');
    const hint = panel(page).getByText('This will be text, not a number.');
    for (const text of ['50,000', '1.234,5', '1 234', '42']) {
      await value(page, 'salary').fill(text);
      await hint.waitFor();
      await value(page, 'salary').fill('2nd floor');
      await hint.waitFor({ state: 'detached' });
    }
    await value(page, 'salary').fill('50,000');
    expect(await value(page, 'salary').getAttribute('aria-describedby')).toBe(await hint.getAttribute('id'));
    await expectAccessible();
    // Others have texts there.
    await key.fill('team');
    await hint.waitFor({ state: 'detached' });
    await key.fill('salary');
    await hint.waitFor();
    await panel(page).getByLabel('Type of salary').selectOption('number');
    await hint.waitFor({ state: 'detached' });
    // The language of the browser decides which number this is.
    await panel(page).getByText('Means 50000.').waitFor();
    await panel(page).getByLabel('Type of salary').selectOption('text');
    expect(await hint.count()).toBe(0);
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ salary: '50,000' });
    expectNoFaults();
  });

  it.each([
    ['en-GB', '1234.567', '50.000', 'Means 50.', 50],
    ['en-GB', '1234.567', '50,000', 'Means 50000.', 50000],
    ['de-DE', '1234,567', '50.000', 'Means 50000.', 50000],
  ])('say which number was typed in %s: %s, %s', async (locale, before, text, hint, number) => {
    const { page, id, expectAccessible, expectNoFaults } = await edit(
      { salary: 1234.567, bonus: 2.345 },
      { context: { locale } },
    );
    const salary = value(page, 'salary');
    expect(await salary.inputValue()).toBe(before);
    await salary.fill(text);
    const means = panel(page).getByText(hint, { exact: true });
    await means.waitFor();
    expect(await salary.getAttribute('aria-describedby')).toBe(await means.getAttribute('id'));
    // A text as the page itself writes numbers is clear.
    await value(page, 'bonus').fill(locale === 'de-DE' ? '2,346' : '2.346');
    expect(await panel(page).getByText('Means').count()).toBe(1);
    await expectAccessible();
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toEqual({ salary: number, bonus: 2.346 });
    expectNoFaults();
  });

  it('offer values and keep a chosen type for many users', async () => {
    const { page, expectAccessible, expectNoFaults } = await site.open();
    const dialog = page.getByRole('dialog');
    await page.getByRole('row', { name: 'Hopper 5' }).getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Change attribute…' }).click();
    await dialog.getByLabel('Attribute', { exact: true }).fill('team');
    await page.keyboard.press('Enter');
    // The values may arrive while the field has the focus.
    await combobox(page, 'Value').waitFor();
    await expectFocus(combobox(page, 'Value'));
    await page.keyboard.type('SAL');
    await options(page).first().waitFor();
    await expectAccessible();
    await page.keyboard.press('Escape');
    await options(page).first().waitFor({ state: 'detached' });
    expect(await combobox(page, 'Value').inputValue()).toBe('SAL');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await dialog.getByRole('button', { name: 'Set team to Sales for 1 user' }).waitFor();
    await dialog.getByLabel('Type').selectOption('number');
    await dialog.getByText('Users have text here so far.').waitFor();
    await dialog.getByLabel('Attribute', { exact: true }).fill('since');
    await dialog.getByText('Users have dates here so far.').waitFor();
    await dialog.getByLabel('Value', { exact: true }).fill('50,000');
    await dialog.getByText('Means 50000. Users have dates here so far.').waitFor();
    expect(await dialog.getByLabel('Type').inputValue()).toBe('number');
    expectNoFaults();
  });
});
