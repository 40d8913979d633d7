/** Tests how much the page loads and when, and what it shows if a part of it cannot be loaded. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startTestApp } from '../support/app.js';
import { browserMissing, type OpenOptions } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
const built = path.resolve(import.meta.dirname, '../../dist/web');
const userCount = 300;

const rows = (page: Page) => page.locator('[data-id]');
const dialog = (page: Page, name: string) => page.getByRole('dialog', { name });

describe('the built page', () => {
  const index = readFileSync(path.join(built, 'index.html'), 'utf8');
  const gzipped = (file: string) => gzipSync(readFileSync(path.join(built, file)), { level: 9 }).length;

  it('loads at most 55 KB of scripts before it shows the list', () => {
    const scripts = [...index.matchAll(/<(?:script[^>]+src|link rel="modulepreload"[^>]+href)="\.\/([^"]+)"/g)].map(
      ([, file = '']) => file,
    );
    expect(scripts.length).toBeGreaterThan(1);
    // The browser knows all of them from index.html, so it loads them at the same time.
    for (const file of scripts) {
      const imports = [...readFileSync(path.join(built, file), 'utf8').matchAll(/\bfrom\s*["`']\.\/([^"`']+)/g)];
      for (const [, imported] of imports) expect(scripts).toContain(`assets/${imported}`);
    }
    const bytes = scripts.reduce((total, file) => total + gzipped(file), 0);
    expect(bytes).toBeGreaterThan(20_000);
    expect(bytes).toBeLessThan(55_000);
  });

  it('has parts that are loaded later', () => {
    const parts = readdirSync(path.join(built, 'assets')).filter((file) => file.endsWith('.js'));
    for (const part of ['metrics-view', 'open-user', 'import-dialog', 'export-dialog', 'issuer-client']) {
      expect(parts.filter((file) => file.startsWith(`${part}-`)).length, part).toBe(1);
    }
  });

  it('contains nothing that its policy would block', () => {
    expect(index).not.toMatch(/<style|style=|<script(?![^>]+src=)|\son[a-z]+=/);
  });
});

describe.skipIf(browserMissing !== undefined)('the weight of the page', () => {
  const site = useSite();

  beforeAll(async () => {
    const users = Array.from({ length: userCount }, (_, index) => ({
      firstName: 'Person',
      lastName: `Number ${index}`,
      email: `person-${index}@example.com`,
    }));
    await site.app.client.importAllUsers(users);
  });

  /** Opens an empty page first, so that the test can prepare the requests of the real one. */
  const openBlank = (options?: OpenOptions) => site.open('openapi.json', options);

  it('receives compressed answers, also in streams', async () => {
    const { page, expectNoFaults } = await openBlank();
    const answers = new Map<string, Record<string, string>>();
    page.on('response', async (response) => {
      const { pathname } = new URL(response.url());
      const headers = await response.allHeaders().catch(() => ({}));
      if (!answers.has(pathname)) answers.set(pathname, headers);
    });
    await page.goto(`${site.app.http}/`);
    await rows(page).first().waitFor();
    const list = answers.get('/users.v1.UserService/ListUsers') ?? {};
    expect(list['content-encoding']).toBe('gzip');
    expect(Number(list['content-length'])).toBeLessThan(10_000);
    await page.goto(`${site.app.http}/#dialog=export`);
    // A test cannot operate the system's file dialog. Without it, the page downloads the file.
    await page.evaluate(() => Object.defineProperty(window, 'showSaveFilePicker', { value: undefined }));
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      dialog(page, 'Export all users').getByRole('button', { name: 'Export', exact: true }).click(),
    ]);
    expect(readFileSync(await download.path(), 'utf8').match(/person-\d+@/g)?.length).toBe(userCount);
    const exported = answers.get('/users.v1.UserService/ExportUsers') ?? {};
    expect(exported['connect-content-encoding']).toBe('gzip');
    expectNoFaults();
  });

  it('receives the first script and the styles compressed by Brotli, if it can read that', async () => {
    const index = await (await fetch(site.app.http)).text();
    const files = [...index.matchAll(/"\.\/(assets\/[^"]+\.(?:js|css))"/g)].map(([, file = '']) => file);
    expect(files.length).toBe(3);
    for (const file of files) {
      const expected = readFileSync(path.join(built, file), 'utf8');
      for (const [accepted, encoding] of [
        ['gzip, deflate, br, zstd', 'br'],
        ['gzip, deflate', 'gzip'],
      ] as const) {
        const answer = await fetch(`${site.app.http}/${file}`, { headers: { 'accept-encoding': accepted } });
        expect(answer.headers.get('content-encoding'), file).toBe(encoding);
        // fetch decompresses it.
        expect(await answer.text()).toBe(expected);
      }
    }
  });

  it('requests the settings for the sign-in and the first users before its script runs, and once', async () => {
    const { page, expectNoFaults } = await openBlank();
    const requests: string[] = [];
    page.on('request', (sent) => {
      const { pathname } = new URL(sent.url());
      if (/^\/(?:sign-in|users)/.test(pathname)) requests.push(`${sent.method()} ${pathname}`);
    });
    // Without the feed, nothing reads the list again.
    await page.route('**/WatchUsers', (route) => route.abort());
    const heldScript = Promise.withResolvers<void>();
    await page.route('**/index-*.js', async (route) => {
      await heldScript.promise;
      await route.continue();
    });
    await page.goto(`${site.app.http}/`, { waitUntil: 'commit' });
    const early = ['GET /sign-in.json', 'GET /users.v1.UserService/ListUsers'];
    await expect.poll(() => requests.toSorted(), pollTimeout).toEqual(early);
    heldScript.resolve();
    await rows(page).first().waitFor();
    expect(requests.filter((sent) => sent.startsWith('GET')).length).toBe(2);
    // The only other call counts the users.
    expect(requests.filter((sent) => sent.endsWith('ListUsers')).length).toBeLessThanOrEqual(2);
    expectNoFaults(/WatchUsers|ERR_FAILED/);
  });

  it('requests no users early if the server requires credentials', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'roster-weight-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const accessFile = path.join(folder, 'access.yaml');
    writeFileSync(accessFile, 'callers:\n  - key: nobody\n    role: reader\n');
    await using guarded = await startTestApp({ AUTH: 'on', ACCESS_FILE: accessFile });
    const response = await fetch(`${guarded.http}/`);
    expect(response.status).toBe(200);
    expect(response.headers.get('link')).not.toContain('ListUsers');
    const open = await fetch(`${site.app.http}/`);
    expect(open.headers.get('link')).toContain('/users.v1.UserService/ListUsers?');
  });

  it.each([
    ['light', 1280],
    ['dark', 390],
  ] as const)('shows the frame of the list before its script runs, %s and %i px wide', async (theme, width) => {
    const { page, expectAccessible, expectNoFaults } = await openBlank({ theme, width });
    // The user chose the theme that is not the system's.
    const chosen = theme === 'light' ? 'dark' : 'light';
    await page.evaluate((value) => localStorage.setItem('roster-theme', value), chosen);
    const heldScript = Promise.withResolvers<void>();
    await page.route('**/index-*.js', async (route) => {
      await heldScript.promise;
      await route.continue();
    });
    await page.goto(`${site.app.http}/`, { waitUntil: 'commit' });
    await page.locator('.shell-rows').waitFor();
    const look = () =>
      page.evaluate(() => ({
        theme: document.documentElement.dataset.theme,
        colour: getComputedStyle(document.body).getPropertyValue('color-scheme'),
        boxes: ['.brand', '.search-field', '.grid-frame'].map((selector) => {
          const box = document.querySelector(selector)?.getBoundingClientRect();
          return { selector, x: Math.round(box?.x ?? -1), y: Math.round(box?.y ?? -1) };
        }),
      }));
    const before = await look();
    expect(before.theme).toBe(chosen);
    await expectAccessible();
    heldScript.resolve();
    await rows(page).first().waitFor();
    expect(await look()).toEqual(before);
    expectNoFaults();
  });

  it('says so if its script cannot be loaded', async () => {
    const { page } = await openBlank();
    await page.route('**/index-*.js', (route) => route.abort());
    await page.goto(`${site.app.http}/`, { waitUntil: 'commit' });
    await page.getByText('Cannot load the page. Check your connection, and reload it.').waitFor();
  });

  it('offers to reload the page if an update has replaced a part of it', async () => {
    const { page, expectAccessible } = await openBlank();
    await page.route('**/export-dialog-*.js', (route) => route.fulfill({ status: 404, body: 'not found' }));
    await page.goto(`${site.app.http}/#dialog=export`);
    const failed = dialog(page, 'Export users');
    await failed.getByText('Roster was probably updated after you opened this page.').waitFor();
    await expectAccessible();
    await page.unroute('**/export-dialog-*.js');
    await failed.getByRole('button', { name: 'Reload the page' }).click();
    await dialog(page, 'Export all users').getByRole('button', { name: 'Export', exact: true }).waitFor();
  });

  it('says so, and does not retry endlessly, if an update has replaced the code of its calls', async () => {
    const { page } = await openBlank();
    let requests = 0;
    await page.route('**/other-calls-*.js', (route) => {
      requests++;
      return route.fulfill({ status: 404, body: 'not found' });
    });
    await page.goto(`${site.app.http}/#dialog=import`);
    await page.getByLabel('CSV file').setInputFiles({
      name: 'users.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('first_name,email\nAda,a@b.example\n'),
    });
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('Roster was probably updated after you opened this page.').waitFor();
    expect(requests).toBeGreaterThan(0);
  });

  it('loads a part again after the connection was lost', async () => {
    const { page, expectAccessible } = await openBlank();
    await page.goto(`${site.app.http}/`);
    await rows(page).first().waitFor();
    await page.context().setOffline(true);
    await page.evaluate(() => {
      location.hash = '#view=metrics';
    });
    await page.getByText('Cannot load this part of the page, because the server cannot be reached.').waitFor();
    await expectAccessible();
    await page.context().setOffline(false);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('img', { name: /^Latency/ }).waitFor();
  });

  it('loads its parts below a path of a proxy', async () => {
    const proxy = await startPathProxy(site.app.http, '/people');
    onTestFinished(() => void proxy.server.close().closeAllConnections());
    const { page, expectNoFaults } = await site.browser.open(`${proxy.url}/people/`);
    await rows(page).first().waitFor();
    await page.goto(`${proxy.url}/people/#dialog=export`);
    await dialog(page, 'Export all users').getByRole('button', { name: 'Export', exact: true }).waitFor();
    expectNoFaults();
  });
});

/** A proxy that serves the page's files below a path, and everything else at the top. */
async function startPathProxy(target: string, prefix: string): Promise<{ url: string; server: Server }> {
  const server = createServer((incoming, response) => {
    const { url = '', method, headers } = incoming;
    const isFile = url === '/' || url.startsWith('/assets/');
    if (isFile) return void response.writeHead(404).end('not found');
    const own = url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url;
    const outgoing = request(new URL(own, target), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return { url: `http://localhost:${(server.address() as AddressInfo).port}`, server };
}
