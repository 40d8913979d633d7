/** Matching the columns of a file to fields, by the names that common tools write. */
import { describe, expect, it } from 'vitest';
import { findDuplicate, matchHeader, missingFields } from '../../src/user-files/header.js';

const fieldsOf = (header: readonly string[], given?: ReadonlyMap<string, string>) =>
  matchHeader(header, given).map(({ field, isIgnored }) => (isIgnored ? 'ignored' : field));

describe('a column is known', () => {
  it.each([
    [
      'first_name',
      ['first_name', 'firstName', 'First Name', 'FIRST NAME', 'First_Name', 'first-name', 'First.Name', ' first name '],
    ],
    [
      'first_name',
      [
        'Given name',
        'givenName',
        'Forename',
        'First Name [Required]',
        'First name (required)',
        'name.givenName',
        'Vorname',
      ],
    ],
    [
      'last_name',
      ['Last Name', 'lastName', 'Surname', 'sn', 'Family name', 'Last Name [Required]', 'name.familyName', 'Nachname'],
    ],
    ['email', ['Email', 'E-mail', 'EMAIL', 'E-Mail Address', 'Email address', 'Mail', 'Primary email', 'primaryEmail']],
    ['email', ['Email Address [Required]', 'E-mail 1 - Value', 'EmailAddress', 'emails.value']],
    ['profile_image_url', ['Profile Image URL', 'profileImageUrl', 'Image URL', 'Photo URL', 'avatar_url']],
    ['attributes.Cost.Center', ['attributes.Cost.Center', 'Attributes.Cost.Center']],
    ['ignored', ['id', 'ID', 'Display Name', 'displayName', 'create_time', 'updateTime', 'etag', 'error_field']],
    [
      '',
      ['login', 'userPrincipalName', 'Recovery Email', 'secondEmail', 'profileUrl', 'Name', 'attributes.', 'user_id'],
    ],
  ])('as %j by each of %j', (field, names) => {
    for (const name of names) expect([name, ...fieldsOf([name])]).toEqual([name, field]);
  });

  it('in the exports of Okta, Google Workspace, Microsoft Entra ID and LDAP', () => {
    const okta = ['login', 'firstName', 'lastName', 'middleName', 'email', 'displayName', 'secondEmail'];
    expect(fieldsOf(okta)).toEqual(['', 'first_name', 'last_name', '', 'email', 'ignored', '']);
    const google = [
      'First Name [Required]',
      'Last Name [Required]',
      'Email Address [Required]',
      'Org Unit Path [Required]',
    ];
    expect(fieldsOf(google)).toEqual(['first_name', 'last_name', 'email', '']);
    const entra = ['userPrincipalName', 'displayName', 'surname', 'mail', 'givenName', 'id', 'alternateEmailAddress'];
    expect(fieldsOf(entra)).toEqual(['', 'ignored', 'last_name', 'email', 'first_name', 'ignored', '']);
    expect(fieldsOf(['DN', 'objectClass', 'sn', 'givenName', 'mail'])).toEqual([
      '',
      '',
      'last_name',
      'first_name',
      'email',
    ]);
  });
});

it('prefers a field’s own name to other names', () => {
  expect(fieldsOf(['mail', 'email', 'first_name'])).toEqual(['', 'email', 'first_name']);
});

it('prefers a given column to any name, in any case', () => {
  const given = new Map([['WORK MAIL', 'email']]);
  expect(fieldsOf(['Work mail', 'email', 'first_name'], given)).toEqual(['email', '', 'first_name']);
  expect(fieldsOf(['Mail', 'mail'], new Map([['mail', 'email']]))).toEqual(['', 'email']);
});

it('drops columns without a name at the end, but not in between', () => {
  expect(fieldsOf(['first_name', '', 'email', '', ' '])).toEqual(['first_name', '', 'email']);
});

it('finds columns for the same field, and fields without a column', () => {
  expect(findDuplicate(matchHeader(['first_name', 'mail', 'x', 'Email address']))).toEqual({
    field: 'email',
    indexes: [1, 3],
  });
  expect(findDuplicate(matchHeader(['attributes.a', 'attributes.A', 'x', 'x', 'id', 'id']))).toBeUndefined();
  expect(missingFields(matchHeader(['Mail', 'Surname']))).toEqual(['first_name']);
});
