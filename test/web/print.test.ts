/** Tests what the page prints, and that it writes numbers and dates as the browser's language does. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
const usersMany = 1_234;

const rows = (page: Page) => page.locator('[data-id]');
const total = (page: Page) => page.locator('.total').textContent();

describe.skipIf(browserMissing !== undefined)('the page', () => {
  const site = useSite();

  beforeAll(async () => {
    await site.app.client.importAllUsers(
      (function* () {
        for (let index = 0; index < usersMany; index++)
          yield {
            firstName: 'User',
            lastName: `${index}`,
            email: `u${index}@example.com`,
            attributes: { team: 'ops' },
          };
      })(),
    );
    await site.app.database.query("update users set create_time = '2026-03-05T12:00:00Z'");
  });

  async function open(hash = '', openOptions?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(hash, openOptions);
    await rows(opened.page).first().waitFor();
    return opened;
  }

  it.each(['light', 'dark'] as const)(
    'prints the rows on the screen without controls, in the %s theme',
    async (theme) => {
      const { page, expectNoFaults } = await open('#order_by=email', { theme });
      await page.emulateMedia({ media: 'print' });
      expect(await page.getByRole('button', { name: 'New user' }).isVisible()).toBe(false);
      expect(await page.getByRole('searchbox').isVisible()).toBe(false);
      expect(await page.getByText('Export the users to get all of them').isVisible()).toBe(true);
      // In one call, because the list shows other rows when its size changes. A printer gives it no time for that.
      const { boxes, columnLefts, heightPx, color } = await page.evaluate(() => ({
        boxes: [...document.querySelectorAll('[data-id]')].map((element) => {
          const { top, bottom } = element.getBoundingClientRect();
          // A row cuts off what is outside of its box.
          const inner = [...element.querySelectorAll('.cell-name, .cell-email')].map((cell) =>
            cell.getBoundingClientRect(),
          );
          const isWhole = inner.every((cell) => cell.height >= 12 && cell.top >= top && cell.bottom <= bottom + 0.5);
          return { top, bottom, isWhole };
        }),
        // Where the column of the emails begins, in the header and in the rows.
        columnLefts: [...document.querySelectorAll('[data-column=email], .cell-email')].map(
          (cell) => cell.getBoundingClientRect().left,
        ),
        heightPx: document.documentElement.scrollHeight,
        color: getComputedStyle(document.documentElement).color,
      }));
      expect(boxes.length).toBeGreaterThan(5);
      expect(boxes.filter(({ isWhole }) => !isWhole)).toEqual([]);
      // Each row is under the previous one.
      for (const [index, { top }] of boxes.entries()) expect(top).toBeGreaterThanOrEqual(boxes[index - 1]?.bottom ?? 0);
      expect(columnLefts.length).toBe(boxes.length + 1);
      expect(new Set(columnLefts.map(Math.round)).size).toBe(1);
      expect(await page.getByRole('checkbox').count()).toBe(0);
      expect(heightPx).toBeLessThanOrEqual(Math.max(800, (boxes.at(-1)?.bottom ?? 0) + 200));
      expect(color).toBe('rgb(22, 26, 34)');
      expectNoFaults();
    },
  );

  it.each([
    ['', ['All users']],
    [
      '#name=Ops&query=User&filter=attributes.team in ["ops", "dev", "hr", "it", "qa"]',
      ['Ops, search: User', 'team is one of ops, dev, hr, it, qa'],
    ],
  ])('prints the view, the search and the filter above the rows (%s)', async (hash, head) => {
    const { page, expectNoFaults } = await open(hash);
    if (hash !== '') await page.getByRole('list', { name: 'Filters' }).waitFor();
    expect(await page.locator('.print-head').isVisible()).toBe(false);
    await page.emulateMedia({ media: 'print' });
    const lines = (await page.getByRole('search').innerText()).split('\n');
    const texts = lines.map((line) => line.replaceAll(/\s+/g, ' ').trim());
    expect(texts.filter((line) => line !== '')).toEqual(head);
    expect(await page.getByRole('searchbox').isVisible()).toBe(false);
    expectNoFaults();
  });

  it('prints a filter that is an expression', async () => {
    const filter = 'attributes.team == "ops" || attributes.team == "dev"';
    const { page, expectNoFaults } = await open(`#filter=${filter}`);
    const editor = page.getByRole('textbox', { name: 'Filter as an expression' });
    await editor.waitFor();
    await page.emulateMedia({ media: 'print' });
    expect(await editor.isVisible()).toBe(true);
    expect(await editor.innerText()).toBe(filter);
    expect(await page.getByRole('button', { name: 'Clear' }).isVisible()).toBe(false);
    expectNoFaults();
  });

  it('prints columns as wide as their contents, and wraps long texts', async () => {
    const attributes = { team: 'operations', note: 'several words '.repeat(20), link: `https://${'x'.repeat(200)}` };
    const { user } = await site.app.client.createUser({
      user: { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@print.example', attributes },
    });
    onTestFinished(async () => {
      await site.app.client.deleteUser({ id: user?.id ?? '' });
    });
    const { page, expectNoFaults } = await open(
      '#query=lovelace&columns=name,email,attributes.team,attributes.note,attributes.link,create_time',
    );
    // About as wide as paper.
    await page.setViewportSize({ width: 794, height: 800 });
    await page.emulateMedia({ media: 'print' });
    const cells = await rows(page)
      .locator('.cell, .cell-name')
      .evaluateAll((all) =>
        all.map((cell) => ({
          width: cell.getBoundingClientRect().width,
          text: cell.textContent,
        })),
      );
    const widthOf = (start: string) => cells.find(({ text }) => text?.startsWith(start))?.width ?? 0;
    expect(widthOf('operations')).toBeGreaterThan(0);
    for (const long of ['ada@', 'https', 'several']) {
      expect(widthOf(long)).toBeGreaterThan(1.2 * widthOf('operations'));
    }
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    expectNoFaults();
  });

  it('prints an open user alone', async () => {
    const { page, expectNoFaults } = await open('#order_by=email');
    await rows(page).first().click();
    const panel = page.getByRole('complementary');
    await panel.getByRole('heading', { name: 'User 0' }).waitFor();
    // About as wide as paper.
    await page.setViewportSize({ width: 794, height: 400 });
    await page.emulateMedia({ media: 'print' });
    expect(await rows(page).first().isVisible()).toBe(false);
    expect(await page.getByText('1 of 1,234').isVisible()).toBe(false);
    const { width, height } = (await panel.boundingBox()) ?? { width: 0, height: 0 };
    expect(width).toBeGreaterThan(700);
    // Nothing of it is cut.
    expect(height).toBeGreaterThan(400);
    expect(await panel.evaluate(({ clientHeight, scrollHeight }) => scrollHeight - clientHeight)).toBe(0);
    expectNoFaults();
  });

  it('prints all values of an open user, also those that are folded or cut on the screen', async () => {
    const attributes = {
      address: { city: 'London', geo: { lat: 51.5, lines: [['a'], ['b']] } },
      note: `${'word '.repeat(100)}end`,
      tags: [`${'long '.repeat(50)}tag`, 'short'],
    };
    const { user } = await site.app.client.createUser({
      user: { firstName: 'Ada', email: 'ada@print.example', attributes },
    });
    onTestFinished(async () => {
      await site.app.client.deleteUser({ id: user?.id ?? '' });
    });
    const { page, expectNoFaults } = await open(`#user=${user?.id}`);
    const panel = page.getByRole('complementary');
    await panel.getByText('2 fields').first().waitFor();
    expect(await panel.getByText('London').isVisible()).toBe(false);
    await page.setViewportSize({ width: 794, height: 400 });
    await page.emulateMedia({ media: 'print' });
    for (const text of ['London', '51.5', 'b', 'short']) {
      expect(await panel.getByText(text, { exact: true }).isVisible()).toBe(true);
    }
    expect(
      await panel
        .getByText(/2 fields|2 items/)
        .filter({ visible: true })
        .count(),
    ).toBe(0);
    expect(await panel.locator('.value-text').filter({ hasText: /^word/ }).innerText()).toBe(attributes.note);
    const isCut = (element: Element) => element.scrollWidth > element.clientWidth;
    expect(await panel.getByText(/^long .*tag$/).evaluate(isCut)).toBe(false);
    expectNoFaults();
  });

  it.each([
    ['en-GB', '1,234 users', '5 Mar 2026'],
    ['de-DE', '1.234 users', '5. März 2026'],
    ['hi-IN', '1,234 users', '5 मार्च 2026'],
  ])('writes numbers and dates as in %s', async (locale, count, day) => {
    const { page, expectNoFaults } = await open('', { context: { locale } });
    await expect.poll(() => total(page), pollTimeout).toBe(count);
    expect(await page.locator('.cell-create_time').first().textContent()).toBe(day);
    expectNoFaults();
  });
});
