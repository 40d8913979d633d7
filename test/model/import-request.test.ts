/** Tests the messages of an import's stream. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createImportParser, importUsersMax } from '../../src/model/import-request.js';
import { noFields, parseWith, type UserInput, userFieldsSchema, validateUser } from '../../src/model/user.js';

const options = { onConflict: 2, keepGoing: true, validateOnly: true, mergeAttributes: false };

/** The bad fields of the last message. */
function refusalOf(...messages: object[]): unknown {
  const parse = createImportParser();
  const last = messages.pop();
  for (const message of messages) parse({ users: [], ...message });
  try {
    parse({ users: [], ...last });
  } catch (error) {
    return (error as { violations: { field: string }[] }).violations.map(({ field }) => field);
  }
  return undefined;
}

describe('a message of an import', () => {
  it('may have options if it is the first one, or gets the defaults', () => {
    expect(createImportParser()({ options, users: [] })).toEqual({
      options: { onConflict: 'update', keepGoing: true, validateOnly: true, mergeAttributes: false },
      users: [],
    });
    expect(createImportParser()({ options: undefined, users: [], totalRows: 0 })).toEqual({
      options: { onConflict: 'reject', keepGoing: false, validateOnly: false, mergeAttributes: false },
      users: [],
      totalRows: 0,
    });
    expect(refusalOf({ options }, { options })).toEqual(['options']);
    expect(refusalOf({}, { options })).toEqual(['options']);
    expect(refusalOf({ options: { ...options, onConflict: 3 } })).toEqual(['options.on_conflict']);
    expect(refusalOf({ options: { ...options, onConflict: -1 } })).toEqual(['options.on_conflict']);
  });

  it('has a limited number of users, which are not checked', () => {
    const users = Array.from({ length: importUsersMax }, () => ({}));
    expect(createImportParser()({ users }).users).toBe(users);
    expect(refusalOf({ users: [...users, {}] })).toEqual(['users']);
  });

  it('has the total number of users if it is the last one', () => {
    expect(refusalOf({ totalRows: -1 })).toEqual(['total_rows']);
    expect(refusalOf({}, { totalRows: 0 })).toBeUndefined();
    expect(refusalOf({ totalRows: 0 }, {})).toEqual(['total_rows']);
    expect(refusalOf({ totalRows: 0 }, { totalRows: 0 })).toEqual(['total_rows']);
  });
});

describe('validateUser', () => {
  it('returns the first violation of the schema', () => {
    const user = fc.record({
      firstName: fc.constantFrom('Ada', '', ' ', '\0', '\ud800', 'x'.repeat(257)),
      lastName: fc.constantFrom('', 'Lovelace', '\t', 'x'.repeat(257)),
      email: fc.constantFrom('ada@example.com', '', 'ada', 'a da@example.com', `${'x'.repeat(256)}@x`),
      profileImageUrl: fc.constantFrom('', 'https://example.com', 'example.com', 'https://exa mple.com'),
      attributes: fc.constantFrom<UserInput['attributes']>(undefined, {}, { a: [1] }, { a: '\0' }, { a: Number.NaN }),
    });
    fc.assert(
      fc.property(user, (input) => {
        let first: unknown;
        try {
          parseWith(userFieldsSchema, { ...noFields, ...input });
        } catch (error) {
          [first] = (error as { violations: unknown[] }).violations;
        }
        expect(validateUser({ ...noFields, ...input })).toEqual(first);
      }),
    );
  });
});
