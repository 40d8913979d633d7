/** Tests the filter of the list in a real browser: chips, suggestions, the expression, and errors. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserMissing, delayFrames } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };

const names = async (page: Page) =>
  (await page.locator('[data-id] .cell-name a').allTextContents()).map((name) => name.trim()).sort();
const total = (page: Page) => page.locator('.total').textContent();
const filterOf = (page: Page) => new URLSearchParams(new URL(page.url()).hash.slice(1)).get('filter') ?? '';
const chips = (page: Page) => page.getByRole('list', { name: 'Filters' }).getByRole('listitem');
const chipTexts = async (page: Page) =>
  (await chips(page).allTextContents()).map((text) => text.replaceAll(/\s+/g, ' ').trim());
const options = (page: Page) => page.locator('[role=option]');
const option = (page: Page, name: string | RegExp) => page.getByRole('option', { name });
const filterButton = (page: Page) => page.getByRole('button', { name: 'Filter', exact: true });
const popover = (page: Page) => page.getByRole('dialog', { name: /filter/i });
const editor = (page: Page) => page.getByRole('textbox', { name: 'Filter as an expression' });
const alert = (page: Page) => page.locator('.filter-bar').getByRole('alert');

const everyone = ['Ada Lovelace', 'Alan Turing', 'Barbara Liskov', 'Grace Hopper', 'Seán O’Brien'];

describe.skipIf(browserMissing !== undefined)('finding people', () => {
  const site = useSite();
  const { open } = site;
  let createdAt = new Date();

  beforeAll(async () => {
    createdAt = new Date();
    const people: [string, Record<string, unknown>][] = [
      ['Ada Lovelace', { department: 'Maths', level: 7, vip: true, tags: ['new', 'remote'], started: '2026-02-01' }],
      ['Alan Turing', { department: 'Maths', level: 5, vip: false, tags: ['remote'], started: '2026-03-01' }],
      ['Grace Hopper', { department: 'Navy "A"', level: 9, 'cost center': 'N-1', started: '2025-12-31' }],
      ['Barbara Liskov', { department: '', address: { city: 'Reykjavík' } }],
      ['Seán O’Brien', {}],
    ];
    for (const [name, attributes] of people) {
      const [firstName = '', lastName = ''] = name.split(' ');
      await site.app.client.createUser({
        user: { firstName, lastName, email: `${firstName}@example.com`, attributes },
      });
    }
  });

  /** Chooses the field of a new chip. */
  async function startChip(page: Page, field: string): Promise<void> {
    await filterButton(page).click();
    await page.getByRole('combobox', { name: 'Filter by' }).fill(field);
    await popover(page)
      .getByRole('option', { name: new RegExp(`^${field}`) })
      .first()
      .waitFor();
    await page.keyboard.press('Enter');
    await popover(page).getByRole('button', { name: 'Add filter' }).waitFor();
  }
  const operator = (page: Page) => page.getByRole('combobox', { name: 'Operator' });
  const value = (page: Page) => page.getByRole('textbox', { name: 'Value', exact: true });
  const add = (page: Page) => popover(page).getByRole('button', { name: 'Add filter' }).click();

  it('suggests the attributes that occur and their most frequent values, with the keyboard only', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await filterButton(page).focus();
    await page.keyboard.press('Enter');
    await option(page, /^department/).waitFor();
    const shares = popover(page).getByText('Shares in a sample of 5 users');
    expect(await shares.count()).toBe(1);
    await expectAccessible();
    await page.keyboard.type('depart');
    await expect.poll(() => options(page).first().textContent(), pollTimeout).toContain('department');
    await page.keyboard.press('Enter');
    await option(page, /^Maths/).waitFor();
    expect(await options(page).first().textContent()).toBe('Maths40%');
    expect(await shares.count()).toBe(1);
    await expectAccessible();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Space');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing', 'Grace Hopper']);
    expect(filterOf(page)).toBe('attributes.department in ["Maths", "Navy \\"A\\""]');
    expect(await chipTexts(page)).toEqual(['department is one of Maths, Navy "A"']);
    expect(await filterButton(page).evaluate((button) => button === document.activeElement)).toBe(true);

    // The chip can be edited and removed.
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Remove Maths' }).press('Enter');
    await page.getByRole('combobox', { name: 'Values' }).press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
    await expect.poll(() => total(page), pollTimeout).toBe('1 match');
    await page.keyboard.press('Delete');
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    expect(await chips(page).count()).toBe(0);
    await page.goBack();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
    expectNoFaults();
  });

  describe('a typed value', () => {
    const values = (page: Page) => page.getByRole('combobox', { name: 'Values' });
    const active = async (page: Page) => {
      const id = await values(page).getAttribute('aria-activedescendant');
      return id === null ? undefined : page.locator(`[id="${id}"]`).textContent();
    };

    it.each([
      ['department', 'is', 'mat', 'Maths40%', ['Ada Lovelace', 'Alan Turing'], 'department is Maths'],
      ['department', 'isNot', 'MATHS', 'Maths40%', everyone.slice(2), 'department is not Maths'],
      // The space belongs to the text, and selects nothing.
      ['department', 'is', 'navy "', 'Navy "A"20%', ['Grace Hopper'], 'department is Navy "A"'],
      ['tags', 'includes', 'rem', 'remote40%', ['Ada Lovelace', 'Alan Turing'], 'tags includes remote'],
      ['First name', 'is', 'sean', 'Seán20%', ['Seán O’Brien'], 'First name is Seán'],
      ['level', 'is', '7', '720%', ['Ada Lovelace'], 'level is 7'],
      ['department', 'is', 'Sales', '“Sales”', [], 'department is Sales'],
    ])('of %s with %s: Enter applies the active row for %s', async (field, by, text, row, expected, chip) => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
      await startChip(page, field);
      await operator(page).selectOption(by);
      await values(page).focus();
      expect(await active(page)).toBeUndefined();
      await page.keyboard.type(text);
      await expect.poll(() => active(page), pollTimeout).toBe(row);
      await expectAccessible();
      await page.keyboard.press('Enter');
      await expect.poll(() => names(page), pollTimeout).toEqual(expected);
      expect(await chipTexts(page)).toEqual([chip]);
      expectNoFaults();
    });

    it('selects the marked suggestion with one arrow and a space', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await startChip(page, 'department');
      await values(page).fill('mat');
      await expect.poll(() => active(page), pollTimeout).toBe('Maths40%');
      await page.keyboard.press('ArrowDown');
      await page.locator('[role=option][data-active=moved]').waitFor();
      expect(await active(page)).toBe('Maths40%');
      await expectAccessible();
      await page.keyboard.press('Space');
      await page.getByRole('list', { name: 'Selected values' }).getByText('Maths', { exact: true }).waitFor();
      await page.keyboard.press('Enter');
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['department is Maths']);
      expectNoFaults();
    });

    it('is the last row, for values that no suggestion has', async () => {
      const { page, expectNoFaults } = await open();
      await startChip(page, 'department');
      await values(page).fill('mat');
      await expect.poll(() => options(page).allTextContents(), pollTimeout).toEqual(['Maths40%', '“mat”']);
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await expect.poll(() => active(page), pollTimeout).toBe('“mat”');
      await page.keyboard.press('Space');
      await page.getByRole('list', { name: 'Selected values' }).getByText('mat', { exact: true }).waitFor();
      await values(page).fill('maths');
      await page.keyboard.press('Enter');
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['department is one of mat, Maths']);
      expectNoFaults();
    });

    it('is applied by the button as by Enter', async () => {
      const { page, expectNoFaults } = await open();
      await startChip(page, 'department');
      await values(page).fill('mat');
      await add(page);
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['department is Maths']);
      await startChip(page, 'department');
      await values(page).fill('mat');
      await page.keyboard.press('ArrowUp');
      await add(page);
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['department is Maths', 'department is mat']);
      expectNoFaults();
    });
  });

  it('obeys an arrow key directly after a text, even if frames and timers are late', async () => {
    const { page, expectNoFaults } = await open();
    await filterButton(page).click();
    await option(page, /^department/).waitFor();
    await delayFrames(page);
    await page.keyboard.type('e');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await expect.poll(() => options(page).nth(2).getAttribute('aria-selected'), pollTimeout).toBe('true');
    expectNoFaults();
  });

  it('closes the popover on Escape, and returns to the button', async () => {
    const { page, expectNoFaults } = await open();
    const listTop = () => page.getByRole('grid').evaluate((grid) => grid.getBoundingClientRect().top);
    const before = await listTop();
    await filterButton(page).click();
    await option(page, /^department/).waitFor();
    expect(await listTop()).toBe(before);
    // Keys of the list do nothing here.
    await page.keyboard.type('n/');
    await page.keyboard.press('Escape');
    await popover(page).waitFor({ state: 'detached' });
    expect(page.url()).not.toContain('user=');
    expect(await filterButton(page).evaluate((button) => button === document.activeElement)).toBe(true);
    expectNoFaults();
  });

  it.each<[string, string, (page: Page) => Promise<void>, string[], string]>([
    [
      'department',
      'isNot',
      async (page) => {
        await page.getByRole('combobox', { name: 'Values' }).fill('Maths');
      },
      ['Barbara Liskov', 'Grace Hopper', 'Seán O’Brien'],
      'department is not Maths',
    ],
    ['department', 'isEmpty', async () => {}, ['Barbara Liskov', 'Seán O’Brien'], 'department is empty'],
    [
      'department',
      'contains',
      (page) => value(page).fill('mATHS'),
      ['Ada Lovelace', 'Alan Turing'],
      'department contains mATHS',
    ],
    ['tags', 'includesNot', (page) => option(page, /^new/).click(), everyone.slice(1), 'tags does not include new'],
    ['level', 'more', (page) => value(page).fill('6'), ['Ada Lovelace', 'Grace Hopper'], 'level is more than 6'],
    ['vip', 'is', (page) => option(page, /^yes/).click(), ['Ada Lovelace'], 'vip is yes'],
    ['vip', 'isNotEmpty', async () => {}, ['Ada Lovelace', 'Alan Turing'], 'vip is not empty'],
    [
      'started',
      'within',
      async (page) => {
        await page.getByLabel('From', { exact: true }).fill('2025-12-31');
        await page.getByLabel('To', { exact: true }).fill('2026-02-01');
      },
      ['Ada Lovelace', 'Grace Hopper'],
      'started is from 31 Dec 2025 to 1 Feb 2026',
    ],
    ['Name', 'endsWith', (page) => value(page).fill('’Brien'), ['Seán O’Brien'], 'Name ends with ’Brien'],
    ['Email', 'contains', (page) => value(page).fill('GRACE@'), ['Grace Hopper'], 'Email contains GRACE@'],
    ['Created', 'before', (page) => page.getByLabel('Day').fill('2020-01-01'), [], 'Created is before 1 Jan 2020'],
    [
      'address › city',
      'is',
      (page) => option(page, /^Reykjavík/).click(),
      ['Barbara Liskov'],
      'address › city is Reykjavík',
    ],
  ])('filters by %s with %s', async (field, by, enter, expected, text) => {
    const { page, expectNoFaults } = await open();
    await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
    await startChip(page, field);
    await operator(page).selectOption(by);
    await enter(page);
    await add(page);
    await expect.poll(() => names(page), pollTimeout).toEqual(expected);
    expect(await chipTexts(page)).toEqual([text]);
    // The chip is in the page's address, and opens with what was entered.
    await page.reload();
    await expect.poll(() => chipTexts(page), pollTimeout).toEqual([text]);
    const before = filterOf(page);
    await chips(page).getByRole('button').first().click();
    expect(await operator(page).inputValue()).toBe(by);
    await popover(page).getByRole('button', { name: 'Apply' }).click();
    await popover(page).waitFor({ state: 'detached' });
    expect(filterOf(page)).toBe(before);
    expectNoFaults();
  });

  describe('by a period that moves with the calendar', () => {
    const day = (page: Page, time: string | Date) => page.clock.setFixedTime(time);
    const period = (page: Page, name: string) => popover(page).getByRole('button', { name, exact: true });

    it.each([
      ['Created', 'Last 7 days', 'create_time >= timestamp(today - 6)', 'Created in the last 7 days', everyone],
      ['Created', 'Today', 'create_time >= timestamp(today)', 'Created today', everyone],
      [
        'started',
        'Last 30 days',
        '(attributes.started >= today - 29 && attributes.started < today + 1)',
        'started is in the last 30 days',
        ['Ada Lovelace'],
      ],
      [
        'started',
        'This year',
        '(attributes.started >= this_year && attributes.started < this_year + 1)',
        'started is this year',
        ['Ada Lovelace', 'Alan Turing'],
      ],
    ])('%s, %s', async (field, name, filter, text, expected) => {
      const { page, expectAccessible, expectNoFaults } = await open();
      // So that the day does not end during the test.
      await day(page, field === 'started' ? '2026-02-20T12:00:00Z' : createdAt);
      await startChip(page, field);
      await period(page, name).click();
      await expect.poll(() => names(page), pollTimeout).toEqual(expected);
      expect(filterOf(page)).toBe(filter);
      expect(await chipTexts(page)).toEqual([text]);
      // The chip opens with the same choice.
      await chips(page).getByRole('button').first().click();
      await expect.poll(() => period(page, name).getAttribute('aria-pressed'), pollTimeout).toBe('true');
      await expectAccessible();
      await popover(page).getByRole('button', { name: 'Apply' }).click();
      await popover(page).waitFor({ state: 'detached' });
      expect(filterOf(page)).toBe(filter);
      // A typed day stays.
      await chips(page).getByRole('button').first().click();
      await popover(page).locator('[type=date]').first().fill('2020-01-31');
      await popover(page).getByRole('button', { name: 'Apply' }).click();
      await expect.poll(() => filterOf(page), pollTimeout).toContain('2020-01-31');
      expectNoFaults();
    });

    it('reads the list again when a new day begins', async () => {
      const { page, expectNoFaults } = await open();
      await day(page, '2026-02-05T23:50:00Z');
      await page.goto(`${site.app.http}/#filter=attributes.started >= today - 4 %26%26 last_name != "Turing"`);
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace']);
      await day(page, '2026-02-06T00:10:00Z');
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      await page.getByText('No user matches the filter.').waitFor();
      expectNoFaults();
    });

    it('is explained beside the expression, with the filter for other clients', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await day(page, '2026-02-05T12:00:00Z');
      await page.goto(`${site.app.http}/#filter=attributes.started >= today - 4 || last_name == 7`);
      // The mark is right although the text that was sent is longer.
      await page.locator('.cm-lintRange-error').waitFor();
      expect(await page.locator('.cm-lintRange-error').textContent()).toBe('7');
      const sent = page.locator('.sent-filter');
      await sent.getByText('Show the filter for other clients').click();
      await sent.getByText('attributes.started >= "2026-02-01" || last_name == 7').waitFor();
      await expectAccessible();
      await editor(page).click();
      await page.keyboard.press('Control+A');
      await page.keyboard.type('create_time < timestamp(tod');
      await option(page, /^today/).waitFor();
      await page.keyboard.press('Enter');
      await page.keyboard.type(' - 1');
      await page.keyboard.press('End');
      await page.keyboard.press('Enter');
      await expect.poll(() => filterOf(page), pollTimeout).toBe('create_time < timestamp(today - 1)');
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['Created is before yesterday']);
      await page.getByRole('button', { name: 'Advanced' }).click();
      await sent.getByText('Show the filter for other clients').click();
      await sent.getByText('create_time < timestamp("2026-02-04T00:00:00.000Z")').waitFor();
      expectNoFaults(/status of 400/);
    });
  });

  describe('from the menu of a column', () => {
    const startBy = async (page: Page, column: string) => {
      await page.getByRole('button', { name: `Options of the column ${column}`, exact: true }).click();
      await page.getByRole('menuitem', { name: 'Filter by this column…' }).click();
      await popover(page).getByRole('button', { name: 'Add filter' }).waitFor();
    };

    it.each<[string, string, (page: Page) => Promise<void>, string[], string]>([
      ['Name', 'contains', (page) => value(page).fill('lov'), ['Ada Lovelace'], 'Name contains lov'],
      ['Email', 'contains', (page) => value(page).fill('grace'), ['Grace Hopper'], 'Email contains grace'],
      ['department', 'is', (page) => option(page, /^Navy/).click(), ['Grace Hopper'], 'department is Navy "A"'],
      ['level', 'is', (page) => option(page, /^7/).click(), ['Ada Lovelace'], 'level is 7'],
      [
        'address',
        'is',
        (page) => option(page, /^Reykjavík/).click(),
        ['Barbara Liskov'],
        'address › city is Reykjavík',
      ],
      [
        'Created',
        'since',
        (page) => popover(page).locator('[type=date]').fill('2020-01-01'),
        everyone,
        'Created is on or after 1 Jan 2020',
      ],
    ])('opens the field of %s', async (column, by, enter, expected, text) => {
      const { page, expectAccessible, expectNoFaults } = await open(
        '#columns=name,email,attributes.department,attributes.level,attributes.address,create_time',
      );
      await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
      await startBy(page, column);
      expect(await operator(page).inputValue()).toBe(by);
      await expectAccessible();
      await enter(page);
      await add(page);
      await expect.poll(() => names(page), pollTimeout).toEqual(expected);
      expect(await chipTexts(page)).toEqual([text]);
      expect(await filterButton(page).evaluate((button) => button === document.activeElement)).toBe(true);
      expectNoFaults();
    });

    it('waits until the kind of an attribute is known', async () => {
      const { page, expectAccessible, expectNoFaults } = await open('#columns=name,attributes.level');
      await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      await page.route('**/ListUsers', async (route) => {
        await held;
        await route.continue();
      });
      await page.getByRole('button', { name: 'Options of the column level' }).click();
      await page.getByRole('menuitem', { name: 'Filter by this column…' }).click();
      await popover(page).getByText('Loading…').waitFor();
      await expectAccessible();
      release();
      await option(page, /^7/).waitFor();
      await page.keyboard.type('7');
      await page.keyboard.press('Enter');
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['level is 7']);
      expectNoFaults();
    });

    it('adds a condition to the others, and nothing if it is cancelled', async () => {
      const { page, expectNoFaults } = await open('#filter=attributes.level > 5');
      await startBy(page, 'Name');
      await page.keyboard.type('a');
      await page.keyboard.press('Enter');
      await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['level is more than 5', 'Name contains a']);
      await startBy(page, 'Email');
      await page.keyboard.press('Escape');
      await popover(page).waitFor({ state: 'detached' });
      expect(await chips(page).count()).toBe(2);
      expectNoFaults();
    });
  });

  it('says what is missing from a chip', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await startChip(page, 'level');
    await operator(page).selectOption('between');
    await page.getByRole('textbox', { name: 'From' }).fill('many');
    await add(page);
    await page.getByText('Enter a number,').waitFor();
    await expectAccessible();
    await page.getByRole('textbox', { name: 'From' }).fill('8,5');
    await page.getByRole('textbox', { name: 'To' }).fill('5');
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing']);
    expectNoFaults();
  });

  it('says what a number with a thousands separator means', async () => {
    const { page, expectNoFaults } = await open('', { context: { locale: 'de-DE' } });
    await startChip(page, 'level');
    await operator(page).selectOption('less');
    await value(page).fill('1.500');
    await popover(page).getByText('Means 1500.').waitFor();
    await page.keyboard.press('Enter');
    await expect.poll(() => chipTexts(page), pollTimeout).toEqual(['level is less than 1500']);
    expect(filterOf(page)).toBe('attributes.level < 1500');
    expectNoFaults();
  });

  it('adds a filter without a value by Enter', async () => {
    const { page, expectNoFaults } = await open();
    await startChip(page, 'level');
    await operator(page).selectOption('isEmpty');
    await operator(page).press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Barbara Liskov', 'Seán O’Brien']);
    expectNoFaults();
  });

  it('begins a filter by name with a part of the name, and says how names are compared', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await startChip(page, 'Name');
    expect(await operator(page).inputValue()).toBe('contains');
    await value(page).fill('sean');
    await page.keyboard.press('Enter');
    await page.getByText('A filter by name distinguishes accents: try “Seán”.').waitFor();
    await expectAccessible();
    await page.getByRole('button', { name: '“Seán”' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Seán O’Brien']);
    await page.goto(`${site.app.http}/#filter=display_name == "Sean"`);
    await page
      .getByText('A filter by name distinguishes capitals and accents, and “is” compares the whole name.')
      .waitFor();
    await page.getByRole('button', { name: '“Sean”' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Seán O’Brien']);
    await page.goto(`${site.app.http}/#`);
    await startChip(page, 'Name');
    await value(page).fill("o'brien");
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Seán O’Brien']);
    expectNoFaults();
  });

  it('finds a text in any of several attributes', async () => {
    const { page, expectNoFaults } = await open();
    await startChip(page, 'Text in any attribute');
    await value(page).fill('REMOTE');
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing']);
    await chips(page).getByRole('button').first().click();
    await page.getByRole('checkbox', { name: 'tags' }).uncheck();
    await popover(page).getByRole('button', { name: 'Apply' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual([]);
    expectNoFaults();
  });

  it.each([
    ['comfortable', 1280],
    ['compact', 1280],
    ['a card', 390],
  ])('shows the attribute that matches below the name if no column does (%s)', async (look, width) => {
    const { page, expectAccessible, expectNoFaults } = await open('', { width, height: 844 });
    await page.getByRole('button', { name: /^Columns/ }).click();
    for (const key of ['tags', 'level', 'department']) await page.getByRole('checkbox', { name: key }).uncheck();
    if (look === 'compact') await page.getByRole('radio', { name: 'Compact' }).check();
    await page.keyboard.press('Escape');
    await startChip(page, 'Text in any attribute');
    await value(page).fill('navy');
    await page.keyboard.press('Enter');
    const match = page.locator('.cell-match');
    await expect.poll(() => match.allTextContents(), pollTimeout).toEqual(['department: Navy "A"']);
    expect(await names(page)).toEqual(['Grace Hopper']);
    const isWhole = await match.evaluate((element) => {
      const [own, row] = [element, element.closest('[role=row]')].map((each) => each?.getBoundingClientRect());
      const name = element.parentElement?.querySelector('a')?.getBoundingClientRect();
      if (own === undefined || row === undefined || name === undefined) return false;
      return name.top >= row.top && name.bottom <= own.top + 1 && own.bottom <= row.bottom;
    });
    expect(isWhole).toBe(true);
    await expectAccessible();
    await page.getByRole('button', { name: /^Columns/ }).click();
    await page.getByRole('checkbox', { name: 'department' }).check();
    await match.waitFor({ state: 'detached' });
    expectNoFaults();
  });

  it('offers to search the attributes if no name has the words', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#filter=attributes.level > 6');
    await page.getByRole('searchbox').fill('navy');
    await page.getByText('No matches').waitFor();
    await expectAccessible();
    await page.getByRole('button', { name: 'Search attributes for “navy”' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
    expect(await page.getByRole('searchbox').inputValue()).toBe('');
    expect(await chipTexts(page)).toEqual(['level is more than 6', 'Any of 5 attributes contains navy']);
    expectNoFaults();
  });

  it('offers a filter for several pasted emails, also if they are longer than a search can be', async () => {
    const context = { permissions: ['clipboard-read', 'clipboard-write'] };
    const { page, expectAccessible, expectNoFaults } = await open('', { context });
    const paste = async (text: string) => {
      await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
      await page.getByRole('searchbox').press('Control+V');
    };
    await paste('ada@example.com\ngrace@example.com\n');
    const find = page.getByRole('button', { name: 'Find these 2 emails' });
    await find.waitFor();
    await expectAccessible();
    await find.click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Grace Hopper']);
    expect(filterOf(page)).toBe('email in ["ada@example.com", "grace@example.com"]');
    expect(await page.getByRole('searchbox').inputValue()).toBe('');
    await page.getByRole('button', { name: 'Clear', exact: true }).click();
    const others = Array.from({ length: 40 }, (_, index) => `Other <other-${index}@example.com>, `);
    await paste(`${others.join('')}Alan Turing <alan@example.com>`);
    await page.getByRole('button', { name: 'Find these 41 emails' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Alan Turing']);
    await page.getByRole('button', { name: 'Clear', exact: true }).click();
    await paste(`${others.join('')}${others.join('').replaceAll('other-', 'another-')}`);
    await page.getByRole('button', { name: /^Find the first \d\d of 80 emails$/ }).waitFor();
    await page.getByText(/^A filter has no room for the other \d+\.$/).waitFor();
    await expectAccessible();
    await page.getByRole('searchbox').fill('@ada @grace');
    await page.getByRole('button', { name: 'Search attributes for “@ada @grace”' }).waitFor();
    expectNoFaults();
  });

  it('shows no wide button for a long search, and counts one match as the header does', async () => {
    const { page, expectNoFaults } = await open(`#query=${'x'.repeat(250)}`, { width: 390 });
    const searches = page.getByRole('button', { name: /^Search attributes for/ });
    await searches.waitFor();
    const empty = page.locator('.empty');
    expect(await empty.evaluate((card) => card.scrollWidth <= card.clientWidth)).toBe(true);
    const [card, button] = [await empty.boundingBox(), await searches.boundingBox()];
    expect(button?.x).toBeGreaterThanOrEqual(card?.x ?? 0);
    expect((button?.x ?? 0) + (button?.width ?? 0)).toBeLessThanOrEqual((card?.x ?? 0) + (card?.width ?? 0));
    await page.getByRole('searchbox').fill('grace');
    await page.getByRole('main').getByRole('status').getByText('1 match', { exact: true }).waitFor();
    expectNoFaults();
  });

  it('offers to clear a search that is too long, as in a link', async () => {
    const long = `#query=${'x'.repeat(300)}`;
    const { page, expectAccessible, expectNoFaults } = await open(long);
    const failure = page.getByRole('alert');
    const expectCleared = async () => {
      await failure.getByText('The search must have at most 256 characters.').waitFor();
      expect(await failure.getByRole('button').allTextContents()).toEqual(['Clear the search']);
      await expectAccessible();
      await failure.getByRole('button', { name: 'Clear the search' }).click();
      await failure.waitFor({ state: 'detached' });
      await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
      expect(await page.getByRole('searchbox').inputValue()).toBe('');
    };
    await expectCleared();
    // Above the rows of the previous search.
    await page.evaluate((hash) => {
      location.hash = hash;
    }, long);
    await expectCleared();
    expectNoFaults();
  });

  it('mentions the space key only if there may be a keyboard', async () => {
    const hint = (page: Page) => popover(page).getByText('↓ and Space select several.');
    const { page } = await open();
    await startChip(page, 'department');
    await hint(page).waitFor();
    const touch = await open('', { width: 390, context: { hasTouch: true, isMobile: true } });
    await startChip(touch.page, 'department');
    expect(await hint(touch.page).count()).toBe(0);
  });

  it('says that the search in attributes distinguishes accents, and offers the other spelling', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await page.getByRole('searchbox').fill('reykjavik');
    await page.getByRole('button', { name: 'Search attributes for “reykjavik”' }).click();
    await page.getByText('The search in attributes distinguishes accents: try “Reykjavík”.').waitFor();
    await expectAccessible();
    await page.getByRole('button', { name: '“Reykjavík”' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Barbara Liskov']);
    await page.getByRole('searchbox').fill('zzz');
    await page.getByRole('button', { name: 'Search attributes for “zzz”' }).click();
    await page.getByText('The search in attributes distinguishes accents and unusual capitals.').waitFor();
    expectNoFaults();
  });

  it('says that nobody has an attribute of the filter, and offers the one that is spelled almost like it', async () => {
    const { page, expectAccessible, expectNoFaults } = await open(
      '#filter=attributes.departmant == "Maths" || attributes["departmant"] == "x"',
    );
    await page.getByText('No user in the sample has the attribute “departmant”. Did you mean “department”?').waitFor();
    await expectAccessible();
    await page.getByRole('button', { name: '“department”' }).click();
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing']);
    expect(filterOf(page)).toBe('attributes.department == "Maths" || attributes.department == "x"');
    await page.goto(`${site.app.http}/#filter=attributes.started.startsWith("1999")`);
    await page.getByText('No user matches the filter.').waitFor();
    expect(await page.getByText('No user in the sample').count()).toBe(0);
    expectNoFaults();
  });

  it('offers the attribute, or the type of its values, that a filter most likely means', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#filter=department == "Maths"');
    await page.getByText('“department” is not a field. Did you mean attributes.department?').waitFor();
    await page.goto(`${site.app.http}/#filter=attributes.level > "5"`);
    await page.getByText('The attribute “level” is a number. Did you mean attributes.level > 5?').waitFor();
    await expectAccessible();
    await page.getByRole('button', { name: 'attributes.level > 5' }).click();
    await expect.poll(() => filterOf(page), pollTimeout).toBe('attributes.level > 5');
    await page.getByText('The attribute “level”').waitFor({ state: 'detached' });
    expectNoFaults(/status of 400/);
  });

  it('never shows the numbers of the previous filter as those of a refused one', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#filter=id == "x"');
    await alert(page).waitFor({ state: 'attached' });
    expect(await alert(page).textContent()).toContain('The filter must compare id with a UUID.');
    expect(await total(page)).toBe('');
    await page.getByRole('button', { name: 'Clear' }).click();
    await expect.poll(() => total(page), pollTimeout).toBe('5 users');
    await page.goto(`${site.app.http}/#filter=id == "x"`);
    await page.getByText('The list below still shows the result before this filter.').waitFor();
    expect(await total(page)).toBe('');
    expect(await names(page)).toEqual(everyone);
    expect(await page.locator('.grid-frame.outdated').count()).toBe(1);
    expect(await page.locator('.chip.invalid').count()).toBe(1);
    await expectAccessible();
    expectNoFaults();
  });

  it('selects no rows of the previous filter, and changes none, while a filter is invalid', async () => {
    const { page, expectAccessible, expectNoFaults } = await open('#filter=attributes.department == "Maths"');
    await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing']);
    const bar = page.getByRole('region', { name: 'Selection' });
    const boxOf = (name: string) => page.getByRole('row', { name }).getByRole('checkbox');
    await boxOf('Ada Lovelace').check();
    await page.goto(`${site.app.http}/#filter=attributes.department ==`);
    await page.getByText('The list below still shows the result before this filter.').waitFor();
    expect(await boxOf('Alan Turing').isDisabled()).toBe(true);
    expect(await page.getByRole('checkbox', { name: 'Select all 2' }).isDisabled()).toBe(true);
    await page.locator('[data-row="0"]').focus();
    for (const key of ['Control+a', 'x', 'Shift+ArrowDown']) await page.keyboard.press(key);
    await bar.getByText('1 selected', { exact: true }).waitFor();
    expect(await bar.getByRole('button').allTextContents()).toEqual([
      'Export…',
      'Change attribute…',
      'Delete…',
      'Clear',
    ]);
    for (const name of ['Export…', 'Change attribute…', 'Delete…'])
      expect(await bar.getByRole('button', { name }).isDisabled()).toBe(true);
    await page.keyboard.press('Control+k');
    await option(page, 'Clear selection').waitFor();
    expect(await option(page, /1 selected…/).count()).toBe(0);
    await page.keyboard.press('Escape');
    await expectAccessible();
    // A user can be read.
    await page.getByRole('row', { name: 'Alan Turing' }).click();
    await page.getByRole('complementary').getByText('Alan@example.com').first().waitFor();
    await page.goto(`${site.app.http}/#filter=attributes.department == "Maths"`);
    await expect.poll(() => boxOf('Alan Turing').isEnabled(), pollTimeout).toBe(true);
    await bar.getByRole('button', { name: 'Change attribute…' }).click();
    await page.getByRole('dialog').getByRole('heading', { name: 'Change an attribute of 1 user' }).waitFor();
    expectNoFaults();
  });

  it('keeps the focus in the dialog that a double click opens, and selects no word of it', async () => {
    const { page, expectNoFaults } = await open();
    await page.getByRole('row', { name: 'Ada Lovelace' }).getByRole('checkbox').check();
    const change = page.getByRole('button', { name: 'Change attribute…' });
    const dialog = page.getByRole('dialog');
    // The first time, the code of the dialog is loaded, so the second press could come before the dialog.
    await change.click();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    await change.dblclick();
    const field = dialog.getByLabel('Attribute', { exact: true });
    await expect.poll(() => field.evaluate((input) => input === document.activeElement), pollTimeout).toBe(true);
    expect(await page.evaluate(() => String(getSelection()))).toBe('');
    expectNoFaults();
  });

  describe('with an expression', () => {
    it('completes fields, functions and values, and marks the error', async () => {
      const { page, expectAccessible, expectNoFaults } = await open();
      await filterButton(page).click();
      await page.getByRole('button', { name: 'Write an expression' }).click();
      await editor(page).waitFor();
      await expect.poll(() => editor(page).evaluate((field) => field.matches(':focus')), pollTimeout).toBe(true);
      await page.keyboard.type('attributes.dep');
      await option(page, 'attributes.department').waitFor();
      await page.keyboard.press('Enter');
      await page.keyboard.type(' == ');
      await page.keyboard.press('Control+Space');
      await option(page, /^"Maths"/).waitFor();
      // The editor ignores the list while it asks for completions again.
      await expect.poll(() => page.locator('.cm-tooltip-autocomplete-disabled').count(), pollTimeout).toBe(0);
      await page.keyboard.press('Enter');
      await expect.poll(() => editor(page).textContent(), pollTimeout).toBe('attributes.department == "Maths"');
      await page.keyboard.press('Enter');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Alan Turing']);
      await expectAccessible();

      await page.keyboard.type(' && last_name == 7');
      await page.keyboard.press('Enter');
      await alert(page).waitFor();
      expect(await alert(page).textContent()).toContain('The filter must not compare a string with a number.');
      expect(await page.locator('.cm-lintRange-error').textContent()).toBe('7');
      expect(await editor(page).getAttribute('aria-invalid')).toBe('true');
      await expectAccessible();

      await page.keyboard.press('Backspace');
      await page.keyboard.type('"Turing');
      await page.keyboard.press('Enter');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Alan Turing']);
      await page.getByRole('button', { name: 'Back to conditions' }).click();
      expect(await chipTexts(page)).toEqual(['department is Maths', 'Last name is Turing']);
      expectNoFaults();
    });

    it('is applied with Enter after the value of an attribute that nobody in the sample has', async () => {
      const { page, expectNoFaults } = await open();
      await filterButton(page).click();
      await page.getByRole('button', { name: 'Write an expression' }).click();
      await editor(page).waitFor();
      await page.keyboard.type('attributes.dep');
      await option(page, 'attributes.department').waitFor();
      await page.keyboard.press('Escape');
      for (let count = 0; count < 'dep'.length; count++) await page.keyboard.press('Backspace');
      await page.keyboard.type('foo == 1');
      // A list of completions opens after a moment, if at all.
      await page.waitForTimeout(500);
      await page.keyboard.press('Enter');
      await page.getByText('No matches').waitFor();
      expect(await editor(page).textContent()).toBe('attributes.foo == 1');
      expectNoFaults();
    });

    it('says that a text is too long, and keeps the expression before it', async () => {
      const { page, expectAccessible, expectNoFaults } = await open('#filter=last_name == "Turing" || email == "x"');
      await page.getByText('Enter applies the expression').or(page.getByText('This filter cannot be shown')).waitFor();
      const before = await editor(page).textContent();
      await editor(page).focus();
      await page.keyboard.insertText('a'.repeat(20_000));
      await page.getByText('An expression has at most 2,048 characters. The text was not added.').waitFor();
      expect(await editor(page).textContent()).toBe(before);
      await expectAccessible();
      await page.keyboard.type(' ');
      await page.getByText('An expression has at most').waitFor({ state: 'detached' });
      expectNoFaults();
    });

    it('can be shortened if the address has one that is too long', async () => {
      const filter = `last_name == "Turing" || email == "${'x'.repeat(2_100)}"`;
      const { page, expectNoFaults } = await open(`#filter=${filter}`);
      await editor(page).focus();
      await page.keyboard.press('Control+End');
      for (let count = 0; count < 2; count++) await page.keyboard.press('Backspace');
      await expect.poll(async () => (await editor(page).textContent())?.length, pollTimeout).toBe(filter.length - 2);
      expectNoFaults(/status of 400/);
    });

    it('is marked where the error is, also after a reload', async () => {
      const { page, expectNoFaults } = await open('#filter=last_name = "Turing"');
      await page.locator('.cm-lintRange-error').waitFor();
      expect(await page.locator('.cm-lintRange-error').textContent()).toBe('=');
      expect(await alert(page).textContent()).toContain('Write == instead of =.');
      expectNoFaults(/status of 400/);
    });

    it('can be typed over without a style that the policy of the page refuses', async () => {
      const { page, expectNoFaults } = await open('#filter="Turing" = last_name');
      await page.locator('.cm-lintRange-error').waitFor();
      await editor(page).click();
      await page.keyboard.press('Control+A');
      await page.keyboard.type('email');
      expect(await editor(page).textContent()).toBe('email');
      await page.keyboard.press('Control+A');
      await page.keyboard.type('(');
      expect(await editor(page).textContent()).toBe('(email)');
      await page.keyboard.press('Control+Z');
      expect(await editor(page).textContent()).toBe('email');
      expectNoFaults(/status of 400/);
    });

    it('says that an expression is not complete, and keeps a text that is not a chip', async () => {
      const { page, expectNoFaults } = await open('#filter=attributes.level > 5 || attributes.vip == true');
      await expect.poll(() => names(page), pollTimeout).toEqual(['Ada Lovelace', 'Grace Hopper']);
      await editor(page).waitFor();
      expect(await page.getByRole('button', { name: 'Back to conditions' }).isDisabled()).toBe(true);
      await editor(page).click();
      await page.keyboard.press('Control+End');
      await page.keyboard.type(' ||');
      await page.keyboard.press('Enter');
      await expect
        .poll(() => alert(page).textContent(), pollTimeout)
        .toContain('The expression is not complete. Something is missing at the end.');
      // A new chip must match in addition.
      await page.keyboard.press('Backspace');
      await page.keyboard.press('Backspace');
      await page.keyboard.press('Enter');
      await startChip(page, 'Last name');
      await page.getByRole('combobox', { name: 'Values' }).fill('Hopper');
      await add(page);
      await expect.poll(() => names(page), pollTimeout).toEqual(['Grace Hopper']);
      await page.getByRole('button', { name: 'Clear', exact: true }).click();
      await expect.poll(() => names(page), pollTimeout).toEqual(everyone);
      expect(filterOf(page)).toBe('');
      expectNoFaults();
    });
  });
});
