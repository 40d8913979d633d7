/** Tests the actions on many selected users in a real browser, against the whole application. */
import { readFile } from 'node:fs/promises';
import type { Locator, Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, delayFrames, type OpenOptions, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
const connectionLost = /Failed to load resource|ERR_/;

const dialog = (page: Page): Locator => page.getByRole('dialog');
const button = (page: Page, name: string | RegExp): Locator =>
  dialog(page).getByRole('button', { name, exact: typeof name === 'string' });
const bar = (page: Page): Locator => page.getByRole('region', { name: 'Selection' });
const box = (page: Page, name: string): Locator => page.getByRole('row', { name }).getByRole('checkbox');

describe.skipIf(browserMissing !== undefined)('many selected users', () => {
  const site = useSite();
  beforeEach(site.clear);

  async function create(count: number): Promise<void> {
    await site.app.client.importAllUsers(
      Array.from({ length: count }, (_, at) => ({
        firstName: `U${at}`,
        lastName: at === 2 ? '=1+1' : 'Test',
        email: `u${at}@example.com`,
        attributes: { team: at % 2 === 0 ? 'ops' : 'dev', floor: at },
      })),
    );
  }

  async function all(): Promise<User[]> {
    return await Array.fromAsync(site.app.client.exportAllUsers());
  }

  /** The number of users with each value of an attribute. */
  async function valuesOf(key: string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { attributes } of await all()) {
      const value = String(attributes?.[key]);
      counts[value] = (counts[value] ?? 0) + 1;
    }
    return counts;
  }

  async function open(hash = '', options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(`${hash}`, options);
    await opened.page.evaluate(() => Object.defineProperty(window, 'showSaveFilePicker', { value: undefined }));
    await opened.page.getByRole('row').nth(1).waitFor();
    return opened;
  }

  /** Selects all users that match. */
  async function selectAll(page: Page, row: string): Promise<void> {
    await box(page, row).check();
    await bar(page)
      .getByRole('button', { name: /^Select all/ })
      .click();
    await bar(page)
      .getByText(/^All .*selected$/)
      .waitFor();
  }

  async function saved(page: Page, act: () => Promise<void>): Promise<{ name: string; text: string }> {
    const [download] = await Promise.all([page.waitForEvent('download'), act()]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') };
  }

  async function setTeam(page: Page, value: string): Promise<void> {
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    await dialog(page).getByLabel('Attribute', { exact: true }).fill('team');
    await dialog(page).getByLabel('Value').fill(value);
  }

  /** Holds all calls of a method after the first 20. The page sends 8 at a time. */
  async function holdCalls(page: Page, method: string) {
    let calls = 0;
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    await page.route(`**/${method}`, async (route) => {
      if (++calls > 20) await released;
      await route.continue();
    });
    return { calls: () => calls, release };
  }

  it('get an attribute, all that match with 8 calls at a time, and lose it again by the undo', async () => {
    await create(1_200);
    const { page, expectAccessible, expectNoFaults } = await open(
      `#filter=${encodeURIComponent('attributes.team == "ops"')}`,
    );
    let inFlight = 0;
    let most = 0;
    page.on('request', (request) => {
      if (request.url().endsWith('/UpdateUser')) most = Math.max(most, ++inFlight);
    });
    page.on('requestfinished', (request) => {
      if (request.url().endsWith('/UpdateUser')) inFlight--;
    });
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    await expectAccessible();
    await button(page, 'Set team to sales for 600 users').click();
    await page.getByText('Set team to sales for 600 users.').waitFor({ timeout: 120_000 });
    await dialog(page).waitFor({ state: 'detached' });
    expect(await valuesOf('team')).toEqual({ sales: 600, dev: 600 });
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(8);
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect.poll(() => valuesOf('team'), { timeout: 120_000 }).toEqual({ ops: 600, dev: 600 });
    await page.getByText('Undone.').waitFor({ timeout: 120_000 });
    expectNoFaults();
  }, 300_000);

  it('get an attribute of another type, or lose one, and only the chosen ones', async () => {
    await create(4);
    const { page, expectNoFaults } = await open();
    const chooseTwo = async () => {
      await box(page, 'U1 Test').check();
      await box(page, 'U3 Test').check();
    };
    await chooseTwo();
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    await button(page, 'Set for 2 users').click();
    await dialog(page).getByText('Enter the name of the attribute.').waitFor();
    const problem = await dialog(page).getByText('Enter the name of the attribute.').boundingBox();
    const type = await dialog(page).getByLabel('Type').boundingBox();
    expect(problem?.y).toBeLessThan(type?.y ?? 0);
    await dialog(page).getByLabel('Attribute', { exact: true }).fill('floor');
    // The users have numbers, so the page does not write a text.
    await expect.poll(() => dialog(page).getByLabel('Type').inputValue(), pollTimeout).toBe('number');
    await dialog(page).getByLabel('Value').fill('seven');
    // On a small screen, the message is shown above the buttons, and not below the edge.
    await page.setViewportSize({ width: 1280, height: 340 });
    await button(page, 'Set for 2 users').click();
    const message = dialog(page).getByText('Enter a number');
    const bottom = async (part: Locator) => {
      const box = await part.boundingBox();
      return (box?.y ?? 0) + (box?.height ?? 0);
    };
    await message.waitFor();
    expect(await bottom(message)).toBeLessThanOrEqual(await bottom(dialog(page).locator('.body')));
    await page.setViewportSize({ width: 1280, height: 800 });
    expect(
      await dialog(page)
        .getByLabel('Value')
        .evaluate((input) => input === document.activeElement),
    ).toBe(true);
    await dialog(page).getByLabel('Value').fill('7');
    await message.waitFor({ state: 'detached' });
    await page.keyboard.press('Enter');
    await page.getByText('Set floor to 7 for 2 users.', { exact: true }).waitFor();
    await chooseTwo();
    const toast = await page.locator('.toast').boundingBox();
    expect((toast?.y ?? 0) + (toast?.height ?? 0)).toBeLessThan((await bar(page).boundingBox())?.y ?? 0);
    expect(await valuesOf('floor')).toEqual({ 0: 1, 2: 1, 7: 2 });
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    await dialog(page).getByLabel('Action').selectOption('Remove the attribute');
    await dialog(page).getByLabel('Attribute', { exact: true }).fill('floor');
    await button(page, 'Remove floor from 2 users').click();
    await page.getByText('Removed floor from 2 users.').waitFor();
    expect(await valuesOf('floor')).toEqual({ 0: 1, 2: 1, undefined: 2 });
    await chooseTwo();
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    // Only the other users have numbers there now.
    await dialog(page).getByLabel('Attribute', { exact: true }).fill('floor');
    await expect.poll(() => dialog(page).getByLabel('Type').inputValue(), pollTimeout).toBe('number');
    await dialog(page).getByLabel('Attribute', { exact: true }).fill('tags');
    await dialog(page).getByLabel('Type').selectOption('List');
    await dialog(page).getByLabel('Value').fill('on call\nparking');
    await button(page, 'Set tags to on call, parking for 2 users').click();
    await page.getByText('Set tags to on call, parking for 2 users.').waitFor();
    expect((await all()).flatMap(({ attributes }) => attributes?.tags ?? [])).toEqual([
      'on call',
      'parking',
      'on call',
      'parking',
    ]);
    expectNoFaults();
  });

  it('are cleared by Escape in the head of the list, in the bar, and after a button has disappeared', async () => {
    await create(2);
    const { page, expectNoFaults } = await open();
    const cleared = async () => {
      await page.keyboard.press('Escape');
      await bar(page).waitFor({ state: 'detached' });
    };
    await page.getByRole('checkbox', { name: 'Select all' }).check();
    await cleared();
    await box(page, 'U0 Test').check();
    await bar(page).getByRole('button', { name: 'Delete…' }).focus();
    await cleared();
    await selectAll(page, 'U0 Test');
    await cleared();
    expectNoFaults();
  });

  it('are not left by a step back or another address without a question about the filled form', async () => {
    await create(2);
    const { page, expectAccessible, expectNoFaults } = await open();
    await box(page, 'U0 Test').check();
    await setTeam(page, 'sales');
    const question = dialog(page).getByText('Discard this change?');
    await page.evaluate(() => location.assign('#view=metrics'));
    await question.waitFor();
    await expectAccessible();
    expect(new URL(page.url()).hash).toBe('');
    await page.keyboard.press('Escape');
    await question.waitFor({ state: 'detached' });
    expect(await dialog(page).getByLabel('Value').inputValue()).toBe('sales');
    await page.evaluate(() => location.assign('#query=u1'));
    await button(page, 'Discard').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect(new URL(page.url()).hash).toBe('#query=u1');
    expectNoFaults();
  });

  it('get no empty value by Enter in the name of the attribute', async () => {
    await create(3);
    const { page, expectAccessible, expectNoFaults } = await open();
    await selectAll(page, 'U0 Test');
    await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
    const key = dialog(page).getByLabel('Attribute', { exact: true });
    const value = dialog(page).getByLabel('Value');
    const focusedLabel = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
    await key.fill('te');
    await dialog(page).getByText('“te” is a new attribute.').waitFor();
    await expectAccessible();
    await key.press('Enter');
    await expect.poll(focusedLabel, pollTimeout).toBe('Value');
    await key.fill('team');
    await dialog(page).getByText('is a new attribute.').waitFor({ state: 'detached' });
    await key.press('Enter');
    await expect.poll(focusedLabel, pollTimeout).toBe('Value');
    await value.press('Enter');
    await dialog(page).getByText('Type a value, or choose Remove.').waitFor();
    await dialog(page).getByLabel('Type').selectOption('List');
    await button(page, 'Set for 3 users').click();
    await dialog(page).getByText('Type a value, or choose Remove.').waitFor();
    expect(await valuesOf('team')).toEqual({ ops: 2, dev: 1 });
    expect(await valuesOf('te')).toEqual({ undefined: 3 });
    // An empty text is still possible, for clients that need one.
    await dialog(page).getByLabel('Type').selectOption('JSON');
    await value.fill('""');
    await button(page, 'Set team to an empty text for 3 users').waitFor();
    await dialog(page).getByLabel('Type').selectOption('Text');
    const long = 'The department of everything else';
    await value.fill(long);
    await button(page, 'Set team to The department of everyt… for 3 users').waitFor();
    await value.press('Enter');
    await page.getByText('Set team to The department of everyt… for 3 users.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ [long]: 3 });
    expectNoFaults();
  });

  it('are no longer selected after a change that moved them out of the filter', async () => {
    await create(6);
    const { page, expectNoFaults } = await open(`#filter=${encodeURIComponent('attributes.team == "ops"')}`);
    await box(page, 'U0 Test').check();
    await box(page, 'U4 Test').check();
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 2 users').click();
    await page.getByText('Set team to sales for 2 users.').waitFor({ timeout: 60_000 });
    await bar(page).waitFor({ state: 'detached' });
    await box(page, 'U2 =1+1').check();
    await bar(page).getByText('1 selected').waitFor();
    // An undo does not change what is selected by now.
    await page.keyboard.press('Control+z');
    await page.getByText('Undone.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ ops: 3, dev: 3 });
    await bar(page).getByText('1 selected').waitFor();
    expectNoFaults();
  });

  it.each(['', 'attributes.floor < 10'])(
    'stay selected after a change that leaves them in the list (filter "%s")',
    async (filter) => {
      await create(6);
      const { page, expectNoFaults } = await open(`#filter=${encodeURIComponent(filter)}`);
      await box(page, 'U0 Test').check();
      await box(page, 'U4 Test').check();
      await setTeam(page, 'sales');
      await button(page, 'Set team to sales for 2 users').click();
      await page.getByText('Set team to sales for 2 users.').waitFor({ timeout: 60_000 });
      await dialog(page).waitFor({ state: 'detached' });
      await bar(page).getByText('2 selected').waitFor();
      await bar(page).getByRole('button', { name: 'Select all 6' }).click();
      await setTeam(page, 'support');
      await button(page, 'Set team to support for 6 users').click();
      await page.getByText('Set team to support for 6 users.').waitFor({ timeout: 60_000 });
      await dialog(page).waitFor({ state: 'detached' });
      await bar(page).getByText('All 6 selected').waitFor();
      expect(await valuesOf('team')).toEqual({ support: 6 });
      expectNoFaults();
    },
  );

  it('get their old value by Ctrl+Z, which does not change the search', async () => {
    await create(3);
    const { page, expectNoFaults } = await open();
    const search = page.getByRole('searchbox');
    await search.pressSequentially('U1');
    await page.getByRole('row', { name: 'U0 Test' }).waitFor({ state: 'detached' });
    await box(page, 'U1 Test').check();
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 1 user').click();
    await page.getByText('Set team to sales for 1 user.').waitFor({ timeout: 60_000 });
    // In the search, the key undoes only the typing.
    await search.press('End');
    await page.keyboard.type('x');
    await page.keyboard.press('Control+z');
    await expect.poll(() => search.inputValue(), pollTimeout).toBe('U1');
    expect(await valuesOf('team')).toEqual({ sales: 1, ops: 2 });
    await box(page, 'U1 Test').focus();
    await page.keyboard.press('Control+z');
    await page.getByText('Undone.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ ops: 2, dev: 1 });
    expect(await search.inputValue()).toBe('U1');
    expectNoFaults();
  });

  it('get their old value by Ctrl+Z also in the search, unless somebody has typed there since the change', async () => {
    await create(4);
    const { page, expectNoFaults } = await open(`#filter=${encodeURIComponent('attributes.team == "ops"')}`);
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 2 users').click();
    await page.getByText('No matches').waitFor({ timeout: 60_000 });
    // The page leaves the focus in the list, which has no rows now.
    const focused = () => page.evaluate(() => document.activeElement?.textContent);
    await expect.poll(focused, pollTimeout).toBe('Show all users');
    const search = page.getByRole('searchbox');
    await search.focus();
    await page.keyboard.press('Control+z');
    await page.getByText('Undone.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ ops: 2, dev: 2 });
    await box(page, 'U0 Test').waitFor();
    expectNoFaults();
  });

  it('are written once if answers are lost', async () => {
    await create(3);
    const { page, expectNoFaults } = await open();
    let lost = 0;
    await page.route('**/UpdateUser', async (route) => {
      if (++lost > 2) return route.continue();
      await route.fetch();
      await route.abort('connectionreset');
    });
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    const before = await all();
    await button(page, 'Set team to sales for 3 users').click();
    await page.getByText('Set team to sales for 3 users.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ sales: 3 });
    const changes = await Promise.all(before.map(({ id }) => site.app.client.listUserChanges({ id })));
    // Each was created and updated once.
    expect(changes.map((response) => response.changes.length)).toEqual([2, 2, 2]);
    expectNoFaults(connectionLost);
  });

  it('keep what others write at the same time, and fail if others write the same attribute', async () => {
    await create(3);
    const { page } = await open();
    const [first, second] = await all();
    let isFirst = true;
    let release = () => {};
    const written = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/UpdateUser', async (route) => {
      if (isFirst) {
        isFirst = false;
        await site.app.client.updateUser({
          user: { id: first?.id ?? '', lastName: 'Kept' },
          updateMask: ['last_name'],
        });
        const user = { id: second?.id ?? '', attributes: { team: 'theirs' } };
        await site.app.client.updateUser({ user, updateMask: ['attributes.team'] });
        release();
      }
      await written;
      await route.continue();
    });
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 3 users').click();
    await dialog(page).getByText('2 users changed, 1 failed.').waitFor({ timeout: 60_000 });
    await dialog(page).getByText('Somebody else has changed this attribute meanwhile.').waitFor();
    expect(await valuesOf('team')).toEqual({ sales: 2, theirs: 1 });
    // Only the user for whom it failed is still selected.
    await bar(page).getByText('1 selected').waitFor();
    const { user } = await site.app.client.getUser({ id: first?.id ?? '' });
    expect(user).toMatchObject({ lastName: 'Kept', attributes: { team: 'sales' } });
    await button(page, 'Try again').click();
    await page.getByText('Set team to sales for 3 users.').waitFor({ timeout: 60_000 });
    expect(await valuesOf('team')).toEqual({ sales: 3 });
  });

  it('are deleted after their number was typed, except those that somebody has changed meanwhile', async () => {
    await create(40);
    const changed = (await all()).find(({ firstName }) => firstName === 'U3');
    await site.app.client.updateUser({ user: { id: changed?.id ?? '', firstName: '=U3' }, updateMask: ['first_name'] });
    const { page, expectAccessible, expectNoFaults } = await open();
    await selectAll(page, 'U0 Test');
    await box(page, 'U7 Test').uncheck();
    await bar(page).getByRole('button', { name: 'Delete…' }).click();
    const field = dialog(page).getByLabel('Type 39 to delete 39 users');
    await field.fill('40');
    await button(page, 'Delete 39 users').click({ force: true });
    await expectAccessible();
    await site.app.client.updateUser({
      user: { id: changed?.id ?? '', lastName: 'Changed' },
      updateMask: ['last_name'],
    });
    await field.fill('39');
    await button(page, 'Delete 39 users').click();
    await dialog(page).getByText('38 users deleted, 1 failed.').waitFor({ timeout: 60_000 });
    await dialog(page).getByText('somebody has changed this user meanwhile').waitFor();
    await expectAccessible();
    const { text } = await saved(page, () => button(page, 'Download as CSV').click());
    expect(text).toMatch(/^id,name,email,problem\n.*,'=U3 \S+,u3@example.com,".*somebody.*"\n$/);
    expect(await all()).toHaveLength(2);
    await button(page, 'Close').last().click();
    await expect.poll(() => page.getByRole('row').count(), pollTimeout).toBe(3);
    await bar(page).getByText('1 selected').waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent), pollTimeout).toBe('Delete…');
    await box(page, 'U7 Test').check();
    await bar(page).getByRole('button', { name: 'Delete…' }).click();
    await dialog(page).getByLabel('Type 2 to delete 2 users').fill('2');
    await button(page, 'Delete 2 users').click();
    await page.getByText('No users yet').waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent), pollTimeout).toBe('New user');
    expectNoFaults();
  });

  it('that already have the value, or are already deleted, are counted apart', async () => {
    await create(6);
    const { page, expectNoFaults } = await open();
    const [first, second] = await all();
    for (const { id = '', etag } of [first, second].flatMap((user) => user ?? [])) {
      const user = { id, etag, attributes: { floor: 7 } };
      await site.app.client.updateUser({ user, updateMask: ['attributes.floor'] });
    }
    const change = async (action: string) => {
      await bar(page).getByRole('button', { name: 'Change attribute…' }).click();
      await dialog(page).getByLabel('Action').selectOption(action);
      await dialog(page).getByLabel('Attribute', { exact: true }).fill('floor');
    };
    await selectAll(page, 'U0 Test');
    await change('Set the attribute');
    await dialog(page).getByLabel('Value').fill('7');
    await button(page, 'Set floor to 7 for 6 users').click();
    await page.getByText('Set floor to 7 for 4 users. 2 already had it.', { exact: true }).waitFor();

    await site.app.client.updateUser({ user: { id: first?.id ?? '' }, updateMask: ['attributes.floor'] });
    await change('Remove the attribute');
    await button(page, 'Remove floor from 6 users').click();
    await page.getByText('Removed floor from 5 users. One did not have it.', { exact: true }).waitFor();

    await bar(page).getByRole('button', { name: 'Delete…' }).click();
    await dialog(page).getByLabel('Type 6 to delete 6 users').fill('6');
    await site.app.client.deleteUser({ id: first?.id ?? '' });
    await button(page, 'Delete 6 users').click();
    await page.getByText('5 users deleted, one was already deleted.', { exact: true }).waitFor();
    await page.getByText('No users yet').waitFor();
    expectNoFaults(/status of 404/);
  });

  it('are not subtracted again from the count when the feed reports two deletions late', async () => {
    await create(8);
    const { page, expectNoFaults } = await open();
    const total = page.locator('.total');
    const sign = () => page.locator('.sign').getAttribute('data-state');
    await expect.poll(sign, pollTimeout).toBe('live');
    await expect.poll(() => total.textContent(), pollTimeout).toBe('8 users');
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    await page.route('**/WatchUsers', async (route) => {
      await released;
      await route.continue();
    });
    // The feed connects again from its last position, which is before the deletions.
    await page.evaluate(() => window.dispatchEvent(new Event('offline')));
    await expect.poll(sign, pollTimeout).toBe('reconnecting');
    for (const names of [
      ['U0 Test', 'U1 Test'],
      ['U3 Test', 'U4 Test'],
    ]) {
      for (const name of names) await box(page, name).check();
      await bar(page).getByRole('button', { name: 'Delete…' }).click();
      await dialog(page).getByLabel('Type 2 to delete 2 users').fill('2');
      await button(page, 'Delete 2 users').click();
      await page.getByText('2 users deleted.', { exact: true }).last().waitFor();
      await page.getByRole('row', { name: names[0] ?? '' }).waitFor({ state: 'detached' });
    }
    await expect.poll(() => total.textContent(), pollTimeout).toBe('4 users');
    await page.evaluate(() => {
      const seen = new Set<string>();
      Object.assign(window, { seen });
      const look = () => seen.add(document.querySelector('.total')?.textContent ?? '');
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
      look();
    });
    release();
    await expect.poll(sign, pollTimeout).toBe('live');
    // The feed is in order, so the deletions have arrived when a later change is shown.
    const [user] = await all();
    await site.app.client.updateUser({ user: { id: user?.id ?? '', lastName: 'Later' }, updateMask: ['last_name'] });
    await page.getByRole('row', { name: 'Later' }).waitFor();
    expect(await page.evaluate(() => [...(window as unknown as { seen: Set<string> }).seen])).toEqual(['4 users']);
    expectNoFaults(connectionLost);
  });

  it('that are left after a stopped deletion stay selected, and are deleted with the same dialog', async () => {
    await create(100);
    const { page, expectAccessible, expectNoFaults } = await open();
    const held = await holdCalls(page, 'DeleteUser');
    await selectAll(page, 'U0 Test');
    await bar(page).getByRole('button', { name: 'Delete…' }).click();
    await dialog(page).getByLabel('Type 100 to delete 100 users').fill('100');
    await button(page, 'Delete 100 users').click();
    await expect.poll(held.calls, pollTimeout).toBe(28);
    await button(page, 'Stop').click();
    held.release();
    await dialog(page).getByText('Stopped. 28 of 100 users deleted, 72 left.').waitFor({ timeout: 60_000 });
    expect(await all()).toHaveLength(72);
    // It was not selected, so the deletion must not include it.
    await site.app.client.createUser({ user: { firstName: 'Later', email: 'later@example.com' } });
    await expectAccessible();
    await expect.poll(() => bar(page).getByText('72 selected').count(), pollTimeout).toBe(1);
    await button(page, 'Continue with 72 users').click();
    await page.getByText('100 users deleted.', { exact: true }).waitFor({ timeout: 60_000 });
    expect((await all()).map(({ firstName }) => firstName)).toEqual(['Later']);
    expect(await dialog(page).count()).toBe(0);
    await expect.poll(() => bar(page).count(), pollTimeout).toBe(0);
    // The button that opened the dialog has disappeared.
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('role'));
    await expect.poll(focused, pollTimeout).toBe('row');
    expectNoFaults();
  });

  it.each(['', 'attributes.floor < 1000'])(
    'are subtracted once from the count after a stopped deletion (filter "%s")',
    async (filter) => {
      await create(100);
      const { page, expectNoFaults } = await open(`#filter=${encodeURIComponent(filter)}`);
      await page.locator('.sign[data-state=live]').waitFor();
      const remaining = () => page.locator('.total').textContent();
      await expect.poll(remaining, pollTimeout).toMatch(/^100 /);
      const held = await holdCalls(page, 'DeleteUser');
      await selectAll(page, 'U0 Test');
      await bar(page).getByRole('button', { name: 'Delete…' }).click();
      await dialog(page).getByLabel('Type 100 to delete 100 users').fill('100');
      const shown = await page.evaluateHandle(() => {
        const texts: string[] = [];
        const total = document.querySelector('.total');
        if (total === null) throw new Error('The page shows no count.');
        const observer = new MutationObserver(() => texts.push(total.textContent ?? ''));
        observer.observe(total, { childList: true, characterData: true, subtree: true });
        return texts;
      });
      // The server counts the users before the page applies the changes of the feed.
      await delayFrames(page);
      await button(page, 'Delete 100 users').click();
      await expect.poll(held.calls, pollTimeout).toBe(28);
      await button(page, 'Stop').click();
      held.release();
      await dialog(page).getByText('Stopped. 28 of 100 users deleted, 72 left.').waitFor({ timeout: 60_000 });
      await expect.poll(remaining, pollTimeout).toMatch(/^72 /);
      // A later change: the page has applied those of the deletion before it.
      const [other] = await all();
      await site.app.client.deleteUser({ id: other?.id ?? '' });
      await expect.poll(remaining, pollTimeout).toMatch(/^71 /);
      const counts = (await shown.jsonValue()).map((text) => Number.parseInt(text, 10));
      expect(Math.min(...counts)).toBe(71);
      expectNoFaults();
    },
  );

  it('do not hide the last row on a phone, neither with their bar nor with a toast', async () => {
    await create(30);
    const { page, expectNoFaults } = await open('', { width: 390, height: 800 });
    const last = page.locator('[data-row="29"]');
    /** How far the last row is above an element, after scrolling to the end. */
    const gapAbove = async (cover: Locator) => {
      await page.locator('[role=grid]').evaluate((grid) => grid.scrollTo(0, grid.scrollHeight));
      const [row, covering] = [await last.boundingBox(), await cover.boundingBox()];
      return (covering?.y ?? 0) - ((row?.y ?? 0) + (row?.height ?? 0));
    };
    await box(page, 'U0 Test').check();
    await expect.poll(() => gapAbove(bar(page)), pollTimeout).toBeGreaterThanOrEqual(0);
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 1 user').click();
    await page.getByText('Set team to sales for 1 user.').waitFor();
    await expect.poll(() => gapAbove(page.locator('.toast')), pollTimeout).toBeGreaterThanOrEqual(0);
    expectNoFaults();
  });

  /** Changes 300 users, and stops it after 28. */
  async function stopChange(page: Page): Promise<void> {
    const held = await holdCalls(page, 'UpdateUser');
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 300 users').click();
    await expect.poll(held.calls, pollTimeout).toBe(28);
    await button(page, 'Stop').click();
    held.release();
    await dialog(page).getByText('Stopped. 28 of 300 users changed, 272 left.').waitFor({ timeout: 60_000 });
    expect((await valuesOf('team')).sales).toBe(28);
  }

  it('stop being changed with the button, and can be changed back, however long the report is open', async () => {
    await create(300);
    const { page, expectNoFaults } = await open();
    await page.clock.install();
    await stopChange(page);
    await page.clock.runFor(15_000);
    expect(await page.locator('.toast').count()).toBe(1);
    await page.clock.resume();
    await dialog(page).getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Undone.').waitFor({ timeout: 60_000 });
    expect((await valuesOf('team')).sales).toBeUndefined();
    expect(await dialog(page).count()).toBe(0);
    expectNoFaults();
  });

  it('are all changed back if the change was stopped and continued', async () => {
    await create(300);
    const { page, expectNoFaults } = await open();
    await stopChange(page);
    await button(page, 'Continue with 272 users').click();
    await page.getByText('Set team to sales for 300 users.').waitFor({ timeout: 60_000 });
    expect((await valuesOf('team')).sales).toBe(300);
    expect(await page.locator('.toast').count()).toBe(1);
    await page.locator('.toast').getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Undone.').waitFor({ timeout: 60_000 });
    expect((await valuesOf('team')).sales).toBeUndefined();
    expectNoFaults();
  });

  it('are partly changed back, and the page says for how many, for whom not, and why', async () => {
    await create(4);
    const { page, expectAccessible, expectNoFaults } = await open();
    await selectAll(page, 'U0 Test');
    await setTeam(page, 'sales');
    await button(page, 'Set team to sales for 4 users').click();
    const undo = page.locator('.toast').getByRole('button', { name: 'Undo' });
    await undo.waitFor();
    const toasts = page.getByRole('region', { name: 'Notifications' });
    const [one, two] = (await all()).filter(({ firstName }) => firstName === 'U1' || firstName === 'U3');
    const theirs = { id: one?.id ?? '', attributes: { team: 'theirs' } };
    await site.app.client.updateUser({ user: theirs, updateMask: ['attributes.team'] });
    await undo.click();
    await toasts.getByText('Undone for 3 users, not for 1 user. Somebody else has changed this attribute').waitFor();
    await expectAccessible();
    expect(await valuesOf('team')).toEqual({ ops: 2, dev: 1, theirs: 1 });
    await toasts.getByRole('button', { name: 'Show which' }).click();
    await dialog(page).getByRole('heading', { name: 'Not undone for 1 user' }).waitFor();
    await dialog(page)
      .getByRole('row', { name: `${one?.displayName} ${one?.email} Somebody else has changed` })
      .waitFor();
    await expectAccessible();
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    await toasts.getByRole('button', { name: 'Close the notification' }).click();

    // If it is undone for nobody, it is not called undone.
    await bar(page).getByRole('button', { name: 'Clear the selection' }).click();
    await box(page, two?.displayName ?? '').check();
    await setTeam(page, 'support');
    await button(page, 'Set team to support for 1 user').click();
    await undo.waitFor();
    await site.app.client.deleteUser({ id: two?.id ?? '' });
    await undo.click();
    await toasts.getByText('Not undone for 1 user. The user no longer exists.').waitFor();
    expectNoFaults();
  });

  it('are exported with the columns and the filter of the list', async () => {
    await create(5);
    const filter = 'attributes.team == "ops" && create_time >= timestamp(today - 6)';
    const { page, expectAccessible, expectNoFaults } = await open(
      `#columns=create_time,attributes.team,name,email&filter=${encodeURIComponent(filter)}`,
    );
    const checked = () => dialog(page).getByRole('checkbox', { checked: true }).locator('..').allTextContents();
    const boxes = () => dialog(page).getByRole('checkbox').locator('..').allTextContents();
    await page.goto(`${page.url()}&dialog=export`);
    await dialog(page).getByRole('checkbox', { name: 'floor', exact: true }).waitFor();
    const inList = ['Created', 'team', 'First name', 'Last name', 'Email'];
    expect(await checked()).toEqual(inList);
    expect(await boxes()).toEqual([
      ...inList,
      ...['ID', 'Image URL', 'Attributes, as JSON', 'Display name', 'Updated', 'Etag'],
      'floor',
    ]);
    const words = dialog(page).getByRole('listitem');
    expect(await words.allTextContents()).toEqual(['team is ops', 'Created in the last 7 days']);
    await expectAccessible();
    const csv = await saved(page, () => button(page, 'Export').click());
    const [head, ...rows] = csv.text.trimEnd().split('\n');
    expect(head).toBe('create_time,attributes.team,first_name,last_name,email');
    expect(rows.map((row) => row.split(',').slice(1).join())).toEqual([
      'ops,U0,Test,u0@example.com',
      'ops,U2,=1+1,u2@example.com',
      'ops,U4,Test,u4@example.com',
    ]);
    await button(page, 'Close').last().click();

    await page.goto(`${site.app.http}/#dialog=export&filter=${encodeURIComponent('attributes.floor > 1 || id == ""')}`);
    await dialog(page).getByText('attributes.floor > 1 || id == ""').waitFor();
    await dialog(page).getByRole('checkbox', { name: 'Email' }).uncheck();
    await dialog(page).getByText('A later import needs the columns First name and Email.').waitFor();
    await button(page, 'All fields').click();
    expect(await checked()).toEqual([
      ...['ID', 'First name', 'Last name', 'Email', 'Image URL', 'Attributes, as JSON', 'Display name'],
      ...['Created', 'Updated', 'Etag'],
    ]);
    await button(page, 'All, attributes as columns').click();
    expect(await dialog(page).getByRole('checkbox', { name: 'team', exact: true }).isChecked()).toBe(true);
    expect(await dialog(page).getByRole('checkbox', { name: 'Attributes, as JSON' }).isChecked()).toBe(false);
    await button(page, 'As in the list').click();
    expect((await checked()).slice(0, 3)).toEqual(['First name', 'Last name', 'Email']);
    expectNoFaults(/status of 400/);
  });

  it('are exported with the attributes of a few that nobody has chosen, after the page has named them', async () => {
    await site.app.client.createUser({
      user: { firstName: 'Old', email: 'old@example.com', attributes: { visa: 'blue card' } },
    });
    await create(600);
    const { page, expectAccessible, expectNoFaults } = await open('#dialog=export');
    await button(page, 'All, attributes as columns').click();
    const first = await saved(page, () => button(page, 'Export').click());
    expect(first.text).not.toContain('visa');
    await dialog(page).getByText('The file lacks attributes that only few of them have: “visa”.').waitFor();
    await expectAccessible();
    const { text } = await saved(page, () => button(page, 'Export again with these').click());
    expect(text.split('\n')[0]).toMatch(/,attributes\.visa$/);
    expect(text).toMatch(/,old@example\.com,.*,blue card\n/);
    expect(text.trimEnd().split('\n')).toHaveLength(602);
    await dialog(page).getByText('601 users exported.', { exact: true }).waitFor();
    expectNoFaults();
  });

  it('are exported as they were at the start, also if a new day begins meanwhile', async () => {
    await create(600);
    const filter = encodeURIComponent('create_time >= timestamp(today - 6)');
    const { page, expectNoFaults } = await open(`#query=u&filter=${filter}&dialog=export`);
    await dialog(page).getByRole('checkbox', { name: 'floor', exact: true }).waitFor();
    let pages = 0;
    await page.route('**/ListUsers', async (route) => {
      pages++;
      await page.clock.setFixedTime(Date.now() + 86_400_000);
      await route.continue();
    });
    const csv = await saved(page, () => button(page, 'Export').click());
    expect(csv.text.trimEnd().split('\n')).toHaveLength(601);
    expect(pages).toBeGreaterThan(1);
    expectNoFaults();
  });

  it.each([
    ['en-GB', ',', 'commas'],
    ['de-DE', ';', 'semicolons'],
  ])('are exported with the chosen columns, as JSON and for Excel in %s', async (locale, delimiter, name) => {
    await create(5);
    const { page, expectAccessible, expectNoFaults } = await open('', { context: { locale } });
    await box(page, 'U2 =1+1').check();
    await box(page, 'U3 Test').check();
    await bar(page).getByRole('button', { name: 'Export…' }).click();
    await dialog(page).getByRole('checkbox', { name: 'team', exact: true }).waitFor();
    await button(page, 'All fields').click();
    for (const name of ['ID', 'Image URL', 'Attributes, as JSON', 'Display name', 'Created', 'Updated', 'Etag'])
      await dialog(page).getByRole('checkbox', { name, exact: true }).uncheck();
    await dialog(page).getByRole('checkbox', { name: 'team', exact: true }).check();
    await dialog(page).getByLabel('Format').selectOption('CSV for Excel');
    await dialog(page).getByText(`Cells are separated by ${name}`).waitFor();
    await expectAccessible();
    const excel = await saved(page, () => button(page, 'Export').click());
    expect(excel.name).toMatch(/\.csv$/);
    expect(excel.text.split('\n').toSorted()).toEqual([
      '',
      ['U2', "'=1+1", 'u2@example.com', 'ops'].join(delimiter),
      ['U3', 'Test', 'u3@example.com', 'dev'].join(delimiter),
      ['\ufefffirst_name', 'last_name', 'email', 'attributes.team'].join(delimiter),
    ]);
    await button(page, 'Close').last().click();
    await bar(page).getByRole('button', { name: 'Export…' }).click();
    await button(page, 'All, attributes as columns').waitFor();
    await dialog(page).getByLabel('Format').selectOption('JSON');
    await button(page, 'All, attributes as columns').waitFor({ state: 'detached' });
    const json = await saved(page, () => button(page, 'Export').click());
    expect(json.name).toMatch(/\.json$/);
    const users: { email: string; attributes: object }[] = JSON.parse(json.text);
    expect(users.map(({ email }) => email).toSorted()).toEqual(['u2@example.com', 'u3@example.com']);
    expect(users[0]?.attributes).toHaveProperty('team');
    expectNoFaults();
  });
});
