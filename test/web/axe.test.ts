/**
 * Walks through the states and dialogs of the page, and checks each with axe in light, dark and forced colours, on a
 * phone and on a laptop. If SHOTS names a folder, it also saves pictures there.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import type { BuiltInRole } from '../../src/model/caller.js';
import { browserMissing, type TestPage } from './browser.js';
import { startGuardedApp } from './guarded-app.js';
import { emptyDirectory, type Walk, walks } from './page-states.js';
import { button, createAda, field, panel } from './panel.js';
import { type Site, useSite } from './site.js';

const looks = ['light', 'dark', 'forced'] as const;

// The browser reports the failures that the tests cause.
const caused = /Failed to load resource|ERR_/;

/** Checks the page in all looks, and that nothing is wider than its place. */
async function expectGood({ page, expectAccessibleIn }: TestPage, name: string): Promise<void> {
  const folder = process.env.SHOTS ?? '';
  if (folder !== '') mkdirSync(folder, { recursive: true });
  await expectAccessibleIn(looks, async (look) => {
    if (folder !== '') await page.screenshot({ path: path.join(folder, `${name}-${look}.png`) });
  });
  const tooWide = await page.evaluate(() =>
    ['html', 'dialog[open]', ':popover-open', 'aside', '.metrics-view']
      .flatMap((selector) => [...document.querySelectorAll(selector)])
      .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return element.scrollWidth > element.clientWidth || left < 0 || right > innerWidth;
      })
      .map((element) => element.outerHTML.slice(0, 200)),
  );
  expect(tooWide, name).toEqual([]);
}

/** Opens the page in each width, and checks each step. */
async function follow(site: Site, { hash = '', widths = [360, 1280], prepare, steps }: Walk): Promise<void> {
  for (const width of widths) {
    const opened = await site.browser.open('about:blank', { width, mayRequest: new URL(site.app.http).origin });
    await prepare?.(opened.page);
    await opened.page.goto(`${site.app.http}/${hash}`);
    for (const { name, enter } of steps) {
      await enter(opened.page, width);
      await expectGood(opened, `${name}-${width}`);
    }
    opened.expectNoFaults(caused);
    await opened.page.context().close();
  }
}

const titleOf = ({ steps }: Walk) => steps.map(({ name }) => name).join(', ');

describe.skipIf(browserMissing !== undefined)('axe finds no violations', () => {
  describe('in a directory for everyone', () => {
    const site = useSite();

    it('that is empty', () => follow(site, emptyDirectory));

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
        await site.app.client.batchCreateUsers({ users });
      });

      it.each(walks.map((walk) => [titleOf(walk), walk] as const))('in %s', (_, walk) => follow(site, walk));

      it('in the panel of a person, to read, to delete, to edit, and after a conflict', async () => {
        const attributes = {
          home: 'https://example.com',
          since: '2024-03-01',
          remote: true,
          floor: 3,
          tags: ['x', 'y'],
          address: { geo: [{ lat: null }] },
          manager: null,
          note: '',
        };
        const { id } = await createAda(site.app, { attributes });
        await follow(site, {
          hash: `#user=${id}`,
          steps: [
            {
              name: 'person',
              async enter(page) {
                await button(page, 'Edit').waitFor();
                await panel(page).locator('summary').first().click();
                await button(page, 'Copy the ID').click();
                await panel(page).getByRole('heading', { name: 'Recent changes' }).waitFor();
              },
            },
            {
              name: 'person-delete',
              async enter(page) {
                await button(page, 'Delete…').click();
                await button(page, 'Keep').waitFor();
              },
            },
            {
              name: 'person-edit',
              async enter(page) {
                await button(page, 'Keep').click();
                await button(page, 'Edit').click();
                await button(page, 'Add attribute').click();
                await panel(page)
                  .getByLabel(/^Key of/)
                  .last()
                  .waitFor();
              },
            },
            {
              name: 'person-discard',
              async enter(page, width) {
                await field(page, 'First name').fill(`Mine ${width}`);
                await page.keyboard.press('Escape');
                await panel(page).getByText('Discard your changes?').waitFor();
              },
            },
            {
              name: 'person-conflict',
              async enter(page, width) {
                await page.keyboard.press('Escape');
                const user = { id, firstName: `Theirs ${width}` };
                await site.app.client.updateUser({ user, updateMask: ['first_name'] });
                await button(page, 'Save').click();
                await page.getByRole('heading', { name: 'Conflicting changes' }).waitFor();
              },
            },
          ],
        });
      });
    });
  });

  describe('in a directory that requires credentials', () => {
    const site = useSite(startGuardedApp);

    /** Signs in with a key of these roles. */
    const signIn = (name: string, roles: readonly BuiltInRole[]) => async (page: Page, width: number) => {
      await page.getByLabel('API key or token').fill(await site.app.addKey(`${name}-${width}`, roles));
      await page.keyboard.press('Enter');
      await page.getByRole('dialog', { name: 'Sign in' }).waitFor({ state: 'detached' });
    };
    const openKeyField = (page: Page) => page.getByText('Use an API key or token').click();

    it('at the sign-in, and without a permission', () =>
      follow(site, {
        steps: [
          { name: 'sign-in', enter: (page) => page.getByText('Use an API key or token').waitFor() },
          { name: 'sign-in-key', enter: openKeyField },
          {
            name: 'no-permission',
            async enter(page, width) {
              await signIn('no-role', [])(page, width);
              await page.getByText('You may not see the list').waitFor();
            },
          },
        ],
      }));

    it('for a reader, in an empty list and in the panel of a person', async () => {
      let id = '';
      await follow(site, {
        steps: [
          {
            name: 'empty-for-reader',
            async enter(page, width) {
              if (id !== '') await site.app.client.deleteUser({ id });
              await openKeyField(page);
              await signIn('reader', ['reader'])(page, width);
              await page.getByText('No users yet').waitFor();
            },
          },
          {
            name: 'person-for-reader',
            async enter(page) {
              ({ id } = await createAda(site.app, { attributes: { team: 'ops', salary: 1 } }));
              await page.evaluate((user) => {
                location.hash = `#user=${user}`;
              }, id);
              await panel(page).getByText('ops', { exact: true }).waitFor();
            },
          },
        ],
      });
    });
  });
});
