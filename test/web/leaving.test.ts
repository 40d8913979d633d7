/** Tests how rows leave the list that no longer match, and which users count as new, in a real browser. */
import type { Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
const filter = `#filter=${encodeURIComponent('last_name == "Lovelace"')}`;

const rows = (page: Page) => page.locator('[data-id]');
const row = (page: Page, name: string) => page.locator('[data-id]', { hasText: name });
const total = (page: Page) => page.locator('.total').textContent();
const sign = (page: Page) => page.locator('.sign').getAttribute('data-state');

describe.skipIf(browserMissing !== undefined)('the list', () => {
  const site = useSite();
  let ada: User;

  async function create(firstName: string, lastName: string, email: string): Promise<User> {
    const { user } = await site.app.client.createUser({ user: { firstName, lastName, email } });
    if (user === undefined) throw new Error('There is no user in the answer.');
    return user;
  }

  async function open(hash = '', openOptions?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(hash, openOptions);
    await rows(opened.page).first().waitFor();
    await expect.poll(() => sign(opened.page), pollTimeout).toBe('live');
    return opened;
  }

  const rename = (id: string, lastName: string) =>
    site.app.client.updateUser({ user: { id, lastName }, updateMask: ['last_name'] });

  describe('with a filter', () => {
    beforeEach(async () => {
      const { users } = await site.app.client.listUsers({});
      for (const { id } of users) await site.app.client.deleteUser({ id });
      ada = await create('Ada', 'Lovelace', 'ada@example.com');
      await create('Byron', 'Lovelace', 'byron@example.com');
    });

    it('lets a row leave, with the count, that somebody edits out of the filter', async () => {
      const { page, expectAccessible, expectNoFaults } = await open(filter);
      await expect.poll(() => total(page), pollTimeout).toBe('2 matches');
      const seen = page.getByText('No longer matches').waitFor({ state: 'attached' });
      await rename(ada.id, 'King');
      await seen;
      await expect.poll(() => total(page), pollTimeout).toBe('1 match');
      await row(page, 'Ada').waitFor({ state: 'detached' });
      expect(await rows(page).count()).toBe(1);
      await expectAccessible();
      expectNoFaults();
    });

    it('keeps a row that an edit leaves in the filter', async () => {
      const { page, expectNoFaults } = await open(filter);
      await site.app.client.updateUser({ user: { id: ada.id, firstName: 'Augusta' }, updateMask: ['first_name'] });
      await row(page, 'Augusta').waitFor();
      // The answer to this change comes after the answer to the previous one.
      const { user } = await site.app.client.getUserByEmail({ email: 'byron@example.com' });
      await rename(user?.id ?? '', 'King');
      await row(page, 'Byron').waitFor({ state: 'detached' });
      expect(await rows(page).count()).toBe(1);
      expectNoFaults();
    });

    it.each([
      ['fades it', 'no-preference', 1],
      ['does not move it if the system reduces motion', 'reduce', 0],
    ] as const)('%s', async (_, reducedMotion, animations) => {
      const { page } = await open(filter, { context: { reducedMotion } });
      // In the page, because the row is soon gone. The animation can begin after the row was first seen.
      const seen = page.evaluate(
        () =>
          new Promise<number>((resolve) => {
            let most = -1;
            const look = () => {
              const leaving = document.querySelector('.unmatched');
              if (leaving !== null) most = Math.max(most, leaving.getAnimations().length);
              if (leaving === null && most >= 0) resolve(most);
              else requestAnimationFrame(look);
            };
            look();
          }),
      );
      await rename(ada.id, 'King');
      expect(await seen).toBe(animations);
      await row(page, 'Ada').waitFor({ state: 'detached' });
    });
  });

  describe('in another order', () => {
    it('does not count a user as new that this page has created', async () => {
      await site.app.client.batchCreateUsers({
        users: Array.from({ length: 300 }, (_, index) => ({ firstName: `U${index}`, email: `u${index}@example.com` })),
      });
      const { page, expectNoFaults } = await open('#order_by=email');
      await expect.poll(() => total(page), pollTimeout).toMatch(/ users$/);
      const before = Number.parseInt((await total(page)) ?? '', 10);
      await page.keyboard.press('n');
      await page.getByRole('textbox', { name: 'First name' }).fill('Own');
      await page.getByRole('textbox', { name: 'Email' }).fill('zz-own@example.com');
      await page.getByRole('button', { name: 'Create', exact: true }).click();
      await expect.poll(() => total(page), pollTimeout).toBe(`${before + 1} users`);
      // The feed is in order, so the creation has arrived when a later change is shown.
      const id = (await rows(page).first().getAttribute('data-id')) ?? '';
      await rename(id, 'Heard');
      await row(page, 'Heard').waitFor();
      expect(await page.getByRole('button', { name: /^Show .* new users?$/ }).count()).toBe(0);
      expect(await total(page)).toBe(`${before + 1} users`);
      expectNoFaults();
    });
  });
});
