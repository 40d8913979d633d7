/** Tests creating, editing and deleting a user in a real browser, against the whole application. */
import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { button, createAda, field, panel } from './panel.js';
import { startProxy } from './proxy.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
// The browser's own console messages about broken connections.
const connectionLost = /Failed to load resource|ERR_/;

/** Adds two attributes with the key a, the first of them of the type JSON. */
async function addTwoAttributesWithOneKey(page: Page): Promise<void> {
  for (const key of ['a', 'a']) {
    await button(page, 'Add attribute').click();
    await panel(page)
      .getByLabel(/^Key of/)
      .last()
      .fill(key);
  }
  await panel(page).getByRole('combobox', { name: 'Type of a' }).first().selectOption('json');
}

describe.skipIf(browserMissing !== undefined)('the panel of a user', () => {
  const site = useSite();

  /** Opens a user to be read, or the form of a new one. */
  async function open(user: string, options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(`#user=${user}`, options);
    await panel(opened.page).waitFor();
    return opened;
  }

  /** Opens a user, and begins to edit it. */
  async function edit(user: string, options?: OpenOptions): Promise<TestPage> {
    const opened = await open(user, options);
    await button(opened.page, 'Edit').click();
    await field(opened.page, 'First name').waitFor();
    return opened;
  }

  const create = (changes?: Partial<User>): Promise<User> => createAda(site.app, changes);

  async function read(id: string): Promise<User | undefined> {
    return (await site.app.client.getUser({ id })).user;
  }

  async function withEmail(email: string): Promise<User[]> {
    return (await site.app.client.listUsers({ query: email })).users;
  }

  /** Records the page's UpdateUser requests. Their bytes contain the paths of the mask, which the server does not log. */
  function updatesOf(page: Page): string[] {
    const bodies: string[] = [];
    page.on('request', (request) => {
      if (request.url().endsWith('/UpdateUser')) bodies.push(request.postDataBuffer()?.toString('latin1') ?? '');
    });
    return bodies;
  }

  it('creates a user with the keyboard only, with attributes of all types', async () => {
    const { page, expectNoFaults } = await site.open();
    // An empty list has another button with this name.
    const opener = page.getByRole('banner').getByRole('button', { name: 'New user' });
    await opener.focus();
    await page.keyboard.press('Enter');
    await expect
      .poll(() => field(page, 'First name').evaluate((input) => input === document.activeElement), pollTimeout)
      .toBe(true);
    const keys = page.keyboard;
    await keys.type('Grace');
    await keys.press('Tab');
    await keys.type('Hopper');
    await keys.press('Tab');
    await keys.type('ǵrace@münchen.example,');
    // The URL, the button that adds an attribute.
    for (const [key, type, value] of [
      ['team', 'Text', 'ops'],
      ['floor', 'Number', '-1.5'],
      ['remote', 'Yes or no', ' '],
      ['manager', 'No value', ''],
      ['tags', 'JSON', '["a", {"b": null}]'],
      ['skills', 'List', 'maths\npoetry'],
      ['home', 'Link', 'https://example.com'],
    ] as const) {
      await button(page, 'Add attribute').focus();
      await keys.press('Enter');
      await expect
        .poll(() => page.evaluate(() => document.activeElement?.getAttribute('placeholder')), pollTimeout)
        .toBe('key');
      await keys.type(key);
      await keys.press('Tab');
      await keys.press('Tab');
      await keys.type(type.slice(0, 3));
      await keys.press('Shift+Tab');
      await keys.type(value);
    }
    await field(page, 'First name').focus();
    await keys.press('Enter');
    await panel(page).getByText('Email must be one email address').waitFor();
    expect(await field(page, 'Email').evaluate((input) => input === document.activeElement)).toBe(true);
    await keys.press('End');
    await keys.press('Backspace');
    await keys.press('Enter');
    await button(page, 'Edit').waitFor();
    // The panel shows the new person.
    await panel(page).getByRole('heading', { name: 'Grace Hopper' }).waitFor();
    const { users } = await site.app.client.listUsers({ query: 'hopper' });
    expect(users).toHaveLength(1);
    expect(users[0]).toMatchObject({ firstName: 'Grace', lastName: 'Hopper', email: 'ǵrace@münchen.example' });
    expect(users[0]?.attributes).toEqual({
      team: 'ops',
      floor: -1.5,
      remote: true,
      manager: null,
      tags: ['a', { b: null }],
      skills: ['maths', 'poetry'],
      home: 'https://example.com',
    });
    await keys.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
    const row = page.locator(`[data-id="${users[0]?.id}"]`);
    await expect.poll(() => row.evaluate((element) => element === document.activeElement), pollTimeout).toBe(true);
    expectNoFaults();
  });

  it('shows the server’s violations beside their fields, and focuses the first', async () => {
    const { email } = await create();
    const { page, expectAccessible, expectNoFaults } = await open('new');
    await field(page, 'Email').fill('nope');
    await field(page, 'Image URL').fill('ftp://example.com');
    await button(page, 'Create').click();
    await panel(page).getByText('First name is required.').waitFor();
    for (const [label, problem] of [
      ['First name', /^First name is required\.$/],
      ['Email', /must be one email/],
      ['Image URL', /must be an absolute http/],
    ] as const) {
      const described = await field(page, label).getAttribute('aria-describedby');
      expect(await page.locator(`[id="${described}"]`).textContent()).toMatch(problem);
      expect(await field(page, label).getAttribute('aria-invalid')).toBe('true');
    }
    expect(await field(page, 'Last name').getAttribute('aria-invalid')).toBe('false');
    expect(await field(page, 'First name').evaluate((input) => input === document.activeElement)).toBe(true);
    await expectAccessible();

    await field(page, 'First name').fill('Ada');
    await field(page, 'Email').fill(email.toUpperCase());
    await field(page, 'Image URL').fill('');
    await button(page, 'Create').click();
    await panel(page).getByText('Another user has this email.', { exact: true }).waitFor();
    expect(await field(page, 'Email').evaluate((input) => input === document.activeElement)).toBe(true);
    expect(await withEmail(email)).toHaveLength(1);

    await field(page, 'Email').fill(`other-${email}`);
    await button(page, 'Add attribute').click();
    await panel(page).getByLabel('Key of attribute 1').fill('long');
    await panel(page).getByRole('textbox', { name: 'Value of long' }).fill('x'.repeat(20_000));
    await button(page, 'Create').click();
    await panel(page).getByText('must have at most 16384 bytes').waitFor();
    expectNoFaults();
  });

  it('removes the space around names and a pasted email, and around nothing else', async () => {
    const { page, expectNoFaults } = await open('new');
    await field(page, 'First name').fill('  ');
    await field(page, 'Email').fill(' mary@example.com ');
    await field(page, 'Image URL').fill(' https://example.com/mary.png\u00a0');
    await button(page, 'Add attribute').click();
    await panel(page).getByLabel('Key of attribute 1').fill('note');
    await panel(page).getByLabel('Value of note').fill(' x ');
    await button(page, 'Create').click();
    await panel(page).getByText('First name is required.').waitFor();
    await field(page, 'First name').fill(' Mary  Ann ');
    await field(page, 'Last name').fill('  ');
    await button(page, 'Create').click();
    await button(page, 'Edit').waitFor();
    const [created] = await withEmail('mary@example.com');
    expect(created).toMatchObject({
      firstName: 'Mary  Ann',
      lastName: '',
      email: 'mary@example.com',
      profileImageUrl: 'https://example.com/mary.png',
      attributes: { note: ' x ' },
    });

    await button(page, 'Edit').click();
    await field(page, 'Email').fill('mary.ward@example.com\u00a0');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect((await read(created?.id ?? ''))?.email).toBe('mary.ward@example.com');

    // Texts that are older than the rule stay as they are while other fields change.
    const old = [' mary', ' Ward ', created?.id];
    await site.app.database.query('update users set email = $1, last_name = $2 where id = $3', old);
    await page.reload();
    const bodies = updatesOf(page);
    await button(page, 'Edit').click();
    await field(page, 'First name').fill('Maria');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect(bodies).toHaveLength(1);
    expect(await read(created?.id ?? '')).toMatchObject({ firstName: 'Maria', lastName: ' Ward ', email: ' mary' });
    expectNoFaults();
  });

  it('scrolls to the whole message of an error, not only to its field', async () => {
    const many = Array.from({ length: 30 }, (_, at) => [`key${at}`, 'x']);
    const { id } = await create({ attributes: { ...Object.fromEntries(many), zone: 1 } });
    for (const [width, height] of [
      [1280, 800],
      [390, 640],
    ] as const) {
      const { page } = await edit(id, { width, height });
      const isVisible = (text: string) =>
        panel(page)
          .getByText(text)
          .evaluate((message) => {
            const { top, bottom } = message.getBoundingClientRect();
            const body = message.closest('.body')?.getBoundingClientRect();
            return body !== undefined && top >= body.top && bottom <= body.bottom;
          });
      const zone = panel(page).getByRole('textbox', { name: 'Value of zone' });
      // The field is in view, but there is no room for its message below it.
      await zone.fill('many');
      await zone.evaluate((input) => input.scrollIntoView({ block: 'end' }));
      await zone.press('Enter');
      await expect.poll(() => isVisible('Enter a number'), pollTimeout).toBe(true);
      expect(await zone.evaluate((input) => input === document.activeElement)).toBe(true);

      // A message of the server about all attributes belongs to no single field.
      await zone.fill('2');
      await panel(page).getByRole('textbox', { name: 'Value of key29' }).fill('x'.repeat(20_000));
      await field(page, 'First name').focus();
      await button(page, 'Save').click();
      await panel(page).getByText('must have at most 16384 bytes').waitFor();
      await expect.poll(() => isVisible('must have at most 16384 bytes'), pollTimeout).toBe(true);

      await page.route('**/UpdateUser', (route) => route.fulfill({ status: 500, body: 'no' }));
      await panel(page).getByRole('textbox', { name: 'Value of key29' }).fill('y');
      await button(page, 'Save').click();
      await expect.poll(() => isVisible('The server returned an error (HTTP 500).'), pollTimeout).toBe(true);
    }
  });

  it('reports invalid attributes, and sends nothing', async () => {
    const { page } = await open('new');
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await field(page, 'First name').fill('Ada');
    await addTwoAttributesWithOneKey(page);
    await panel(page).getByRole('textbox', { name: 'Value of a' }).first().fill('{"b":');
    await button(page, 'Create').click();
    await panel(page).getByText('This is not valid JSON').waitFor();
    await panel(page).getByText('This key already exists.').waitFor();
    expect(calls.filter((url) => url.endsWith('/CreateUser'))).toEqual([]);
    await button(page, 'Remove a').last().click();
    expect(await panel(page).getByText('This key already exists.').count()).toBe(0);
  });

  it('removes the error of a corrected field, and keeps the others', async () => {
    const { page, expectNoFaults } = await open('new');
    await field(page, 'Email').fill('nope');
    await button(page, 'Add attribute').click();
    await panel(page).getByLabel('Key of attribute 1').fill('long');
    await panel(page).getByRole('textbox', { name: 'Value of long' }).fill('x'.repeat(20_000));
    await button(page, 'Create').click();
    await panel(page).getByText('Email must be one email address').waitFor();
    await panel(page).getByText('must have at most 16384 bytes').waitFor();
    await field(page, 'Email').focus();
    await page.keyboard.type('d');
    await panel(page).getByText('Email must be one email address').waitFor({ state: 'detached' });
    expect(await field(page, 'Email').getAttribute('aria-invalid')).toBe('false');
    expect(await field(page, 'First name').getAttribute('aria-invalid')).toBe('true');
    // The focus stays in the field that is being corrected.
    await page.keyboard.type('e');
    expect(await field(page, 'Email').inputValue()).toMatch(/de$|^de/);
    await panel(page).getByRole('textbox', { name: 'Value of long' }).fill('short');
    await panel(page).getByText('must have at most 16384 bytes').waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('removes the error of an attribute as soon as it is valid', async () => {
    const { page } = await open('new');
    await addTwoAttributesWithOneKey(page);
    await panel(page).getByRole('textbox', { name: 'Value of a' }).first().fill('{');
    await button(page, 'Create').click();
    await panel(page).getByText('This is not valid JSON').waitFor();
    await panel(page).getByText('This key already exists.').waitFor();
    await panel(page).getByRole('textbox', { name: 'Value of a' }).first().fill('{}');
    await panel(page).getByText('This is not valid JSON').waitFor({ state: 'detached' });
    await panel(page).getByText('This key already exists.').waitFor();
    // Correct the other one of the two.
    await panel(page).getByLabel('Key of attribute 1').fill('b');
    await panel(page).getByText('This key already exists.').waitFor({ state: 'detached' });
  });

  it('saves by Enter in an attribute of one line, without a line break in it', async () => {
    const { id } = await create({ attributes: { team: 'ops', note: 'two\nlines' } });
    const { page } = await edit(id);
    const team = panel(page).getByLabel('Value of team');
    await team.press('End');
    await page.keyboard.type('!');
    await page.keyboard.press('Enter');
    await button(page, 'Edit').waitFor();
    expect((await read(id))?.attributes).toEqual({ team: 'ops!', note: 'two\nlines' });

    // Shift+Enter inserts a line break. If the text already has several lines, Enter does, too.
    const again = await edit(id);
    const value = (name: string) => panel(again.page).getByRole('textbox', { name: `Value of ${name}` });
    await value('team').press('End');
    await again.page.keyboard.press('Shift+Enter');
    expect(await value('team').inputValue()).toBe('ops!\n');
    await value('note').press('Control+End');
    await again.page.keyboard.press('Enter');
    expect(await value('note').inputValue()).toBe('two\nlines\n');
    await again.page.keyboard.press('Control+Enter');
    await button(again.page, 'Edit').waitFor();
    expect((await read(id))?.attributes).toEqual({ team: 'ops!\n', note: 'two\nlines\n' });
  });

  it.each(['new', 'known'])('saves no empty value by Enter in the name of an attribute of a %s user', async (kind) => {
    const bodies: string[] = [];
    const { id } = await create({ attributes: { team: 'ops' } });
    const { page, expectAccessible, expectNoFaults } = kind === 'new' ? await open('new') : await edit(id);
    page.on('request', (request) => {
      if (/\/(?:Create|Update)User$/.test(request.url())) bodies.push(request.url());
    });
    const email = `desk-${kind}@example.com`;
    await field(page, 'First name').fill('Ada');
    await field(page, 'Email').fill(email);
    await button(page, 'Add attribute').click();
    const key = panel(page).getByLabel(/^Key of attribute/);
    await key.fill('desk');
    await key.press('Enter');
    const value = panel(page).getByLabel('Value of desk');
    await expect.poll(() => value.evaluate((input) => input === document.activeElement), pollTimeout).toBe(true);
    await value.press('Enter');
    await panel(page).getByText('Type a value, or remove the attribute.').waitFor();
    expect(await value.evaluate((input) => input === document.activeElement)).toBe(true);
    await expectAccessible();
    // The value may also be a list, or a box to check.
    await panel(page).getByLabel('Type of desk').selectOption('list');
    await button(page, kind === 'new' ? 'Create' : 'Save').click();
    await panel(page).getByText('Type a value, or remove the attribute.').waitFor();
    await panel(page).getByLabel('Type of desk').selectOption('boolean');
    await key.press('Enter');
    await expect.poll(() => value.evaluate((input) => input === document.activeElement), pollTimeout).toBe(true);
    expect(bodies).toEqual([]);

    // An empty text is still possible, for clients that need one.
    await panel(page).getByLabel('Type of desk').selectOption('json');
    await value.fill('""');
    await field(page, 'Email').press('Enter');
    await button(page, 'Edit').waitFor();
    const [saved] = await withEmail(email);
    expect(saved?.attributes).toEqual(kind === 'new' ? { desk: '' } : { team: 'ops', desk: '' });
    expectNoFaults();
  });

  it.each([
    ['a text field', 'Control+Enter', (page: Page) => field(page, 'Last name')],
    [
      'the list of an attribute',
      'Meta+Enter',
      (page: Page) => panel(page).getByRole('textbox', { name: 'Value of tags' }),
    ],
    ['a list of choices', 'Control+Enter', (page: Page) => panel(page).getByRole('combobox', { name: 'Type of tags' })],
  ])('saves from %s by %s', async (_, keys, find) => {
    const { id } = await create({ attributes: { tags: ['a'] } });
    const { page } = await edit(id);
    const bodies = updatesOf(page);
    await field(page, 'First name').fill('Saved');
    await find(page).press(keys);
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toMatchObject({ firstName: 'Saved', attributes: { tags: ['a'] } });
    expect(bodies).toHaveLength(1);
  });

  it('does not delete the user by Ctrl+Enter on the button that keeps the user', async () => {
    const { id } = await create();
    const { page } = await open(id);
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await button(page, 'Delete…').click();
    await button(page, 'Keep').press('Control+Enter');
    await button(page, 'Delete…').or(button(page, 'Keep')).first().waitFor();
    expect(calls.filter((url) => url.endsWith('/DeleteUser'))).toEqual([]);
    expect(await read(id)).toBeDefined();
  });

  it.each([
    [{ status: 500, body: 'no' }, 'The server returned an error (HTTP 500).'],
    [{ status: 503, body: 'no' }, 'The server is not available at the moment (HTTP 503).'],
    [undefined, 'Cannot reach the server.'],
  ])('describes the failure, and says only in a form that the edits are still there (%o)', async (answer, problem) => {
    const { id, displayName } = await create();
    const { page } = await open(id);
    await page.route(/(?:Update|Delete)User$/, (route) =>
      answer === undefined ? route.abort('connectionrefused') : route.fulfill(answer),
    );
    const alert = () => panel(page).locator('.notice.danger').textContent();
    await button(page, 'Delete…').click();
    await button(page, `Delete ${displayName}`).click();
    await expect.poll(alert, pollTimeout).toContain(problem);
    expect(await alert()).toContain('The user may or may not have been deleted.');
    expect(await alert()).not.toContain('Your input');
    await button(page, 'Keep').click();
    await expect.poll(alert, pollTimeout).toBe('');
    await button(page, 'Edit').click();
    await field(page, 'Last name').fill('Byron');
    await button(page, 'Save').click();
    await expect.poll(alert, pollTimeout).toBe(`${problem} Your input is still here.`);
    expect(await field(page, 'Last name').inputValue()).toBe('Byron');
  });

  it('does not mention edits if a user cannot be read', async () => {
    const { id } = await create();
    // The user is not in the list, so the page reads it.
    const opened = await site.open('#query=nobody-at-all');
    const { page } = opened;
    await page.getByText('No matches').waitFor();
    await page.route('**/GetUser', (route) => route.fulfill({ status: 500, body: 'no' }));
    await page.evaluate((user) => {
      location.hash = `query=nobody-at-all&user=${user}`;
    }, id);
    await page.getByRole('heading', { name: 'Cannot show this user' }).waitFor();
    expect(await panel(page).getByRole('status').textContent()).toBe('The server returned an error (HTTP 500).');
    await page.unroute('**/GetUser');
    await button(page, 'Try again').click();
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    await page.evaluate(() => {
      location.hash = 'query=nobody-at-all&user=no-id-at-all';
    });
    await page.getByRole('heading', { name: 'User not found' }).waitFor();
  });

  it.each([
    ['Latin, without a space', 'Wolfeschlegel'.repeat(19)],
    ['Hebrew', 'ארוכים'.repeat(42)],
  ])('keeps its buttons usable with a long name (%s)', async (_, name) => {
    const key = 'k'.repeat(120);
    const { id } = await create({ firstName: name, lastName: name, attributes: { [key]: 'x' } });
    for (const width of [1280, 390]) {
      const { page, expectAccessible } = await open(id, { width });
      const fits = async () => {
        expect(await panel(page).evaluate((element) => element.scrollWidth <= element.clientWidth)).toBe(true);
        expect(
          await panel(page)
            .locator('.body')
            .evaluate((body) => body.scrollWidth <= body.clientWidth),
        ).toBe(true);
        // The buttons are in view, even with a long name.
        for (const footerButton of await panel(page).locator('footer button, .panel-tools button').all()) {
          const box = await footerButton.boundingBox();
          expect(box === null ? Number.NaN : box.x).toBeGreaterThanOrEqual(0);
          expect(box === null ? Number.NaN : box.x + box.width).toBeLessThanOrEqual(width);
        }
      };
      await fits();
      await button(page, 'Delete…').click();
      await fits();
      await expectAccessible();
      await button(page, 'Keep').click();
      await button(page, 'Edit').click();
      await fits();
      await field(page, 'Image URL').fill('https://example.com/mine');
      await site.app.client.updateUser({
        user: { id, profileImageUrl: `https://example.com/${width}`, attributes: { [key]: String(width) } },
        updateMask: ['profile_image_url', `attributes.${key}`],
      });
      await panel(page).getByText('Somebody else has just changed').waitFor();
      await fits();
      await button(page, 'Compare').click();
      await page.getByRole('heading', { name: 'Conflicting changes' }).waitFor();
      await fits();
      await page.close();
    }
  });

  it('supports text from right to left', async () => {
    const { id } = await create({ firstName: 'שלום', lastName: 'Smith', attributes: { צוות: 'מחקר' } });
    const { page } = await edit(id);
    const direction = (locator: Locator) => locator.evaluate((element) => getComputedStyle(element).direction);
    expect(await direction(field(page, 'First name'))).toBe('rtl');
    expect(await direction(field(page, 'Last name'))).toBe('ltr');
    expect(await direction(field(page, 'Email'))).toBe('ltr');
    expect(await direction(panel(page).getByText('צוות'))).toBe('rtl');
    expect(await direction(panel(page).getByRole('textbox', { name: 'Value of צוות' }))).toBe('rtl');
    expect(await direction(page.locator('.panel h2'))).toBe('rtl');
  });

  it('creates no second user if the answer is lost, even if the form is edited before the next attempt', async () => {
    const { page, expectNoFaults } = await open('new');
    await field(page, 'First name').fill('Lost');
    await field(page, 'Email').fill('lost@example.com');
    await page.route('**/CreateUser', async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    });
    await button(page, 'Create').click();
    await panel(page).getByText('Cannot reach the server').waitFor();
    expect(await withEmail('lost@example.com')).toHaveLength(1);
    await page.unroute('**/CreateUser');
    await field(page, 'First name').fill('Found');
    await field(page, 'Email').fill('found@example.com');
    await button(page, 'Create').click();
    await button(page, 'Edit').waitFor();
    expect(await withEmail('lost@example.com')).toHaveLength(0);
    expect(await withEmail('found@example.com')).toMatchObject([{ firstName: 'Found' }]);
    expectNoFaults(connectionLost);
  });

  it('sends only the changed fields', async () => {
    const attributes = { team: 'ops', floor: 3, tags: ['x'], old: true, 'a.b': 'é' };
    const { id } = await create({ attributes });
    const { page, expectNoFaults } = await edit(id);
    const bodies = updatesOf(page);
    await field(page, 'Last name').fill('King');
    await panel(page).getByLabel('Value of team').fill('science');
    await button(page, 'Remove old').click();
    await field(page, 'Last name').press('Enter');
    await button(page, 'Edit').waitFor();
    const { old: _, ...rest } = attributes;
    expect(await read(id)).toMatchObject({
      firstName: 'Ada',
      lastName: 'King',
      attributes: { ...rest, team: 'science' },
    });
    expect(bodies).toHaveLength(1);
    for (const path of ['last_name', 'attributes.team', 'attributes.old']) expect(bodies[0]).toContain(path);
    for (const other of ['first_name', 'Ada', 'email', 'example.com', 'floor', 'a.b'])
      expect(bodies[0]).not.toContain(other);
    expectNoFaults();
  });

  it('asks before it discards edits', async () => {
    const { id } = await create();
    const { page } = await edit(id);
    await field(page, 'First name').fill('Augusta');
    await page.keyboard.press('Escape');
    await panel(page).getByText('Discard your changes?').waitFor();
    expect(await button(page, 'Keep editing').evaluate((element) => element === document.activeElement)).toBe(true);
    await page.keyboard.press('Escape');
    expect(await field(page, 'First name').evaluate((element) => element === document.activeElement)).toBe(true);
    expect(await field(page, 'First name').inputValue()).toBe('Augusta');
    await page.keyboard.press('Escape');
    await button(page, 'Discard').click();
    await button(page, 'Edit').waitFor();
    await panel(page).getByRole('heading', { name: 'Ada Lovelace' }).waitFor();
    expect((await read(id))?.firstName).toBe('Ada');
    // The button closes the panel, and asks the same.
    await page.keyboard.press('e');
    await field(page, 'First name').fill('Augusta');
    await button(page, 'Close').click();
    await button(page, 'Discard').click();
    await panel(page).waitFor({ state: 'detached' });
    expect((await read(id))?.firstName).toBe('Ada');
  });

  it('gives the focus back to the last field after it asked, whatever asked', async () => {
    const other = await create();
    const { id } = await create({ attributes: { team: 'ops' } });
    const { page, expectNoFaults } = await edit(id);
    const team = panel(page).getByLabel('Value of team');
    await team.fill('dev');
    for (const leave of [
      () => button(page, 'Cancel').click(),
      () => button(page, 'Cancel').press('Enter'),
      () => button(page, 'Close').click(),
      () => page.locator(`[data-id="${other.id}"]`).click(),
    ]) {
      await leave();
      await panel(page).getByText('Discard your changes?').waitFor();
      await button(page, 'Keep editing').click();
      await panel(page).getByText('Discard your changes?').waitFor({ state: 'detached' });
      await expect.poll(() => team.evaluate((element) => element === document.activeElement), pollTimeout).toBe(true);
    }
    await button(page, 'Remove team').click();
    await button(page, 'Cancel').click();
    await button(page, 'Keep editing').click();
    const add = button(page, 'Add attribute');
    await expect.poll(() => add.evaluate((element) => element === document.activeElement), pollTimeout).toBe(true);
    expectNoFaults();
  });

  it('leaves the form and then closes by Escape without edits', async () => {
    const { id } = await create();
    const { page } = await edit(id);
    await page.keyboard.press('Escape');
    await button(page, 'Edit').waitFor();
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
  });

  it('shows both versions if somebody else was faster, and saves the chosen version of each field', async () => {
    const { id, email } = await create({ attributes: { team: 'ops', floor: 3, note: 'x' } });
    const { page, expectAccessible, expectNoFaults } = await edit(id);
    await field(page, 'First name').fill('Mine');
    await field(page, 'Last name').fill('Mine too');
    await panel(page).getByLabel('Value of team').fill('mine');
    await site.app.client.updateUser({
      user: {
        id,
        firstName: 'Theirs',
        profileImageUrl: 'https://example.com/theirs.png',
        attributes: { team: 'theirs' },
      },
      updateMask: ['first_name', 'profile_image_url', 'attributes.team', 'attributes.note'],
    });
    // The page says so before the user saves.
    const notice = panel(page).getByText('Somebody else has just changed First name, Image URL');
    await notice.waitFor();
    // As it looks: the parts of a notice are apart, so a sentence must be one part.
    expect(await notice.innerText()).toBe('Somebody else has just changed First name, Image URL, note, team.');
    await button(page, 'Save').click();
    await page.getByRole('heading', { name: 'Conflicting changes' }).waitFor();
    const choice = (label: string) => panel(page).getByRole('group', { name: label });
    expect(await choice('First name').getByRole('radio', { checked: true }).count()).toBe(0);
    // It asks only about the fields that both changed.
    for (const label of ['Last name', 'Image URL', 'note', 'Email']) expect(await choice(label).count()).toBe(0);
    await panel(page).getByText('Changed in only one version, and kept: Last name, Image URL, note.').waitFor();
    await button(page, 'Save').click();
    await panel(page).getByText('Both versions changed this field. Choose one.').waitFor();
    await expectAccessible();
    await choice('First name').getByRole('radio', { name: 'Theirs' }).check();
    await choice('team').getByRole('radio', { name: 'Mine' }).check();
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toMatchObject({
      firstName: 'Theirs',
      lastName: 'Mine too',
      email,
      profileImageUrl: 'https://example.com/theirs.png',
      attributes: { team: 'mine', floor: 3 },
    });
    expect((await read(id))?.attributes).not.toHaveProperty('note');
    expectNoFaults();
  });

  it.each([
    ['Keep all of mine', { team: 'mine', level: 2, city: 'Oslo' }],
    ['Keep all of theirs', { team: 'theirs', level: 2, city: 'Oslo' }],
  ])('keeps the fields that only one version changed with “%s”', async (name, expected) => {
    const { id } = await create({ attributes: { team: 'ops', level: 1, city: 'Rome' } });
    const { page, expectNoFaults } = await edit(id);
    await panel(page).getByLabel('Value of team').fill('mine');
    await panel(page).getByRole('textbox', { name: 'Value of level' }).fill('2');
    await site.app.client.updateUser({
      user: { id, attributes: { team: 'theirs', city: 'Oslo' } },
      updateMask: ['attributes.team', 'attributes.city'],
    });
    await button(page, 'Save').click();
    await button(page, name).click();
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect((await read(id))?.attributes).toEqual(expected);
    expectNoFaults();
  });

  it('asks nothing if both versions changed different fields', async () => {
    const { id } = await create({ attributes: { level: 1, city: 'Rome' } });
    const { page, expectAccessible, expectNoFaults } = await edit(id);
    await panel(page).getByRole('textbox', { name: 'Value of level' }).fill('2');
    await site.app.client.updateUser({
      user: { id, attributes: { city: 'Oslo' } },
      updateMask: ['attributes.city'],
    });
    await button(page, 'Save').click();
    await page.getByRole('heading', { name: 'Merged changes' }).waitFor();
    await panel(page).getByText('Changed in only one version, and kept: city, level.').waitFor();
    expect(await panel(page).getByRole('radio').count()).toBe(0);
    await expectAccessible();
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect((await read(id))?.attributes).toEqual({ level: 2, city: 'Oslo' });
    expectNoFaults();
  });

  it('offers the keys that other users have, and says if one differs only in capital letters', async () => {
    await create({ attributes: { department: 'sales', office: 'Rome' } });
    const { id } = await create({ attributes: { office: 'Oslo' } });
    const { page, expectAccessible, expectNoFaults } = await edit(id);
    await button(page, 'Add attribute').click();
    const key = panel(page).getByLabel('Key of attribute 2');
    const offered = () =>
      key.evaluate((input: HTMLInputElement) => [...(input.list?.options ?? [])].map(({ value }) => value));
    await expect.poll(offered, pollTimeout).toContain('department');
    // The user has this one.
    expect(await offered()).not.toContain('office');
    await key.fill('Department');
    const hint = panel(page).getByText('There is also “department”.');
    await hint.waitFor();
    expect(await key.getAttribute('aria-describedby')).toBe(await hint.getAttribute('id'));
    await expectAccessible();
    await key.fill('OFFICE');
    await panel(page).getByText('There is also “office”.').waitFor();
    await key.fill('department');
    await panel(page).getByText('There is also').waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('takes no text while it saves, because the text would be lost', async () => {
    const { id = '' } = await create({ email: 'saving@example.com' });
    const { page, expectNoFaults } = await edit(id);
    const held = Promise.withResolvers<void>();
    await page.route('**/UpdateUser', async (route) => {
      await held.promise;
      await route.continue();
    });
    await field(page, 'Last name').fill('King');
    await page.keyboard.press('Control+Enter');
    await button(page, 'Saving…').waitFor();
    await page.keyboard.type('XYZ');
    await page.keyboard.insertText('XYZ');
    expect(await field(page, 'Last name').inputValue()).toBe('King');
    held.resolve();
    await panel(page).getByRole('heading', { name: 'Ada King' }).waitFor();
    expect((await read(id))?.lastName).toBe('King');
    expectNoFaults();
  });

  it('detects that an update succeeded if its answer was lost', async () => {
    const { id } = await create();
    const { page } = await edit(id);
    await page.route('**/UpdateUser', async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    });
    await field(page, 'First name').fill('Once');
    await button(page, 'Save').click();
    await panel(page).getByText('Cannot reach the server').waitFor();
    await page.unroute('**/UpdateUser');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect((await read(id))?.firstName).toBe('Once');
  });

  it('shows changes by others if there are no edits', async () => {
    const { id } = await create();
    const { page } = await edit(id);
    // The feed delivers only changes after its start.
    await expect.poll(() => page.locator('.sign').getAttribute('data-state'), pollTimeout).toBe('live');
    await site.app.client.updateUser({ user: { id, firstName: 'Renewed' }, updateMask: ['first_name'] });
    await expect.poll(() => field(page, 'First name').inputValue(), pollTimeout).toBe('Renewed');
    await panel(page).getByText('The form shows the newest version.').waitFor();
    await field(page, 'Last name').fill('Since');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toMatchObject({ firstName: 'Renewed', lastName: 'Since' });
  });

  it('deletes in two steps, and asks again if the user has changed in between', async () => {
    const { id, displayName } = await create();
    const { page, expectNoFaults } = await open(id);
    await button(page, 'Delete…').click();
    await page.getByRole('heading', { name: `Delete ${displayName}?` }).waitFor();
    expect(await button(page, 'Keep').evaluate((element) => element === document.activeElement)).toBe(true);
    await site.app.client.updateUser({ user: { id, lastName: 'Byron' }, updateMask: ['last_name'] });
    await button(page, `Delete ${displayName}`).click();
    await panel(page).getByText('Not deleted yet').waitFor();
    expect(await read(id)).toBeDefined();
    await button(page, 'Delete Ada Byron').click();
    await panel(page).waitFor({ state: 'detached' });
    await expect(read(id)).rejects.toMatchObject({ reason: 'USER_NOT_FOUND' });
    expectNoFaults();
  });

  it('says that the user was deleted', async () => {
    const { id } = await create();
    const { page } = await edit(id);
    await field(page, 'First name').fill('Late');
    await site.app.client.deleteUser({ id });
    await panel(page).getByText('is no longer in the directory').waitFor();
    await button(page, 'Close').last().click();
    await panel(page).waitFor({ state: 'detached' });
    const again = await open(id);
    await panel(again.page).getByText('No user has this id').waitFor();
  });

  it('creates a user that somebody has deleted again, with the edits', async () => {
    const { id, email = '' } = await create({ attributes: { team: 'core' } });
    const { page, expectAccessible, expectNoFaults } = await edit(id);
    await field(page, 'First name').fill('Late');
    await site.app.client.deleteUser({ id });
    await panel(page).getByText('Your changes were not saved.').waitFor();
    await expectAccessible();
    await button(page, 'Create again…').click();
    await panel(page).getByRole('heading', { name: 'New user' }).waitFor();
    expect(await field(page, 'First name').inputValue()).toBe('Late');
    await button(page, 'Cancel').click();
    await panel(page).getByText('Discard your changes?').waitFor();
    await button(page, 'Keep editing').click();
    await button(page, 'Create').click();
    await button(page, 'Edit').waitFor();
    const [again, ...others] = await withEmail(email);
    expect(again).toMatchObject({ firstName: 'Late', lastName: 'Lovelace', attributes: { team: 'core' } });
    expect(others).toEqual([]);
    expect(page.url()).toContain(again?.id);
    // The next new user starts empty.
    await page.getByRole('button', { name: 'New user' }).click();
    await expect.poll(() => field(page, 'First name').inputValue(), pollTimeout).toBe('');
    expectNoFaults();
  });

  it('removes the message that the server cannot be reached when it is back', async () => {
    const { id } = await create();
    await using proxy = await startProxy(site.app.http);
    const { page } = await site.browser.open(`${proxy.url}#user=${id}`);
    await button(page, 'Edit').click();
    await field(page, 'First name').fill('Kept');
    await expect.poll(() => page.locator('.sign').getAttribute('data-state'), pollTimeout).toBe('live');
    await proxy.stop();
    await button(page, 'Save').click();
    await panel(page).getByText('Cannot reach the server. Your input is still here.').waitFor();
    await proxy.start();
    await expect.poll(() => panel(page).getByText('Cannot reach the server').count(), pollTimeout).toBe(0);
    expect(await field(page, 'First name').inputValue()).toBe('Kept');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect(await read(id)).toMatchObject({ firstName: 'Kept' });
  });

  it('says so if somebody else deletes the user first', async () => {
    const { id } = await create();
    const { page, expectNoFaults } = await open(id);
    await expect.poll(() => page.locator('.sign').getAttribute('data-state'), pollTimeout).toBe('live');
    await button(page, 'Delete…').click();
    await site.app.client.deleteUser({ id });
    await panel(page).getByText('is no longer in the directory').waitFor();
    expect(await panel(page).getByText('This erases').count()).toBe(0);
    await button(page, 'Close').last().click();
    await panel(page).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('keeps an attribute with the key __proto__', async () => {
    const { id } = await create({ attributes: JSON.parse('{"__proto__": "x", "a": 1}') });
    const { page } = await edit(id);
    expect(await panel(page).getByRole('textbox', { name: 'Value of __proto__' }).inputValue()).toBe('x');
    await panel(page).getByRole('textbox', { name: 'Value of a' }).fill('2');
    await button(page, 'Save').click();
    await button(page, 'Edit').waitFor();
    expect(Object.entries((await read(id))?.attributes ?? {}).sort()).toEqual([
      ['__proto__', 'x'],
      ['a', 2],
    ]);
  });

  it('links to an image only if its URL is http or https', async () => {
    const { id } = await create({ profileImageUrl: 'https://example.com/ada.png' });
    const { page } = await edit(id);
    const link = panel(page).getByRole('link', { name: 'Open' });
    expect(await link.getAttribute('href')).toBe('https://example.com/ada.png');
    expect(await link.getAttribute('rel')).toContain('noopener');
    await field(page, 'Image URL').fill('javascript:alert(1)');
    expect(await link.count()).toBe(0);
  });
});
