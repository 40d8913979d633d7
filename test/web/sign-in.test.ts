/** Tests signing in and out in a real browser, against the whole application and a real issuer. */
import type { Page, Route } from 'playwright-core';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { browserMissing, type OpenOptions } from './browser.js';
import { startGuardedApp } from './guarded-app.js';
import { audience, signInAtIssuer } from './issuer.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const dialog = (page: Page) => page.getByRole('dialog', { name: 'Sign in' });
const issuerButton = (page: Page) => page.getByRole('button', { name: /^Sign in with/ });
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const account = (page: Page) => page.locator('.account');
const sign = (page: Page) => page.locator('.sign').getAttribute('data-state');
const menuItem = (page: Page, name: string) => page.getByRole('menuitem', { name });

describe.skipIf(browserMissing !== undefined)('signing in', () => {
  const site = useSite(startGuardedApp);
  let count = 0;

  beforeAll(async () => {
    await site.app.client.createUser({ user: { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@example.com' } });
  });
  beforeEach(() => {
    Object.assign(site.app.issuer.tokens, { seconds: 3600, audience, canRefresh: false });
    site.app.issuer.grants.length = 0;
  });

  const open = (rest = '', options?: OpenOptions) => site.open(rest, { ...options, mayRequest: site.app.issuer.url });

  async function signIn(page: Page, login: string): Promise<void> {
    await issuerButton(page).click();
    await signInAtIssuer(page, login);
    await row(page, 'Ada Lovelace').waitFor();
  }

  /**
   * Lets the clock of the server and of the issuer pass the end of a token of 50 seconds. Browsers tolerate a difference of
   * a minute.
   */
  function expireToken(): void {
    vi.useFakeTimers({ toFake: ['Date'], shouldAdvanceTime: true, now: Date.now() + 55_000 });
    onTestFinished(() => void vi.useRealTimers());
  }

  async function useKey(page: Page, key: string): Promise<void> {
    const field = page.getByLabel('API key or token');
    const opener = page.getByText('Use an API key or token');
    await opener.waitFor();
    // Open already if a session with a key has ended.
    if (!(await field.isVisible())) await opener.click();
    await field.fill(key);
    await field.press('Enter');
  }

  /** The tokens that the page sends. */
  function tokensOf(page: Page): Set<string> {
    const tokens = new Set<string>();
    page.on('request', (request) => {
      const { authorization = '' } = request.headers();
      if (authorization !== '') tokens.add(authorization.replace('Bearer ', ''));
    });
    return tokens;
  }

  /** Where a token must not be: storage, cookies, the history, attributes and texts of the document. */
  async function tracesOf(page: Page): Promise<string> {
    const inBrowser = await page.evaluate(() =>
      JSON.stringify([
        { ...localStorage },
        { ...sessionStorage },
        document.cookie,
        window.navigation?.entries().map(({ url }) => url),
        document.documentElement.outerHTML,
      ]),
    );
    return inBrowser;
  }

  it('is asked for at once, before any call', async () => {
    const calls: string[] = [];
    const { page, expectAccessible, expectNoFaults } = await open('#query=ada');
    page.on('request', (request) => calls.push(new URL(request.url()).pathname));
    await page.reload();
    await issuerButton(page).waitFor();
    expect(await issuerButton(page).evaluate((button) => button === document.activeElement)).toBe(true);
    await expectAccessible();
    await page.getByText('Use an API key or token').click();
    await expectAccessible();
    expect(calls.filter((path) => path.startsWith('/users.v1.'))).toEqual([]);
    expect(await page.getByRole('alert').allTextContents()).toEqual(['']);
    expectNoFaults();
  });

  it('returns to the same place, and leaves no token or code behind', async () => {
    const { page, expectNoFaults, expectAccessible } = await open('#query=ada&order_by=email');
    const tokens = tokensOf(page);
    await signIn(page, 'admin');
    expect(page.url()).toBe(`${site.app.http}/#query=ada&order_by=email`);
    await expect.poll(() => account(page).textContent(), pollTimeout).toContain('Admin');
    expect(await account(page).getAttribute('title')).toContain('corp:admin');
    await expect.poll(() => sign(page), pollTimeout).toBe('live');
    const traces = await tracesOf(page);
    expect(tokens.size).toBe(1);
    for (const token of tokens) expect(traces).not.toContain(token);
    expect(traces).not.toMatch(/[?&]code=|verifier/);
    await page.getByRole('button', { name: 'More' }).click();
    await expectAccessible();
    expectNoFaults(atIssuer);
  });

  it('restores only the parts of the address that the page knows', async () => {
    const { page } = await open('#user=new&evil=https://evil.example/');
    await issuerButton(page).click();
    await signInAtIssuer(page, 'admin');
    await page.getByRole('complementary', { name: 'New user' }).waitFor();
    expect(page.url()).toBe(`${site.app.http}/#user=new`);
  });

  it('can be cancelled at the issuer, and tried again', async () => {
    const { page, expectAccessible } = await open('#query=ada');
    await issuerButton(page).click();
    await page.getByText('Cancel').click();
    await page.getByText(`${site.app.issuer.host} did not let you in, or you cancelled the sign-in.`).waitFor();
    expect(page.url()).toBe(`${site.app.http}/#query=ada`);
    await expectAccessible();
    await signIn(page, 'reader');
  });

  it('says if the directory does not accept the token of the issuer', async () => {
    site.app.issuer.tokens.audience = 'https://other.example';
    const { page } = await open();
    await issuerButton(page).click();
    await signInAtIssuer(page, 'reader');
    await page.getByText('the directory does not accept its token, which may be for another audience').waitFor();
    site.app.issuer.tokens.audience = audience;
    await issuerButton(page).click();
    await row(page, 'Ada Lovelace').waitFor();
  });

  it('says if it cannot reach the issuer', async () => {
    const { page } = await open();
    await issuerButton(page).waitFor();
    await site.app.issuer.stop();
    await issuerButton(page).click();
    await page.getByText(`Cannot reach ${site.app.issuer.host}.`).waitFor();
    await site.app.issuer.start();
    await signIn(page, 'reader');
  });

  it('says if the clock of the computer is wrong', async () => {
    const { page } = await open();
    await page.addInitScript(() => {
      const now = Date.now.bind(Date);
      Date.now = () => now() + 2 * 3_600_000;
    });
    await issuerButton(page).click();
    await signInAtIssuer(page, 'reader');
    await page.getByText('This computer’s clock differs from the clock of').waitFor();
  });

  it.each(['?code=stolen&state=guessed', '?error=access_denied&state=guessed'])(
    'ignores a response that it did not ask for: %s',
    async (response) => {
      const { page } = await open(`${response}&iss=${encodeURIComponent(site.app.issuer.url)}#query=ada`);
      await page.getByText('This page did not begin the sign-in that has just ended.').waitFor();
      expect(page.url()).toBe(`${site.app.http}/#query=ada`);
      expect(site.app.issuer.grants).toEqual([]);
      await signIn(page, 'reader');
    },
  );

  it('is not finished twice with one response', async () => {
    const { page } = await open();
    const responses: string[] = [];
    page.on('framenavigated', (frame) => responses.push(frame.url()));
    await signIn(page, 'reader');
    const response = responses.find((url) => url.includes('code='));
    await page.goto(response ?? 'about:blank');
    await page.getByText('This page did not begin the sign-in that has just ended.').waitFor();
    expect(site.app.issuer.grants).toEqual(['authorization_code']);
  });

  it('is needed again after a reload, because the page keeps tokens in memory only', async () => {
    const { page } = await open();
    await signIn(page, 'reader');
    await page.reload();
    // The issuer still knows the person.
    await issuerButton(page).click();
    await row(page, 'Ada Lovelace').waitFor();
    await expect.poll(() => account(page).textContent(), pollTimeout).toContain('Reader');
  });

  describe('again, after the token has expired', () => {
    it('continues a save in the same form', async () => {
      site.app.issuer.tokens.seconds = 50;
      const { page, expectAccessible } = await open();
      await signIn(page, 'writer');
      await page.getByRole('banner').getByRole('button', { name: 'New user' }).click();
      await page.getByRole('textbox', { name: 'First name' }).fill('Grace');
      await page.getByRole('textbox', { name: 'Email' }).fill(`grace${++count}@example.com`);
      const save = page.getByRole('complementary', { name: 'New user' }).getByRole('button', { name: 'Create' });
      // The writer has no live feed, so the page learns of the end by its next call.
      expireToken();
      await save.click();
      await page.getByText('Your session has expired.').waitFor();
      await expectAccessible();
      site.app.issuer.tokens.seconds = 3600;
      const opened = page.waitForEvent('popup');
      await issuerButton(page).click();
      const popup = await opened;
      // The issuer knows the session, so the window may be closed before this test sees it.
      if (!popup.isClosed()) await popup.waitForEvent('close');
      await row(page, 'Grace').first().waitFor();
      await page.getByRole('complementary', { name: 'Grace' }).waitFor();
      const { users } = await site.app.client.listUsers({ query: `grace${count}@example.com` });
      expect(users).toHaveLength(1);
    });

    it('appears over a form by itself if there is a live feed, and keeps the typed text', async () => {
      site.app.issuer.tokens.seconds = 50;
      const { page } = await open();
      await signIn(page, 'admin');
      await page.getByRole('banner').getByRole('button', { name: 'New user' }).click();
      await page.getByRole('textbox', { name: 'First name' }).fill('Half a na');
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      expireToken();
      await page.getByText('Your session has expired.').waitFor();
      site.app.issuer.tokens.seconds = 3600;
      // A blocked window, and then one that opens.
      await page.evaluate(() => {
        const open = window.open.bind(window);
        window.open = () => {
          window.open = open;
          return null;
        };
      });
      await issuerButton(page).click();
      await page.getByText('The browser did not open the window.').waitFor();
      await issuerButton(page).click();
      await dialog(page).waitFor({ state: 'detached' });
      expect(await page.getByRole('textbox', { name: 'First name' }).inputValue()).toBe('Half a na');
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
    });

    it('does not continue a save if somebody else signs in, and forgets what was typed', async () => {
      site.app.issuer.tokens.seconds = 50;
      const { page } = await open();
      await signIn(page, 'writer');
      await page.getByRole('banner').getByRole('button', { name: 'New user' }).click();
      await page.getByRole('textbox', { name: 'Email' }).fill(`other${++count}@example.com`);
      expireToken();
      await page.getByRole('complementary', { name: 'New user' }).getByRole('button', { name: 'Create' }).click();
      await page.getByText('Sign in again as Writer to continue where you were.').waitFor();
      await useKey(page, await site.app.addKey(`other-${count}`, ['reader', 'writer']));
      await expect.poll(() => account(page).textContent(), pollTimeout).toContain(`key:other-${count}`);
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await row(page, 'Ada Lovelace').waitFor();
      expect(await tracesOf(page)).not.toContain(`other${count}@example.com`);
      expect((await site.app.client.listUsers({ query: `other${count}@example.com` })).users).toEqual([]);
    });
  });

  it('renews the token without a question if the issuer allows it', async () => {
    Object.assign(site.app.issuer.tokens, { seconds: 10, canRefresh: true });
    const { page, expectNoFaults } = await open();
    const tokens = tokensOf(page);
    await signIn(page, 'admin');
    await expect
      .poll(() => site.app.issuer.grants.filter((grant) => grant === 'refresh_token').length, pollTimeout)
      .toBe(2);
    // One renewal at a time, and no token is used after its end.
    await site.app.client.createUser({ user: { firstName: 'Late', email: `late${++count}@example.com` } });
    await row(page, 'Late').first().waitFor();
    expect(await dialog(page).count()).toBe(0);
    expect(tokens.size).toBeGreaterThan(1);
    const traces = await tracesOf(page);
    for (const token of tokens) expect(traces).not.toContain(token);
    // The issuer ends the session.
    await site.app.issuer.stop();
    await page.getByText('Your session has expired.').waitFor();
    await site.app.issuer.start();
    expectNoFaults(atIssuer);
  });

  it('ends with a sign-out, also at the issuer', async () => {
    site.app.issuer.tokens.canRefresh = true;
    const { page } = await open('#query=ada');
    await signIn(page, 'reader');
    const revocation = page.waitForRequest((request) => request.url().includes('/token/revocation'));
    await page.getByRole('button', { name: 'More' }).click();
    await menuItem(page, 'Sign out').click();
    await revocation;
    await page.getByRole('button', { name: 'Yes, sign me out' }).click();
    await issuerButton(page).waitFor();
    expect(page.url()).toBe(`${site.app.http}/`);
    expect(await page.getByText('Lovelace').count()).toBe(0);
    await issuerButton(page).click();
    await page.getByPlaceholder('Enter any login').waitFor();
  });

  it('ends in the other tabs of the same person', async () => {
    const { page } = await open();
    await signIn(page, 'writer');
    const other = await page.context().newPage();
    await other.goto(`${site.app.http}/#query=ada`);
    await issuerButton(other).click();
    await row(other, 'Ada Lovelace').waitFor();
    const third = await page.context().newPage();
    await third.goto(`${site.app.http}/`);
    await useKey(third, await site.app.addKey(`third-${++count}`, ['reader']));
    await row(third, 'Ada Lovelace').waitFor();
    await page.getByRole('button', { name: 'More' }).click();
    await menuItem(page, 'Sign out').click();
    await other.getByText('You have signed out in another tab.').waitFor();
    await row(other, 'Ada Lovelace').waitFor({ state: 'detached' });
    expect(await account(other).count()).toBe(0);
    expect(other.url()).toBe(`${site.app.http}/`);
    // Somebody else is signed in there.
    expect(await row(third, 'Ada Lovelace').count()).toBe(1);
  });

  it('with a key is not replaced by a slower sign-in at the issuer', async () => {
    const { page } = await open();
    const held: Route[] = [];
    const discovery = '**/.well-known/openid-configuration';
    await page.route(discovery, (route) => void held.push(route));
    // The request must not end earlier on a slow machine.
    await page.evaluate(() => {
      AbortSignal.timeout = () => new AbortController().signal;
    });
    await issuerButton(page).click();
    await expect.poll(() => held.length, pollTimeout).toBe(1);
    await useKey(page, await site.app.addKey(`quick-${++count}`, ['reader']));
    await row(page, 'Ada Lovelace').waitFor();
    const ended = page.waitForEvent('requestfinished', (request) => request.url().includes('/.well-known/'));
    await held[0]?.continue();
    await ended;
    // Fails if the page leaves for the issuer meanwhile.
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1_000)));
    expect(await row(page, 'Ada Lovelace').count()).toBe(1);
  });

  describe('with an API key', () => {
    it('shows its name, and signs out without the issuer', async () => {
      const { page, expectNoFaults } = await open('#query=ada');
      // A sign-in that the user gives up has left the search in the session storage.
      await issuerButton(page).click();
      await page.getByPlaceholder('Enter any login').waitFor();
      await page.goBack();
      await useKey(page, await site.app.addKey('billing', ['reader']));
      await row(page, 'Ada Lovelace').waitFor();
      await expect.poll(() => account(page).textContent(), pollTimeout).toContain('key:billing');
      await page.getByRole('button', { name: 'More' }).click();
      await menuItem(page, 'Sign out').click();
      await issuerButton(page).waitFor();
      expect(page.url()).toBe(`${site.app.http}/`);
      expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
      expectNoFaults(atIssuer);
    });

    it('refuses an unknown key, and keeps the field', async () => {
      const { page, expectAccessible } = await open();
      await useKey(page, `roster_abcdefghijkl_${'x'.repeat(43)}`);
      await page.getByText('The server rejected this token.').waitFor();
      await expectAccessible();
      expect(await row(page, 'Ada Lovelace').count()).toBe(0);
    });

    it('of somebody else shows nothing of what the first person saw', async () => {
      const attributes = { salary: 'secret-salary', team: 'ops' };
      const { user: { id = '' } = {} } = await site.app.client.createUser({
        user: { firstName: 'Paid', email: 'paid@example.com', attributes },
      });
      const { page } = await open(`#user=${id}`);
      await useKey(page, await site.app.addKey('boss', ['admin']));
      const panel = page.getByRole('complementary');
      await panel.getByText('salary', { exact: true }).waitFor();
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      const columns = page.getByRole('button', { name: 'Columns and density' });
      const sampled = (key: string) => page.getByRole('checkbox', { name: key, exact: true });
      await columns.click();
      await sampled('salary').waitFor();
      await page.keyboard.press('Escape');
      await site.app.revokeKey('boss');
      await page.getByText('Sign in again as key:boss to continue where you were.').waitFor();
      const sample = page.waitForResponse((response) => {
        return (
          response.url().endsWith('/ListUsers') && response.request().postData()?.includes('"pageSize":300') === true
        );
      });
      await useKey(page, await site.app.addKey('temp', ['reader']));
      // Until the server has named the caller, the first person's list may still be there.
      await expect.poll(() => page.url(), pollTimeout).toBe(`${site.app.http}/`);
      await row(page, 'paid@example.com').waitFor();
      expect(await page.getByRole('dialog').or(panel).count()).toBe(0);
      await row(page, 'paid@example.com').click();
      await panel.getByRole('heading', { name: 'Attributes' }).waitFor();
      expect(await panel.getByText('salary').count()).toBe(0);
      await columns.click();
      await sample;
      await sampled('team').waitFor();
      expect(await sampled('salary').count()).toBe(0);
      expect(await tracesOf(page)).not.toContain('secret-salary');
      await site.app.client.deleteUser({ id });
    });

    it('of somebody else does not continue an import', async () => {
      const { page } = await open();
      await useKey(page, await site.app.addKey('importer', ['admin']));
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await page.clock.install();
      const senders: (string | undefined)[] = [];
      await page.route('**/BatchCreateUsers', async (route) => {
        senders.push(route.request().headers().authorization);
        await route.abort();
      });
      await page.goto(`${site.app.http}/#dialog=import`);
      const buffer = Buffer.from('first_name,email\nAda,imported@example.com\n');
      await page.locator('input[type=file]').setInputFiles({ name: 'users.csv', mimeType: 'text/csv', buffer });
      await page.getByRole('button', { name: 'Check', exact: true }).click();
      await page.getByRole('button', { name: 'Import 1 user' }).click();
      await expect.poll(() => senders.length, pollTimeout).toBeGreaterThan(0);
      await site.app.revokeKey('importer');
      await page.getByText('Sign in again as key:importer to continue where you were.').waitFor();
      // Now the import repeats the batch, and this call waits for the sign-in.
      await page.clock.runFor(10_000);
      const other = await site.app.addKey('other-importer', ['admin']);
      await useKey(page, other);
      await expect.poll(() => account(page).textContent(), pollTimeout).toContain('key:other-importer');
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      expect(senders).not.toContain(`Bearer ${other}`);
    });

    it('asks again when the key is revoked', async () => {
      const { page } = await open();
      await useKey(page, await site.app.addKey('revoked', ['admin']));
      await expect.poll(() => sign(page), pollTimeout).toBe('live');
      await site.app.revokeKey('revoked');
      await page.getByText('The directory no longer accepts your sign-in.').waitFor();
    });
  });
});

/** Messages of the issuer's own page. */
const atIssuer = /fonts\.googleapis|Failed to load resource/;
