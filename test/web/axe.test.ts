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
import { emptyDirectory, type State, states } from './page-states.js';

const looks = [
  { name: 'light', colorScheme: 'light', forcedColors: 'none' },
  { name: 'dark', colorScheme: 'dark', forcedColors: 'none' },
  { name: 'forced', colorScheme: 'dark', forcedColors: 'active' },
] as const;
const widths = [390, 1280];

// The browser reports the failures that the tests cause.
const caused = /Failed to load resource|ERR_/;

type Open = (hash?: string, prepare?: (page: Page) => Promise<unknown>) => Promise<TestPage>;

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
      expect(await opened.page.locator('[data-id]').count()).toBe(0);
      await expectAccessible(opened, 'empty-for-reader');
    });
  });
});
