/** Tests saved views in a real browser: saving, opening, renaming, deleting, the first view, and the columns of a view. */
import fc from 'fast-check';
import type { Locator, Page } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { attributePath } from '../../src/fields.js';
import { readColumns, writeColumns } from '../../web/list/saved-views.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { startGuardedApp } from './guarded-app.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const names = async (page: Page) =>
  (await page.locator('[data-id] .cell-name a').allTextContents()).map((name) => name.trim()).sort();
const hash = (page: Page) => new URLSearchParams(new URL(page.url()).hash.slice(1));
const button = (page: Page, view: string) => page.getByRole('button', { name: `View: ${view}`, exact: true });
const panel = (page: Page) => page.getByRole('dialog', { name: /^View: / });
const inPanel = (page: Page, name: string) => panel(page).getByRole('button', { name, exact: true });
const heads = async (page: Page) =>
  (await page
    .locator('[role=columnheader][data-column]')
    .evaluateAll((all) => all.map((head) => head.getAttribute('data-column')))) as string[];

const everyone = ['Ada Lovelace', 'Grace Hopper'];
const filter = 'attributes.department == "Navy"';
const navy = `#filter=${encodeURIComponent(filter)}`;

describe('the columns in the address', () => {
  it('are read back, whatever the keys of attributes are', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1 })), (keys) => {
        const ids = ['name', ...keys.map(attributePath)];
        expect(readColumns(writeColumns(ids))).toEqual(ids);
      }),
    );
    const ids = ['name', 'attributes.a,b', 'attributes.100%2C'];
    expect(readColumns(writeColumns(ids))).toEqual(ids);
    expect(readColumns('foo,bar')).toBeUndefined();
    expect(readColumns(writeColumns(undefined))).toBeUndefined();
  });
});

/** The panel may still be taking the focus, so the key goes to the field itself. */
async function enter(field: Locator, text: string): Promise<void> {
  await field.fill(text);
  await field.press('Enter');
}

describe.skipIf(browserMissing !== undefined)('saved views', () => {
  const site = useSite();

  beforeAll(async () => {
    for (const [name, department] of [
      ['Ada Lovelace', 'Maths'],
      ['Grace Hopper', 'Navy'],
    ]) {
      const [firstName = '', lastName = ''] = name?.split(' ') ?? [];
      await site.app.client.createUser({
        user: { firstName, lastName, email: `${firstName}@example.com`, attributes: { department } },
      });
    }
  });

  async function open(start = '', opening?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(start, opening);
    await opened.page.locator('[data-id]').first().waitFor();
    return opened;
  }

  async function save(page: Page, name: string): Promise<void> {
    await page.getByRole('button', { name: /^View: / }).click();
    await enter(page.getByRole('textbox', { name: 'Save as a new view' }), name);
    await button(page, name.trim().replace(/\s+/g, ' ')).waitFor();
  }

  it('are opened from the command palette', async () => {
    const { page, expectAccessible, expectNoFaults } = await open(navy);
    await save(page, 'Sailors');
    await page.keyboard.press('Control+k');
    const palette = page.getByRole('dialog', { name: 'Commands' });
    const options = palette.getByRole('group', { name: 'Views' }).getByRole('option');
    await options.first().waitFor();
    expect(await options.allTextContents()).toEqual(['All users', 'Sailors']);
    await expectAccessible();
    await options.first().click();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('sail');
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
    expect(Object.fromEntries(hash(page))).toEqual({ name: 'Sailors', filter });
    expectNoFaults();
  });

  it('are saved, changed, restored, renamed and deleted', async () => {
    const { page, expectAccessible, expectNoFaults } = await open(`${navy}&order_by=email`);
    await save(page, 'Sailors');
    expect(Object.fromEntries(hash(page))).toEqual({ name: 'Sailors', filter, order_by: 'email' });

    await button(page, 'Sailors').click();
    await enter(page.getByRole('textbox', { name: 'Save as a new view' }), '  ');
    await page.getByText('Enter a name.').waitFor();
    const newName = page.getByRole('textbox', { name: 'Save as a new view' });
    await newName.fill('');
    await inPanel(page, 'Save').click();
    await page.getByText('Enter a name.').waitFor();
    expect(await newName.evaluate((input) => input === document.activeElement)).toBe(true);
    // The actions of a view are visible without pointing at it.
    await page.mouse.move(0, 0);
    expect(await inPanel(page, 'Rename Sailors').evaluate((icon) => getComputedStyle(icon).opacity)).toBe('1');
    await expectAccessible();
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'hidden' });

    await page.getByRole('searchbox').fill('ada');
    await button(page, 'Sailors, edited').waitFor();
    await button(page, 'Sailors, edited').click();
    await expectAccessible();
    await inPanel(page, 'Discard changes').click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);

    await page.getByRole('button', { name: 'Clear' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await button(page, 'Sailors, edited').click();
    await inPanel(page, 'Save changes').click();
    await button(page, 'Sailors').click();
    await inPanel(page, 'All users').click();
    await button(page, 'All users').waitFor();
    expect(hash(page).size).toBe(0);

    await button(page, 'All users').click();
    await inPanel(page, 'Rename Sailors').click();
    await enter(page.getByRole('textbox', { name: 'New name of Sailors' }), 'Crew');
    await inPanel(page, 'Crew').click();
    expect(Object.fromEntries(hash(page))).toEqual({ name: 'Crew', order_by: 'email' });
    await page.reload();
    await button(page, 'Crew').click();
    await inPanel(page, 'Delete Crew…').click();
    await inPanel(page, 'Delete Crew').click();
    await expect.poll(() => inPanel(page, 'Crew').count(), pollTimeout).toBe(0);
    await page.keyboard.press('Escape');
    expectNoFaults();
  });

  it('have different names, also from the list of all users', async () => {
    const { page, expectAccessible, expectNoFaults } = await open(navy);
    await save(page, '  Sea  people ');
    await button(page, 'Sea people').click();
    const field = page.getByRole('textbox', { name: 'Save as a new view' });
    for (const name of [' all users ', 'ALL  USERS', 'sea people']) {
      await enter(field, name);
      await panel(page).getByText('Another view has this name.').waitFor();
      expect(await field.evaluate((input) => input === document.activeElement)).toBe(true);
      await field.fill('');
    }
    await enter(field, 'All Users');
    await panel(page).getByText('Another view has this name.').waitFor();
    await expectAccessible();
    await inPanel(page, 'Rename Sea people').click();
    const renamed = page.getByRole('textbox', { name: 'New name of Sea people' });
    await enter(renamed, 'all users');
    await panel(page).getByText('Another view has this name.').last().waitFor();
    await enter(renamed, 'SEA people');
    await inPanel(page, 'SEA people').waitFor();
    expectNoFaults();
  });

  it('move with the calendar if their filter does', async () => {
    const { page, expectNoFaults } = await open(`#filter=${encodeURIComponent('create_time >= timestamp(today - 6)')}`);
    await save(page, 'Newcomers');
    await page.clock.setFixedTime(Date.now() + 8 * 86_400_000);
    await page.goto('about:blank');
    await page.goto(`${site.app.http}/`);
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await button(page, 'All users').click();
    await inPanel(page, 'Newcomers').click();
    await page.getByText('No user matches the filter.').waitFor();
    await page.getByRole('button', { name: 'Created in the last 7 days', exact: true }).waitFor();
    await button(page, 'Newcomers').waitFor();
    expectNoFaults();
  });

  it('can be the first thing that the page shows, unless its address names another', async () => {
    const { page, expectNoFaults } = await open(navy);
    await save(page, 'Sailors');
    await button(page, 'Sailors').click();
    await inPanel(page, 'Start with Sailors').click();
    await page.goto('about:blank');
    await page.goto(`${site.app.http}/`);
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
    await button(page, 'Sailors').waitFor();
    await button(page, 'Sailors').click();
    await inPanel(page, 'All users').click();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    // Not again, after a look at another part of the page or at a person, or after a reload.
    const address = () => new URL(page.url()).hash;
    await expect.poll(address, pollTimeout).toBe('#view=all');
    await page.goBack();
    await button(page, 'Sailors').waitFor();
    await page.goForward();
    await expect.poll(address, pollTimeout).toBe('#view=all');
    await page.getByRole('button', { name: 'Metrics' }).click();
    await page.getByRole('button', { name: 'Users', exact: true }).click();
    await expect.poll(address, pollTimeout).toBe('#view=all');
    await page.getByRole('link', { name: 'Ada Lovelace' }).click();
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await expect.poll(address, pollTimeout).toBe('#view=all');
    await page.reload();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await button(page, 'All users').waitFor();
    await page.goto('about:blank');
    await page.goto(`${site.app.http}/`);
    await button(page, 'Sailors').waitFor();
    await page.goto('about:blank');
    await page.goto(`${site.app.http}/#query=ada`);
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
    expectNoFaults();
  });

  it('have their own columns, and a link to a view has all of it', async () => {
    const { page, expectNoFaults } = await open(`${navy}&name=Shared&columns=name,attributes.department`);
    await button(page, 'Shared').waitFor();
    await expect.poll(() => heads(page), pollTimeout).toEqual(['name', 'attributes.department']);
    // The name of a link that is not saved is offered.
    await button(page, 'Shared').click();
    await page.getByRole('textbox', { name: 'Save as a new view' }).press('Enter');
    await button(page, 'Shared').click();
    await inPanel(page, 'Shared').waitFor();
    await inPanel(page, 'All users').click();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    const own = await heads(page);
    expect(own.length).toBeGreaterThan(2);

    await button(page, 'All users').click();
    await inPanel(page, 'Shared').click();
    await expect.poll(() => heads(page), pollTimeout).toEqual(['name', 'attributes.department']);
    // A changed column is a change of the view, and not of the list of all people.
    await page.getByRole('button', { name: 'Columns and density' }).click();
    await page.getByRole('checkbox', { name: 'Email', exact: true }).check();
    await page.keyboard.press('Escape');
    await button(page, 'Shared, edited').waitFor();
    expect(hash(page).get('columns')).toBe('name,attributes.department,email');
    await button(page, 'Shared, edited').click();
    await inPanel(page, 'All users').click();
    await expect.poll(() => heads(page), pollTimeout).toEqual(own);
    expectNoFaults();
  });

  it('are those of the person who signed in', async () => {
    const guarded = await startGuardedApp();
    onTestFinished(() => guarded[Symbol.asyncDispose]());
    for (const firstName of ['Ada', 'Grace']) {
      const attributes = { department: firstName === 'Ada' ? 'Maths' : 'Navy' };
      await guarded.client.createUser({ user: { firstName, email: `${firstName}@example.com`, attributes } });
    }
    const [one, other] = [await guarded.addKey('one', ['reader']), await guarded.addKey('other', ['reader'])];
    const { page, expectNoFaults } = await site.browser.open(`${guarded.http}/${navy}`);
    const signIn = async (key: string) => {
      await page.getByText('Use an API key or token').click();
      await enter(page.getByLabel('API key or token'), key);
      await page.getByRole('dialog', { name: 'Sign in' }).waitFor({ state: 'detached' });
      await page.locator('[data-id]').first().waitFor();
    };
    await signIn(one);
    await save(page, 'Sailors');
    await button(page, 'Sailors').click();
    await inPanel(page, 'Start with Sailors').click();
    for (const [key, expected] of [
      [other, ['Ada', 'Grace']],
      [one, ['Grace']],
    ] as const) {
      await page.goto('about:blank');
      await page.goto(`${guarded.http}/`);
      await signIn(key);
      await expect.poll(() => names(page), pollTimeout).toEqual(expected);
      await page.getByRole('button', { name: /^View: / }).click();
      await inPanel(page, 'All users').waitFor();
      expect(await inPanel(page, 'Sailors').count()).toBe(key === one ? 1 : 0);
    }
    expectNoFaults();
  });
});
