/** Tests the requests of each method and the paths of their violations. test/model/user.test.ts tests the fields. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import {
  parseBatchCreateUsers,
  parseBatchGetUsers,
  parseCreateProfile,
  parseCreateUser,
  parseDeleteUser,
  parseExportUsers,
  parseGetUser,
  parseGetUserByEmail,
  parseListUsers,
  parseResolveUsers,
  parseWatchUsers,
} from '../../src/model/requests.js';
import { parseUpdateUser, patchAttributes } from '../../src/model/update-request.js';
import { type JsonObject, noFields } from '../../src/model/user.js';

const id = '0190a5b0-1234-7abc-8def-0123456789ab';
const ada = {
  ...noFields,
  firstName: 'Ada',
  lastName: 'Lovelace',
  email: 'ada@example.com',
  profileImageUrl: 'https://example.com/ada.png',
  attributes: { department: 'engines' } as JsonObject,
};
/** A user with output-only fields, as in the generated messages. */
const message = { ...ada, id: '', displayName: '', createTime: undefined, updateTime: undefined, etag: '' };

function faultOf(parse: () => unknown): Fault {
  try {
    parse();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('the request was taken');
}

/** The paths of the bad fields, in order. */
function badFields(parse: () => unknown): string[] {
  const fault = faultOf(parse);
  expect(fault).toMatchObject({ reason: 'INVALID_FIELD', code: 'INVALID_ARGUMENT' });
  for (const { description } of fault.violations) expect(description).not.toBe('');
  return fault.violations.map((violation) => violation.field);
}

describe('parseCreateUser', () => {
  const parse = (user: object | undefined, requestId = '') => parseCreateUser({ user, requestId });

  it('reads the writable fields and ignores the rest', () => {
    const sent = { ...message, id: 'not an id', displayName: 'X', createTime: new Date(0), etag: 'v9' };
    expect(parse(sent)).toEqual({ fields: ada, requestId: undefined });
  });

  it('accepts a user with only a first name and an email', () => {
    const fields = { ...noFields, firstName: 'Plato', email: 'a@b' };
    expect(parse({ ...fields, attributes: undefined }).fields).toEqual(fields);
  });

  it('does not change texts', () => {
    const fields = { ...ada, firstName: '  e\u0301 ', email: 'ADA@Exa\u0301mple.COM' };
    expect(parse(fields).fields).toEqual(fields);
  });

  it('reads a request id in either case', () => {
    expect(parse(ada, id.toUpperCase()).requestId).toBe(id);
  });

  it.each(['x', `${id} `, ` ${id}`, `{${id}}`, id.replaceAll('-', ''), `${id}0`, id.replace('0', 'g'), `${id}\n`])(
    'refuses the request id %j',
    (requestId) => {
      const fault = faultOf(() => parse(ada, requestId));
      expect(fault.violations).toEqual([{ field: 'request_id', description: 'must be a UUID or empty' }]);
    },
  );

  it('refuses a request without a user', () => {
    expect(faultOf(() => parse(undefined)).violations).toEqual([{ field: 'user', description: 'is required' }]);
  });

  it('returns all violations at once', () => {
    const bad = {
      ...message,
      firstName: ' ',
      lastName: 'a\n',
      email: 'this',
      profileImageUrl: 'x',
      attributes: { a: Number.NaN },
    };
    expect(badFields(() => parse(bad, 'x'))).toEqual([
      'user.first_name',
      'user.last_name',
      'user.email',
      'user.profile_image_url',
      'user.attributes',
      'request_id',
    ]);
  });

  it('does not repeat the request in the error', () => {
    const secret = 'MyHiddenValue';
    const fault = faultOf(() =>
      parse(
        {
          ...noFields,
          firstName: `${secret}\0`,
          lastName: `${secret}\n`,
          email: `${secret}@`,
          profileImageUrl: secret,
          attributes: { [secret]: `${secret}\0` },
        },
        secret,
      ),
    );
    expect(fault.violations).toHaveLength(6);
    expect(JSON.stringify([fault.message, fault.violations])).not.toContain(secret);
  });

  it('has the number of further violations in its message', () => {
    expect(faultOf(() => parse({ ...ada, email: 'x', firstName: '' })).message).toMatch(
      /^user\.first_name: .* \(and 1 more\)$/,
    );
    expect(faultOf(() => parse({ ...ada, email: 'x' })).message).toMatch(/^user\.email: [^(]*$/);
  });
});

describe('parseBatchCreateUsers', () => {
  const parse = (users: unknown[], requestId = '') => parseBatchCreateUsers({ users, requestId });

  it('accepts 0 and 1000 users', () => {
    expect(parse([])).toEqual({ users: [], requestId: undefined });
    expect(parse(Array(1000).fill(message)).users).toEqual(Array(1000).fill(ada));
  });

  it('refuses 1001 users with a single violation', () => {
    expect(badFields(() => parse(Array(1001).fill({ ...ada, email: 'x' }), 'x'))).toEqual(['users', 'request_id']);
  });

  it('names the bad fields of every user by index, counted from 0', () => {
    const users: object[] = Array(100).fill(message);
    users[0] = { ...message, firstName: '' };
    users[57] = { ...message, email: 'this', profileImageUrl: 'x' };
    users[99] = { ...message, attributes: { a: undefined } };
    expect(badFields(() => parse(users, 'x'))).toEqual([
      'users[0].first_name',
      'users[57].email',
      'users[57].profile_image_url',
      'users[99].attributes',
      'request_id',
    ]);
  });

  it('returns the violations of a thousand users', () => {
    expect(badFields(() => parse(Array(1000).fill({ ...ada, email: '' })))).toHaveLength(1000);
  });
});

describe('parseCreateProfile', () => {
  it('accepts any text as an email', () => {
    expect(parseCreateProfile({ firstName: 'lets', lastName: 'do', email: 'this' })).toEqual({
      ...noFields,
      firstName: 'lets',
      lastName: 'do',
      email: 'this',
    });
  });

  it('refuses a missing first name and a missing email, with the names of the first contract', () => {
    expect(badFields(() => parseCreateProfile({ firstName: '', lastName: '', email: '' }))).toEqual([
      'first_name',
      'email',
    ]);
  });
});

describe('ids', () => {
  it('are read in either case and returned in lower case', () => {
    expect(parseGetUser({ id: id.toUpperCase() })).toEqual({ id });
    expect(parseBatchGetUsers({ ids: [id.toUpperCase(), id] })).toEqual({ ids: [id, id] });
    expect(parseDeleteUser({ id: id.toUpperCase(), etag: '', allowMissing: false }).id).toBe(id);
    expect(parseUpdateUser({ user: { ...message, id: id.toUpperCase() }, updateMask: [] }).id).toBe(id);
  });

  it('may have any version, even all zeros', () => {
    expect(parseGetUser({ id: '00000000-0000-0000-0000-000000000000' }).id).toBe(
      '00000000-0000-0000-0000-000000000000',
    );
  });

  it.each(['', 'x', ` ${id}`, `${id}\n`, `{${id}}`, `urn:uuid:${id}`, id.replaceAll('-', ''), id.slice(1), `${id}a`])(
    'that are malformed are refused, each by its path: %j',
    (bad) => {
      expect(badFields(() => parseGetUser({ id: bad }))).toEqual(['id']);
      expect(badFields(() => parseDeleteUser({ id: bad, etag: '', allowMissing: true }))).toEqual(['id']);
      expect(badFields(() => parseBatchGetUsers({ ids: [id, bad, id, bad] }))).toEqual(['ids[1]', 'ids[3]']);
      expect(badFields(() => parseUpdateUser({ user: { ...message, id: bad }, updateMask: [] }))).toEqual(['user.id']);
    },
  );

  it('may be 0 to 1000 in a batch, but not 1001', () => {
    expect(parseBatchGetUsers({ ids: [] })).toEqual({ ids: [] });
    expect(parseBatchGetUsers({ ids: Array(1000).fill(id) }).ids).toHaveLength(1000);
    expect(badFields(() => parseBatchGetUsers({ ids: Array(1001).fill('x') }))).toEqual(['ids']);
  });
});

describe('parseGetUserByEmail', () => {
  it.each(['this', 'a@b', ' ', 'a\nb'])('accepts %j, which the first contract may have stored', (email) => {
    expect(parseGetUserByEmail({ email })).toEqual({ email });
  });

  it('accepts 1 to 256 characters that can be stored', () => {
    expect(parseGetUserByEmail({ email: '😀'.repeat(256) }).email).toHaveLength(512);
    for (const email of ['', 'a'.repeat(257), '😀'.repeat(257), '\0', '\ud800']) {
      expect(badFields(() => parseGetUserByEmail({ email }))).toEqual(['email']);
    }
  });
});

describe('parseDeleteUser', () => {
  it('reads the version from the etag', () => {
    const parse = (etag: string) => parseDeleteUser({ id, etag, allowMissing: true });
    expect(parse('')).toEqual({ id, version: undefined, allowMissing: true });
    expect(parse('vz')).toEqual({ id, version: 35, allowMissing: true });
    expect(parse('vz.rs')).toEqual({ id, version: 35, updateTime: new Date(1000), allowMissing: true });
    expect(parse('anything else')).toEqual({ id, version: 0, allowMissing: true });
  });

  it.each(['a\0', 'a\ud800'])('refuses an etag that cannot be stored: %j', (etag) => {
    expect(badFields(() => parseDeleteUser({ id, etag, allowMissing: true }))).toEqual(['etag']);
  });
});

describe('parseUpdateUser', () => {
  const parse = (user: object, updateMask?: string[]) =>
    parseUpdateUser({ user: { ...message, id, ...user }, updateMask });
  const patchOf = (user: object, updateMask?: string[]) => parse(user, updateMask).patch;
  const empty = { ...noFields, attributes: undefined };

  it('reads the etag', () => {
    expect(parse({ etag: 'v1' })).toMatchObject({ version: 1 });
    expect(parse({ etag: 'v1.rs' })).toMatchObject({ version: 1, updateTime: new Date(1000) });
    expect(parse({ etag: '' }).version).toBeUndefined();
    expect(parse({ etag: 'W/"1"' }).version).toBe(0);
  });

  it('with an empty mask or without one writes the fields that are set, so it clears nothing', () => {
    const set = Object.fromEntries(Object.entries(ada).filter(([, value]) => value !== ''));
    for (const mask of [undefined, []]) {
      expect(patchOf({}, mask)).toEqual(set);
      expect(patchOf({ ...empty, lastName: 'King' }, mask)).toEqual({ lastName: 'King' });
      expect(patchOf(empty, mask)).toEqual({});
      expect(patchOf({ ...empty, attributes: {} }, mask)).toEqual({});
    }
  });

  it('with "*" alone writes every field, so it clears unset ones', () => {
    expect(patchOf({ ...empty, firstName: 'Plato', email: 'a@b' }, ['*'])).toEqual({
      ...noFields,
      firstName: 'Plato',
      email: 'a@b',
    });
    expect(badFields(() => parse(empty, ['*']))).toEqual(['user.first_name', 'user.email']);
  });

  it('writes the fields in the mask and does not check others', () => {
    const bad = { firstName: '\0', lastName: '\0', email: 'x', profileImageUrl: 'x', attributes: { a: Number.NaN } };
    expect(patchOf({ ...bad, lastName: 'King' }, ['last_name'])).toEqual({ lastName: 'King' });
    expect(patchOf({ ...bad, profileImageUrl: '' }, ['profile_image_url'])).toEqual({ profileImageUrl: '' });
    expect(patchOf({ ...bad, attributes: undefined }, ['attributes'])).toEqual({ attributes: {} });
  });

  it('accepts a path that occurs twice', () => {
    expect(patchOf({}, ['last_name', 'last_name'])).toEqual({ lastName: 'Lovelace' });
    expect(patchOf({}, ['attributes.a', 'attributes.a']).attributeKeys).toEqual(new Map([['a', undefined]]));
  });

  it.each([
    'id',
    'display_name',
    'create_time',
    'update_time',
    'etag',
    'no_such_field',
    'firstName',
    'user.first_name',
    'first_name.x',
    'attribute',
    'attributes[0]',
    '',
    ' first_name',
    'FIRST_NAME',
    '**',
    '__proto__',
  ])('refuses the path %j by its index', (path) => {
    expect(badFields(() => parse({}, ['last_name', path]))).toEqual(['update_mask.paths[1]']);
  });

  it('refuses "*" together with other paths', () => {
    const fault = faultOf(() => parse({}, ['last_name', '*']));
    expect(fault.violations).toEqual([{ field: 'update_mask.paths[1]', description: '"*" must be the only path' }]);
    expect(badFields(() => parse({}, ['*', '*']))).toEqual(['update_mask.paths[0]', 'update_mask.paths[1]']);
  });

  it('returns all violations at once', () => {
    const bad = {
      id: 'x',
      firstName: '',
      lastName: '\n',
      email: 'this',
      profileImageUrl: 'x',
      attributes: { a: '\0' },
    };
    const mask = ['first_name', 'last_name', 'id', 'email', 'profile_image_url', 'attributes', 'x'];
    expect(badFields(() => parse(bad, mask)).sort()).toEqual([
      'update_mask.paths[2]',
      'update_mask.paths[6]',
      'user.attributes',
      'user.email',
      'user.first_name',
      'user.id',
      'user.last_name',
      'user.profile_image_url',
    ]);
  });

  it.each(['a\0', 'a\ud800'])('refuses an etag and a path that cannot be stored: %j', (text) => {
    expect(badFields(() => parse({ etag: text }, ['email', `attributes.${text}`]))).toEqual([
      'user.etag',
      'update_mask.paths[1]',
    ]);
  });

  it('refuses a request without a user', () => {
    expect(badFields(() => parseUpdateUser({ user: undefined, updateMask: ['last_name'] }))).toEqual(['user']);
  });

  it('leaves an email that only the first contract accepts to the operation, which knows the current email', () => {
    const { patch, emailViolation, violations } = parse({ email: 'this' }, ['email', 'last_name']);
    expect(patch).toEqual({ email: 'this', lastName: 'Lovelace' });
    expect(emailViolation?.field).toBe('user.email');
    expect(violations).toEqual([]);
    expect(parse({ email: 'this', lastName: '\n' }, ['email', 'last_name']).violations).toHaveLength(1);
  });

  it('refuses an email that no user can have immediately', () => {
    for (const email of ['', 'a'.repeat(257), '\0', '\ud800']) {
      expect(badFields(() => parse({ email }, ['email']))).toEqual(['user.email']);
    }
  });

  describe('for single keys of the attributes', () => {
    const keysOf = (attributes: JsonObject | undefined, ...paths: string[]) =>
      patchOf({ attributes }, paths).attributeKeys;

    it('sets keys with a value and removes keys without one', () => {
      expect(keysOf({ a: 1, b: null, c: 3 }, 'attributes.a', 'attributes.b', 'attributes.d')).toEqual(
        new Map<string, unknown>([
          ['a', 1],
          ['b', null],
          ['d', undefined],
        ]),
      );
      expect(keysOf(undefined, 'attributes.a')).toEqual(new Map([['a', undefined]]));
    });

    it('reads everything after the first dot as the key', () => {
      const attributes: JsonObject = { 'a.b': 1, a: { b: 2 }, ' ': 3, 'é"`\\': 4, attributes: 5 };
      expect(keysOf(attributes, 'attributes.a.b', 'attributes. ', 'attributes.é"`\\', 'attributes.attributes')).toEqual(
        new Map([
          ['a.b', 1],
          [' ', 3],
          ['é"`\\', 4],
          ['attributes', 5],
        ]),
      );
    });

    it.each([
      ['attributes.fields.department', { department: 'ops' }],
      ['attributes.address.city', { address: { city: 'Paris' } }],
      ['attributes.fields.address.struct_value.fields.city', { address: { city: 'Paris' } }],
      ['attributes.`cost center`', { 'cost center': 7 }],
      ['attributes.`cost center`.code', { 'cost center': { code: 7 } }],
      ['attributes.fields.`cost center`', { 'cost center': 7 }],
      ['attributes.tags[0]', { tags: ['a'] }],
      ['attributes.address["city"]', { address: { city: 'Paris' } }],
      ['attributes.address.', { address: null }],
      ['attributes.a.b.c', { 'a.b': { c: 1 } }],
      ['attributes.a.b.c', { a: { 'b.c': 1 } }],
      ['attributes.a.b.c.d', { 'a.b.c': { d: 1 } }],
      ['attributes.fields.a.b.c', { 'a.b': { c: 1 } }],
      ['attributes.`a.b`.c', { 'a.b': { c: 1 } }],
      ['attributes.`a`.`b`.c', { 'a.b': { c: 1 } }],
      ['attributes.a.`b`', { 'a.b': 1 }],
      ['attributes.a["b"].c', { 'a.b': { c: 1 } }],
      ['attributes.cost_center.code', { costCenter: { code: 7 } }],
      ['attributes.costCenter.code', { cost_center: { code: 7 } }],
      ['attributes..a', { '': { a: 1 } }],
    ])('refuses %s if the request has the value under the whole key', (path, attributes: JsonObject) => {
      const { violations } = faultOf(() => keysOf({ ...attributes, other: 1 }, 'attributes.other', path));
      expect(violations).toEqual([
        {
          field: 'update_mask.paths[1]',
          description:
            'must name a whole key of attributes, as in attributes.department; it cannot point into the value of a key',
        },
      ]);
    });

    it('refuses a key in snake_case or camelCase if the request has it only in the other case', () => {
      for (const [held, named] of [
        ['costCenter', 'cost_center'],
        ['cost_center', 'costCenter'],
        ['main.costCenter', 'main.cost_center'],
      ] as const) {
        const { violations } = faultOf(() => keysOf({ [held]: 7 }, `attributes.${named}`));
        expect(violations).toEqual([
          { field: 'update_mask.paths[0]', description: expect.stringContaining('use the path "attributes"') },
        ]);
      }
      expect(keysOf({ costCenter: 7 }, 'attributes.cost_center', 'attributes.costCenter')).toEqual(
        new Map<string, unknown>([
          ['cost_center', undefined],
          ['costCenter', 7],
        ]),
      );
      expect(keysOf({ other: 1 }, 'attributes.cost_center')).toEqual(new Map([['cost_center', undefined]]));
    });

    it('removes a key with dots if the request has no value under its first part', () => {
      for (const key of ['address.city', 'fields.department', '`cost center`', 'tags[0]', '.a', '`', 'fields.']) {
        expect(keysOf({ other: 1 }, `attributes.${key}`)).toEqual(new Map([[key, undefined]]));
      }
      // The value of `address` is also written, so nothing is lost.
      expect(keysOf({ address: 1 }, 'attributes.address', 'attributes.address.city')).toEqual(
        new Map<string, unknown>([
          ['address', 1],
          ['address.city', undefined],
        ]),
      );
      expect(patchOf({ attributes: { address: 1 } }, ['attributes', 'attributes.address.city'])).toEqual({
        attributes: { address: 1 },
      });
    });

    it('sets a key with any number of dots, and refuses to remove one with more dots than values have levels', () => {
      const key = 'a.'.repeat(100);
      expect(keysOf({ [key]: 1 }, `attributes.${key}`)).toEqual(new Map([[key, 1]]));
      expect(keysOf({ b: 1 }, `attributes.${'a.'.repeat(32)}`)).toEqual(new Map([['a.'.repeat(32), undefined]]));
      expect(faultOf(() => keysOf({ b: 1 }, `attributes.${'a.'.repeat(33)}`)).violations).toEqual([
        { field: 'update_mask.paths[0]', description: expect.stringContaining('at most 32 dots') },
      ]);
    });

    it('checks the longest masks quickly', () => {
      const attributes = Object.fromEntries(Array.from({ length: 500 }, (_, index) => ['_a`'.repeat(index), 1]));
      const masks = [
        Array.from({ length: 5000 }, (_, index) => `attributes.${'`_.'.repeat(10)}${index}`),
        [`attributes.${'.'.repeat(200_000)}`],
        [`attributes.${'_a["'.repeat(50_000)}`],
      ];
      const start = process.cpuUsage();
      for (const mask of masks) {
        try {
          keysOf(attributes, ...mask);
        } catch {}
      }
      // CPU time of this process in microseconds: tens of thousands if linear, minutes if quadratic.
      expect(process.cpuUsage(start).user).toBeLessThan(3_000_000);
    });

    it('does not read inherited properties as keys', () => {
      expect(keysOf({}, 'attributes.constructor.name')).toEqual(new Map([['constructor.name', undefined]]));
      for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
        expect(keysOf({}, `attributes.${key}`)).toEqual(new Map([[key, undefined]]));
      }
      expect(keysOf(JSON.parse('{"__proto__":1}'), 'attributes.__proto__')).toEqual(new Map([['__proto__', 1]]));
    });

    it('is overridden by attributes if the mask names both', () => {
      const patch = patchOf({ attributes: { a: 1 } }, ['attributes.b', 'attributes']);
      expect(patch).toEqual({ attributes: { a: 1 } });
    });

    it('refuses an invalid value, and does not check keys outside the mask', () => {
      expect(badFields(() => keysOf({ a: Number.NaN }, 'attributes.a'))).toEqual(['user.attributes']);
      expect(badFields(() => keysOf({ a: 'a'.repeat(16_384) }, 'attributes.a'))).toEqual(['user.attributes']);
      expect(keysOf({ a: Number.NaN, b: 1 }, 'attributes.b')).toEqual(new Map([['b', 1]]));
    });

    it('refuses a value without a kind, which does not remove the key', () => {
      const attributes: JsonObject = { b: 1 };
      Object.assign(attributes, { a: undefined });
      expect(badFields(() => keysOf(attributes, 'attributes.a'))).toEqual(['user.attributes']);
      expect(keysOf(attributes, 'attributes.b')).toEqual(new Map([['b', 1]]));
    });
  });
});

describe('patchAttributes', () => {
  const user = (attributes: JsonObject) => ({
    ...ada,
    id,
    createTime: new Date(0),
    updateTime: new Date(0),
    version: 1,
    attributes,
  });

  it('sets and deletes keys like properties, even __proto__', () => {
    const key = fc.constantFrom('a', 'b', '', '__proto__', 'constructor');
    const object = fc
      .uniqueArray(fc.tuple(key, fc.integer()), { selector: ([k]) => k })
      .map(Object.fromEntries<number>);
    const patch = fc.array(fc.tuple(key, fc.option(fc.integer(), { nil: undefined })));
    fc.assert(
      fc.property(object, patch, (before, changes) => {
        const expected = new Map(Object.entries(before));
        for (const [k, value] of changes) value === undefined ? expected.delete(k) : expected.set(k, value);
        const sent = user(before);
        const after = patchAttributes(sent, new Map(changes));
        // If a key occurs twice, a Map keeps the last entry. The loop above does not if that entry is a removal.
        const last = new Map(changes);
        for (const [k, value] of last) value === undefined ? expected.delete(k) : expected.set(k, value);
        expect(new Map(Object.entries(after))).toEqual(expected);
        expect(sent.attributes).toBe(before);
      }),
    );
  });

  it('refuses attributes that become too large together', () => {
    const half = 'a'.repeat(9_000);
    expect(badFields(() => patchAttributes(user({ a: half }), new Map([['b', half]])))).toEqual(['user.attributes']);
    expect(
      patchAttributes(
        user({ a: half }),
        new Map([
          ['b', half],
          ['a', undefined],
        ]),
      ),
    ).toEqual({ b: half });
  });
});

describe('parseListUsers', () => {
  const request = { pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: false };
  const parse = (changes: Partial<typeof request>) => parseListUsers({ ...request, ...changes });

  it('accepts an empty request', () => {
    expect(parse({})).toEqual({
      pageSize: 50,
      pageToken: '',
      filter: undefined,
      words: [],
      orderBy: [{ field: 'create_time', descending: false }],
      includeTotalSize: false,
      scope: { filter: '', query: '', orderBy: '' },
    });
  });

  it.each([
    [0, 50],
    [1, 1],
    [1000, 1000],
    [1001, 1000],
    [2 ** 31 - 1, 1000],
  ])('reads a page size of %d as %d', (sent, read) => {
    expect(parse({ pageSize: sent }).pageSize).toBe(read);
  });

  it.each([-1, -(2 ** 31)])('refuses a page size of %d', (pageSize) => {
    expect(badFields(() => parse({ pageSize }))).toEqual(['page_size']);
  });

  it('splits a query into distinct words at any white space', () => {
    expect(parse({ query: ' ada\tLovelace \u00a0ada\u3000%_\\ ' }).words).toEqual(['ada', 'Lovelace', '%_\\']);
    expect(parse({ query: ' \n ' }).words).toEqual([]);
  });

  it('accepts a query of 256 characters, and refuses longer ones and text that cannot be stored', () => {
    expect(parse({ query: '😀'.repeat(256) }).words).toHaveLength(1);
    for (const query of ['😀'.repeat(257), 'a'.repeat(257), 'a\0', '\ud800']) {
      expect(badFields(() => parse({ query }))).toEqual(['query']);
    }
  });

  it('keeps the texts of the page token’s scope as they were sent', () => {
    const scope = { filter: ' first_name == "Ada"', query: ' a ', orderBy: ' email , create_time desc' };
    expect(parse(scope).scope).toEqual(scope);
  });

  it('returns all violations and the most specific reason', () => {
    const fault = faultOf(() => parse({ pageSize: -1, filter: '(', query: '\0', orderBy: 'x' }));
    expect(fault.violations.map((violation) => violation.field)).toEqual(['page_size', 'filter', 'query', 'order_by']);
    expect(fault.reason).toBe('INVALID_FILTER');
    expect(faultOf(() => parse({ pageSize: -1, orderBy: 'x' })).reason).toBe('INVALID_ORDER_BY');
    expect(faultOf(() => parse({ filter: '(' })).reason).toBe('INVALID_FILTER');
  });
});

describe('parseExportUsers', () => {
  it('reads the filter and keeps its text', () => {
    const text = 'first_name == "Ada"';
    const { filter, filterText, resumeToken } = parseExportUsers({ filter: text, resumeToken: 'x' });
    expect(filter).toMatchObject({ kind: 'compare' });
    expect([filterText, resumeToken]).toEqual([text, 'x']);
    expect(parseExportUsers({ filter: '', resumeToken: '' }).filter).toBeUndefined();
  });

  it('refuses an invalid filter', () => {
    expect(faultOf(() => parseExportUsers({ filter: '(', resumeToken: '' })).reason).toBe('INVALID_FILTER');
  });
});

describe('parseResolveUsers', () => {
  const parse = (request: { tag?: string; ids?: string[]; emails?: string[] }) =>
    parseResolveUsers({ tag: '', ids: [], emails: [], ...request });

  it('keeps ids as they were written next to their lower-case form', () => {
    const ids = [id.toUpperCase(), id];
    expect(parse({ tag: ' 😀\n', ids, emails: ['this'] })).toEqual({
      tag: ' 😀\n',
      ids: [id, id],
      emails: ['this'],
      idsAsSent: ids,
    });
  });

  it('returns all violations at once', () => {
    const request = { tag: '😀'.repeat(257), ids: [id, 'x'], emails: ['', 'a@b', '\0', 'a'.repeat(257)] };
    expect(badFields(() => parse(request))).toEqual(['tag', 'ids[1]', 'emails[0]', 'emails[2]', 'emails[3]']);
    expect(parse({ tag: '😀'.repeat(256) }).tag).toHaveLength(512);
  });

  it.each(['a\0', 'a\ud800'])('refuses a tag that cannot be stored: %j', (tag) => {
    expect(badFields(() => parse({ tag }))).toEqual(['tag']);
  });

  it('accepts 1000 ids and emails together', () => {
    const some = (count: number, text: string) => Array.from({ length: count }, () => text);
    expect(parse({ ids: some(400, id), emails: some(600, 'a@b') }).ids).toHaveLength(400);
    expect(badFields(() => parse({ ids: some(401, 'x'), emails: some(600, '') }))).toEqual(['ids']);
  });
});

describe('parseWatchUsers', () => {
  const heartbeatOf = (heartbeat?: { seconds: number; nanos: number }) =>
    parseWatchUsers({ resumeToken: '', includeExisting: false, heartbeat }).heartbeatMs;

  it('reads a heartbeat of 100 ms to 10 minutes, or 10 s if it is 0 or unset', () => {
    expect(heartbeatOf()).toBe(10_000);
    expect(heartbeatOf({ seconds: 0, nanos: 0 })).toBe(10_000);
    expect(heartbeatOf({ seconds: 0, nanos: 100_000_000 })).toBe(100);
    expect(heartbeatOf({ seconds: 600, nanos: 0 })).toBe(600_000);
  });

  it.each([
    { seconds: 0, nanos: 99_999_999 },
    { seconds: 600, nanos: 1 },
    { seconds: -1, nanos: 0 },
    { seconds: 2 ** 62, nanos: 0 },
    { seconds: -(2 ** 63), nanos: 0 },
  ])('refuses a heartbeat out of this range: %j', (heartbeat) => {
    expect(badFields(() => heartbeatOf(heartbeat))).toEqual(['heartbeat']);
  });

  it.each([
    { seconds: 1, nanos: -500_000_000 },
    { seconds: -1, nanos: 1 },
    { seconds: 0, nanos: 1_500_000_000 },
    { seconds: 1, nanos: 1_000_000_000 },
  ])('refuses a heartbeat that is not a duration: %j', (heartbeat) => {
    const { violations } = faultOf(() => heartbeatOf(heartbeat));
    expect(violations).toEqual([
      { field: 'heartbeat', description: expect.stringContaining('must be a valid Duration') },
    ]);
  });
});
