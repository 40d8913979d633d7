/** Tests reading a person beside the list, going to others, typed inputs, and undoing, in a real browser. */
import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing } from './browser.js';
import { button, createAda, field, panel } from './panel.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const toasts = (page: Page): Locator => page.getByRole('region', { name: 'Notifications' });
const row = (page: Page, id: string): Locator => page.locator(`[role=row][data-id="${id}"]`);
const fact = (page: Page, label: string): Locator =>
  panel(page)
    .locator('.facts > div')
    .filter({ has: page.locator('dt').getByText(label, { exact: true }) })
    // Nested values are facts in a fact.
    .last()
    .locator('dd')
    .first();

async function hasFocus(locator: Locator): Promise<boolean> {
  return (await locator.count()) === 1 && (await locator.evaluate((element) => element === document.activeElement));
}

describe.skipIf(browserMissing !== undefined)('a person', () => {
  const site = useSite();
  const { open } = site;

  const create = (changes?: Partial<User>): Promise<User> => createAda(site.app, changes);

  /** Three people whose emails only this search finds. The list has the newest, which is the last, first. */
  async function createThree(word: string): Promise<[User, User, User]> {
    const names = ['Grace', 'Alan', 'Barbara'] as const;
    const [a, b, c] = names.map((firstName) => ({ firstName, lastName: '', email: `${firstName}@${word}.example` }));
    return [await create(a), await create(b), await create(c)];
  }

  async function read(id: string): Promise<User | undefined> {
    return (await site.app.client.getUser({ id })).user;
  }

  it('is shown to be read, with values that suit their types', async () => {
    const { id, email } = await create({
      attributes: {
        home: 'https://ada.example.com/about',
        script: 'javascript:alert(1)',
        since: '2024-03-01',
        remote: true,
        floor: 1234,
        manager: null,
        skills: ['maths', 'poetry'],
        address: { city: 'London', geo: { lat: 51.5 } },
        long: 'word '.repeat(100),
      },
    });
    const { page, expectNoFaults } = await open(`#user=${id}`, {
      context: { permissions: ['clipboard-read', 'clipboard-write'] },
    });
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    expect(await panel(page).getByRole('textbox').count()).toBe(0);
    expect(await fact(page, 'Email').getByRole('link').getAttribute('href')).toBe(`mailto:${email}`);
    const home = fact(page, 'home').getByRole('link');
    expect(await home.getAttribute('href')).toBe('https://ada.example.com/about');
    expect(await home.getAttribute('rel')).toContain('noopener');
    expect(await fact(page, 'script').getByRole('link').count()).toBe(0);
    expect(await fact(page, 'since').textContent()).toBe('1 Mar 2024');
    expect(await fact(page, 'remote').textContent()).toBe('Yes');
    expect(await fact(page, 'floor').textContent()).toBe('1234');
    expect(await fact(page, 'manager').textContent()).toBe('No value');
    expect(await fact(page, 'skills').getByRole('listitem').allTextContents()).toEqual(['maths', 'poetry']);
    expect(await fact(page, 'city').isVisible()).toBe(false);
    await fact(page, 'address').getByText('2 fields').click();
    expect(await fact(page, 'city').textContent()).toBe('London');
    await fact(page, 'long').getByRole('button', { name: 'Show all' }).click();
    expect(await fact(page, 'long').textContent()).toBe('word '.repeat(100));

    for (const [name, text] of [
      ['Copy the email', email],
      ['Copy the ID', id],
    ] as const) {
      await button(page, name).click();
      await toasts(page).getByText(name.replace('Copy', 'Copied')).waitFor();
      expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text);
    }
    expectNoFaults();
  });

  it('has an email that breaks after its marks, and is copied exactly', async () => {
    const email = 'maximiliana.featherstonehaugh-smith@engineering.international.example.com';
    const assistant = email.replace('smith', 'jones');
    const { id } = await create({ email, attributes: { assistant } });
    for (const width of [1280, 390]) {
      const { page } = await open(`#user=${id}`, { width });
      for (const [label, text] of [
        ['Email', email],
        ['assistant', assistant],
      ] as const) {
        const value = fact(page, label).locator('a, .value-text');
        await value.waitFor();
        // The parts between two places where the text may break.
        const linesOfParts = await value.evaluate((element) =>
          [...element.childNodes]
            .filter((node) => node.nodeType === Node.TEXT_NODE)
            .map((node) => {
              const range = document.createRange();
              range.selectNodeContents(node);
              return new Set([...range.getClientRects()].map(({ top }) => top)).size;
            }),
        );
        expect(linesOfParts.length).toBeGreaterThan(4);
        expect(linesOfParts).toEqual(linesOfParts.map(() => 1));
        const selected = await value.evaluate((element) => {
          getSelection()?.selectAllChildren(element);
          return getSelection()?.toString();
        });
        expect(selected).toBe(text);
      }
    }
  });

  it('has a title of at most three lines, however long the name is, and whole in a tooltip', async () => {
    const name = 'Rhoshandiatellyneshiaunneveshenk '.repeat(7).trim();
    const { id, displayName } = await create({ firstName: name, lastName: name });
    const { page, expectAccessible, expectNoFaults } = await open(`#user=${id}`);
    const title = panel(page).getByRole('heading', { name: displayName });
    await title.waitFor();
    expect(await title.getAttribute('title')).toBe(displayName);
    expect((await title.boundingBox())?.height).toBeLessThan(90);
    await expectAccessible();
    expectNoFaults();
  });

  it('has a name whose letters no invisible character reverses, in the list and in the panel', async () => {
    const { id } = await create({ firstName: 'A\u202eevil', lastName: '' });
    const { page, expectNoFaults } = await open(`#user=${id}`);
    await panel(page).getByRole('heading', { name: 'Aevil', exact: true }).waitFor();
    expect(await row(page, id).locator('.cell-name a').textContent()).toBe('Aevil');
    expectNoFaults();
  });

  it('asks about edits before another address replaces it, and keeps the address meanwhile', async () => {
    const { id } = await create();
    const { page, expectNoFaults } = await open();
    await row(page, id).click();
    await button(page, 'Edit').click();
    await field(page, 'First name').fill('Augusta');
    const { hash } = new URL(page.url());
    // As a link, a bookmark and an edited address do.
    const visit = (to: string) => page.evaluate((next) => location.assign(next), to);
    const question = panel(page).getByText('Discard your changes?');
    await visit('#query=zoe');
    await question.waitFor();
    expect(new URL(page.url()).hash).toBe(hash);
    await visit('#view=metrics');
    expect(new URL(page.url()).hash).toBe(hash);
    await button(page, 'Keep editing').click();
    expect(await field(page, 'First name').inputValue()).toBe('Augusta');

    // The same user stays open.
    await visit(`#query=ada&user=${id}`);
    await expect.poll(() => new URL(page.url()).hash).toBe(`#query=ada&user=${id}`);
    expect(await question.count()).toBe(0);
    expect(await field(page, 'First name').inputValue()).toBe('Augusta');

    await visit('#view=metrics');
    await question.waitFor();
    await button(page, 'Discard').click();
    await page.getByRole('main', { name: 'Metrics' }).waitFor();
    expect(await panel(page).count()).toBe(0);
    expect(new URL(page.url()).hash).toBe('#view=metrics');
    await page.goBack();
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    expectNoFaults();
  });

  it('is closed while the page shows the metrics, and is open again after a step back', async () => {
    const { id } = await create();
    const { page, expectNoFaults } = await open();
    await row(page, id).click();
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    const metrics = page.getByRole('button', { name: 'Metrics' });
    await metrics.click();
    await page.getByRole('main', { name: 'Metrics' }).waitFor();
    expect(await panel(page).count()).toBe(0);
    expect(new URL(page.url()).hash).toBe('#view=metrics');
    await page.goBack();
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();

    // Not without a question about edits.
    await button(page, 'Edit').click();
    await field(page, 'First name').fill('Augusta');
    await metrics.click();
    await panel(page).getByText('Discard your changes?').waitFor();
    await button(page, 'Discard').click();
    await page.getByRole('main', { name: 'Metrics' }).waitFor();
    expect(await panel(page).count()).toBe(0);
    expectNoFaults();
  });

  it.each(['none', 'active'] as const)(
    'leaves no doubt which view is open (forced colours: %s)',
    async (forcedColors) => {
      const { page } = await open();
      await page.emulateMedia({ forcedColors });
      const lookOf = (target: Locator) =>
        target.evaluate((element) => {
          const { backgroundColor, outlineStyle } = getComputedStyle(element);
          return `${backgroundColor} ${outlineStyle}`;
        });
      const views = page.getByRole('navigation', { name: 'Views' });
      const current = await lookOf(views.getByRole('button', { name: 'Users' }));
      expect(await lookOf(views.getByRole('button', { name: 'Metrics' }))).not.toBe(current);

      await page.getByRole('button', { name: 'All users' }).click();
      const start = page.getByRole('button', { name: 'Start with All users' });
      await start.waitFor();
      if (forcedColors === 'none') return;
      expect(await lookOf(start)).toBe(current);
      expect(await lookOf(page.locator('.view-open[aria-current]'))).toBe(current);
    },
  );

  it('is followed by the next of the list with j, and by the previous with k, while the list stays usable', async () => {
    const [c, b, a] = await createThree('keys');
    const { page, expectAccessible, expectNoFaults } = await open('#query=keys.example');
    await row(page, a.id).click();
    await panel(page).getByText('1 of 3').waitFor();
    expect(await row(page, a.id).getAttribute('aria-current')).toBe('true');
    await page.keyboard.press('k');
    await page.keyboard.press('j');
    await panel(page).getByText('2 of 3').waitFor();
    expect(await page.locator('[role=row][aria-current]').getAttribute('data-id')).toBe(b.id);
    await expect.poll(() => hasFocus(panel(page).getByRole('heading', { level: 2 })), pollTimeout).toBe(true);
    await button(page, 'Next person').click();
    await panel(page).getByText('3 of 3').waitFor();
    await page.keyboard.press('j');
    await expectAccessible();
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
    await expect.poll(() => hasFocus(row(page, c.id)), pollTimeout).toBe(true);

    // Escape closes a menu of the list before the panel.
    await page.keyboard.press('Enter');
    await panel(page).getByText('3 of 3').waitFor();
    const options = page.getByRole('button', { name: 'Options of the column Email' });
    await options.click();
    await page.getByRole('menu').waitFor();
    await options.focus();
    await page.keyboard.press('Escape');
    await page.getByRole('menu').waitFor({ state: 'hidden' });
    expect(await panel(page).count()).toBe(1);
    await button(page, 'Close').click();
    await panel(page).waitFor({ state: 'detached' });
    await expect.poll(() => hasFocus(row(page, c.id)), pollTimeout).toBe(true);

    // The list answers to the mouse and to the keyboard beside the panel.
    await page.keyboard.press('Enter');
    await panel(page).getByText('3 of 3').waitFor();
    await row(page, a.id).click();
    await panel(page).getByText('1 of 3').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('alan@keys.example');
    await row(page, a.id).waitFor({ state: 'detached' });
    // Keys that are typed into the search do not reach the panel.
    expect(await panel(page).getByRole('heading', { level: 2 }).textContent()).toBe('Barbara');
    expectNoFaults();
  });

  it('with edits is not replaced by another without a question', async () => {
    const [, b, a] = await createThree('guard');
    const { page, expectNoFaults } = await open('#query=guard.example');
    await row(page, a.id).click();
    await button(page, 'Edit').waitFor();
    await page.keyboard.press('e');
    await field(page, 'Last name').fill('Typed');
    await row(page, b.id).click();
    await panel(page).getByText('Discard your changes?').waitFor();
    await button(page, 'Keep editing').click();
    expect(await field(page, 'Last name').inputValue()).toBe('Typed');
    await button(page, 'Next person').click();
    await button(page, 'Discard').click();
    await panel(page).getByRole('heading', { name: 'Alan' }).waitFor();
    expect((await read(a.id))?.lastName).toBe('');
    expectNoFaults();
  });

  it('is edited with all lines of its texts in view, but no text takes more than two fifths of the page', async () => {
    const lines = Array.from({ length: 12 }, (_, at) => [`key${at}`, at]);
    const note = 'line\n'.repeat(13);
    const { id } = await create({ attributes: { json: Object.fromEntries(lines), note, long: 'line\n'.repeat(200) } });
    const { page } = await open(`#user=${id}`, { height: 800 });
    await button(page, 'Edit').click();
    for (const name of ['Value of json', 'Value of note']) {
      const text = panel(page).getByLabel(name);
      await text.waitFor();
      expect(await text.evaluate((area) => area.scrollHeight <= area.clientHeight)).toBe(true);
    }
    const { height } = (await panel(page).getByLabel('Value of long').boundingBox()) ?? {};
    expect(height).toBe(320);
  });

  it('is edited with an input for each type', async () => {
    const attributes = {
      home: 'https://old.example.com',
      since: '2024-03-01',
      remote: true,
      floor: 3,
      skills: ['maths', 'poetry'],
      address: { city: 'London' },
      note: 'kept',
    };
    const { id } = await create({ attributes });
    const { page, expectNoFaults } = await open(`#user=${id}`);
    await button(page, 'Edit').click();
    const value = (key: string) => panel(page).getByLabel(`Value of ${key}`, { exact: true });
    const type = (key: string) => panel(page).getByRole('combobox', { name: `Type of ${key}` });
    for (const [key, label] of [
      ['home', 'Link'],
      ['since', 'Date'],
      ['remote', 'Yes or no'],
      ['floor', 'Number'],
      ['skills', 'List'],
      ['address', 'JSON'],
      ['note', 'Text'],
    ] as const) {
      expect(await type(key).locator('option:checked').textContent()).toBe(label);
    }
    expect(await value('since').getAttribute('type')).toBe('date');
    await value('home').fill('not a link');
    await button(page, 'Save').click();
    await panel(page).getByText('Enter a web address').waitFor();
    expect(await hasFocus(value('home'))).toBe(true);
    await value('home').fill('https://new.example.com');
    await value('since').fill('2025-12-31');
    await value('remote').uncheck();
    await value('floor').fill('-1.5');
    await value('skills').fill('maths\n\nmusic');
    await value('address').fill('{"city": "Paris"}');
    await page.keyboard.press('Control+Enter');
    await button(page, 'Edit').waitFor();
    expect((await read(id))?.attributes).toEqual({
      home: 'https://new.example.com',
      since: '2025-12-31',
      remote: false,
      floor: -1.5,
      skills: ['maths', 'music'],
      address: { city: 'Paris' },
      note: 'kept',
    });
    expectNoFaults();
  });

  /** Saves another last name with the keyboard only. */
  async function saveLastName(page: Page, lastName: string): Promise<void> {
    await page.keyboard.press('e');
    await field(page, 'Last name').fill(lastName);
    await page.keyboard.press('Control+Enter');
    await toasts(page).getByText(`Saved Ada ${lastName}.`).waitFor();
  }

  it('is as before after an undo, by the button or by Ctrl+Z', async () => {
    const { id } = await create({ attributes: { team: 'ops', old: 1 } });
    const { page, expectAccessible, expectNoFaults } = await open(`#user=${id}`);
    await button(page, 'Edit').click();
    await panel(page).getByLabel('Value of team').fill('dev');
    await button(page, 'Remove old').click();
    await button(page, 'Save').click();
    const undo = toasts(page).getByRole('button', { name: 'Undo' });
    await undo.waitFor();
    expect((await read(id))?.attributes).toEqual({ team: 'dev' });
    await expectAccessible();
    await undo.press('Enter');
    await toasts(page).getByText('Undone.').waitFor();
    expect((await read(id))?.attributes).toEqual({ team: 'ops', old: 1 });
    await expect.poll(() => fact(page, 'team').textContent(), pollTimeout).toBe('ops');

    await panel(page).getByRole('heading', { level: 2 }).focus();
    await saveLastName(page, 'King');
    await page.keyboard.press('Control+z');
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    expect((await read(id))?.lastName).toBe('Lovelace');
    expectNoFaults();
  });

  it('that somebody else has changed since is not changed by an undo', async () => {
    const { id } = await create();
    const { page, expectNoFaults } = await open(`#user=${id}`);
    await button(page, 'Edit').waitFor();
    await saveLastName(page, 'King');
    await site.app.client.updateUser({ user: { id, firstName: 'Augusta' }, updateMask: ['first_name'] });
    await toasts(page).getByRole('button', { name: 'Undo' }).click();
    await toasts(page).getByText('Not undone. Somebody has changed Ada King since then.').waitFor();
    expect(await read(id)).toMatchObject({ firstName: 'Augusta', lastName: 'King' });
    expectNoFaults();
  });

  it('is restored once if the answer to the undo is lost', async () => {
    const { id } = await create();
    const { page } = await open(`#user=${id}`);
    await button(page, 'Edit').waitFor();
    await saveLastName(page, 'King');
    let sent = 0;
    await page.route('**/UpdateUser', async (route) => {
      sent++;
      await route.fetch();
      await route.abort('connectionreset');
    });
    await toasts(page).getByRole('button', { name: 'Undo' }).click();
    await toasts(page).getByText('Undone.').waitFor();
    expect((await read(id))?.lastName).toBe('Lovelace');
    expect(sent).toBe(1);
  });

  it('is not restored if the undo does not reach the server, and the page says so', async () => {
    const { id } = await create();
    const { page } = await open(`#user=${id}`);
    await button(page, 'Edit').waitFor();
    await saveLastName(page, 'King');
    await page.route('**/UpdateUser', (route) => route.abort('connectionreset'));
    await toasts(page).getByRole('button', { name: 'Undo' }).click();
    await toasts(page).getByText('Not undone. Cannot reach the server.').waitFor();
    expect((await read(id))?.lastName).toBe('King');
  });

  it('causes a notification that leaves after ten seconds, but not while it is in use', async () => {
    const { id } = await create();
    const { page } = await open(`#user=${id}`);
    await button(page, 'Edit').waitFor();
    await page.clock.install();
    await saveLastName(page, 'King');
    const undo = toasts(page).getByRole('button', { name: 'Undo' });
    await page.clock.runFor(9_000);
    await undo.focus();
    await page.clock.runFor(30_000);
    await undo.hover();
    await panel(page).getByRole('heading', { level: 2 }).focus();
    await page.clock.runFor(30_000);
    expect(await undo.count()).toBe(1);
    await page.mouse.move(600, 10);
    await page.clock.runFor(2_000);
    await undo.waitFor({ state: 'detached' });
    expect((await read(id))?.lastName).toBe('King');
  });

  it('is deleted after a question, and the notification offers no undo', async () => {
    const { id, displayName } = await create();
    const { page, expectNoFaults } = await open(`#user=${id}`);
    await button(page, 'Delete…').click();
    await button(page, `Delete ${displayName}`).click();
    await toasts(page).getByText(`Deleted ${displayName}.`).waitFor();
    expect(await toasts(page).getByRole('button', { name: 'Undo' }).count()).toBe(0);
    await panel(page).waitFor({ state: 'detached' });
    await row(page, id).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('fills a phone, and the page below it is out of reach', async () => {
    const { id } = await create();
    const { page, expectAccessible, expectNoFaults } = await open(`#user=${id}`, { width: 390, height: 844 });
    await button(page, 'Edit').waitFor();
    expect(await panel(page).boundingBox()).toEqual({ x: 0, y: 0, width: 390, height: 844 });
    for (let step = 0; step < 30; step++) {
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement?.closest('main, .header') ?? null)).toBeNull();
    }
    await expectAccessible();
    await button(page, 'Close').click();
    await panel(page).waitFor({ state: 'detached' });
    await row(page, id).waitFor();
    expectNoFaults();
  });
});
