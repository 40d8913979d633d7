/** The states and dialogs of the page that test/web/axe.test.ts walks through. */
import type { Page } from 'playwright-core';

const dialog = (page: Page) => page.getByRole('dialog');
const grid = (page: Page) => page.locator('[data-id]').first().waitFor();

export interface State {
  readonly name: string;
  readonly hash?: string;
  /** Whether a phone does not have it. */
  readonly isWide?: boolean;
  /** Prepares the page before it loads. */
  prepare?(page: Page): Promise<unknown>;
  /** Brings the page into the state, and waits for it. */
  enter(page: Page, width: number): Promise<unknown>;
}

const holdList = (page: Page) => page.route('**/ListUsers*', () => {});
const failList = (page: Page) => page.route('**/ListUsers*', (route) => route.fulfill({ status: 500 }));
const loseList = (page: Page) => page.route('**/ListUsers*', (route) => route.abort());
const press = async (page: Page, key: string) => {
  await grid(page);
  await page.keyboard.press(key);
};
const openPalette = async (page: Page) => {
  await press(page, 'Control+k');
  await dialog(page).getByRole('combobox').waitFor();
};

export const emptyDirectory: State = {
  name: 'empty-directory',
  enter: (page) => page.getByText('No users yet').waitFor(),
};

const chips = `#filter=${encodeURIComponent('last_name.contains("l") && email.endsWith("example.com")')}`;
const file = {
  name: 'users.csv',
  mimeType: 'text/csv',
  buffer: Buffer.from('Given name,Surname,E-Mail,Team\nMary,Shelley,mary@example.com,ops\nNobody,,nonsense,\n'),
};

export const states: readonly State[] = [
  { name: 'list', enter: grid },
  { name: 'no-match', hash: '#query=zzz', enter: (page) => page.getByText('No matches').waitFor() },
  {
    name: 'no-match-of-filter',
    hash: `#query=ada&filter=${encodeURIComponent('last_name == "zzz"')}`,
    enter: (page) => page.getByText('No matches').waitFor(),
  },
  { name: 'invalid-filter', hash: '#filter=nonsense', enter: (page) => page.getByText('filter is invalid').waitFor() },
  { name: 'loading', prepare: holdList, enter: (page) => page.getByText('Loading the list').waitFor() },
  { name: 'error', prepare: failList, enter: (page) => page.getByText('Cannot load the list').waitFor() },
  { name: 'unreachable', prepare: loseList, enter: (page) => page.getByText('Cannot reach the server').waitFor() },
  {
    name: 'offline',
    async enter(page) {
      await grid(page);
      await page.context().setOffline(true);
      await page.getByText('The list may be out of date').waitFor();
    },
  },
  {
    name: 'menu',
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: 'More', exact: true }).click();
      await page.getByRole('menuitem').first().waitFor();
    },
  },
  {
    name: 'palette',
    async enter(page) {
      await openPalette(page);
      await page.keyboard.type('a');
      await dialog(page).getByText('Ada Lovelace').waitFor();
    },
  },
  {
    name: 'palette-without-matches',
    async enter(page) {
      await openPalette(page);
      await page.keyboard.type('zzz');
      await dialog(page).getByText('Search the list for').waitFor();
    },
  },
  { name: 'keys', enter: (page) => press(page, '?').then(() => dialog(page).getByText('Anywhere').waitFor()) },
  {
    name: 'new-user',
    hash: '#user=new',
    enter: (page) => page.getByRole('complementary').getByRole('textbox', { name: 'Email' }).waitFor(),
  },
  { name: 'unknown-user', hash: '#user=zzz', enter: (page) => page.getByText('User not found').waitFor() },
  { name: 'import', hash: '#dialog=import', enter: (page) => dialog(page).getByText(/CSV/).first().waitFor() },
  { name: 'export', hash: '#dialog=export', enter: (page) => dialog(page).getByLabel('Format').waitFor() },
  {
    name: 'filter-fields',
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: 'Filter' }).click();
      await dialog(page).getByText('department').waitFor();
    },
  },
  {
    name: 'filter-chip',
    hash: chips,
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: /^Last name/ }).click();
      await dialog(page).getByRole('button', { name: 'Apply' }).waitFor();
    },
  },
  {
    name: 'filter-expression',
    hash: chips,
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: 'Advanced' }).click();
      await page.locator('.cm-content').waitFor();
    },
  },
  {
    name: 'selection',
    async enter(page) {
      await grid(page);
      await page.keyboard.press('/');
      await page.keyboard.press('ArrowDown');
      await page.locator('[data-id]:focus').waitFor();
      await page.keyboard.press('x');
      await page.getByRole('region', { name: 'Selection' }).waitFor();
    },
  },
  {
    name: 'columns',
    isWide: true,
    async enter(page) {
      await grid(page);
      await page.getByRole('button', { name: 'Columns and density' }).click();
      await page.getByText('Choose columns automatically').waitFor();
    },
  },
  {
    name: 'import-preview',
    hash: '#dialog=import',
    async enter(page) {
      await page.getByLabel('CSV file').setInputFiles(file);
      await dialog(page).getByText('Surname').first().waitFor();
    },
  },
  {
    name: 'import-check',
    hash: '#dialog=import',
    async enter(page) {
      await page.getByLabel('CSV file').setInputFiles(file);
      await dialog(page).getByRole('button', { name: 'Check' }).click();
      await dialog(page).getByText('To create').waitFor();
    },
  },
  {
    name: 'activity',
    hash: '#view=activity',
    enter: (page) => page.getByRole('heading', { name: 'Calls per second' }).waitFor(),
  },
  {
    name: 'activity-loading',
    hash: '#view=activity',
    prepare: (page) => page.route('**/metrics', () => {}),
    enter: (page) => page.getByText('Waiting for the first metrics').waitFor(),
  },
  {
    name: 'activity-error',
    hash: '#view=activity',
    prepare: (page) => page.route('**/metrics', (route) => route.fulfill({ status: 503 })),
    enter: (page) => page.getByText('The server returned no metrics').waitFor(),
  },
];
