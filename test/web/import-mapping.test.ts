/** Tests the attributes of an import: which key a column means, what its cells become, and the template. */
import { readFile } from 'node:fs/promises';
import type { Locator, Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { User } from '../../src/client/index.js';
import { createCellStyle } from '../../src/user-files/cell-style.js';
import type { CellType } from '../../src/user-files/cell-types.js';
import { matchHeader } from '../../src/user-files/header.js';
import { frequentAttributes, type KnownAttributes } from '../../web/attributes/use-attribute-types.js';
import {
  adviceFor,
  cellNoteOf,
  createStrayTexts,
  describeStray,
  templateOf,
  withField,
  withKnownKeys,
  withType,
  withTypes,
} from '../../web/import/import-attributes.js';
import { withAttributes } from '../../web/import/import-file.js';
import { similarKey } from '../../web/users/attributes.js';
import { browserMissing, type OpenOptions, type TestPage } from './browser.js';
import { button, counts, dialog, useCsvFiles } from './import-dialog.js';
import { useSite } from './site.js';

/** The type that a column for the attribute gets at first. */
const typeOf = (key: string) => withTypes(matchHeader([`attributes.${key}`]), known)[0]?.type;

const known: KnownAttributes = new Map([
  ['department', 'text'],
  ['floor', 'number'],
  ['start-date', 'date'],
  ['remote', 'boolean'],
  ['skills', 'list'],
  ['homepage', 'link'],
  ['address', 'json'],
  ['', 'text'],
]);

describe('attributes that exist', () => {
  it('are sorted by the number of users who have them', () => {
    const users = [{ b: 1, z: null }, { a: 'x', b: 2 }, { b: 'x', a: null }, { c: true }].map((attributes) =>
      User.create({ attributes }),
    );
    expect([...frequentAttributes(users)]).toEqual([
      ['b', 'number'],
      ['a', 'text'],
      ['c', 'boolean'],
      ['z', 'null'],
    ]);
    expect([...frequentAttributes(users, 0.5).keys()]).toEqual(['b']);
  });

  const fieldsOf = (header: string[], attributes = known) =>
    withKnownKeys(matchHeader(header), attributes).map(({ field }) => field);

  it('are found by a name with other capital letters, spaces, underscores or hyphens', () => {
    expect(fieldsOf(['Department', 'START_DATE', ' Start Date', 'Team', '-', 'id'])).toEqual([
      'attributes.department',
      'attributes.start-date',
      '',
      '',
      '',
      '',
    ]);
  });

  it('are found by the same name first, and not twice', () => {
    const both: KnownAttributes = new Map([
      ['team', 'text'],
      ['Team', 'text'],
    ]);
    expect(fieldsOf(['TEAM', 'Team', 'team'], both)).toEqual(['', 'attributes.Team', 'attributes.team']);
    expect(fieldsOf(['Department', 'department'])).toEqual(['', 'attributes.department']);
    expect(fieldsOf(['Department', 'attributes.department'])).toEqual(['', 'attributes.department']);
  });

  it('are not found instead of a field, or of an attribute that the column names', () => {
    const odd: KnownAttributes = new Map([['E-Mail', 'text']]);
    expect(fieldsOf(['E-Mail', 'attributes.Department'], odd)).toEqual(['email', 'attributes.Department']);
  });

  it('are used if all columns without a field are added as attributes', () => {
    const columns = matchHeader(['Floor', 'Team']);
    expect(withAttributes(columns, known).map(({ field }) => field)).toEqual(['attributes.floor', 'attributes.Team']);
  });

  it('are similar to another spelling', () => {
    const keys = [...known.keys()];
    expect(similarKey('Start Date', keys)).toBe('start-date');
    expect(similarKey('DEPARTMENT', keys)).toBe('department');
    expect(similarKey('department', keys)).toBeUndefined();
    expect(similarKey('team', keys)).toBeUndefined();
    expect(similarKey('', keys.slice(0, -1))).toBeUndefined();
  });
});

function columnOf(type: CellType | undefined, cells: readonly string[]) {
  const style = createCellStyle();
  for (const cell of cells) style.add(cell);
  return { ...(type && { type }), style: style.result() };
}

describe('the cells of a column for an attribute', () => {
  it.each([
    ['department', ['a', '']],
    ['floor', ['3', '']],
    ['floor', ['']],
    ['remote', ['true', 'No']],
    ['skills', ['["go"]', '[]']],
    ['address', ['[1,2]', '{"city":"Berlin"}', '']],
    ['address', ['']],
    ['start-date', ['', '']],
    ['homepage', ['none']],
    ['new', ['3']],
  ])('need no note for %s: %j', (key, cells) => {
    expect(cellNoteOf(key, columnOf(typeOf(key), cells), cells, known)).toBeUndefined();
  });

  it.each([
    ['new', ['2026-02-28'], 'Imported as a date.', false],
    ['floor', ['3', 'n/a'], 'Some cells are imported as text, but other users have a number.', true],
    ['floor', ['n/a', ''], 'Imported as text, but other users have a number.', true],
    ['remote', ['maybe'], 'Imported as text, but other users have “Yes” or “No”.', true],
    ['skills', ['go, rust'], 'Imported as text, but other users have a list.', true],
    ['address', ['Berlin'], 'Imported as text, but other users have JSON.', true],
    ['start-date', ['2026-02-28', ''], 'Imported as a date.', false],
    ['start-date', ['2026-02-28', '28.2.2026'], 'Some cells are imported as text, but other users have a date.', true],
  ])('for %s: %j', (key, cells, text, isStray) => {
    expect(cellNoteOf(key, columnOf(typeOf(key), cells), cells, known)).toEqual({ text, isStray });
  });

  it.each([
    ['new', 'number', ['7', ''], undefined],
    ['new', 'number', ['7', 'n/a'], 'Some cells are imported as text, because they are not a number.'],
    ['new', 'number', ['0049', '+3'], 'Imported as text, because they are not a number.'],
    ['new', 'boolean', ['yes'], undefined],
    ['new', undefined, ['01/02/2024', ''], 'These seem to be dates. Choose whether the day or the month is first.'],
    ['new', undefined, ['01/02/2024', 'soon'], undefined],
    ['new', undefined, ['2,500', '3'], 'These seem to be numbers. Choose whether 2,500 is 2500 or 2.5.'],
    ['new', undefined, ['2,500', 'n/a'], undefined],
    ['new', undefined, ['1.9', '1.10'], undefined],
    ['new', 'commaNumber', ['2,500'], 'Read with a decimal comma, as in 1.234,5.'],
    [
      'floor',
      undefined,
      ['1.234'],
      'Imported as text, but other users have a number. Choose whether 1.234 is 1.234 or 1234.',
    ],
    ['new', 'monthFirstDate', ['01/02/2024'], undefined],
    ['department', undefined, ['01/02/2024'], undefined],
    [
      'start-date',
      undefined,
      ['01/02/2024', '2024-12-31'],
      'Some cells are imported as text, but other users have a date. Choose whether the day or the month is first.',
    ],
    ['floor', undefined, ['3'], 'Imported as text, but other users have a number.'],
    ['floor', 'list', ['["3"]'], 'Other users have a number in this attribute.'],
    ['department', 'number', ['3'], 'Other users have a text in this attribute.'],
  ] as const)('for %s with the chosen type %s: %j', (key, type, cells, text) => {
    expect(cellNoteOf(key, columnOf(type, cells), cells, known)?.text).toBe(text);
  });
});

it('a column gets the type that other users have', () => {
  const header = ['email', 'attributes.floor', 'Remote', 'attributes.skills', 'attributes.address', 'attributes.new'];
  const columns = withTypes(withKnownKeys(matchHeader(header), known), known);
  expect(columns.map(({ type }) => type)).toEqual([undefined, 'number', 'boolean', 'list', 'json', undefined]);
  expect(withTypes(matchHeader(['attributes.start-date', 'attributes.toString']), known)).toEqual(
    matchHeader(['attributes.start-date', 'attributes.toString']),
  );
});

it('a column for a new attribute gets the type of all its cells', () => {
  const typesOf = (key: string, attributes: KnownAttributes, cells: readonly string[]) => {
    const columns = matchHeader([`attributes.${key}`]).map((column) => ({ ...column, ...columnOf(undefined, cells) }));
    return withTypes(columns, attributes).map(({ type }) => type);
  };
  expect(typesOf('level', known, ['3', '', '4'])).toEqual(['number']);
  expect(typesOf('level', known, ['3', '', 'n/a'])).toEqual([undefined]);
  expect(typesOf('level', new Map([['level', 'null']]), ['yes', 'no'])).toEqual(['boolean']);
  expect(typesOf('department', known, ['3', '4'])).toEqual([undefined]);
  expect(typesOf('floor', known, ['yes', 'no'])).toEqual(['number']);
});

it('a type that the user chose stays if the attribute gets another name', () => {
  const [column] = withTypes(matchHeader(['attributes.new']), known);
  if (column === undefined) throw new Error('There is no column.');
  expect(withField(withType(column, 'number'), 'attributes.other', known).type).toBe('number');
  expect(withField(column, 'attributes.floor', known).type).toBe('number');
  const text = withType(withField(column, 'attributes.floor', known), undefined);
  expect(withField(text, 'attributes.remote', known).type).toBeUndefined();
  expect(withField(withField(text, '', known), 'attributes.remote', known).type).toBe('boolean');
  expect(withField(withType(column, 'number'), 'last_name', known)).toEqual({ ...column, field: 'last_name' });
});

describe('texts where other users have another type', () => {
  it('are counted by attribute, the most frequent first', () => {
    const found = createStrayTexts([], known);
    found.add(1, { floor: 3, 'start-date': '2026-02-28', department: 'x', homepage: 'none' });
    found.add(2, { floor: '3' });
    found.add(3);
    found.add(4, { 'start-date': 'soon', floor: null });
    found.add(5, { 'start-date': '2026-02-30' });
    expect(found.list()).toMatchObject([
      { key: 'start-date', type: 'date', rows: 2, firstRow: 4, firstText: 'soon' },
      { key: 'floor', type: 'number', rows: 1, firstRow: 2, firstText: '3' },
    ]);
    expect(adviceFor(found.list())).toBe(
      'Write dates as 2026-02-28. Write all numbers of a column in the same way, such as 1234.5. In JSON, write numbers, true, false and lists without quotes around them.',
    );
    found.add(6, { address: 'here', floor: 'ground' });
    expect(adviceFor(found.list())).toContain('Write JSON as {"key":"value"}.');
    expect(adviceFor(found.list().filter(({ type }) => type === 'date'))).toBe('Write dates as 2026-02-28.');
  });

  it('do not count inherited properties', () => {
    const found = createStrayTexts([], new Map([['toString', 'number']]));
    found.add(1, {});
    expect(found.list()).toEqual([]);
  });

  it('are counted for the types that the user chose', () => {
    const [level, floor] = matchHeader(['attributes.level', 'attributes.floor']);
    if (level === undefined || floor === undefined) throw new Error('The columns are missing.');
    const found = createStrayTexts([withType(level, 'number'), floor], known);
    found.add(1, { level: 1, floor: '3' });
    found.add(2, { level: '007' });
    expect(found.list().map(describeStray)).toEqual([
      'a text where other users have a number',
      'a text that is not a number',
    ]);
    expect(adviceFor(found.list())).toBe(
      'To change the type of a column, go back. Write all numbers of a column in the same way, such as 1234.5.',
    );
  });
});

describe('the template', () => {
  it('has a column for each attribute that a cell can contain', () => {
    expect(templateOf(known, ',').split('\n')).toEqual([
      '\ufefffirst_name,last_name,email,attributes.department,attributes.floor,attributes.start-date,attributes.remote,attributes.skills,attributes.homepage',
      'Ada,Lovelace,ada.lovelace@example.com,Example,3,2026-02-28,yes,"[""first"",""second""]",https://example.com',
      '',
    ]);
  });

  it('has only keys that a header can name, and no attributes if none are known', () => {
    const header = (all: KnownAttributes) => templateOf(all, ';').split('\n')[0];
    expect(header(new Map())).toBe('\ufefffirst_name;last_name;email');
    expect(header(new Map([' a ', '', 'd,e'].map((key) => [key, 'text'])))).toBe(
      '\ufefffirst_name;last_name;email;"attributes.d,e"',
    );
  });
});

describe.skipIf(browserMissing !== undefined)('attributes in an import on the page', () => {
  const site = useSite();
  const choose = useCsvFiles();

  beforeEach(async () => {
    await site.clear();
    const attributes = { department: 'Research', floor: 3, startDate: '2020-01-31', remote: true };
    await site.app.client.batchCreateUsers({
      users: [1, 2].map((at) => ({ firstName: 'Old', email: `old${at}@example.com`, attributes })),
    });
  });

  async function open(options?: OpenOptions): Promise<TestPage> {
    const opened = await site.open(`#dialog=import`, options);
    await dialog(opened.page).waitFor();
    return opened;
  }

  const field = (page: Page, name: string): Locator => dialog(page).getByLabel(`Field of ${name}`);
  const type = (page: Page, name: string): Locator => dialog(page).getByLabel(`Type of ${name}`);

  async function attributesOf(email: string): Promise<unknown> {
    for await (const user of site.app.client.exportAllUsers()) if (user.email === email) return user.attributes;
    return undefined;
  }

  it('that other users have are found by the names of columns, and offered for others', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'First name,E-mail,Department,Team\nAda,ada@example.com,Navy,ops\n');
    expect(await field(page, 'Department').inputValue()).toBe('attributes.department');
    expect(await field(page, 'Team').inputValue()).toBe('');
    const offered = field(page, 'Team').locator('optgroup[label=Attributes] option');
    expect((await offered.allTextContents()).sort()).toEqual(['department', 'floor', 'remote', 'startDate']);
    await field(page, 'Team').selectOption('startDate');
    await dialog(page).getByText('Imported as text, but other users have a date.').waitFor();
    await expectAccessible();
    await field(page, 'Team').selectOption('Attribute “Team”');
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported.').waitFor();
    expect(await dialog(page).locator('.stray-texts').count()).toBe(0);
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({ department: 'Navy', Team: 'ops' });
    expectNoFaults();
  });

  it('with another spelling of an existing name show a hint, and the keyboard is enough to name one', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    await choose(page, 'first_name,email,Abteilung\nAda,ada@example.com,Navy\n');
    const renamed = dialog(page).getByLabel('Attribute for Abteilung');
    const isFocused = (element: Element) => element === document.activeElement;
    const rename = async () => {
      await field(page, 'Abteilung').selectOption('Attribute with another name…');
      expect(await renamed.evaluate(isFocused)).toBe(true);
    };
    await rename();
    await renamed.fill('Department');
    await dialog(page).getByText('There is also “department”.').waitFor();
    await expectAccessible();
    await page.keyboard.press('Escape');
    await renamed.waitFor({ state: 'detached' });
    await expect.poll(() => field(page, 'Abteilung').evaluate(isFocused)).toBe(true);
    expect(await field(page, 'Abteilung').inputValue()).toBe('');
    await rename();
    await renamed.fill('Department');
    await page.keyboard.press('Enter');
    await expect.poll(() => field(page, 'Abteilung').evaluate(isFocused)).toBe(true);
    expect(await field(page, 'Abteilung').inputValue()).toBe('attributes.Department');
    await dialog(page).getByText('There is also “department”.').waitFor();
    await rename();
    await renamed.fill('department');
    await dialog(page).getByText('There is also').waitFor({ state: 'detached' });
    await page.keyboard.press('Enter');
    expect(await field(page, 'Abteilung').inputValue()).toBe('attributes.department');
    expectNoFaults();
  });

  it('that become text where other users have another type are named before the import', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const rows = Array.from({ length: 200 }, (_, at) => `U${at},u${at}@example.com,,2026-02-28,"{""floor"":${at}}"`);
    rows[0] = 'U0,u0@example.com,,2026-02-28,"{""floor"":""ground""}"';
    rows[4] = 'U4,u4@example.com,maybe,n/a,';
    rows[5] = 'U5,u5@example.com,YES,,';
    rows[6] = 'U6,u6@example.com,,28.2.2026,';
    await choose(page, `first_name,email,Remote,Start date,attributes\n${rows.join('\n')}\n`);
    expect(await type(page, 'Remote').inputValue()).toBe('boolean');
    expect(await type(page, 'Start date').inputValue()).toBe('dayFirstDate');
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported, but some values have another type').waitFor();
    expect(await dialog(page).locator('.stray-texts li').allTextContents()).toEqual([
      'floor: 1 of 200 rows has a text where other users have a number, such as “ground” in row 1 (line 2).',
      'remote: 1 of 200 rows has a text where other users have “Yes” or “No”, such as “maybe” in row 5 (line 6).',
      'startDate: 1 of 200 rows has a text where other users have a date, such as “n/a” in row 5 (line 6).',
    ]);
    await dialog(page)
      .getByText(
        'They are imported as text. Write all numbers of a column in the same way, such as 1234.5. Write yes or no. Write dates as 2026-02-28.',
      )
      .waitFor();
    await expectAccessible();
    await button(page, 'Import 200 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('u4@example.com')).toEqual({ remote: 'maybe', startDate: 'n/a' });
    expect(await attributesOf('u5@example.com')).toEqual({ remote: true });
    expect(await attributesOf('u6@example.com')).toEqual({ startDate: '2026-02-28' });
    expectNoFaults();
  });

  it('get the type that the user chooses, and the page says which values do not have it', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const rows = ['Ada,ada@example.com,7.50,no,5', 'Eva,eva@example.com,n/a,YES,6', 'Bo,bo@example.com,007,,7'];
    await choose(page, `first_name,email,Level,Vegan,Floor\n${rows.join('\n')}\n`);
    await button(page, 'Add them as attributes').click();
    expect(await type(page, 'Level').inputValue()).toBe('');
    expect(await type(page, 'Floor').inputValue()).toBe('number');
    await type(page, 'Level').selectOption('as number');
    await type(page, 'Vegan').selectOption('as yes or no');
    await type(page, 'Floor').selectOption('as text');
    const samples = dialog(page).locator('.columns tbody tr').nth(2).locator('.samples > span');
    expect(await samples.allTextContents()).toEqual(['7.5', 'n/a as text', '007 as text']);
    await dialog(page).getByText('Some cells are imported as text, because they are not a number.').waitFor();
    await expectAccessible();
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported, but some values have another type').waitFor();
    expect(await dialog(page).locator('.stray-texts li').allTextContents()).toEqual([
      'floor: all 3 rows have a text where other users have a number, such as “5” in row 1 (line 2).',
      'Level: 2 of 3 rows have a text that is not a number, such as “n/a” in row 2 (line 3).',
    ]);
    await button(page, 'Back').click();
    expect(await type(page, 'Level').inputValue()).toBe('pointNumber');
    await button(page, 'Check').click();
    await button(page, 'Import 3 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({ Level: 7.5, Vegan: false, floor: '5' });
    expect(await attributesOf('bo@example.com')).toEqual({ Level: '007', floor: '7' });
    expectNoFaults();
  });

  it('that are new get the type of all their cells, and stay texts if a number would change them', async () => {
    const { page, expectNoFaults } = await open();
    const rows = [
      'Ada,ada@example.com,7.50,no,31.12.2024,00123,+4930',
      'Eva,eva@example.com,12.00,YES,01.02.2025,45,+4940',
    ];
    await choose(page, `first_name,email,Level,Vegan,Since,Code,Phone\n${rows.join('\n')}\n`);
    await button(page, 'Add them as attributes').click();
    const types = await Promise.all(
      ['Level', 'Vegan', 'Since', 'Code', 'Phone'].map((name) =>
        type(page, name).locator('option:checked').textContent(),
      ),
    );
    expect(types).toEqual(['as number', 'as yes or no', 'as date', 'as text', 'as text']);
    const samples = (row: number) => dialog(page).locator('.columns tbody tr').nth(row).locator('.samples > span');
    expect(await samples(2).allTextContents()).toEqual(['7.5', '12']);
    expect(await samples(3).allTextContents()).toEqual(['No', 'Yes']);
    expect(await samples(4).allTextContents()).toEqual(['2024-12-31', '2025-02-01']);
    await type(page, 'Level').selectOption('as text');
    expect(await samples(2).allTextContents()).toEqual(['7.50', '12.00']);
    await button(page, 'Check').click();
    await button(page, 'Import 2 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    const attributes = { Level: '7.50', Vegan: false, Since: '2024-12-31', Code: '00123', Phone: '+4930' };
    expect(await attributesOf('ada@example.com')).toEqual(attributes);
    expectNoFaults();
  });

  it('are read as the whole file writes numbers and dates, and the user decides what the file does not', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const rows = [
      'Ada,ada@example.com,1.234,01.02.2024,01/02/2024,1',
      'Eva,eva@example.com,n/a,31.12.2024,,0',
      'Bo,bo@example.com,5,,,',
    ];
    rows.push('Cy,cy@example.com,"1.234,56",,03/04/2024,yes');
    await choose(page, `first_name,email,Floor,Start date,Seen,Vegan\n${rows.join('\n')}\n`);
    await button(page, 'Add them as attributes').click();
    const samples = (row: number) => dialog(page).locator('.columns tbody tr').nth(row).locator('.samples > span');
    expect(await samples(2).allTextContents()).toEqual(['1234', 'n/a as text', '5']);
    expect(await samples(3).allTextContents()).toEqual(['2024-02-01', '2024-12-31', 'empty']);
    expect(await type(page, 'Floor').locator('option:checked').textContent()).toBe('as number');
    expect(await type(page, 'Start date').locator('option:checked').textContent()).toBe('as date');
    expect(await type(page, 'Seen').locator('option:checked').textContent()).toBe('as text');
    await type(page, 'Seen').selectOption('as date (month first)');
    expect(await samples(4).allTextContents()).toEqual(['2024-01-02', 'empty', 'empty']);
    await type(page, 'Vegan').selectOption('as yes or no');
    expect(await samples(5).allTextContents()).toEqual(['Yes', 'No', 'empty']);
    await expectAccessible();
    await button(page, 'Check').click();
    await button(page, 'Import 4 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({
      floor: 1234,
      startDate: '2024-02-01',
      Seen: '2024-01-02',
      Vegan: true,
    });
    expect(await attributesOf('cy@example.com')).toEqual({ floor: 1234.56, Seen: '2024-03-04', Vegan: true });
    expectNoFaults();
  });

  it('stay texts if a comma or a point has two meanings, until the user chooses one', async () => {
    const { page, expectAccessible, expectNoFaults } = await open();
    const rows = ['Ada;ada@example.com;1,000;1.250;1.10', 'Eva;eva@example.com;2,500;2.000;1.9'];
    await choose(page, `sep=;\nfirst_name;email;Salary;Floor;Version\n${rows.join('\n')}\n`);
    await button(page, 'Add them as attributes').click();
    const samples = (row: number) => dialog(page).locator('.columns tbody tr').nth(row).locator('.samples > span');
    expect(await samples(2).allTextContents()).toEqual(['1,000', '2,500']);
    expect(await samples(4).allTextContents()).toEqual(['1.10', '1.9']);
    await dialog(page).getByText('These seem to be numbers. Choose whether 1,000 is 1000 or 1.').waitFor();
    // Other users have a number.
    await dialog(page).getByText('Choose whether 1.250 is 1.25 or 1250.').waitFor();
    await type(page, 'Salary').selectOption('as number (1,000 = 1)');
    expect(await samples(2).allTextContents()).toEqual(['1', '2.5']);
    await type(page, 'Salary').selectOption('as number (1,000 = 1000)');
    await type(page, 'Floor').selectOption('as number (1.250 = 1250)');
    await expectAccessible();
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported.').waitFor();
    await button(page, 'Import 2 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({ Salary: 1000, floor: 1250, Version: '1.10' });
    expect(await attributesOf('eva@example.com')).toEqual({ Salary: 2500, floor: 2000, Version: '1.9' });
    expectNoFaults();
  });

  it('fit on a phone', async () => {
    const { page, expectAccessibleIn } = await open({ width: 390, height: 800 });
    await choose(page, `first_name,email,Floor,Start date\nAda,ada@example.com,ground,n/a-${'x'.repeat(80)}\n`);
    const isWide = () => dialog(page).evaluate((element) => element.scrollWidth > element.clientWidth);
    await field(page, 'Floor').waitFor();
    expect(await isWide()).toBe(false);
    await expectAccessibleIn(['light', 'dark']);
    await button(page, 'Check').click();
    await dialog(page).getByText('the only row has a text where other users have a number').waitFor();
    expect(await isWide()).toBe(false);
    await expectAccessibleIn(['light', 'dark']);
  });

  it('keep their types if a rejected row is corrected in place', async () => {
    const { page, expectNoFaults } = await open();
    await choose(page, 'first_name,email,Floor,Remote\nAda,ada@example.com,7,no\nEva,nope,n/a,\n');
    await dialog(page).getByText('Some cells are imported as text, but other users have a number.').waitFor();
    await button(page, 'Check').click();
    await dialog(page).getByText('floor: 1 of 2 rows has a text where other users have a number').waitFor();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but one row was rejected').waitFor();
    await dialog(page).getByLabel('email in row 2').fill('eva@example.com');
    await dialog(page).getByLabel('Floor in row 2').fill('-1.5');
    await dialog(page).getByLabel('Remote in row 2').fill('true');
    await button(page, 'Send again').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({ floor: 7, remote: false });
    expect(await attributesOf('eva@example.com')).toEqual({ floor: -1.5, remote: true });
    expectNoFaults();
  });

  it('that cannot be read change nothing', async () => {
    const { page } = await open();
    await page.route('**/ListUsers*', (route) => route.abort());
    await choose(page, 'first_name,email,Department\nAda,ada@example.com,Navy\n');
    expect(await field(page, 'Department').inputValue()).toBe('');
    expect(await field(page, 'Department').locator('optgroup').count()).toBe(0);
    await button(page, 'Add it as an attribute').click();
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await attributesOf('ada@example.com')).toEqual({ Department: 'Navy' });
  });

  it.each(['en-GB', 'de-DE'])('are in a template, which can be imported as it is, in %s', async (locale) => {
    const { page, expectNoFaults } = await open({ context: { locale } });
    const [saved] = await Promise.all([page.waitForEvent('download'), button(page, 'Download a template').click()]);
    expect(saved.suggestedFilename()).toBe('users-template.csv');
    await choose(page, await readFile(await saved.path(), 'utf8'));
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported.').waitFor();
    expect(await dialog(page).locator('.stray-texts').count()).toBe(0);
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await counts(page)).toEqual({ Created: '1', Updated: '0', Skipped: '0', Rejected: '0' });
    expect(await attributesOf('ada.lovelace@example.com')).toEqual({
      department: 'Example',
      floor: 3,
      remote: true,
      startDate: '2026-02-28',
    });
    expectNoFaults();
  });
});
