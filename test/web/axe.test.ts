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
const widths = [390, 1280] as const;

// The browser reports the failures that the tests cause.
const caused = /Failed to load resource|ERR_/;

/** Checks the page in all looks. */
async function expectAccessible({ page, expectAccessible, expectNoFaults }: TestPage, name: string): Promise<void> {
  const folder = process.env.SHOTS ?? '';
  if (folder !== '') mkdirSync(folder, { recursive: true });
  for (const { name: look, ...media } of looks) {
    await page.emulateMedia(media);
    await expectAccessible();
    if (folder !== '') await page.screenshot({ path: path.join(folder, `${name}-${look}.png`) });
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

  /** Opens the page in each width, and checks the state. */
  async function check(url: string, { name, hash = '', isWide = false, prepare, enter }: State): Promise<void> {
    for (const width of widths) {
      if (isWide && width < 640) continue;
      const opened = await browser.open('about:blank', { width, mayRequest: new URL(url).origin });
      onTestFinished(() => opened.page.context().close());
      await prepare?.(opened.page);
      await opened.page.goto(`${url}${hash}`);
      await enter(opened.page, width);
      await expectAccessible(opened, `${name}-${width}`);
    }
  }

  describe('in a directory for everyone', () => {
    let app: TestApp;
    let adaId = '';
    beforeAll(async () => {
      app = await startTestApp();
    });
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
    });
    it('that is empty', () => check(`${app.http}/`, emptyDirectory));

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

      it.each(states.map((state) => [state.name, state] as const))('in the state %s', (_, state) =>
        check(`${app.http}/`, state),
      );

      it('in the state person', () =>
        check(`${app.http}/`, {
          name: 'person',
          hash: `#user=${adaId}`,
          async enter(page) {
            await page.getByText('ada.lovelace@example.com').last().waitFor();
            await expect.poll(() => page.title(), { timeout: 30_000 }).toBe('Ada Lovelace · Roster');
          },
        }));
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
    async function signIn(page: Page, name: string, roles: readonly BuiltInRole[]): Promise<void> {
      await page.getByText('Use an API key or token').click();
      await page.getByLabel('API key or token').fill(await app.addKey(name, roles));
      await page.keyboard.press('Enter');
      await page.getByRole('dialog', { name: 'Sign in' }).waitFor({ state: 'detached' });
    }

    it('in the state sign-in', () =>
      check(`${app.http}/`, {
        name: 'sign-in',
        enter: (page) => page.getByText('Use an API key or token').waitFor(),
      }));

    it('in the state no-permission', () =>
      check(`${app.http}/`, {
        name: 'no-permission',
        async enter(page, width) {
          await signIn(page, `no-role-${width}`, []);
          await page.getByText('You may not see the list').waitFor();
        },
      }));

    it('in the state empty-for-reader', () =>
      check(`${app.http}/`, {
        name: 'empty-for-reader',
        async enter(page, width) {
          await signIn(page, `reader-${width}`, ['reader']);
          await page.getByText('No users yet').waitFor();
        },
      }));
  });
});
