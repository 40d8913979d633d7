/** Tests the columns of an import that are names: whole names, and files without names. */
import { readFile } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { matchHeader } from '../../src/user-files/header.js';
import { withFullName } from '../../web/import/import-file.js';
import { browserMissing } from './browser.js';
import { button, counts, dialog, useCsvFiles } from './import-dialog.js';
import { useSite } from './site.js';

describe('the column of whole names', () => {
  const fields = (header: string[], ...samples: string[][]) =>
    withFullName(matchHeader(header), samples).map(({ field }) => field);

  it('is found by its name', () => {
    expect(fields(['Full name', 'E-mail'])).toEqual(['full_name', 'email']);
    expect(fields(['Name', 'full_name'], ['Ada King', 'Ada King'])).toEqual(['', 'full_name']);
    expect(fields(['NAME'], ['Ada King'], ['Madonna'], ['King, Ada'])).toEqual(['full_name']);
    expect(fields(['Employee name'], ['Ada King'])).toEqual(['full_name']);
  });

  it('is not guessed if other columns are names, or if its cells are single words', () => {
    expect(fields(['First name', 'Full name'])).toEqual(['first_name', '']);
    expect(fields(['Name', 'Surname'], ['Ada', 'King'])).toEqual(['', 'last_name']);
    expect(fields(['Vorname', 'Name'], ['Ada', 'King'], ['Eva', 'von Berg'])).toEqual(['first_name', '']);
    expect(fields(['Etunimi', 'Name'], ['Ada', 'King'], ['Eva', 'von Berg'])).toEqual(['', '']);
    expect(fields(['Name'])).toEqual(['']);
    expect(fields(['User name', 'Company name'], ['Ada King', 'Acme Ltd'])).toEqual(['', '']);
  });
});

describe.skipIf(browserMissing !== undefined)('names in an import on the page', () => {
  const site = useSite();
  const choose = useCsvFiles();

  beforeEach(site.clear);

  async function names(): Promise<string[]> {
    const users = await Array.fromAsync(site.app.client.exportAllUsers());
    return users.map(({ firstName, lastName }) => `${firstName}|${lastName}`);
  }

  it('are split if one column has whole names', async () => {
    const { page, expectAccessible, expectNoFaults } = await site.open('#dialog=import');
    const rows = [
      'Ada Lovelace,a@example.com',
      'Madonna,m@example.com',
      '"Hopper, Grace",g@example.com',
      ',x@example.com',
    ];
    const long = `${'x'.repeat(3_000)} Long,l@example.com`;
    await choose(page, `Name,E-Mail\n${rows.join('\n')}\n${long}\n`);
    const field = dialog(page).getByLabel('Field of Name');
    expect(await field.inputValue()).toBe('full_name');
    expect(await dialog(page).locator('.samples').first().locator(':scope > span').allTextContents()).toEqual([
      'first Ada last Lovelace',
      'first Madonna',
      'first Grace last Hopper',
    ]);
    await dialog(page).getByText('Split at the last space, or at the comma').waitFor();
    await expectAccessible();
    await button(page, 'Check').click();
    await button(page, 'Import 3 users').click();
    await dialog(page).getByText('but 2 rows were rejected').waitFor();
    const why = await dialog(page).locator('.rejected .why').allTextContents();
    expect(why).toEqual(['First name: is empty', expect.stringMatching(/^First name: must have/)]);
    expect(await names()).toEqual(['Ada|Lovelace', 'Madonna|', 'Grace|Hopper']);
    const cell = dialog(page).getByRole('textbox', { name: 'Name in row 4', exact: true });
    expect(await cell.getAttribute('aria-invalid')).toBe('true');
    await cell.fill('Eva Berg');
    await button(page, 'Send again').click();
    await dialog(page).getByText('but one row was rejected').waitFor();
    expect(await names()).toContain('Eva|Berg');
    expectNoFaults();
  });

  it('must not come from a column of whole names and another column', async () => {
    const { page } = await site.open('#dialog=import');
    await choose(page, 'Full name,Given,E-Mail\nAda Lovelace,Ada,a@example.com\n');
    await dialog(page).getByLabel('Field of Given').selectOption('First name');
    await dialog(page).getByText('“Full name” is both names, and “Given” is the first name. Ignore one').waitFor();
    await dialog(page).getByLabel('Field of Full name').selectOption('Ignore');
    await dialog(page).getByText('is both names').waitFor({ state: 'detached' });
  });

  it('are not needed for an update, which says what it changes', async () => {
    const attributes = { city: 'Oslo', floor: 3 };
    await site.app.client.batchCreateUsers({
      users: [
        ...['a', 'b', 'c'].map((name) => ({
          firstName: name,
          lastName: 'Old',
          email: `${name}@example.com`,
          attributes,
        })),
        ...Array.from({ length: 200 }, (_, at) => ({ firstName: 'U', lastName: `${at}`, email: `u${at}@example.com` })),
      ],
    });
    const { page, expectAccessible, expectNoFaults } = await site.open('#dialog=import');
    const rows = ['A@example.com,Paris,3', 'b@example.com,Oslo,3', 'new@example.com,Rome,1', 'c@example.com,,4'];
    const many = Array.from({ length: 200 }, (_, at) => `u${at}@example.com,City,`);
    await choose(page, `E-Mail,attributes.city,attributes.floor\n${[...rows, ...many].join('\n')}\n`);
    await dialog(page).getByText('Choose a column for First name. If one column has whole names').waitFor();
    await dialog(page).getByText('If the file only updates users, choose to update').waitFor();
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await dialog(page).getByText('Choose a column').waitFor({ state: 'detached' });
    await button(page, 'Check').click();
    await dialog(page).getByText('One row would be rejected.').waitFor();
    expect(await counts(page)).toEqual({
      'To create': '0',
      'To update': '202',
      Unchanged: '1',
      'To reject': '1',
    });
    expect(await dialog(page).locator('.reasons tbody td').first().textContent()).toBe(
      'First name: No user has this email, and a new user needs a first name.',
    );
    expect(await dialog(page).locator('.change-examples li').allTextContents()).toEqual([
      'Email: a@example.com →becomes A@example.com',
      'city: Oslo →becomes Paris',
      'floor: 3 →becomes 4',
      'city: empty →becomes City',
    ]);
    await expectAccessible();
    await button(page, 'Import 202 users').click();
    await dialog(page).getByText('but one row was rejected').waitFor();
    expect(await counts(page)).toEqual({ Created: '0', Updated: '202', Unchanged: '1', Rejected: '1' });
    const users = await Array.fromAsync(site.app.client.exportAllUsers());
    expect(users.find(({ email }) => email === 'c@example.com')).toMatchObject({
      firstName: 'c',
      lastName: 'Old',
      attributes: { city: 'Oslo', floor: 4 },
    });
    expect(users.filter(({ attributes }) => attributes?.city === 'City')).toHaveLength(200);
    expectNoFaults();
  });

  it('of new users in an update are entered among the rejected rows', async () => {
    await site.app.client.createUser({ user: { firstName: 'Old', email: 'a@example.com' } });
    const { page, expectAccessible, expectNoFaults } = await site.open('#dialog=import');
    const rows = ['a@example.com,7,Oslo', 'new@example.com,2,Rome', 'third@example.com,2,Rome,extra'];
    await choose(page, `Email,attributes.level,attributes.city\n${rows.join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('but 2 rows were rejected').waitFor();
    await dialog(page).getByText('No user has this email, and a new user needs a first name.').waitFor();
    expect(await dialog(page).locator('.rejected thead th').allTextContents()).toEqual([
      'Row',
      'Problem',
      'First name',
      'Email',
      'attributes.level',
      'attributes.city',
      'Cell 4',
    ]);
    // Another problem comes first.
    expect(await dialog(page).getByLabel('First name in row 3').count()).toBe(0);
    await dialog(page).getByLabel('Cell 4 in row 3').fill('');
    // It is still too long when it is sent again.
    await dialog(page).getByLabel('First name in row 2').fill('N'.repeat(300));
    await expectAccessible();
    await button(page, 'Send again').click();
    await dialog(page).getByLabel('First name in row 3').waitFor();
    expect(await dialog(page).getByLabel('First name in row 2').inputValue()).toBe('N'.repeat(300));
    await dialog(page).getByLabel('First name in row 2').fill(' Nora ');
    const clicked = button(page, 'Download rejected rows').click();
    const [download] = await Promise.all([page.waitForEvent('download'), clicked]);
    const csv = await readFile(await download.path(), 'utf8');
    expect(csv.split('\n').map((line) => line.split(',').slice(-4))).toEqual([
      ['first_name', 'Email', 'attributes.level', 'attributes.city'],
      [' Nora ', 'new@example.com', '2', 'Rome'],
      ['third@example.com', '2', 'Rome', ''],
      [''],
    ]);
    await dialog(page).getByLabel('First name in row 3').fill('Tara');
    await button(page, 'Send again').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect((await names()).toSorted()).toEqual(['Nora|', 'Old|', 'Tara|']);
    expectNoFaults();
  });

  it('that a row of an update changes are not undone by a later row without a name', async () => {
    await site.app.client.createUser({ user: { firstName: 'Old', email: 'a@example.com' } });
    const { page } = await site.open('#dialog=import');
    await choose(page, 'First name,E-Mail,attributes.city\nNew,a@example.com,\n,A@example.com,Rome\n');
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await dialog(page)
      .getByRole('button', { name: /^Import 2/ })
      .click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await names()).toEqual(['New|']);
  });

  it('that somebody changes during an update are kept, except in the rows that are being sent', async () => {
    const emails = Array.from({ length: 120 }, (_, at) => `u${at}-${'long'.repeat(at < 60 ? 1 : 15)}@example.com`);
    const { users } = await site.app.client.batchCreateUsers({
      users: emails.map((email) => ({ firstName: 'Old', email })),
    });
    const { page, expectNoFaults } = await site.open('#dialog=import');
    await choose(page, `E-Mail,attributes.city\n${emails.map((email) => `${email},Rome`).join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 120 users').waitFor();
    let writes = 0;
    const reads: number[] = [];
    // The list may read users, too.
    page.on('request', (request) => {
      if (request.postData()?.includes('email in [')) reads.push(writes);
    });
    await page.route('**/ImportUsers', async (route) => {
      writes++;
      for (const user of writes === 1 ? users.slice(50) : []) {
        await site.app.client.updateUser({ user: { id: user.id, firstName: 'New' }, updateMask: ['first_name'] });
      }
      await route.continue();
    });
    await button(page, 'Import 120 users').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    const after = await Array.fromAsync(site.app.client.exportAllUsers());
    expect(after.filter(({ firstName }) => firstName === 'New')).toHaveLength(70);
    expect(after.filter(({ attributes }) => attributes?.city === 'Rome')).toHaveLength(120);
    // One call reads the names of each group, right before its write.
    expect(reads).toEqual(Array.from({ length: writes }, (_, at) => at));
    expectNoFaults();
  });

  it('that cannot be read leave their rows unsent, and the import can continue', async () => {
    const emails = Array.from({ length: 60 }, (_, at) => `u${at}@example.com`);
    await site.app.client.batchCreateUsers({ users: emails.map((email) => ({ firstName: 'Old', email })) });
    const { page } = await site.open('#dialog=import');
    await choose(page, `E-Mail,attributes.city\n${emails.map((email) => `${email},Rome`).join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 60 users').waitFor();
    await page.route('**/ListUsers', (route) => route.abort('connectionreset'));
    await button(page, 'Import 60 users').click();
    await dialog(page).getByText('The server does not accept rows at the moment.').waitFor();
    await button(page, 'Stop').click();
    await dialog(page).getByText('60 rows are left.').waitFor();
    expect(await dialog(page).getByText('may or may not be in the directory').count()).toBe(0);
    await page.unroute('**/ListUsers');
    await button(page, 'Continue').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await counts(page)).toEqual({ Created: '0', Updated: '60', Unchanged: '0', Rejected: '0' });
  });

  it('of an update change only the name that a cell has', async () => {
    await site.app.client.createUser({ user: { firstName: 'Old', lastName: 'Name', email: 'a@example.com' } });
    const { page } = await site.open('#dialog=import');
    await choose(page, 'Full name,E-Mail\nMadonna,a@example.com\n');
    await dialog(page).getByLabel('If an email is taken').selectOption('Update the user who has the email');
    await button(page, 'Check').click();
    await button(page, 'Import 1 user').click();
    await dialog(page).getByText('The import is complete.').waitFor();
    expect(await counts(page)).toMatchObject({ Updated: '1' });
    expect(await names()).toEqual(['Madonna|Name']);
  });
});
