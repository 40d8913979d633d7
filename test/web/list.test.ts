/** The list as people use it, in a real browser against the whole application. */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { User } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { browserMissing, type OpenOptions, startBrowser, type TestBrowser, type TestPage } from './browser.js';
import { startProxy } from './proxy.js';

const patience = { timeout: 30_000 };
// What a browser itself says on its console of a connection that is refused.
const connectionLost = /Failed to load resource|ERR_/;

const rows = (page: Page) => page.locator('[data-id]');
const names = async (page: Page) =>
  (await page.locator('[data-id] .cell-name a').allTextContents()).map((name) => name.trim());
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const total = (page: Page) => page.locator('.total').textContent();
const sign = (page: Page) => page.locator('.sign').getAttribute('data-state');
const search = (page: Page) => page.getByRole('searchbox', { name: 'Search' });
const filter = (page: Page) => page.getByRole('textbox', { name: 'Filter' });

describe.skipIf(browserMissing !== undefined)('the list', () => {
  let browser: TestBrowser;
  let app: TestApp;

  beforeAll(async () => {
    browser = await startBrowser();
    app = await startTestApp();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });

  async function open(hash = '', options?: OpenOptions, url = `${app.http}/`): Promise<TestPage> {
    const opened = await browser.open(`${url}${hash}`, options);
    onTestFinished(() => opened.page.context().close());
    return opened;
  }

  async function create(firstName: string, lastName: string, attributes?: Record<string, unknown>): Promise<User> {
    const email = `${firstName}.${lastName}@example.com`.toLowerCase();
    const { user } = await app.client.createUser({ user: { firstName, lastName, email, attributes } });
    if (user === undefined) throw new Error('There is no user in the answer.');
    return user;
  }

  describe('of an empty directory', () => {
    it('invites to fill it, and shows the first user as soon as there is one', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await page.getByText('Nobody is here yet').waitFor();
      expect(await total(page)).toBe('0 users');
      await expectAccessible();
      await expect.poll(() => sign(page), patience).toBe('live');
      const { id = '' } = await create('Ada', 'Lovelace');
      await row(page, 'Ada Lovelace').waitFor();
      await expect.poll(() => total(page), patience).toBe('1 user');
      await app.client.deleteUser({ id });
      await page.getByText('Nobody is here yet').waitFor();
      expectNoFaults();
    });
  });

  describe('of a few users', () => {
    beforeAll(async () => {
      await create('Ada', 'Lovelace', { department: 'Mathematics' });
      await create('Grace', 'Hopper', { department: 'Navy' });
      await create('Alan', 'Turing', { department: 'Mathematics' });
      await create('Barbara', 'Liskov');
    });

    const newestFirst = ['Barbara Liskov', 'Alan Turing', 'Grace Hopper', 'Ada Lovelace'];

    it('has the newest first', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      expect(await total(page)).toBe('4 users');
      expectNoFaults();
    });

    it('is searched while somebody types, and the back button brings everybody back', async () => {
      const { page, expectNoFaults } = await open();
      await search(page).pressSequentially('LOVE');
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      await expect.poll(() => total(page), patience).toBe('1 match');
      await page.reload();
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      expect(await search(page).inputValue()).toBe('LOVE');
      await page.goBack();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      expect(await search(page).inputValue()).toBe('');
      await page.goForward();
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      await search(page).fill('nobody at all');
      await page.getByText('Nobody matches').waitFor();
      await page.getByRole('button', { name: 'Show everybody' }).click();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      expectNoFaults();
    });

    it('tells the server of a search in calls only, never in a URL', async () => {
      const { page } = await open();
      const urls: string[] = [];
      page.on('request', (request) => urls.push(request.url()));
      await search(page).fill('lovelace');
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      expect(page.url()).toContain('lovelace');
      await page.reload();
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      expect(urls.filter((url) => url.split('#')[0]?.includes('lovelace'))).toEqual([]);
    });

    it.each([
      ['First name', ['Ada', 'Alan', 'Barbara', 'Grace'], 'ascending'],
      ['Last name', ['Grace', 'Barbara', 'Ada', 'Alan'], 'ascending'],
      ['Email', ['Ada', 'Alan', 'Barbara', 'Grace'], 'ascending'],
      ['Updated', ['Barbara', 'Alan', 'Grace', 'Ada'], 'descending'],
    ])('is sorted by %s, either way', async (column, expected, direction) => {
      const { page, expectNoFaults } = await open('#order_by=create_time');
      await expect.poll(() => names(page), patience).toEqual([...newestFirst].reverse());
      const head = page.getByRole('columnheader', { name: column });
      const firstNames = async () => (await names(page)).map((name) => name.split(' ')[0]);
      expect(await head.getAttribute('aria-sort')).toBe('none');
      await head.getByRole('button').click();
      await expect.poll(firstNames, patience).toEqual(expected);
      expect(await head.getAttribute('aria-sort')).toBe(direction);
      await head.getByRole('button').click();
      await expect.poll(firstNames, patience).toEqual([...expected].reverse());
      await page.goBack();
      await expect.poll(firstNames, patience).toEqual(expected);
      expectNoFaults();
    });

    it('is filtered, and shows where a filter is wrong while the list stays as it was', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await page.getByRole('button', { name: 'Filter' }).click();
      await filter(page).fill('attributes.department == "Mathematics"');
      await filter(page).press('Enter');
      await expect.poll(() => names(page), patience).toEqual(['Alan Turing', 'Ada Lovelace']);
      await filter(page).fill('last_name == 7');
      await filter(page).press('Enter');
      await page.getByRole('alert').waitFor();
      expect(await page.getByRole('alert').textContent()).toMatch(/^The filter .* \(at character \d+\)\.$/);
      expect(await filter(page).getAttribute('aria-invalid')).toBe('true');
      expect(await names(page)).toEqual(['Alan Turing', 'Ada Lovelace']);
      await expectAccessible();

      // The mark is under the character that the text names, wherever the field is scrolled to.
      const right = 'email == "a" || '.repeat(20);
      await filter(page).fill(`${right}nonsense == 1`);
      await filter(page).press('Enter');
      await expect
        .poll(() => page.getByRole('alert').textContent(), patience)
        .toContain(`(at character ${right.length + 1})`);
      const mark = await page.locator('.filter-mark .ghost').textContent();
      expect(mark).toBe(right);

      await filter(page).press('Escape');
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      expectNoFaults();
    });

    it('is walked, opened and searched by keys alone', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      await page.keyboard.press('/');
      expect(await search(page).evaluate((field) => field === document.activeElement)).toBe(true);
      await page.keyboard.press('ArrowDown');
      const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'));
      await expect.poll(focused, patience).toBe('2');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await expect.poll(focused, patience).toBe('4');
      await page.keyboard.press('Home');
      await expect.poll(focused, patience).toBe('2');
      await page.keyboard.press('End');
      await expect.poll(focused, patience).toBe('5');
      await page.keyboard.press('PageUp');
      await expect.poll(focused, patience).toBe('2');
      const id = await rows(page).first().getAttribute('data-id');
      await page.keyboard.press('Enter');
      await expect.poll(() => new URL(page.url()).hash, patience).toBe(`#user=${id}`);
      await page.goBack();
      await expect.poll(() => new URL(page.url()).hash, patience).toBe('');
      await page.keyboard.press('n');
      await expect.poll(() => new URL(page.url()).hash, patience).toBe('#user=new');
      expectNoFaults();
    });

    it.each([
      ['in light', { theme: 'light' }],
      ['in dark', { theme: 'dark' }],
      ['on a tablet', { width: 768, height: 1024 }],
      ['on a phone', { width: 360, height: 740 }],
    ] as const)('can be used by everybody %s', async (_, options) => {
      const { page, expectAccessible, expectNoFaults } = await open('#filter=email+!%3D+""', options);
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      await expectAccessible();
      await page.getByRole('button', { name: 'More' }).click();
      await page.getByRole('menu').waitFor();
      await expectAccessible();
      // Nothing is wider than the window.
      const { width = 0 } = page.viewportSize() ?? {};
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
      expectNoFaults();
    });

    it('keeps the theme that somebody chose', async () => {
      const { page } = await open('', { theme: 'light' });
      const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      const light = await background();
      await page.getByRole('button', { name: 'More' }).click();
      await page.getByRole('menuitem', { name: 'Dark theme' }).click();
      await expect.poll(background, patience).not.toBe(light);
      const dark = await background();
      await page.reload();
      await expect.poll(background, patience).toBe(dark);
    });

    it('follows what others do, in every browser', async () => {
      const first = await open();
      const second = await open('#order_by=last_name');
      for (const { page } of [first, second]) {
        await expect.poll(async () => (await names(page)).length, patience).toBe(4);
        await expect.poll(() => sign(page), patience).toBe('live');
      }
      const added = await create('Radia', 'Perlman');
      for (const { page } of [first, second]) {
        await row(page, 'Radia Perlman').waitFor();
        await expect.poll(() => total(page), patience).toBe('5 users');
      }
      expect((await names(second.page)).at(3)).toBe('Radia Perlman');
      await app.client.updateUser({ user: { id: added.id, lastName: 'of the Bridges' } });
      for (const { page } of [first, second]) await row(page, 'Radia of the Bridges').waitFor();
      await app.client.deleteUser({ id: added.id });
      for (const { page, expectNoFaults } of [first, second]) {
        await expect.poll(() => names(page), patience).not.toContain('Radia of the Bridges');
        await expect.poll(() => total(page), patience).toBe('4 users');
        expectNoFaults();
      }
    });

    it('loses nobody who is added while an answer is on its way', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      await expect.poll(() => sign(page), patience).toBe('live');
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      let read = 0;
      await page.route('**/ListUsers', async (route) => {
        const response = await route.fetch();
        read++;
        await released;
        await route.fulfill({ response });
      });
      await page.getByRole('columnheader', { name: 'Email' }).getByRole('button').click();
      await expect.poll(() => read, patience).toBeGreaterThan(0);
      const { id } = await create('Zoe', 'Late');
      await row(page, 'Zoe Late').waitFor();
      release();
      await expect.poll(async () => (await names(page)).at(0), patience).toBe('Ada Lovelace');
      expect((await names(page)).at(-1)).toBe('Zoe Late');
      await expect.poll(() => total(page), patience).toBe('5 users');
      await page.unrouteAll({ behavior: 'wait' });
      await app.client.deleteUser({ id });
      expectNoFaults();
    });

    it('keeps the keyboard in the list where the row that has the focus leaves', async () => {
      const { id } = await create('Zoe', 'Last');
      const { page } = await open('#order_by=email');
      await row(page, 'Zoe Last').waitFor();
      await expect.poll(() => sign(page), patience).toBe('live');
      await search(page).press('ArrowDown');
      await page.keyboard.press('End');
      const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'));
      await expect.poll(focused, patience).toBe('6');
      await app.client.deleteUser({ id });
      await expect.poll(focused, patience).toBe('5');
      expect(await page.locator('[data-row][tabindex="0"]').count()).toBe(1);
    });

    it('opens whom it shows without waiting for the server, and closing again and again makes no way back longer', async () => {
      const { page } = await open('#order_by=email');
      await expect.poll(async () => (await names(page)).length, patience).toBe(4);
      await page.route('**/GetUser', () => {});
      const lengths: number[] = [];
      for (const name of ['Ada Lovelace', 'Grace Hopper', 'Alan Turing']) {
        await row(page, name).click();
        await page.getByRole('dialog').getByRole('heading', { name }).waitFor();
        await page.keyboard.press('Escape');
        await page.getByRole('dialog').waitFor({ state: 'detached' });
        lengths.push(await page.evaluate(() => history.length));
      }
      expect(new Set(lengths).size).toBe(1);
    });

    it('says so while the server is away, and is up to date when it is back', async () => {
      await using proxy = await startProxy(app.http);
      const { page, expectNoFaults } = await open('', {}, proxy.url);
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      await expect.poll(() => sign(page), patience).toBe('live');
      await proxy.stop();
      await expect.poll(() => sign(page), patience).toMatch(/reconnecting|offline/);
      expect(await names(page)).toEqual(newestFirst);
      await search(page).fill('love');
      await page.getByText('The server cannot be reached.').waitFor();
      const added = await create('Katherine', 'Johnson-Love');
      await proxy.start();
      await expect.poll(() => sign(page), patience).toBe('live');
      await expect.poll(() => names(page), patience).toEqual(['Katherine Johnson-Love', 'Ada Lovelace']);
      await expect.poll(() => page.getByText('The server cannot be reached.').count(), patience).toBe(0);
      await app.client.deleteUser({ id: added.id });
      await expect.poll(() => names(page), patience).toEqual(['Ada Lovelace']);
      expectNoFaults(connectionLost);
    });

    it('asks for a token where calls need one, and keeps it in memory only', async () => {
      await using proxy = await startProxy(app.http);
      proxy.require('secret');
      const { page, expectAccessible, expectNoFaults } = await open('', {}, proxy.url);
      const field = page.getByLabel('Token');
      await field.fill('wrong');
      await field.press('Enter');
      await page.getByText('The server has refused this token.').waitFor();
      await expectAccessible();
      await page.getByLabel('Token').fill('secret');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect.poll(() => names(page), patience).toEqual(newestFirst);
      await expect.poll(() => sign(page), patience).toBe('live');
      expect(
        await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])),
      ).not.toContain('secret');
      expect(page.url()).not.toContain('secret');
      // A token may end while the page is open, and whoever is writing loses nothing by it.
      await page.getByRole('button', { name: 'New user' }).click();
      await page.getByRole('textbox', { name: 'First name' }).fill('Half a na');
      proxy.require('newer');
      await page.getByLabel('Token').fill('newer');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect.poll(() => sign(page), patience).toBe('live');
      expect(await page.getByRole('textbox', { name: 'First name' }).inputValue()).toBe('Half a na');
      expectNoFaults(connectionLost);
    });

    it('shows whom a link leads to once there is a token', async () => {
      const { users } = await app.client.listUsers({ query: 'lovelace' });
      await using proxy = await startProxy(app.http);
      proxy.require('secret');
      const { page } = await open(`#user=${users[0]?.id}`, {}, proxy.url);
      await page.getByLabel('Token').fill('secret');
      await page.getByLabel('Token').press('Enter');
      await page.getByRole('dialog').getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
      expect(await page.getByRole('dialog').count()).toBe(1);
    });
  });

  describe('of tens of thousands of users', () => {
    const usersMany = 20_000;
    let own: TestApp;

    beforeAll(async () => {
      own = await startTestApp();
      await own.client.importAllUsers(
        (function* () {
          for (let index = 0; index < usersMany; index++) {
            const number = String(index).padStart(5, '0');
            yield { firstName: `User ${number}`, lastName: `Of ${number}`, email: `user-${number}@example.com` };
          }
        })(),
      );
    });
    afterAll(() => own?.[Symbol.asyncDispose]());
    let opened: TestPage;
    beforeEach(async () => {
      opened = await open('#order_by=email', {}, `${own.http}/`);
      await row(opened.page, 'User 00000').waitFor();
    });

    const scrollBy = (page: Page, px: number) =>
      page.evaluate((by) => {
        const grid = document.querySelector('[role=grid]');
        if (grid !== null) grid.scrollTop += by;
      }, px);
    const rowsMax = (page: Page) => page.locator('[data-row]').count();

    it('shows a few dozen rows, loads the others as they come near, and forgets them again', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => total(page), patience).toBe('20,000 users');
      const last = () => page.locator('[data-id] .cell-name a').last().textContent();
      // To the end, as fast as pages come.
      await expect
        .poll(
          async () => {
            await scrollBy(page, 1_000_000);
            expect(await rowsMax(page)).toBeLessThan(80);
            return await row(page, 'User 19999').count();
          },
          { timeout: 150_000, interval: 20 },
        )
        .toBe(1);
      expect(await last()).toBe('User 19999 Of 19999');
      expect(await page.getByRole('grid').getAttribute('aria-rowcount')).toBe('20001');
      expect(await row(page, 'User 19999').getAttribute('aria-rowindex')).toBe('20001');

      // The beginning is not in memory any more: it is asked for again, by the token that was kept.
      let calls = 0;
      page.on('request', (request) => {
        if (request.url().endsWith('/ListUsers')) calls++;
      });
      await scrollBy(page, -10_000_000);
      await row(page, 'User 00000').waitFor();
      expect(calls).toBeGreaterThan(0);
      expect(await rowsMax(page)).toBeLessThan(80);
      // In the middle too.
      await scrollBy(page, 10_000 * 48);
      await row(page, 'User 10005').waitFor();
      expect((await names(page)).every((name, index, all) => index === 0 || name > (all[index - 1] ?? ''))).toBe(true);
      expectNoFaults();
    }, 180_000);

    it('says how many are new, and shows them when somebody wants to see them', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), patience).toBe('live');
      await expect.poll(() => total(page), patience).toBe('20,000 users');
      const added: User[] = [];
      for (const name of ['First', 'Second']) {
        const { user } = await own.client.createUser({ user: { firstName: name, email: `zz-${name}@example.com` } });
        if (user !== undefined) added.push(user);
      }
      const pill = page.getByRole('button', { name: '2 new · show' });
      await pill.waitFor();
      await expect.poll(() => total(page), patience).toBe('20,002 users');
      await pill.click();
      await expect.poll(async () => (await names(page)).slice(0, 2), patience).toEqual(['Second', 'First']);
      expect(await pill.count()).toBe(0);
      for (const { id } of added) await own.client.deleteUser({ id });
      await expect.poll(() => total(page), patience).toBe('20,000 users');
      expectNoFaults();
    });

    it('holds its place when rows above it leave', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), patience).toBe('live');
      await scrollBy(page, 100 * 48);
      await row(page, 'User 00105').waitFor();
      const top = () => row(page, 'User 00105').evaluate((element) => element.getBoundingClientRect().top);
      const before = await top();
      const { users = [] } = await own.client.listUsers({ orderBy: 'email', pageSize: 3 });
      for (const { id } of users) await own.client.deleteUser({ id });
      await expect.poll(() => total(page), patience).toBe('19,997 users');
      expect(await row(page, 'User 00105').getAttribute('aria-rowindex')).toBe('104');
      expect(await top()).toBe(before);
      for (const { firstName, lastName, email } of users)
        await own.client.createUser({ user: { firstName, lastName, email } });
      expectNoFaults();
    });

    it('takes a flood of changes, and is right about them', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), patience).toBe('live');
      await expect.poll(() => total(page), patience).toBe('20,000 users');
      await own.client.importAllUsers(
        (function* () {
          for (let index = 0; index < 20_000; index++) yield { firstName: 'New', email: `zzz-${index}@example.com` };
        })(),
      );
      await expect.poll(() => total(page), patience).toBe('40,000 users');
      await page.getByRole('button', { name: /^5,000\+ new/ }).waitFor();
      await page.getByRole('button', { name: /^5,000\+ new/ }).click();
      await row(page, 'New').first().waitFor();
      expectNoFaults();
    });
  });
});
