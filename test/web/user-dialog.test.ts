/** Creating, editing and deleting a user as people do it, in a real browser against the whole application. */
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { User } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { browserMissing, type OpenOptions, startBrowser, type TestBrowser, type TestPage } from './browser.js';

const patience = { timeout: 30_000 };
// What a browser itself says on its console of a connection that breaks.
const connectionLost = /Failed to load resource|ERR_/;

const dialog = (page: Page): Locator => page.getByRole('dialog');
const field = (page: Page, label: string): Locator => dialog(page).getByRole('textbox', { name: label, exact: true });
const button = (page: Page, name: string): Locator => dialog(page).getByRole('button', { name, exact: true });

describe.skipIf(browserMissing !== undefined)('the dialog of a user', () => {
  let browser: TestBrowser;
  let app: TestApp;
  let count = 0;

  beforeAll(async () => {
    browser = await startBrowser();
    app = await startTestApp();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });

  async function open(user: string, options?: OpenOptions): Promise<TestPage> {
    const opened = await browser.open(`${app.http}/#user=${user}`, options);
    onTestFinished(() => opened.page.context().close());
    await dialog(opened.page).waitFor();
    return opened;
  }

  async function create(changes: Partial<User> = {}): Promise<User> {
    const email = `ada${++count}@example.com`;
    const { user } = await app.client.createUser({
      user: { firstName: 'Ada', lastName: 'Lovelace', email, ...changes },
    });
    if (user === undefined) throw new Error('There is no user in the answer.');
    return user;
  }

  async function read(id: string): Promise<User | undefined> {
    return (await app.client.getUser({ id })).user;
  }

  async function withEmail(email: string): Promise<User[]> {
    return (await app.client.listUsers({ query: email })).users;
  }

  /** What the page asks for in an UpdateUser, as the server's log has no fields: bytes that hold the mask's paths. */
  function updatesOf(page: Page): string[] {
    const bodies: string[] = [];
    page.on('request', (request) => {
      if (request.url().endsWith('/UpdateUser')) bodies.push(request.postDataBuffer()?.toString('latin1') ?? '');
    });
    return bodies;
  }

  it('creates one, by keyboard only, with attributes of all types', async () => {
    const { page, expectNoFaults } = await browser.open(`${app.http}/`);
    onTestFinished(() => page.context().close());
    // An empty list has another one.
    const opener = page.getByRole('banner').getByRole('button', { name: 'New user' });
    await opener.focus();
    await page.keyboard.press('Enter');
    await expect
      .poll(() => field(page, 'First name').evaluate((input) => input === document.activeElement), patience)
      .toBe(true);
    const keys = page.keyboard;
    await keys.type('Grace');
    await keys.press('Tab');
    await keys.type('Hopper');
    await keys.press('Tab');
    await keys.type(' ǵrace@münchen.example');
    // The URL, the button that adds an attribute.
    for (const [key, type, value] of [
      ['team', 'Text', 'ops'],
      ['floor', 'Number', '-1.5'],
      ['remote', 'True or false', 'true'],
      ['manager', 'Null', ''],
      ['tags', 'JSON', '["a", {"b": null}]'],
      ['', 'Text', 'an empty key'],
    ] as const) {
      await button(page, 'Add attribute').focus();
      await keys.press('Enter');
      await expect
        .poll(() => page.evaluate(() => document.activeElement?.getAttribute('placeholder')), patience)
        .toBe('key');
      await keys.type(key);
      await keys.press('Tab');
      await keys.type(type.slice(0, 3));
      await keys.press('Tab');
      await keys.type(value);
    }
    await field(page, 'First name').focus();
    await keys.press('Enter');
    // The blank in front is the server's to refuse, and no browser takes it away in silence.
    await dialog(page).getByText('Email must be one email address').waitFor();
    expect(await field(page, 'Email').evaluate((input) => input === document.activeElement)).toBe(true);
    await keys.press('Home');
    await keys.press('Delete');
    await keys.press('Enter');
    await dialog(page).waitFor({ state: 'detached' });
    await expect.poll(() => opener.evaluate((element) => element === document.activeElement), patience).toBe(true);
    const { users } = await app.client.listUsers({ query: 'hopper' });
    expect(users).toHaveLength(1);
    expect(users[0]).toMatchObject({ firstName: 'Grace', lastName: 'Hopper', email: 'ǵrace@münchen.example' });
    expect(users[0]?.attributes).toEqual({
      team: 'ops',
      floor: -1.5,
      remote: true,
      manager: null,
      tags: ['a', { b: null }],
      '': 'an empty key',
    });
    expectNoFaults();
  });

  it('has the server’s own violations beside their fields, and goes to the first', async () => {
    const { email } = await create();
    const { page, expectAccessible, expectNoFaults } = await open('new');
    await field(page, 'Email').fill('nope');
    await field(page, 'Image URL').fill('ftp://example.com');
    await button(page, 'Create').click();
    await dialog(page).getByText('First name must have 1 to 256 characters').waitFor();
    for (const [label, problem] of [
      ['First name', /must have 1 to 256/],
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
    await dialog(page).getByText('Another user has this email').waitFor();
    expect(await field(page, 'Email').evaluate((input) => input === document.activeElement)).toBe(true);
    expect(await withEmail(email)).toHaveLength(1);

    await field(page, 'Email').fill(`other-${email}`);
    await button(page, 'Add attribute').click();
    await dialog(page).getByRole('textbox', { name: 'Key of attribute 1' }).fill('long');
    await dialog(page).getByRole('textbox', { name: 'Value of long' }).fill('x'.repeat(20_000));
    await button(page, 'Create').click();
    await dialog(page).getByText('must have at most 16384 bytes').waitFor();
    expectNoFaults();
  });

  it('says of attributes what cannot be sent, and sends nothing', async () => {
    const { page } = await open('new');
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await field(page, 'First name').fill('Ada');
    for (const key of ['a', 'a']) {
      await button(page, 'Add attribute').click();
      await dialog(page)
        .getByRole('textbox', { name: /^Key of/ })
        .last()
        .fill(key);
    }
    await dialog(page).getByRole('combobox', { name: 'Type of a' }).first().selectOption('json');
    await dialog(page).getByRole('textbox', { name: 'Value of a' }).first().fill('{"b":');
    await button(page, 'Create').click();
    await dialog(page).getByText('This is no JSON').waitFor();
    await dialog(page).getByText('This key is there already.').waitFor();
    expect(calls.filter((url) => url.endsWith('/CreateUser'))).toEqual([]);
    await button(page, 'Remove a').last().click();
    expect(await dialog(page).getByText('This key is there already.').count()).toBe(0);
  });

  it('makes no second user where the answer is lost, not even when the form is changed in between', async () => {
    const { page, expectNoFaults } = await open('new');
    await field(page, 'First name').fill('Lost');
    await field(page, 'Email').fill('lost@example.com');
    await page.route('**/CreateUser', async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    });
    await button(page, 'Create').click();
    await dialog(page).getByText('cannot be reached').waitFor();
    expect(await withEmail('lost@example.com')).toHaveLength(1);
    await page.unroute('**/CreateUser');
    await field(page, 'First name').fill('Found');
    await field(page, 'Email').fill('found@example.com');
    await button(page, 'Create').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect(await withEmail('lost@example.com')).toHaveLength(0);
    expect(await withEmail('found@example.com')).toMatchObject([{ firstName: 'Found' }]);
    expectNoFaults(connectionLost);
  });

  it('sends what was changed and nothing else', async () => {
    const attributes = { team: 'ops', floor: 3, tags: ['x'], old: true, 'a.b': 'é' };
    const { id } = await create({ attributes });
    const { page, expectNoFaults } = await open(id);
    const bodies = updatesOf(page);
    await field(page, 'Last name').fill('King');
    await dialog(page).getByRole('textbox', { name: 'Value of team' }).fill('science');
    await button(page, 'Remove old').click();
    await field(page, 'Last name').press('Enter');
    await dialog(page).waitFor({ state: 'detached' });
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

  it('loses nothing by a slip', async () => {
    const { id } = await create();
    const { page } = await open(id);
    await field(page, 'First name').fill('Augusta');
    await page.keyboard.press('Escape');
    await dialog(page).getByText('Discard what you have changed?').waitFor();
    expect(await button(page, 'Keep editing').evaluate((element) => element === document.activeElement)).toBe(true);
    await page.keyboard.press('Escape');
    expect(await field(page, 'First name').evaluate((element) => element === document.activeElement)).toBe(true);
    expect(await field(page, 'First name').inputValue()).toBe('Augusta');
    await page.keyboard.press('Escape');
    await button(page, 'Discard').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect((await read(id))?.firstName).toBe('Ada');
  });

  it('closes at once where nothing was changed', async () => {
    const { id } = await create();
    const { page } = await open(id);
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
  });

  it('shows both versions where somebody else was faster, and saves what is chosen of each field', async () => {
    const { id, email } = await create({ attributes: { team: 'ops', floor: 3, note: 'x' } });
    const { page, expectAccessible, expectNoFaults } = await open(id);
    await field(page, 'First name').fill('Mine');
    await field(page, 'Last name').fill('Mine too');
    await dialog(page).getByRole('textbox', { name: 'Value of team' }).fill('mine');
    await app.client.updateUser({
      user: {
        id,
        firstName: 'Theirs',
        profileImageUrl: 'https://example.com/theirs.png',
        attributes: { team: 'theirs' },
      },
      updateMask: ['first_name', 'profile_image_url', 'attributes.team', 'attributes.note'],
    });
    // Said before the person saves.
    await dialog(page).getByText('Somebody else has just changed First name, Image URL').waitFor();
    await button(page, 'Save').click();
    await page.getByRole('heading', { name: 'Changed meanwhile' }).waitFor();
    const choice = (label: string) => dialog(page).getByRole('group', { name: label });
    expect(await choice('First name').getByRole('radio', { checked: true }).count()).toBe(0);
    expect(await choice('Last name').getByRole('radio', { name: 'Mine' }).isChecked()).toBe(true);
    expect(await choice('Image URL').getByRole('radio', { name: 'Theirs' }).isChecked()).toBe(true);
    expect(await choice('note').getByRole('radio', { name: 'Theirs' }).isChecked()).toBe(true);
    expect(await choice('Email').count()).toBe(0);
    await button(page, 'Save').click();
    await dialog(page).getByText('Both of you have changed this. Choose one.').waitFor();
    await expectAccessible();
    await choice('First name').getByRole('radio', { name: 'Theirs' }).check();
    await choice('team').getByRole('radio', { name: 'Mine' }).check();
    await button(page, 'Save').click();
    await dialog(page).waitFor({ state: 'detached' });
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

  it('says that an update was done whose answer was lost', async () => {
    const { id } = await create();
    const { page } = await open(id);
    await page.route('**/UpdateUser', async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    });
    await field(page, 'First name').fill('Once');
    await button(page, 'Save').click();
    await dialog(page).getByText('cannot be reached').waitFor();
    await page.unroute('**/UpdateUser');
    await button(page, 'Save').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect((await read(id))?.firstName).toBe('Once');
  });

  it('takes over what others change while nobody types', async () => {
    const { id } = await create();
    const { page } = await open(id);
    // The feed hears only what comes behind its beginning.
    await expect.poll(() => page.locator('.sign').getAttribute('data-state'), patience).toBe('live');
    await app.client.updateUser({ user: { id, firstName: 'Renewed' }, updateMask: ['first_name'] });
    await expect.poll(() => field(page, 'First name').inputValue(), patience).toBe('Renewed');
    await field(page, 'Last name').fill('Since');
    await button(page, 'Save').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect(await read(id)).toMatchObject({ firstName: 'Renewed', lastName: 'Since' });
  });

  it('deletes in two steps, and asks again where the user has changed in between', async () => {
    const { id, displayName } = await create();
    const { page, expectNoFaults } = await open(id);
    await button(page, 'Delete…').click();
    await page.getByRole('heading', { name: `Delete ${displayName}?` }).waitFor();
    expect(await button(page, 'Keep').evaluate((element) => element === document.activeElement)).toBe(true);
    await app.client.updateUser({ user: { id, lastName: 'Byron' }, updateMask: ['last_name'] });
    await button(page, `Delete ${displayName}`).click();
    await dialog(page).getByText('Not deleted yet').waitFor();
    expect(await read(id)).toBeDefined();
    await button(page, 'Delete Ada Byron').click();
    await dialog(page).waitFor({ state: 'detached' });
    await expect(read(id)).rejects.toMatchObject({ reason: 'USER_NOT_FOUND' });
    expectNoFaults();
  });

  it('says politely that somebody is gone', async () => {
    const { id } = await create();
    const { page } = await open(id);
    await field(page, 'First name').fill('Late');
    await app.client.deleteUser({ id });
    await dialog(page).getByText('is no longer in the directory').waitFor();
    await button(page, 'Close').last().click();
    await dialog(page).waitFor({ state: 'detached' });
    const again = await open(id);
    await dialog(again.page).getByText('Nobody in the directory has this id').waitFor();
  });

  it('says so where somebody else was faster with deleting', async () => {
    const { id } = await create();
    const { page, expectNoFaults } = await open(id);
    await expect.poll(() => page.locator('.sign').getAttribute('data-state'), patience).toBe('live');
    await button(page, 'Delete…').click();
    await app.client.deleteUser({ id });
    await dialog(page).getByText('is no longer in the directory').waitFor();
    expect(await dialog(page).getByText('This erases').count()).toBe(0);
    await button(page, 'Close').last().click();
    await dialog(page).waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('keeps an attribute that is called __proto__', async () => {
    const { id } = await create({ attributes: JSON.parse('{"__proto__": "x", "a": 1}') });
    const { page } = await open(id);
    expect(await dialog(page).getByRole('textbox', { name: 'Value of __proto__' }).inputValue()).toBe('x');
    await dialog(page).getByRole('textbox', { name: 'Value of a' }).fill('2');
    await button(page, 'Save').click();
    await dialog(page).waitFor({ state: 'detached' });
    expect(Object.entries((await read(id))?.attributes ?? {}).sort()).toEqual([
      ['__proto__', 'x'],
      ['a', 2],
    ]);
  });

  it('shows what is not to be edited, and opens an image only where it is one of the web', async () => {
    const { id, etag } = await create({ profileImageUrl: 'https://example.com/ada.png' });
    const { page } = await open(id);
    await dialog(page).getByText(id).waitFor();
    await dialog(page).getByText(etag, { exact: true }).waitFor();
    const link = dialog(page).getByRole('link', { name: 'Open' });
    expect(await link.getAttribute('href')).toBe('https://example.com/ada.png');
    expect(await link.getAttribute('rel')).toContain('noopener');
    await field(page, 'Image URL').fill('javascript:alert(1)');
    expect(await link.count()).toBe(0);
  });

  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 360],
    ['dark', 360],
  ] as const)('is accessible, %s and %i px wide, in each of its steps', async (theme, width) => {
    const { id } = await create({ attributes: { team: 'ops', floor: 3, tags: ['a'], none: null, yes: true } });
    const { page, expectAccessible, expectNoFaults } = await open(id, { theme, width });
    await expectAccessible();
    expect(await dialog(page).evaluate((element) => element.scrollWidth <= element.clientWidth)).toBe(true);
    await button(page, 'Delete…').click();
    await expectAccessible();
    await button(page, 'Keep').click();
    await field(page, 'First name').fill('Mine');
    await page.keyboard.press('Escape');
    await expectAccessible();
    await page.keyboard.press('Escape');
    await app.client.updateUser({ user: { id, firstName: 'Theirs' }, updateMask: ['first_name'] });
    await button(page, 'Save').click();
    await page.getByRole('heading', { name: 'Changed meanwhile' }).waitFor();
    await expectAccessible();
    expect(await dialog(page).evaluate((element) => element.scrollWidth <= element.clientWidth)).toBe(true);
    expectNoFaults();
  });
});
