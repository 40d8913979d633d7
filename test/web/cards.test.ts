/** Tests the list on a phone in a real browser, where each user is a card: its order, and the columns of the cards. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { browserMissing, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const names = (page: Page) => page.locator('[data-id] .cell-name a').allTextContents();
const firstCard = async (page: Page) =>
  (await page.locator('[data-id]').first().locator('.cell').allTextContents()).slice(0, -1);
const columns = (page: Page) => page.getByRole('button', { name: 'Columns', exact: true });
const panel = (page: Page) => page.getByRole('dialog', { name: 'Columns' });
const column = (page: Page, name: string) => panel(page).getByRole('checkbox', { name, exact: true });

describe.skipIf(browserMissing !== undefined)('a card', () => {
  const site = useSite();

  beforeAll(async () => {
    for (const [firstName, team] of [
      ['Ada', 'Mathematics'],
      ['Grace', 'Navy'],
    ]) {
      const email = `${firstName}@example.com`.toLowerCase();
      await site.app.client.createUser({ user: { firstName, email, attributes: { team, level: 7 } } });
    }
  });

  async function open(hash = '#order_by=email'): Promise<TestPage> {
    const opened = await site.open(hash, { width: 390, height: 844 });
    await expect.poll(async () => (await names(opened.page)).length, pollTimeout).toBe(2);
    return opened;
  }

  it('is in the chosen order', async () => {
    const { page, expectNoFaults } = await open();
    expect(await names(page)).toEqual(['Ada', 'Grace']);
    await page.getByLabel('Order').selectOption('Email Z–A');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace', 'Ada']);
    expect(new URL(page.url()).hash).toBe('#order_by=email+desc');
    expectNoFaults();
  });

  it('can be sorted by the attributes of its columns, and by the one that sorts the list', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#order_by=attributes.address.city');
    const order = page.getByLabel('Order');
    const attributes = () => order.locator('optgroup[label=Attributes] option').allTextContents();
    const city = ['address › city A–Z, 1–9', 'address › city Z–A, 9–1'];
    await expect.poll(attributes, pollTimeout).toEqual(['team A–Z, 1–9', 'team Z–A, 9–1', ...city]);
    expect(await order.inputValue()).toBe('attributes.address.city');
    await expectAccessible();
    await order.selectOption('team Z–A, 9–1');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace', 'Ada']);
    await expect.poll(attributes, pollTimeout).toEqual(['team A–Z, 1–9', 'team Z–A, 9–1']);
    await columns(page).click();
    await column(page, 'level').check();
    await expect
      .poll(async () => (await attributes()).slice(2), pollTimeout)
      .toEqual(['level A–Z, 1–9', 'level Z–A, 9–1']);
    expectNoFaults();
  });

  it('shows the first two chosen columns under the name, also after a reload', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    expect(await firstCard(page)).toEqual(['ada@example.com', 'Mathematics']);
    await columns(page).click();
    await expect.poll(() => column(page, 'team').isChecked(), pollTimeout).toBe(true);
    await expectAccessible();
    await column(page, 'Email').uncheck();
    await column(page, 'level').check();
    await expect.poll(() => firstCard(page), pollTimeout).toEqual(['Mathematics', '7']);
    await panel(page).getByRole('button', { name: 'Move level up' }).click();
    await panel(page).getByRole('button', { name: 'Move level up' }).click();
    await expect.poll(() => firstCard(page), pollTimeout).toEqual(['7', 'Mathematics']);
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
    await expectAccessible();
    const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(isTooWide).toBe(false);
    await page.reload();
    await expect.poll(() => firstCard(page), pollTimeout).toEqual(['7', 'Mathematics']);
    await columns(page).click();
    await panel(page).getByRole('button', { name: 'Choose columns automatically' }).click();
    await expect.poll(() => firstCard(page), pollTimeout).toEqual(['ada@example.com', 'Mathematics']);
    expectNoFaults();
  });

  it.each(['light', 'dark'] as const)('truncates long texts, the email first (%s)', async (theme) => {
    const team = 'Analytical Engines';
    const email = `ada.${'augusta.'.repeat(6)}lovelace@example.com`;
    const { user } = await site.app.client.createUser({
      user: { firstName: 'Augusta Ada '.repeat(4), lastName: 'King', email, attributes: { team } },
    });
    onTestFinished(async () => {
      await site.app.client.deleteUser({ id: user?.id ?? '' });
    });
    const { page, expectAccessible, expectNoFaults } = await site.open('#order_by=email', {
      width: 390,
      height: 844,
      theme,
    });
    await expect.poll(async () => (await names(page)).length, pollTimeout).toBe(3);
    await expectAccessible();
    const card = page.locator(`[data-id="${user?.id}"]`);
    const box = async (selector: string) => {
      const { x = 0, y = 0, width = 0, height = 0 } = (await card.locator(selector).boundingBox()) ?? {};
      return { left: x, top: y, right: x + width, bottom: y + height };
    };
    const isTruncated = (selector: string) =>
      card.locator(selector).evaluate((cell) => cell.scrollWidth > cell.clientWidth);
    expect(await isTruncated('.cell-email')).toBe(true);
    expect(await isTruncated('.cell-attribute')).toBe(false);
    const [name, mail, attribute, time] = await Promise.all(
      ['.cell-name a', '.cell-email', '.cell-attribute', '.kind-time'].map(box),
    );
    expect(name?.right).toBeLessThanOrEqual(time?.left ?? 0);
    expect(name?.bottom).toBeLessThanOrEqual(mail?.top ?? 0);
    expect(mail?.right).toBeLessThanOrEqual(attribute?.left ?? 0);
    expect(attribute?.right).toBeLessThanOrEqual(390 - 16);
    const cards = await page
      .locator('[data-id]')
      .evaluateAll((all) =>
        all.map((row) => [row.getBoundingClientRect().height, row.scrollHeight <= row.clientHeight + 1]),
      );
    expect(cards).toEqual(Array.from({ length: 3 }, () => [68, true]));
    expectNoFaults();
  });

  it('is toggled by a tap after a selection has begun, until the selection is cleared', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const bar = page.getByRole('region', { name: 'Selection' });
    const card = (name: string) => page.getByRole('row', { name });
    await card('Ada').getByRole('checkbox').click();
    await bar.getByText('1 selected').waitFor();
    await card('Grace').getByRole('link').click();
    await bar.getByText('2 selected').waitFor();
    await card('Ada').locator('.card-line').click();
    await bar.getByText('1 selected').waitFor();
    await expectAccessible();
    expect(new URL(page.url()).hash).toBe('#order_by=email');
    await bar.getByRole('button', { name: 'Clear' }).filter({ hasText: 'Clear' }).click();
    await bar.waitFor({ state: 'detached' });
    await card('Grace').getByRole('link').click();
    await page.getByRole('complementary').getByRole('heading', { name: 'Grace' }).waitFor();
    expectNoFaults();
  });

  it('shows a moment as the panel and the list do', async () => {
    const start = '2026-11-28T16:00:00Z';
    const { user } = await site.app.client.createUser({
      user: { firstName: 'Alan', email: 'alan@example.com', attributes: { start } },
    });
    onTestFinished(async () => {
      await site.app.client.deleteUser({ id: user?.id ?? '' });
    });
    const { page, expectNoFaults } = await site.open('#query=alan&columns=name,attributes.start', {
      width: 390,
      height: 844,
    });
    const cell = page.locator('.cell-attribute');
    await expect.poll(() => cell.textContent(), pollTimeout).toBe('28 Nov 2026, 16:00');
    expect(await cell.getAttribute('title')).toBe(start);
    await page.setViewportSize({ width: 1280, height: 800 });
    await expect.poll(() => cell.textContent(), pollTimeout).toBe('28 Nov 2026, 16:00');
    await page.locator('[data-id]').click();
    const time = page.getByRole('complementary').locator(`time[title="${start}"]`);
    await expect.poll(() => time.textContent(), pollTimeout).toBe('28 Nov 2026, 16:00');
    expectNoFaults();
  });

  it('keeps the date if no time is chosen last, and shows the columns of a view', async () => {
    const { page, expectNoFaults } = await open('#order_by=email&columns=name,create_time,attributes.team,email');
    const cells = page.locator('[data-id]').first().locator('.cell');
    await expect
      .poll(async () => (await cells.allTextContents()).slice(0, 2), pollTimeout)
      .toEqual(['Mathematics', 'ada@example.com']);
    const lines = await cells.evaluateAll((all) => all.map((cell) => Math.round(cell.getBoundingClientRect().top)));
    expect(lines[0]).toBe(lines[1]);
    expect(lines[2]).toBeLessThan(lines[0] ?? 0);
    expectNoFaults();
  });
});
