/** Tests the list in a real browser, against the whole application. */
import type { Page } from 'playwright-core';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, delayFrames, type OpenOptions, type TestPage } from './browser.js';
import { startProxy } from './proxy.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
// The browser's own console messages about refused connections.
const connectionLost = /Failed to load resource|ERR_/;

const rows = (page: Page) => page.locator('[data-id]');
const names = async (page: Page) =>
  (await page.locator('[data-id] .cell-name a').allTextContents()).map((name) => name.trim());
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const total = (page: Page) => page.locator('.total').textContent();
const sign = (page: Page) => page.locator('.sign').getAttribute('data-state');
const search = (page: Page) => page.getByRole('searchbox', { name: 'Search' });

describe.skipIf(browserMissing !== undefined)('the list', () => {
  const site = useSite();

  const open = (hash = '', options?: OpenOptions, url = `${site.app.http}/`): Promise<TestPage> =>
    site.browser.open(`${url}${hash}`, options);

  async function create(firstName: string, lastName: string, attributes?: Record<string, unknown>): Promise<User> {
    const email = `${firstName}.${lastName}@example.com`.toLowerCase();
    const { user } = await site.app.client.createUser({ user: { firstName, lastName, email, attributes } });
    if (user === undefined) throw new Error('There is no user in the answer.');
    return user;
  }

  describe('of an empty directory', () => {
    it('offers ways to add users, and shows the first user immediately', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await page.getByText('No users yet').waitFor();
      expect(await total(page)).toBe('0 users');
      await expectAccessible();
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      const { id = '' } = await create('Ada', 'Lovelace');
      await row(page, 'Ada Lovelace').waitFor();
      await expect.poll(() => total(page), pollTimeout).toBe('1 user');
      await site.app.client.deleteUser({ id });
      await page.getByText('No users yet').waitFor();
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
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      expect(await total(page)).toBe('4 users');
      expectNoFaults();
    });

    it('is searched during typing, and the back button shows all users again', async () => {
      const { page, expectNoFaults } = await open();
      await search(page).pressSequentially('LOVE');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      await expect.poll(() => total(page), pollTimeout).toBe('1 match');
      await page.reload();
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      expect(await search(page).inputValue()).toBe('LOVE');
      await page.goBack();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      expect(await search(page).inputValue()).toBe('');
      await page.goForward();
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      await search(page).fill('nobody at all');
      await page.getByText('No matches').waitFor();
      await page.getByText('No user has “nobody at all” in the name or email.').waitFor();
      await page.getByRole('button', { name: 'Show all users' }).click();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      const clear = page.getByRole('button', { name: 'Clear the search' });
      expect(await clear.count()).toBe(0);
      await search(page).fill('ada');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      await clear.click();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      expect(await search(page).evaluate((input) => input === document.activeElement)).toBe(true);
      expectNoFaults();
    });

    it('is searched for names and emails as other programs write them', async () => {
      const { page, expectNoFaults } = await open();
      const pasted = ['Lovelace, Ada', '"Ada Lovelace" <ada.lovelace@example.com>;', 'mailto:ada.l'];
      for (const text of pasted) {
        await search(page).fill('');
        await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
        await search(page).fill(text);
        await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
        expect(await search(page).inputValue()).toBe(text);
      }
      expectNoFaults();
    });

    it('sends a search to the server only in calls, never in a URL', async () => {
      const { page } = await open();
      const urls: string[] = [];
      page.on('request', (request) => urls.push(request.url()));
      await search(page).fill('lovelace');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      expect(page.url()).toContain('lovelace');
      await page.reload();
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      expect(urls.filter((url) => url.split('#')[0]?.includes('lovelace'))).toEqual([]);
    });

    it.each([
      ['Name', ['Ada', 'Alan', 'Barbara', 'Grace'], 'ascending'],
      ['Email', ['Ada', 'Alan', 'Barbara', 'Grace'], 'ascending'],
    ])('is sorted by %s, in both directions', async (column, expected, direction) => {
      const { page, expectNoFaults } = await open('#order_by=create_time');
      await expect.poll(() => names(page), pollTimeout).toEqual([...newestFirst].reverse());
      const head = page.getByRole('columnheader', { name: column });
      const firstNames = async () => (await names(page)).map((name) => name.split(' ')[0]);
      expect(await head.getAttribute('aria-sort')).toBe('none');
      await head.getByRole('button', { name: column, exact: true }).click();
      await expect.poll(firstNames, pollTimeout).toEqual(expected);
      expect(await head.getAttribute('aria-sort')).toBe(direction);
      await head.getByRole('button', { name: column, exact: true }).click();
      await expect.poll(firstNames, pollTimeout).toEqual([...expected].reverse());
      await page.goBack();
      await expect.poll(firstNames, pollTimeout).toEqual(expected);
      expectNoFaults();
    });

    it('can be used with the keyboard only', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await page.keyboard.press('/');
      expect(await search(page).evaluate((field) => field === document.activeElement)).toBe(true);
      await page.keyboard.press('ArrowDown');
      const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'));
      await expect.poll(focused, pollTimeout).toBe('2');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await expect.poll(focused, pollTimeout).toBe('4');
      await page.keyboard.press('Home');
      await expect.poll(focused, pollTimeout).toBe('2');
      await page.keyboard.press('End');
      await expect.poll(focused, pollTimeout).toBe('5');
      await page.keyboard.press('PageUp');
      await expect.poll(focused, pollTimeout).toBe('2');
      const id = await rows(page).first().getAttribute('data-id');
      await page.keyboard.press('Enter');
      await expect.poll(() => new URL(page.url()).hash, pollTimeout).toBe(`#user=${id}`);
      await page.goBack();
      await expect.poll(() => new URL(page.url()).hash, pollTimeout).toBe('');
      await page.keyboard.press('n');
      await expect.poll(() => new URL(page.url()).hash, pollTimeout).toBe('#user=new');
      expectNoFaults();
    });

    /** Delays the answers to ListUsers until they are released. */
    async function holdAnswers(page: Page): Promise<{ read: () => number; release: () => Promise<void> }> {
      const { promise: released, resolve } = Promise.withResolvers<void>();
      let read = 0;
      await page.route('**/ListUsers', async (route) => {
        const response = await route.fetch();
        read++;
        await released;
        await route.fulfill({ response });
      });
      return {
        read: () => read,
        release: async () => {
          resolve();
          await page.unrouteAll({ behavior: 'wait' });
        },
      };
    }

    const panel = (page: Page) => page.getByRole('complementary');
    const heading = (page: Page, name: string) => panel(page).getByRole('heading', { name });

    it.each([
      ['first', ['ArrowDown', 'Enter'], 'Grace Hopper'],
      ['second', ['ArrowDown', 'ArrowDown', 'Enter'], 'Barbara Liskov'],
    ])('opens the %s match, even if the answer arrives after the keys', async (_, keys, expected) => {
      const { page, expectNoFaults } = await open('#order_by=create_time');
      await expect.poll(() => names(page), pollTimeout).toEqual([...newestFirst].reverse());
      const answers = await holdAnswers(page);
      await search(page).focus();
      await page.keyboard.type('ra');
      for (const key of keys) await page.keyboard.press(key);
      await expect.poll(answers.read, pollTimeout).toBeGreaterThan(0);
      expect(await panel(page).count()).toBe(0);
      await answers.release();
      await heading(page, expected).waitFor();
      expectNoFaults();
    });

    it('opens no user by ↓ and Enter if the search continues, loses the focus, or fails', async () => {
      const { page } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      for (const next of [
        () => page.keyboard.type('a'),
        () => page.keyboard.press('Tab'),
        () => page.keyboard.press('Escape'),
      ]) {
        const answers = await holdAnswers(page);
        await search(page).fill('');
        await search(page).focus();
        await page.keyboard.type('ra');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Enter');
        await next();
        await answers.release();
        await search(page).fill('hopper');
        await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
        expect(await panel(page).count()).toBe(0);
      }
      await page.route('**/ListUsers', (route) => route.fulfill({ status: 500, body: 'no' }));
      await search(page).fill('');
      await search(page).pressSequentially('ra');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      await page.getByRole('alert').waitFor();
      expect(await panel(page).count()).toBe(0);
    });

    it('searches for what was typed directly after Escape, even if frames and timers are late', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await delayFrames(page);
      await search(page).focus();
      await page.keyboard.type('ra');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Escape');
      await page.keyboard.type('hopper');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
      expect(await search(page).inputValue()).toBe('hopper');
      expectNoFaults();
    });

    it('opens the only match of a search by Enter, and no user if there are several', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await search(page).focus();
      await page.keyboard.press('Enter');
      await page.keyboard.type('ra');
      await page.keyboard.press('Enter');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Barbara Liskov', 'Grace Hopper']);
      await search(page).fill('hop');
      await page.keyboard.press('Enter');
      await heading(page, 'Grace Hopper').waitFor();
      await page.keyboard.press('Escape');
      await panel(page).waitFor({ state: 'detached' });
      await page.keyboard.press('Enter');
      await heading(page, 'Grace Hopper').waitFor();
      expectNoFaults();
    });

    const focusedName = (page: Page) =>
      page.evaluate(() => document.activeElement?.querySelector('.cell-name a')?.textContent?.trim());

    it('keeps the focus on a user if others appear above', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await search(page).press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Alan Turing');
      const { id } = await create('Zoe', 'Above');
      await row(page, 'Zoe Above').waitFor();
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Alan Turing');
      await page.keyboard.press('Enter');
      await heading(page, 'Alan Turing').waitFor();
      // The focus returns to the user, whose row has moved while the panel was open.
      await site.app.client.deleteUser({ id });
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await page.keyboard.press('Escape');
      await panel(page).waitFor({ state: 'detached' });
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Alan Turing');
      expectNoFaults();
    });

    it('leaves the focus in the search after a key that had no effect in the list', async () => {
      const { page } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await search(page).press('ArrowDown');
      await page.keyboard.press('ArrowUp');
      await page.keyboard.press('/');
      await page.keyboard.type('ra');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Barbara Liskov', 'Grace Hopper']);
      expect(await search(page).evaluate((field) => field === document.activeElement)).toBe(true);
    });

    it('begins at the first row again if the focused list is replaced', async () => {
      const { page, expectNoFaults } = await open('#order_by=email');
      await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Ada Lovelace');
      await page.getByRole('button', { name: 'Name', exact: true }).click();
      await page.getByRole('button', { name: 'Name', exact: true }).click();
      await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Grace Hopper');
      await search(page).press('ArrowDown');
      await page.keyboard.press('End');
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Ada Lovelace');
      await page.goBack();
      await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Ada Lovelace');
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Ada Lovelace');
      await page.keyboard.press('ArrowDown');
      await expect.poll(() => focusedName(page), pollTimeout).toBe('Alan Turing');
      await page.keyboard.press('Enter');
      await heading(page, 'Alan Turing').waitFor();
      expectNoFaults();
    });

    it('describes each kind of failure', async () => {
      const { page } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      const html = '<!doctype html><title>Error</title><h1>Something of a proxy</h1>';
      const json = 'application/json';
      const cases = [
        [{ status: 500, body: html }, 'The server returned an error (HTTP 500).'],
        [{ status: 502, body: html }, 'The server is not available at the moment (HTTP 502).'],
        [{ status: 503, body: html }, 'The server is not available at the moment (HTTP 503).'],
        [{ status: 429, body: html }, 'The server received too many requests (HTTP 429).'],
        [{ status: 413, body: html }, 'The request is too large for the server or for its proxy (HTTP 413).'],
        [{ status: 403, body: html }, 'You are not allowed to do this.'],
        [{ status: 404, body: html }, 'The server does not support this call (HTTP 404). Reload the page.'],
        [{ status: 405, body: html }, 'The request was refused (HTTP 405).'],
        [{ status: 200, contentType: 'text/html', body: html }, 'not from Roster'],
        [{ status: 200, contentType: json, body: '{"users": [' }, 'not from Roster'],
        [
          { status: 502, contentType: json, body: '{"message": "upstream <b>"}' },
          'not available at the moment (HTTP 502).',
        ],
        [
          { status: 200, contentType: 'application/json', body: '{"users":' },
          'The page cannot read the server’s response.',
        ],
        [
          { status: 500, contentType: json, body: '{"code": "internal", "message": "upstream <b>"}' },
          'returned an error.',
        ],
        [
          { status: 503, contentType: json, body: '{"code": "unavailable", "message": "upstream"}' },
          'Cannot reach the server.',
        ],
      ] as const;
      for (const [index, [answer, expected]] of cases.entries()) {
        await page.unroute('**/ListUsers');
        await page.route('**/ListUsers', (route) => route.fulfill(answer));
        await search(page).fill(`ra ${index}`);
        await expect
          .poll(() => page.getByRole('alert').allTextContents(), pollTimeout)
          .toEqual([expect.stringContaining(expected)]);
      }
      await page.unroute('**/ListUsers');
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.getByText('No matches').waitFor();
    });

    it.each([
      ['in rows', 1280],
      ['on cards', 390],
    ])('shows the beginning of a long name in both text directions, %s', async (_, width) => {
      const long = {
        Hebrew: 'שלום '.repeat(30).trim(),
        Arabic: 'محمد '.repeat(30).trim(),
        Latin: 'Wolfeschlegelsteinhausenbergerdorff'.repeat(4),
      };
      const ids: string[] = [];
      for (const [script, name] of Object.entries(long)) {
        const email = `${script}-${width}@example.com`;
        const { user } = await site.app.client.createUser({ user: { firstName: name, lastName: name, email } });
        const { id = '' } = user ?? {};
        onTestFinished(async () => void (await site.app.client.deleteUser({ id })));
        ids.push(id);
      }
      const { page } = await open('', { width });
      for (const id of ids) {
        const link = page.locator(`[data-id="${id}"] .cell-name a`);
        await link.waitFor();
        const isBeginningShown = await link.evaluate((element) => {
          const cell = element.getBoundingClientRect();
          const text = element.querySelector('span')?.firstChild;
          if (!(text instanceof Text)) throw new Error('There is no name.');
          const range = document.createRange();
          range.setStart(text, 0);
          range.setEnd(text, 1);
          const { left, right } = range.getBoundingClientRect();
          return left >= cell.left - 1 && right <= cell.right + 1 && right > left;
        });
        expect(isBeginningShown).toBe(true);
      }
    });

    it('keeps the theme that the user chose', async () => {
      const { page } = await open('', { theme: 'light' });
      const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      const light = await background();
      await page.getByRole('button', { name: 'More' }).click();
      await page.getByRole('menuitem', { name: 'Dark theme' }).click();
      await expect.poll(background, pollTimeout).not.toBe(light);
      const dark = await background();
      await page.reload();
      await expect.poll(background, pollTimeout).toBe(dark);
    });

    it('shows changes by others in every browser', async () => {
      const first = await open();
      const second = await open('#order_by=last_name');
      for (const { page } of [first, second]) {
        await expect.poll(async () => (await names(page)).length, pollTimeout).toBe(4);
        await expect.poll(() => sign(page), pollTimeout).toBe('live');
      }
      const added = await create('Radia', 'Perlman');
      for (const { page } of [first, second]) {
        await row(page, 'Radia Perlman').waitFor();
        await expect.poll(() => total(page), pollTimeout).toBe('5 users');
      }
      expect((await names(second.page)).at(3)).toBe('Radia Perlman');
      await site.app.client.updateUser({ user: { id: added.id, lastName: 'of the Bridges' } });
      for (const { page } of [first, second]) await row(page, 'Radia of the Bridges').waitFor();
      await site.app.client.deleteUser({ id: added.id });
      for (const { page, expectNoFaults } of [first, second]) {
        await expect.poll(() => names(page), pollTimeout).not.toContain('Radia of the Bridges');
        await expect.poll(() => total(page), pollTimeout).toBe('4 users');
        expectNoFaults();
      }
    });

    it('shows what changed between its first read and the start of its feed', async () => {
      const gone = await create('Zoe', 'Gone');
      const changed = await create('Zoe', 'Before');
      const { page, expectNoFaults } = await open('about:blank', { mayRequest: site.app.http }, '');
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      await page.route('**/WatchUsers', async (route) => {
        await held;
        await route.continue();
      });
      await page.goto(`${site.app.http}/`);
      await row(page, 'Zoe Gone').waitFor();
      await site.app.client.deleteUser({ id: gone.id });
      await site.app.client.updateUser({ user: { id: changed.id, lastName: 'After' } });
      const added = await create('Zoe', 'Added');
      expect(await sign(page)).toBe('connecting');
      release();
      await expect.poll(() => names(page), pollTimeout).toEqual(['Zoe Added', 'Zoe After', ...newestFirst]);
      await expect.poll(() => total(page), pollTimeout).toBe('6 users');
      for (const { id } of [changed, added]) await site.app.client.deleteUser({ id });
      expectNoFaults();
    });

    it('loses no user that is created while the rows are read again', async () => {
      const { page, expectNoFaults } = await open('about:blank', { mayRequest: site.app.http }, '');
      const { promise: released, resolve } = Promise.withResolvers<void>();
      let calls = 0;
      let read = 0;
      await page.route('**/ListUsers', async (route) => {
        calls++;
        if (calls === 1) return route.continue();
        const response = await route.fetch();
        read++;
        await released;
        return route.fulfill({ response });
      });
      // The page reads them again when it receives changes.
      await page.goto(`${site.app.http}/#order_by=email`);
      await expect.poll(() => read, pollTimeout).toBeGreaterThan(0);
      const { id } = await create('Zoe', 'Again');
      await row(page, 'Zoe Again').waitFor();
      resolve();
      await page.unrouteAll({ behavior: 'wait' });
      const { id: laterId } = await create('Zoe', 'Later');
      await row(page, 'Zoe Later').waitFor();
      expect((await names(page)).slice(-2)).toEqual(['Zoe Again', 'Zoe Later']);
      await expect.poll(() => total(page), pollTimeout).toBe('6 users');
      for (const each of [id, laterId]) await site.app.client.deleteUser({ id: each });
      expectNoFaults();
    });

    it('loses no user that is created while an answer is pending', async () => {
      const { page, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
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
      await page.getByRole('button', { name: 'Email', exact: true }).click();
      await expect.poll(() => read, pollTimeout).toBeGreaterThan(0);
      const { id } = await create('Zoe', 'Late');
      await row(page, 'Zoe Late').waitFor();
      release();
      await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Ada Lovelace');
      expect((await names(page)).at(-1)).toBe('Zoe Late');
      await expect.poll(() => total(page), pollTimeout).toBe('5 users');
      await page.unrouteAll({ behavior: 'wait' });
      await site.app.client.deleteUser({ id });
      expectNoFaults();
    });

    it('keeps the focus in the list if the focused row is removed', async () => {
      const { id } = await create('Zoe', 'Last');
      const { page } = await open('#order_by=email');
      await row(page, 'Zoe Last').waitFor();
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await search(page).press('ArrowDown');
      await page.keyboard.press('End');
      const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex'));
      await expect.poll(focused, pollTimeout).toBe('6');
      await site.app.client.deleteUser({ id });
      await expect.poll(focused, pollTimeout).toBe('5');
      expect(await page.locator('[data-row][tabindex="0"]').count()).toBe(1);
    });

    it('opens a user without waiting for the server, and repeated closing adds no steps to the history', async () => {
      const { page } = await open('#order_by=email');
      await expect.poll(async () => (await names(page)).length, pollTimeout).toBe(4);
      await page.route('**/GetUser', () => {});
      const lengths: number[] = [];
      for (const name of ['Ada Lovelace', 'Grace Hopper', 'Alan Turing']) {
        await row(page, name).click();
        await panel(page).getByRole('heading', { name }).waitFor();
        await page.keyboard.press('Escape');
        await panel(page).waitFor({ state: 'detached' });
        lengths.push(await page.evaluate(() => history.length));
      }
      expect(new Set(lengths).size).toBe(1);
    });

    it('says that it cannot reach the server, and is up to date after it can', async () => {
      await using proxy = await startProxy(site.app.http);
      const { page, expectNoFaults } = await open('', {}, proxy.url);
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await proxy.stop();
      await expect.poll(() => sign(page), pollTimeout).toMatch(/reconnecting|offline/);
      expect(await names(page)).toEqual(newestFirst);
      await search(page).fill('love');
      await page.getByText('Cannot reach the server.').waitFor();
      const added = await create('Katherine', 'Johnson-Love');
      await proxy.start();
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Katherine Johnson-Love', 'Ada Lovelace']);
      await expect.poll(() => page.getByText('Cannot reach the server.').count(), pollTimeout).toBe(0);
      await site.app.client.deleteUser({ id: added.id });
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      expectNoFaults(connectionLost);
    });

    it('asks for a token if calls need one, and keeps it in memory only', async () => {
      await using proxy = await startProxy(site.app.http);
      proxy.require('secret');
      const { page, expectAccessible, expectNoFaults } = await open('', {}, proxy.url);
      const field = page.getByLabel('Token');
      await field.fill('wrong');
      await field.press('Enter');
      await page.getByText('The server rejected this token.').waitFor();
      await expectAccessible();
      await page.getByLabel('Token').fill('secret');
      await page.getByText('The server rejected this token.').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect.poll(() => names(page), pollTimeout).toEqual(newestFirst);
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      expect(
        await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])),
      ).not.toContain('secret');
      expect(page.url()).not.toContain('secret');
      // If a token expires while the page is open, the user loses no edits.
      await page.getByRole('button', { name: 'New user' }).click();
      await page.getByRole('textbox', { name: 'First name' }).fill('Half a na');
      proxy.require('newer');
      await page.getByText('Sign in again to continue where you were.').waitFor();
      await page.getByLabel('Token').fill('newer');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      expect(await page.getByRole('textbox', { name: 'First name' }).inputValue()).toBe('Half a na');
      expectNoFaults(connectionLost);
    });

    it('shows the user in a link after the sign-in', async () => {
      const { users } = await site.app.client.listUsers({ query: 'lovelace' });
      await using proxy = await startProxy(site.app.http);
      proxy.require('secret');
      const { page } = await open(`#user=${users[0]?.id}`, {}, proxy.url);
      await page.getByLabel('Token').fill('secret');
      await page.getByLabel('Token').press('Enter');
      await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
      expect(await panel(page).count()).toBe(1);
    });
  });

  describe('of a few hundred users, after a change by the page itself', () => {
    const usersFew = 300;

    beforeEach(async () => {
      await site.clear();
      await site.app.client.importAllUsers(
        (function* () {
          for (let index = 0; index < usersFew; index++)
            yield { firstName: `User ${index}`, email: `u${index}@example.com` };
        })(),
      );
    });

    const pill = (page: Page) => page.getByRole('button', { name: /^Show .* new users?(, newest first)?$/ });
    const panel = (page: Page) => page.getByRole('complementary');
    const submit = (page: Page, name: string) =>
      panel(page).or(page.getByRole('dialog')).getByRole('button', { name, exact: true });

    async function openLive(hash: string): Promise<TestPage> {
      const opened = await open(hash);
      await expect.poll(() => sign(opened.page), pollTimeout).toBe('live');
      return opened;
    }

    /** Creates a user with another client, and expects that no other user counts as new. */
    async function expectOnlyNew(page: Page, users: number): Promise<void> {
      await site.app.client.createUser({ user: { firstName: 'Else', email: 'zz-else@example.com' } });
      // The feed is in order, so all previous changes have arrived when this one is shown.
      const id = (await rows(page).first().getAttribute('data-id')) ?? '';
      await site.app.client.updateUser({ user: { id, lastName: 'Heard' }, updateMask: ['last_name'] });
      await row(page, 'Heard').waitFor();
      expect(await pill(page).textContent()).toMatch(/^Show 1 new user(, newest first)?$/);
      await expect.poll(() => total(page), pollTimeout).toBe(`${(users + 1).toLocaleString('en')} users`);
    }

    it('does not count a user as new that was opened by a link and edited', async () => {
      const { users } = await site.app.client.listUsers({ orderBy: 'email', pageSize: 1 });
      const { page, expectNoFaults } = await openLive(`#order_by=email desc&user=${users[0]?.id}`);
      await expect.poll(() => total(page), pollTimeout).toBe('300 users');
      await submit(page, 'Edit').click();
      await panel(page).getByRole('textbox', { name: 'Last name' }).fill('Edited');
      await submit(page, 'Save').click();
      await submit(page, 'Edit').waitFor();
      await expectOnlyNew(page, usersFew);
      expectNoFaults();
    });

    it('does not offer to show a user that it has created, even if the feed is faster than the answer', async () => {
      const { page, expectNoFaults } = await openLive('#user=new');
      await expect.poll(() => total(page), pollTimeout).toBe('300 users');
      await page.route('**/CreateUser', async (route) => {
        const response = await route.fetch();
        await pill(page).waitFor({ state: 'attached' });
        await route.fulfill({ response });
      });
      await panel(page).getByRole('textbox', { name: 'First name' }).fill('Own');
      await panel(page).getByRole('textbox', { name: 'Email' }).fill('own@example.com');
      await submit(page, 'Create').click();
      await submit(page, 'Edit').waitFor();
      await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Own');
      expect(await pill(page).count()).toBe(0);
      await expectOnlyNew(page, usersFew + 1);
      expectNoFaults();
    });

    it.each(['create_time desc', 'email'])(
      'does not offer to show users that it has imported, by %s',
      async (order) => {
        const { page, expectNoFaults } = await openLive(`#order_by=${order}&dialog=import`);
        await expect.poll(() => total(page), pollTimeout).toBe('300 users');
        const rows = Array.from({ length: 1_200 }, (_, index) => `Imported,i${index}@example.com`);
        await page.getByLabel('CSV file').setInputFiles({
          name: 'i.csv',
          mimeType: 'text/csv',
          buffer: Buffer.from(`first_name,email\n${rows.join('\n')}`),
        });
        await submit(page, 'Check').click();
        await submit(page, 'Import 1,200 users').click();
        await page.getByText('The import is complete.').waitFor();
        await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
        await expect.poll(async () => (await names(page)).at(0), pollTimeout).toBe('Imported');
        await expectOnlyNew(page, usersFew + 1_200);
        expectNoFaults();
      },
    );
  });

  describe('of thousands of users', () => {
    const usersMany = 6_000;

    beforeAll(async () => {
      await site.clear();
      await site.app.client.importAllUsers(
        (function* () {
          for (let index = 0; index < usersMany; index++) {
            const number = String(index).padStart(5, '0');
            yield { firstName: `User ${number}`, lastName: `Of ${number}`, email: `user-${number}@example.com` };
          }
        })(),
      );
    });
    let opened: TestPage;
    beforeEach(async () => {
      opened = await open('#order_by=email');
      await row(opened.page, 'User 00000').waitFor();
    });

    const scrollBy = (page: Page, px: number) =>
      page.evaluate((by) => {
        const grid = document.querySelector('[role=grid]');
        if (grid !== null) grid.scrollTop += by;
      }, px);
    const rowsMax = (page: Page) => page.locator('[data-row]').count();
    const panel = (page: Page) => page.getByRole('complementary');

    it('shows a few dozen rows, and loads others before they come into view', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      for (let screen = 1; screen <= 40; screen++) {
        await scrollBy(page, 12 * 48);
        await row(page, `User ${String(screen * 12).padStart(5, '0')}`).waitFor();
        expect(await rowsMax(page)).toBeLessThan(80);
      }
      expectNoFaults();
    });

    it('reads and counts its rows once for the first view, and once when its feed is connected', async () => {
      const { page, expectNoFaults } = opened;
      await page.goto('about:blank');
      const requests = { list: 0, count: 0 };
      page.on('request', (request) => {
        if (!request.url().includes('/ListUsers')) return;
        // The first read is a GET, without a body.
        if (request.postDataJSON()?.includeTotalSize === true) requests.count++;
        else requests.list++;
      });
      await page.goto(`${site.app.http}/`);
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      await expect.poll(() => requests, pollTimeout).toEqual({ list: 2, count: 2 });
      // A change comes through the feed, and not by another read.
      const [name = ''] = await names(page);
      const { users } = await site.app.client.listUsers({ query: name });
      for (const lastName of ['Changed', users[0]?.lastName]) {
        await site.app.client.updateUser({ user: { id: users[0]?.id, lastName } });
        await row(page, `${users[0]?.firstName} ${lastName}`).waitFor();
      }
      expect(requests).toEqual({ list: 2, count: 2 });
      expectNoFaults();
    });

    it('counts new users, and shows them on request', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      const added: User[] = [];
      for (const name of ['First', 'Second']) {
        const { user } = await site.app.client.createUser({
          user: { firstName: name, email: `zz-${name}@example.com` },
        });
        if (user !== undefined) added.push(user);
      }
      const pill = page.getByRole('button', { name: 'Show 2 new users' });
      await pill.waitFor();
      await expect.poll(() => total(page), pollTimeout).toBe('6,002 users');
      // The new users are not rows yet.
      await row(page, 'User 00001').click();
      await panel(page).getByText('2 of 6,000').waitFor();
      await page.keyboard.press('Escape');
      await pill.click();
      await expect.poll(async () => (await names(page)).slice(0, 2), pollTimeout).toEqual(['Second', 'First']);
      expect(await pill.count()).toBe(0);
      for (const { id } of added) await site.app.client.deleteUser({ id });
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      expectNoFaults();
    });

    it('shows no number of a user whose row is an estimate', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      await scrollBy(page, 3_000 * 48);
      await page
        .locator('[data-id]', { hasText: /User 0[23]/ })
        .first()
        .click();
      await panel(page).getByRole('button', { name: 'Next person' }).waitFor();
      expect(
        await panel(page)
          .getByText(/ of 6,000/)
          .count(),
      ).toBe(0);
      expectNoFaults();
    });

    it('stays in place if rows above it are removed', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await scrollBy(page, 100 * 48);
      await row(page, 'User 00105').waitFor();
      const top = () => row(page, 'User 00105').evaluate((element) => element.getBoundingClientRect().top);
      const before = await top();
      const { users = [] } = await site.app.client.listUsers({ orderBy: 'email', pageSize: 3 });
      for (const { id } of users) await site.app.client.deleteUser({ id });
      await expect.poll(() => total(page), pollTimeout).toBe('5,997 users');
      expect(await row(page, 'User 00105').getAttribute('aria-rowindex')).toBe('104');
      expect(await top()).toBe(before);
      for (const { firstName, lastName, email } of users)
        await site.app.client.createUser({ user: { firstName, lastName, email } });
      expectNoFaults();
    });

    it('is correct after a flood of changes', async () => {
      const { page, expectNoFaults } = opened;
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await expect.poll(() => total(page), pollTimeout).toBe('6,000 users');
      await site.app.client.importAllUsers(
        (function* () {
          for (let index = 0; index < 6_000; index++) yield { firstName: 'New', email: `zzz-${index}@example.com` };
        })(),
      );
      await expect.poll(() => total(page), pollTimeout).toBe('12,000 users');
      await page.getByRole('button', { name: /^Show 5,000\+ new/ }).waitFor();
      await page.getByRole('button', { name: /^Show 5,000\+ new/ }).click();
      await row(page, 'New').first().waitFor();
      expectNoFaults();
    });
  });
});
