/**
 * Walks through the states and dialogs of the page, and checks each with axe in light, dark and forced colours, on a
 * phone and on a laptop. If SHOTS names a folder, it also saves pictures there.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { BuiltInRole } from '../../src/model/caller.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { browserMissing, startBrowser, type TestBrowser, type TestPage } from './browser.js';
import { type GuardedApp, startGuardedApp } from './guarded-app.js';
import { startIssuer, type TestIssuer } from './issuer.js';

const looks = [
  { name: 'light', colorScheme: 'light', forcedColors: 'none' },
  { name: 'dark', colorScheme: 'dark', forcedColors: 'none' },
  { name: 'forced', colorScheme: 'dark', forcedColors: 'active' },
] as const;
const widths = [390, 1280];

// The browser reports the failures that the tests cause.
const caused = /Failed to load resource|ERR_/;

const rows = (page: Page) => page.locator('[data-id]');
const dialog = (page: Page) => page.getByRole('dialog');
const grid = (page: Page) => page.locator('[data-id]').first().waitFor();

type Open = (hash?: string, prepare?: (page: Page) => Promise<unknown>) => Promise<TestPage>;

interface State {
  readonly name: string;
  readonly hash?: string;
  /** Prepares the page before it loads. */
  prepare?(page: Page): Promise<unknown>;
  /** Brings the page into the state, and waits for it. */
  enter(page: Page): Promise<unknown>;
}

const holdList = (page: Page) => page.route('**/ListUsers', () => {});
const failList = (page: Page) => page.route('**/ListUsers', (route) => route.fulfill({ status: 500 }));
const loseList = (page: Page) => page.route('**/ListUsers', (route) => route.abort());
const press = async (page: Page, key: string) => {
  await grid(page);
  await page.keyboard.press(key);
};
const openPalette = async (page: Page) => {
  await press(page, 'Control+k');
  await page.getByRole('combobox').waitFor();
};

const emptyDirectory: State = { name: 'empty-directory', enter: (page) => page.getByText('No users yet').waitFor() };

const states: readonly State[] = [
  { name: 'list', enter: grid },
  { name: 'no-match', hash: '#query=zzz', enter: (page) => page.getByText('No matches').waitFor() },
  {
    name: 'no-match-of-filter',
    hash: `#query=ada&filter=${encodeURIComponent('last_name == "zzz"')}`,
    enter: (page) => page.getByText('No matches').waitFor(),
  },
  { name: 'invalid-filter', hash: '#filter=nonsense', enter: (page) => page.getByText('filter is invalid').waitFor() },
  { name: 'loading', prepare: holdList, enter: (page) => page.getByText('Loading the list').waitFor() },
  { name: 'error', prepare: failList, enter: (page) => page.getByText('Cannot load the list').waitFor() },
  { name: 'unreachable', prepare: loseList, enter: (page) => page.getByText('Cannot reach the server').waitFor() },
  {
    name: 'offline',
    async enter(page) {
      await grid(page);
      await page.context().setOffline(true);
      await page.getByText('The list may be out of date').waitFor();
    },
  },
  {
    name: 'menu',
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: 'More', exact: true }).click();
      await page.getByRole('menuitem').first().waitFor();
    },
  },
  {
    name: 'palette',
    async enter(page) {
      await openPalette(page);
      await page.keyboard.type('a');
      await dialog(page).getByText('Ada Lovelace').waitFor();
    },
  },
  {
    name: 'palette-without-matches',
    async enter(page) {
      await openPalette(page);
      await page.keyboard.type('zzz');
      await dialog(page).getByText('Search the list for').waitFor();
    },
  },
  { name: 'keys', enter: (page) => press(page, '?').then(() => dialog(page).getByText('Anywhere').waitFor()) },
  { name: 'new-user', hash: '#user=new', enter: (page) => dialog(page).getByLabel('Email').waitFor() },
  { name: 'unknown-user', hash: '#user=zzz', enter: (page) => page.getByText('User not found').waitFor() },
  { name: 'import', hash: '#dialog=import', enter: (page) => dialog(page).getByText(/CSV/).first().waitFor() },
  { name: 'export', hash: '#dialog=export', enter: (page) => dialog(page).getByText(/CSV/).first().waitFor() },
  {
    name: 'activity',
    hash: '#view=activity',
    enter: (page) => page.getByRole('heading', { name: 'Calls per second' }).waitFor(),
  },
  {
    name: 'activity-loading',
    hash: '#view=activity',
    prepare: (page) => page.route('**/metrics', () => {}),
    enter: (page) => page.getByText('Waiting for the first metrics').waitFor(),
  },
  {
    name: 'activity-error',
    hash: '#view=activity',
    prepare: (page) => page.route('**/metrics', (route) => route.fulfill({ status: 503 })),
    enter: (page) => page.getByText('The server returned no metrics').waitFor(),
  },
];

/** Checks the page in all looks and widths. */
async function expectAccessible({ page, expectAccessible, expectNoFaults }: TestPage, name: string): Promise<void> {
  const folder = process.env.SHOTS ?? '';
  if (folder !== '') mkdirSync(folder, { recursive: true });
  for (const width of widths) {
    await page.setViewportSize({ width, height: 800 });
    for (const { name: look, ...media } of looks) {
      await page.emulateMedia(media);
      await expectAccessible();
      if (folder !== '') await page.screenshot({ path: path.join(folder, `${name}-${width}-${look}.png`) });
    }
  }
  expectNoFaults(caused);
}

describe.skipIf(browserMissing !== undefined)('axe finds no violations', () => {
  let browser: TestBrowser;

  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
  });

  const opener =
    (url: () => string): Open =>
    async (hash = '', prepare) => {
      const opened = await browser.open('about:blank', { mayRequest: new URL(url()).origin });
      onTestFinished(() => opened.page.context().close());
      await prepare?.(opened.page);
      await opened.page.goto(`${url()}${hash}`);
      return opened;
    };

  describe('in a directory for everyone', () => {
    let app: TestApp;
    let adaId = '';
    beforeAll(async () => {
      app = await startTestApp();
    });
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
    });
    const open = opener(() => `${app.http}/`);

    const check = async ({ name, hash, prepare, enter }: State) => {
      const opened = await open(hash, prepare);
      await enter(opened.page);
      await expectAccessible(opened, name);
    };

    it('that is empty', () => check(emptyDirectory));

    describe('with users', () => {
      beforeAll(async () => {
        const names = ['Ada Lovelace', 'Grace Hopper', 'Alan Turing', 'Barbara Liskov', 'Edsger Dijkstra'];
        const departments = ['Mathematics', 'Navy', 'Research'];
        const users = names.map((name, index) => {
          const [firstName = '', lastName = ''] = name.split(' ');
          const department = departments[index % departments.length];
          const email = `${firstName}.${lastName}@example.com`.toLowerCase();
          return { firstName, lastName, email, attributes: { department, level: index, isRemote: index % 2 === 0 } };
        });
        const created = await app.client.batchCreateUsers({ users });
        adaId = created.users.find(({ firstName }) => firstName === 'Ada')?.id ?? '';
      });

      it.each(states.map((state) => [state.name, state] as const))('in the state %s', (_, state) => check(state));

      it('in the state person', async () => {
        const opened = await open(`#user=${adaId}`);
        await opened.page.getByText('ada.lovelace@example.com').last().waitFor();
        await expect.poll(() => opened.page.title(), { timeout: 30_000 }).toBe('Ada Lovelace · Roster');
        await expectAccessible(opened, 'person');
      });
    });
  });

  describe('in a directory that requires credentials', () => {
    let issuer: TestIssuer;
    let app: GuardedApp;
    beforeAll(async () => {
      issuer = await startIssuer();
      app = await startGuardedApp(issuer);
    });
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
      await issuer?.[Symbol.asyncDispose]();
    });
    const open = opener(() => `${app.http}/`);

    async function signIn({ page }: TestPage, name: string, roles: readonly BuiltInRole[]): Promise<void> {
      await page.getByText('Use an API key or token').click();
      await page.getByLabel('API key or token').fill(await app.addKey(name, roles));
      await page.keyboard.press('Enter');
      await page.getByRole('dialog', { name: 'Sign in' }).waitFor({ state: 'detached' });
    }

    it('in the state sign-in', async () => {
      const opened = await open();
      await opened.page.getByText('Use an API key or token').waitFor();
      await expectAccessible(opened, 'sign-in');
    });

    it('in the state no-permission', async () => {
      const opened = await open();
      await signIn(opened, 'no-role', []);
      await opened.page.getByText('You may not see the list').waitFor();
      await expectAccessible(opened, 'no-permission');
    });

    it('in the state empty-for-reader', async () => {
      const opened = await open();
      await signIn(opened, 'reader', ['reader']);
      await opened.page.getByText('No users yet').waitFor();
      expect(await rows(opened.page).count()).toBe(0);
      await expectAccessible(opened, 'empty-for-reader');
    });
  });
});
