/**
 * The states and dialogs of the page that test/web/axe.test.ts checks, as walks. A walk goes through several states of one
 * open page, because opening it takes longer than most steps.
 */
import type { Locator, Page } from 'playwright-core';

const dialog = (page: Page): Locator => page.getByRole('dialog');
const grid = (page: Page) => page.locator('[data-id]').first().waitFor();
const bar = (page: Page) => page.getByRole('region', { name: 'Selection' });

export interface Walk {
  readonly hash?: string;
  /** The widths of the window. The default is those of a phone and a laptop. */
  readonly widths?: readonly number[];
  /** Prepares the page before it loads. */
  prepare?(page: Page): Promise<unknown>;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly name: string;
  /** Brings the page into the state, and waits for it. */
  enter(page: Page, width: number): Promise<unknown>;
}

const holdList = (page: Page) => page.route('**/ListUsers*', () => {});
const failList = (page: Page) => page.route('**/ListUsers*', (route) => route.fulfill({ status: 500 }));
const loseList = (page: Page) => page.route('**/ListUsers*', (route) => route.abort());

/** Closes the dialog. */
async function leave(page: Page): Promise<void> {
  await page.keyboard.press('Escape');
  await dialog(page).waitFor({ state: 'hidden' });
}

const goTo = (page: Page, hash: string) =>
  page.evaluate((text) => {
    location.hash = text;
  }, hash);

const filterOf = (text: string) => `#filter=${encodeURIComponent(text)}`;
const chips = filterOf(
  [
    'attributes.level >= 0',
    'attributes.department in ["Mathematics", "Navy", "Research"]',
    'email.endsWith("example.com")',
    'last_name != "A very long last name that no screen of a phone can show on one line"',
  ].join(' && '),
);

export const emptyDirectory: Walk = {
  steps: [{ name: 'empty-directory', enter: (page) => page.getByText('No users yet').waitFor() }],
};

const list: Walk = {
  steps: [
    { name: 'list', enter: grid },
    {
      name: 'palette',
      async enter(page) {
        await page.keyboard.press('Control+k');
        await dialog(page).getByRole('combobox').fill('a');
        await dialog(page).getByText('Ada Lovelace').waitFor();
      },
    },
    {
      name: 'palette-without-matches',
      async enter(page) {
        await dialog(page).getByRole('combobox').fill('zzz');
        await dialog(page).getByText('Search the list for').waitFor();
      },
    },
    {
      name: 'keys',
      async enter(page) {
        await leave(page);
        await page.keyboard.press('?');
        await dialog(page).getByText('Anywhere').waitFor();
      },
    },
    {
      name: 'columns',
      async enter(page) {
        await leave(page);
        await page.getByRole('button', { name: /^Columns/ }).click();
        await page.getByText('Choose columns automatically').waitFor();
      },
    },
    {
      name: 'menu',
      async enter(page) {
        await leave(page);
        await page.getByRole('button', { name: 'More', exact: true }).click();
        await page.getByRole('menuitem').first().waitFor();
      },
    },
  ],
};

async function select(page: Page): Promise<void> {
  await grid(page);
  await page.keyboard.press('/');
  await page.keyboard.press('ArrowDown');
  await page.locator('[data-id]:focus').waitFor();
  await page.keyboard.press('x');
  await bar(page).waitFor();
}

const selection: Walk = {
  steps: [
    { name: 'selection', enter: select },
    ...['Export', 'Change attribute', 'Delete'].map((name) => ({
      name: `selection-${name.toLowerCase().replace(' ', '-')}`,
      async enter(page: Page) {
        if ((await dialog(page).count()) > 0) await leave(page);
        await bar(page)
          .getByRole('button', { name: `${name}…` })
          .click();
        await dialog(page).locator('input, select').first().waitFor();
      },
    })),
  ],
};

const filter: Walk = {
  hash: chips,
  steps: [
    {
      name: 'filter-chip',
      async enter(page) {
        await grid(page);
        await page.getByRole('button', { name: /^Last name/ }).click();
        await dialog(page).getByRole('button', { name: 'Apply' }).waitFor();
      },
    },
    {
      name: 'filter-fields',
      async enter(page) {
        await leave(page);
        await page.getByRole('button', { name: 'Filter', exact: true }).click();
        await dialog(page).getByText('department').waitFor();
      },
    },
    {
      name: 'filter-expression',
      async enter(page) {
        await leave(page);
        // Axe does not know that the editor can be focused, and it would complain about a text that scrolls.
        await goTo(page, filterOf('last_name.contains("l") && email.endsWith("example.com")'));
        await page.getByRole('button', { name: /^Last name contains/ }).waitFor();
        await page.getByRole('button', { name: 'Advanced' }).click();
        await page.locator('.cm-content').waitFor();
      },
    },
    {
      name: 'views',
      async enter(page) {
        await page.getByRole('button', { name: /^View: / }).click();
        await page
          .getByRole('textbox', { name: 'Save as a new view' })
          .fill('A view with quite a long name that does not fit anywhere');
        await page.keyboard.press('Enter');
        await page.getByRole('button', { name: /^View: A view/ }).click();
        await dialog(page).getByRole('button', { name: 'All users', exact: true }).waitFor();
      },
    },
    {
      name: 'offline',
      async enter(page) {
        await leave(page);
        await page.context().setOffline(true);
        await page.getByText('The list may be out of date').waitFor();
      },
    },
  ],
};

const noMatch: Walk = {
  hash: '#query=zzz',
  steps: [
    { name: 'no-match', enter: (page) => page.getByText('No matches').waitFor() },
    {
      name: 'no-match-of-filter',
      async enter(page) {
        await goTo(page, `${filterOf('last_name == "zzz"')}&query=ada`);
        await page.getByRole('list', { name: 'Filters' }).getByRole('listitem').waitFor();
        await page.getByText('No matches').waitFor();
      },
    },
  ],
};

const noUser: Walk = {
  hash: '#user=new',
  steps: [
    {
      name: 'new-user',
      enter: (page) => page.getByRole('complementary').getByRole('textbox', { name: 'Email' }).waitFor(),
    },
    {
      name: 'unknown-user',
      async enter(page) {
        await goTo(page, '#user=zzz');
        await page.getByText('User not found').waitFor();
      },
    },
  ],
};

const files: Walk = {
  hash: '#dialog=export',
  steps: [
    { name: 'export', enter: (page) => dialog(page).getByLabel('Format').waitFor() },
    {
      name: 'import',
      async enter(page) {
        await leave(page);
        await goTo(page, '#dialog=import');
        await dialog(page).getByText(/CSV/).first().waitFor();
      },
    },
    {
      name: 'import-preview',
      async enter(page, width) {
        const rows = [`Mary,Shelley,mary-${width}@example.com,ops`, 'Nobody,,nonsense,'];
        const buffer = Buffer.from(`Given name,Surname,Login,Team\n${rows.join('\n')}\n`);
        await page.getByLabel('CSV file').setInputFiles({ name: 'users.csv', mimeType: 'text/csv', buffer });
        await dialog(page).getByText('Choose a column for Email.').waitFor();
        await dialog(page).getByText('Surname').first().waitFor();
      },
    },
    {
      name: 'import-check',
      async enter(page) {
        await dialog(page).getByLabel('Field of Login').selectOption('Email');
        await dialog(page).getByRole('button', { name: 'Check' }).click();
        await dialog(page).getByText('would be rejected').first().waitFor();
      },
    },
    {
      name: 'import-report',
      async enter(page) {
        await dialog(page).getByRole('button', { name: 'Import 1 user' }).click();
        await dialog(page).getByText('but one row was rejected').waitFor();
      },
    },
  ],
};

const metrics: Walk = {
  hash: '#view=metrics',
  steps: [
    {
      name: 'metrics',
      async enter(page) {
        await page.getByRole('heading', { name: 'Calls per second' }).waitFor();
        await page.getByText('Show as a table').click();
        await page.getByRole('row', { name: /users_search/ }).waitFor();
        await page.locator('.metrics table').getByRole('row').nth(1).waitFor();
      },
    },
  ],
};

/** The walks of one step. */
const single = (name: string, enter: Step['enter'], options: Omit<Walk, 'steps'> = {}): Walk => ({
  ...options,
  steps: [{ name, enter }],
});

/** In a directory with the users of the test. */
export const walks: readonly Walk[] = [
  list,
  selection,
  single('selection-on-a-tablet-and-a-desktop', select, { widths: [768, 1920] }),
  filter,
  noMatch,
  noUser,
  files,
  metrics,
  single('invalid-filter', (page) => page.getByText('filter is invalid').waitFor(), { hash: '#filter=nonsense' }),
  single('loading', (page) => page.getByText('Loading the list').waitFor(), { prepare: holdList }),
  single('error', (page) => page.getByText('Cannot load the list').waitFor(), { prepare: failList }),
  single('unreachable', (page) => page.getByText('Cannot reach the server').waitFor(), { prepare: loseList }),
  single('metrics-loading', (page) => page.getByText('Waiting for the first metrics').waitFor(), {
    hash: '#view=metrics',
    prepare: (page) => page.route('**/metrics', () => {}),
  }),
  single('metrics-error', (page) => page.getByText('The server returned no metrics').waitFor(), {
    hash: '#view=metrics',
    prepare: (page) => page.route('**/metrics', (route) => route.fulfill({ status: 503 })),
  }),
];
