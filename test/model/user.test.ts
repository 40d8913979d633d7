/** Tests the limits of each field of a user. test/model/requests.test.ts tests the paths of violations. */

import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { validateEmail, validateLegacyEmail } from '../../src/model/email.js';
import { Fault } from '../../src/model/fault.js';
import { hasAtMost } from '../../src/model/text.js';
import {
  attributesSchema,
  displayName,
  etagOf,
  isRequiredVersion,
  parseEtag,
  parseWith,
  textSchemas,
  validateAttributes,
} from '../../src/model/user.js';

const { firstName: firstNameSchema, lastName: lastNameSchema, profileImageUrl: profileImageUrlSchema } = textSchemas;
const astral = '𝔸';

/** The violation of a value, or undefined if it is valid. */
function refusalOf(schema: Parameters<typeof parseWith>[0], value: unknown): string | undefined {
  try {
    parseWith(schema, value);
    return undefined;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect(error.violations).toHaveLength(1);
    return error.violations[0]?.description;
  }
}

describe('hasAtMost', () => {
  it('counts code points, like spreading a string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), fc.nat(20), (text, max) => {
        expect(hasAtMost(text, max)).toBe([...text].length <= max);
      }),
    );
  });
});

describe('a name', () => {
  it.each([
    ['one letter', 'A'],
    ['256 ASCII letters', 'a'.repeat(256)],
    ['256 characters outside the basic plane', astral.repeat(256)],
    ['blanks around letters', '  Ada  '],
    ['decomposed letters', 'e\u0301'],
    ['markup', '<b>\'"; drop table users; --'],
    ['an emoji of several code points', '👩‍👩‍👧'],
  ])('may be %s', (_, name) => {
    expect(parseWith(firstNameSchema, name)).toBe(name);
    expect(parseWith(lastNameSchema, name)).toBe(name);
  });

  it.each([
    ['257 ASCII letters', 'a'.repeat(257), 'at most 256 characters'],
    ['257 characters outside the basic plane', astral.repeat(257), 'at most 256 characters'],
    ['U+0000', 'A\0', 'control characters'],
    ['a line break', 'A\nB', 'control characters'],
    ['a tab', 'A\tB', 'control characters'],
    ['U+007F', 'A\u007f', 'control characters'],
    ['U+0085', 'A\u0085B', 'control characters'],
    ['a lone high surrogate', 'A\ud800', 'well-formed'],
    ['a lone low surrogate', '\udc00A', 'well-formed'],
    ['surrogates in the wrong order', 'A\udc00\ud800', 'well-formed'],
  ])('must not have %s', (_, name, said) => {
    expect(refusalOf(firstNameSchema, name)).toContain(said);
    expect(refusalOf(lastNameSchema, name)).toContain(said);
  });

  it.each(['', ' ', '   ', '\u00a0', '\u3000 \u2003'])('that is %j is not a first name', (name) => {
    expect(refusalOf(firstNameSchema, name)).toBe('must have 1 to 256 characters, at least one of them visible');
  });

  it.each([
    ['a zero-width space', '\u200b'],
    ['a Hangul filler', '\u3164'],
    ['a halfwidth Hangul filler', '\uffa0'],
    ['an empty Braille pattern', '\u2800'],
    ['a soft hyphen', '\u00ad'],
    ['a bidi override', '\u202e'],
    ['a byte order mark', '\ufeff'],
    ['a word joiner', '\u2060'],
    ['joiners', '\u200c\u200d'],
    ['a variation selector', '\ufe0f'],
    ['tag characters', '\u{e0041}\u{e007f}'],
    ['a null notehead', '\u{1d159}'],
    ['an annotation anchor', '\ufff9'],
    ['a combining mark', '\u0301'],
    ['an enclosing mark', '\u20dd'],
    ['a spacing mark', '\u0903'],
    ['a private character', '\ue000'],
    ['a private character of another plane', '\u{10fffd}'],
    ['an unassigned character', '\u0378'],
    ['a noncharacter', '\uffff'],
    ['an object replacement character', '\ufffc'],
    ['a replacement character', '\ufffd'],
    ['a blank hieroglyph', '\u{13441}'],
    ['half a blank hieroglyph', '\u{13442}'],
    ['several of these and blanks', ' \u200b\u2800\u3164\u00a0\u202e'],
  ])('that has only %s is not a first name', (_, name) => {
    expect(refusalOf(firstNameSchema, name)).toBe('must have 1 to 256 characters, at least one of them visible');
  });

  it.each([
    ['Hebrew with direction marks', '\u200fדוד\u200f'],
    ['Persian with a zero-width non-joiner', 'می\u200cخواهم'],
    ['a Hangul filler before a vowel', '\u115fᅡ'],
    ['a letter after a byte order mark', '\ufeffA'],
    ['a letter and a private character', 'A\ue000'],
    ['a Thai vowel sign between letters', 'กิน'],
  ])('may have invisible and visible characters: %s', (_, name) => {
    expect(parseWith(firstNameSchema, name)).toBe(name);
  });

  it('may be empty if it is the last name', () => {
    expect(parseWith(lastNameSchema, '')).toBe('');
  });

  it('is displayed without a trailing blank if there is no last name', () => {
    expect(displayName({ firstName: 'Ada', lastName: 'Lovelace' })).toBe('Ada Lovelace');
    expect(displayName({ firstName: 'Plato', lastName: '' })).toBe('Plato');
  });
});

describe('an email', () => {
  it.each([
    'a@b',
    'ada@example.com',
    'Ada.Lovelace+tag@Mail.Example.COM',
    "!#$%&'*+/=?^_`{|}~-@example.com",
    'ädä@exämple.com',
    '用户@例子.公司',
    '😀@example.com',
    'İ@x',
    '"ada lovelace"@example.com',
    '"ada\\"lovelace"@example.com',
    '"a@b"@example.com',
    'ada@[127.0.0.1]',
    'ada@[IPv6:2001:db8::1]',
    'ada@xn--exmple-cua.com',
    'ada@XN--Bcher-KVA.example',
    'ada@mail.bücher.xn--fsqu00a',
    'xn--a@axn--b.com',
    'ADA@BÜCHER.EXAMPLE',
    'ada@straße.de',
    'ADA@STRAẞE.DE',
    'ΆΔΑ@ΚΌΣΜΟΣ.gr',
    'άδα@κόσμος.gr',
    'ada@cafe\u0301.example',
    'עדה@קום.example',
    'علی@می\u200cخواهم.ir',
    'می\u200cخواهم@example.ir',
    'क्\u200dष@example.in',
    'ada@क्\u200dष.in',
    'i❤\ufe0f@i❤\ufe0f.ws',
    'ada@💩.la',
    'ada@[IPv6:::ffff:127.0.0.1]',
    'ada@[255.249.10.0]',
    'ada@[IPv6:::1]',
    'ada@[ipv6:2001:DB8:0:0:1::]',
    'ada@1.example',
    'ada@1.2a',
    'ada@1-2',
  ])('may be %s', (email) => {
    expect(validateEmail(email)).toBeUndefined();
  });

  it('may have 256 characters, whatever their plane', () => {
    expect(validateEmail(`${'a'.repeat(254)}@b`)).toBeUndefined();
    expect(validateEmail(`${astral.repeat(254)}@b`)).toBeUndefined();
  });

  it.each([
    'this',
    '@',
    'a@',
    '@b',
    'a@@b',
    'a@b@c',
    'a b@c',
    'a@b c',
    ' a@b',
    'a@b ',
    '.a@b',
    'a.@b',
    'a..a@b',
    'a@b.',
    'a@.b',
    'a@b..c',
    'a@-b',
    'a@b-',
    'a@b.-c',
    'a@b_c',
    'a@[b]',
    'a@[2001:db8::1]',
    'a@[]',
    'a@[127.0.0.1',
    'Ada <ada@example.com>',
    '<ada@example.com>',
    'mailto:ada@exa:mple.com',
    'a@b,c@d',
    'a@b, c@d',
    'a@b;c@d',
    '""@example.com',
    '"a"b"@example.com',
    '"a\\"@example.com',
    'a(comment)@example.com',
    'a\u00a0b@example.com',
    'a\u3000b@example.com',
    'a\ufeff@example.com',
    '"a\u00a0b"@example.com',
  ])('must not be %j', (email) => {
    expect(validateEmail(email)).toBe('must be one email address, like ada@example.com');
  });

  it.each([
    ['a zero-width space', '\u200b'],
    ['a word joiner', '\u2060'],
    ['a soft hyphen', '\u00ad'],
    ['a bidi override', '\u202e'],
    ['a bidi embedding', '\u202a'],
    ['a bidi isolate', '\u2066'],
    ['a direction mark', '\u200f'],
    ['an Arabic letter mark', '\u061c'],
    ['the replacement character', '\ufffd'],
    ['a private character', '\ue000'],
    ['a private character of another plane', '\u{10fffd}'],
    ['a noncharacter', '\uffff'],
    ['an unassigned character', '\u0378'],
    ['a Hangul filler', '\u3164'],
    ['a halfwidth Hangul filler', '\uffa0'],
    ['a Hangul choseong filler', '\u115f'],
    ['a tag character', '\u{e0061}'],
    ['a grapheme joiner', '\u034f'],
    ['a text variation selector', '\ufe0e'],
    ['a variation selector of another plane', '\u{e0100}'],
    ['an empty Braille pattern', '\u2800'],
    ['a null notehead', '\u{1d159}'],
    ['an annotation anchor', '\ufff9'],
    ['an object replacement character', '\ufffc'],
    ['a blank hieroglyph', '\u{13441}'],
    ['a joiner between Latin letters', '\u200d'],
    ['a non-joiner between Latin letters', '\u200c'],
    ['an emoji selector after a letter', '\ufe0f'],
  ])('must not have %s', (_, character) => {
    for (const email of [`a${character}b@example.com`, `"a${character} b"@example.com`, `a@b${character}b.example`]) {
      expect(validateEmail(email)).toBe('must not contain invisible, private-use or unassigned characters');
    }
  });

  it.each([
    ['an ideographic dot', 'a@b。com'],
    ['a full-width dot', 'a@b．com'],
    ['a halfwidth ideographic dot', 'a@b｡com'],
    ['a full-width letter', 'a@ｂ.com'],
    ['a full-width digit', 'a@b１.com'],
    ['a Roman numeral', 'a@ⅷ.com'],
    ['a ligature', 'a@ﬁ.com'],
    ['a mathematical letter', 'a@𝔸.com'],
    ['nothing but a mark', 'a@\u0301a.com'],
    ['mixed directions', 'a@אa.com'],
    ['invalid Punycode', 'a@xn--a.com'],
    ['Punycode of a letter in upper case', 'a@xn--bcher-2pa.com'],
    ['Punycode of a ligature', 'a@xn--jm6c.com'],
    ['Punycode of a misplaced joiner', 'a@xn--ab-m1t.com'],
  ])('must not have a domain with %s', (_, email) => {
    expect(validateEmail(email)).toBe(
      'must have a valid domain name, with ordinary dots and without compatibility characters such as full-width letters',
    );
  });

  it.each(['256.1.1.1', '1.2.3', '1.2.3.4.5', '127.0.0.01', '...', 'IPv6:1', 'IPv6::::', 'IPv6:1.2.3.4', 'ipv6:g::'])(
    'must not have the address [%s]',
    (address) => {
      expect(validateEmail(`ada@[${address}]`)).toMatch(/must have a valid IP address|must be one email address/);
    },
  );

  it.each([
    'IPv6:0:0:0:0:0:0:0:1',
    'IPv6:0000:0000:0000:0000:0000:0000:0000:0001',
    'IPv6:::0001',
    'IPv6:::0:1',
    'IPv6:2001:db8:0::1',
    'IPv6:2001:0db8::1',
    'IPv6:2001:db8::0:0:1:0:0',
    'IPv6:::ffff:7f00:1',
    'IPv6:2001:db8::1:0.0.0.1',
  ])('must not have the address [%s], which has a shorter spelling', (address) => {
    expect(validateEmail(`ada@[${address}]`)).toBe(
      'must have the IPv6 address in its shortest form (RFC 5952), like [IPv6:2001:db8::1]',
    );
  });

  it.each(['1.2.3.4', '127.1', '999', '1', 'a.1', 'mail.example.007', 'bücher.1', '0x7f.1'])(
    'must not have the domain %s, whose last label has only digits',
    (domain) => {
      expect(validateEmail(`ada@${domain}`)).toBe(
        'must have a domain whose last part is not a number; an IP address needs brackets, like ada@[192.0.2.1]',
      );
    },
  );

  it('may have 63 bytes in each label of the domain and 253 in all, counted in ASCII', () => {
    const long = (...lengths: number[]) => `a@${lengths.map((length) => 'a'.repeat(length)).join('.')}`;
    const refusal = 'must have a domain of at most 253 bytes in ASCII form, with at most 63 bytes in each label';
    expect(validateEmail(long(63))).toBeUndefined();
    expect(validateEmail(long(64))).toBe(refusal);
    expect(validateEmail(long(63, 63, 63, 61))).toBeUndefined();
    expect(validateEmail(long(63, 63, 63, 62))).toBe(refusal);
    const label = 'ü'.repeat(57);
    expect(domainToASCII(label)).toHaveLength(63);
    expect(validateEmail(`a@${label}`)).toBeUndefined();
    expect(validateEmail(`a@${label}ü`)).toBe(refusal);
  });

  it.each([
    ['nothing', '', '1 to 256 characters'],
    ['257 characters', `${'a'.repeat(255)}@b`, '1 to 256 characters'],
    ['257 characters outside the basic plane', `${astral.repeat(255)}@b`, '1 to 256 characters'],
    ['U+0000', 'a\0@b', 'U+0000'],
    ['a lone surrogate', 'a\ud800@b', 'well-formed'],
    ['a line break', 'a@b\n', 'control characters'],
    ['a line break in quotes', '"a\nb"@c', 'control characters'],
    ['a tab in quotes', '"a\tb"@c', 'control characters'],
    ['a line separator in quotes', '"a\u2028b"@c', 'control characters'],
  ])('must not have %s', (_, email, said) => {
    expect(validateEmail(email)).toContain(said);
  });

  it('is checked in a time that does not depend on its content', () => {
    // Texts for which a careless pattern takes exponential time.
    const traps = ['a.', 'a-', '"\\', '\\"', 'a@', '-.', 'ä', '"', '日', 'ا\u200c', 'xn--a.'].flatMap((part) => [
      `${part.repeat(120)}@${part.repeat(7)}!`,
      `a@${part.repeat(120)}!`,
    ]);
    const start = process.cpuUsage();
    for (const trap of traps) validateEmail(trap);
    // CPU time of this process in microseconds: hundreds if linear, unlimited if exponential.
    expect(process.cpuUsage(start).user).toBeLessThan(2_000_000);
  });

  it('is never valid with a blank, a control character or two @ outside quotes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', '@', '.', '"', '\\', ' ', '\n', 'é', '-'), maxLength: 12 }),
        (text) => {
          if (validateEmail(text) !== undefined) return;
          const outside = text.replace(/^"(?:[^"\\]|\\.)*"/u, '');
          expect(outside).toMatch(/^[^\s"\\@]*@[^\s"\\@]+$/u);
          expect(text).not.toMatch(/\n/);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each(['this', ' ', '\n', 'a'.repeat(256), astral.repeat(256)])(
    'is any text in the first contract: %j',
    (email) => {
      expect(validateLegacyEmail(email)).toBeUndefined();
    },
  );

  it.each(['', 'a'.repeat(257), astral.repeat(257), '\0', '\ud800'])(
    'is not every text even there (case %#)',
    (email) => {
      expect(validateLegacyEmail(email)).toBeDefined();
    },
  );
});

describe('a profile image URL', () => {
  const ofCharacters = (count: number, letter: string) => `https://example.com/${letter.repeat(count - 20)}`;

  it.each([
    '',
    'http://a',
    'HTTPS://Example.com/a?b=c#d',
    'https://user@example.com:8443/%20',
    'http://[::1]:80/',
    'https://exämple.com/ü/😀',
  ])('may be %s', (url) => {
    expect(parseWith(profileImageUrlSchema, url)).toBe(url);
  });

  it('may have 2048 characters, whatever their plane', () => {
    for (const letter of ['a', astral]) {
      const url = ofCharacters(2048, letter);
      expect(parseWith(profileImageUrlSchema, url)).toBe(url);
    }
  });

  it.each([
    'example.com',
    '/a.png',
    '//example.com/a.png',
    'ftp://example.com/a.png',
    'javascript:alert(1)',
    'data:image/png;base64,AA==',
    'http:example.com',
    'http:///example.com',
    'http:/example.com',
    'http://',
    'https://?',
    'https://a b',
    'https://example.com/a b',
    ' https://example.com',
    'https://example.com\u2028',
    'https://example.com:99999/',
    'https://%/',
  ])('must not be %j', (url) => {
    expect(refusalOf(profileImageUrlSchema, url)).toBe('must be an absolute http or https URL, or empty');
  });

  it.each([
    ['2049 characters', ofCharacters(2049, 'a'), 'at most 2048 characters'],
    ['2049 characters outside the basic plane', ofCharacters(2049, astral), 'at most 2048 characters'],
    ['a line break', 'https://example.com/\n', 'control characters'],
    ['U+0000', 'https://example.com/\0', 'control characters'],
    ['a lone surrogate', 'https://example.com/\ud800', 'well-formed'],
  ])('must not have %s', (_, url, said) => {
    expect(refusalOf(profileImageUrlSchema, url)).toContain(said);
  });
});

describe('attributes', () => {
  /** Attributes with exactly so many bytes as compact JSON. */
  const ofBytes = (bytes: number, letter = 'a') => {
    const room = bytes - Buffer.byteLength('{"k":""}');
    return { k: letter.repeat(Math.floor(room / Buffer.byteLength(letter))) };
  };
  const nested = (levels: number, wrap: (inner: unknown) => unknown) => {
    let value: unknown = {};
    for (let level = 1; level < levels; level++) value = wrap(value);
    return value;
  };

  it('may have 16384 bytes, but not more', () => {
    expect(Buffer.byteLength(JSON.stringify(ofBytes(16_384)))).toBe(16_384);
    expect(validateAttributes(ofBytes(16_384))).toBeUndefined();
    expect(validateAttributes(ofBytes(16_385))).toBe('must have at most 16384 bytes as compact JSON');
  });

  it('are limited in bytes of UTF-8, not in characters', () => {
    expect(validateAttributes(ofBytes(16_384, '€'))).toBeUndefined();
    expect(validateAttributes({ k: '€'.repeat(5_500) })).toContain('16384 bytes');
  });

  it('count JSON escapes as they are written', () => {
    expect(validateAttributes({ k: '"'.repeat(8_188) })).toBeUndefined();
    expect(validateAttributes({ k: '"'.repeat(8_189) })).toContain('16384 bytes');
  });

  it('may have large numbers, but not so many that the database would expand them to a multiple', () => {
    const large = (count: number) => ({
      k: Array.from({ length: count }, (_, index) => (index % 2 ? 1e300 : -2e-300)),
    });
    expect(validateAttributes(large(218))).toBeUndefined();
    expect(validateAttributes(large(219))).toBe(
      'must have number exponents, like 300 in 1e300, that add up to at most 65536',
    );
    expect(validateAttributes({ k: 'as text 1e+300 '.repeat(1_000) })).toBeUndefined();
  });

  it('may have 32 levels of maps and lists, but not more', () => {
    const map = (levels: number) => nested(levels, (inner) => ({ a: inner }));
    expect(validateAttributes(map(32))).toBeUndefined();
    expect(validateAttributes(map(33))).toBe('must have at most 32 levels of nesting');
    expect(validateAttributes({ ...(map(32) as object), b: 'a text is no level' })).toBeUndefined();
    const list = (levels: number) => ({ a: JSON.parse('['.repeat(levels) + ']'.repeat(levels)) });
    expect(validateAttributes(list(31))).toBeUndefined();
    expect(validateAttributes(list(32))).toBe('must have at most 32 levels of nesting');
  });

  it('that nest very deeply are refused before they exhaust the stack', () => {
    expect(validateAttributes(nested(100_000, (inner) => ({ a: inner })))).toBe(
      'must have at most 32 levels of nesting',
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'must not have %d, however deep',
    (number) => {
      expect(validateAttributes({ a: number })).toBe('must have finite numbers');
      expect(validateAttributes({ a: [{ b: number }] })).toBe('must have finite numbers');
    },
  );

  it.each([
    ['U+0000 in a string', { a: 'b\0' }, 'U+0000'],
    ['U+0000 in a key', { 'a\0': 1 }, 'U+0000'],
    ['a lone surrogate in a string', { a: ['\ud800'] }, 'well-formed'],
    ['a lone surrogate in a key', { a: { '\udfff': 1 } }, 'well-formed'],
    ['a value without a kind', { a: undefined }, 'kind'],
    ['a value without a kind in a list', { a: [1, undefined] }, 'kind'],
  ])('must not have %s', (_, attributes, said) => {
    expect(validateAttributes(attributes)).toContain(said);
  });

  it('may have null, empty keys, control characters and all other JSON', () => {
    const attributes = {
      '': null,
      a: [null, true, 1e308, -5e-324, 'x\n\u0001'],
      b: { c: {} },
      toJSON: 'no',
      constructor: 1,
    };
    expect(parseWith(attributesSchema, attributes)).toEqual(attributes);
  });

  it('may have a key __proto__, which is checked and kept', () => {
    const attributes = JSON.parse('{"__proto__":{"a":1}}');
    const parsed = parseWith(attributesSchema, attributes);
    expect(JSON.stringify(parsed)).toBe('{"__proto__":{"a":1}}');
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
    expect(validateAttributes(JSON.parse(`{"__proto__":{"a":"${'a'.repeat(16_384)}"}}`))).toContain('16384 bytes');
  });

  it('are empty if they are unset', () => {
    expect(parseWith(attributesSchema, undefined)).toEqual({});
  });

  it('may be any JSON that can be stored', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' })),
        (attributes) => {
          const text = JSON.stringify(attributes);
          const storable = !text.includes('\\u0000') && !/\\ud[89a-f]/.test(text);
          if (Buffer.byteLength(text) <= 16_384 && storable) expect(validateAttributes(attributes)).toBeUndefined();
        },
      ),
    );
  });
});

describe('an etag', () => {
  const versions = fc.integer({ min: 1, max: 2 ** 31 - 1 });
  const times = fc.date({ min: new Date('1900-01-01'), max: new Date('5000-01-01'), noInvalidDate: true });

  it('contains the version and its time', () => {
    fc.assert(
      fc.property(versions, times, (version, updateTime) => {
        expect(parseEtag(etagOf({ version, updateTime }))).toEqual({ version, updateTime });
      }),
    );
  });

  it('of an earlier server contains only the version', () => {
    expect(parseEtag('v1')).toEqual({ version: 1 });
    expect(parseEtag('vz')).toEqual({ version: 35 });
  });

  it('that is empty has no version', () => {
    expect(parseEtag('')).toEqual({ version: undefined });
  });

  it('requires its version and, if it contains one, its time', () => {
    const user = { version: 6, updateTime: new Date(1_790_000_000_001) };
    const lost = { version: 6, updateTime: new Date(1_790_000_000_000) };
    expect(isRequiredVersion(user, parseEtag(etagOf(user)))).toBe(true);
    expect(isRequiredVersion(user, parseEtag(etagOf(lost)))).toBe(false);
    expect(isRequiredVersion(user, parseEtag(etagOf({ ...user, version: 5 })))).toBe(false);
    expect(isRequiredVersion(user, parseEtag('v6'))).toBe(true);
    expect(isRequiredVersion(user, parseEtag('v7'))).toBe(false);
    expect(isRequiredVersion(user, parseEtag(''))).toBe(true);
  });

  it.each([
    'v',
    'v0',
    'v01',
    '1',
    'V1',
    'v1 ',
    ' v1',
    'v-1',
    'v1.',
    'v1.05',
    'v1.-0',
    'v1.--5',
    'v1.5.5',
    'v1.5 ',
    'v1.zzzzzzzzzz',
    'vé',
    'W/"v1"',
    'v1\n',
    'vzzzzzz',
    'v10000000',
    'x'.repeat(100_000),
  ])('that is malformed has a version that no user has (case %#)', (etag) => {
    expect(parseEtag(etag)).toEqual({ version: 0 });
  });
});
