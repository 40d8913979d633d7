/** Which emails are equal. */
import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
});
afterAll(() => testDatabase?.[Symbol.asyncDispose]());

/** The pairs of emails whose keys differ. */
async function differing(pairs: readonly (readonly [string, string])[]): Promise<(readonly [string, string])[]> {
  const rows = await testDatabase.query<{ same: boolean }>(
    'select email_key(a) = email_key(b) as same from unnest($1::text[], $2::text[]) with ordinality as t(a, b, ord) order by ord',
    [pairs.map(([a]) => a), pairs.map(([, b]) => b)],
  );
  return pairs.filter((_, index) => rows[index]?.same !== true);
}

/** The keys of emails, as Postgres computes them. */
async function keysOf(emails: readonly string[]): Promise<string[]> {
  const rows = await testDatabase.query<{ key: string }>(
    'select email_key(email) as key from unnest($1::text[]) with ordinality as t(email, ord) order by ord',
    [emails],
  );
  return rows.map((row) => row.key);
}

describe('the key of an email', () => {
  it.each([
    ['dotless i', 'ı', 'I'],
    ['dotless i', 'ı', 'i'],
    ['sharp s', 'ß', 'SS'],
    ['capital sharp s', 'ẞ', 'ß'],
    ['the micro sign', 'µ', 'Μ'],
    ['the micro sign', 'µ', 'μ'],
    ['long s', 'ſ', 'S'],
    ['final sigma', 'ας', 'ΑΣ'],
    ['final sigma before a letter', 'ςα', 'σα'],
    ['I with a dot', 'İ', 'i\u0307'],
    ['a ligature', 'ﬁ', 'FI'],
    ['an Armenian ligature', 'և', 'ԵՒ'],
    ['Cherokee', 'ꭰ', 'Ꭰ'],
    ['Georgian', 'ა', 'Ა'],
    ['old Georgian', 'ⴀ', 'Ⴀ'],
    ['Deseret', '𐐨', '𐐀'],
    ['an apostrophe before n', 'ŉ', 'ʼN'],
    ['iota with two accents', 'ΐ', '\u0399\u0308\u0301'],
    ['iota with two accents, composed another way', 'ΐ', '\u03aa\u0301'],
    ['a titlecase letter', 'ǅ', 'ǆ'],
    ['an emoji in colours', '❤\ufe0f', '❤'],
  ])('is the same for %s: %s and %s', async (_, one, another) => {
    expect(await differing([[`x${one}y@example.com`, `x${another}y@example.com`]])).toEqual([]);
    expect(await differing([[`a@${one}.example`, `a@${another}.example`]])).toEqual([]);
  });

  it('is the same for every letter in upper and in lower case, composed or not', async () => {
    const letters = Array.from({ length: 0x11_0000 }, (_, codePoint) => codePoint)
      .filter((codePoint) => codePoint < 0xd800 || codePoint > 0xdfff)
      .map((codePoint) => String.fromCodePoint(codePoint))
      .filter((letter) => letter.toUpperCase() !== letter || letter.toLowerCase() !== letter);
    expect(letters.length).toBeGreaterThan(2800);
    const pairs = letters.flatMap((letter) => {
      const email = `x${letter}y@example.com`;
      return [email.toUpperCase(), email.toLowerCase(), email.normalize('NFD')].map((other) => [email, other] as const);
    });
    expect(await differing(pairs)).toEqual([]);
  });

  it('is the same for texts of such letters, and for the key itself', async () => {
    const unit = fc.constantFrom(...'aIıİßẞſµμΜΣσςΐŉǰǅﬁﬃﬅꭰᎠაႠẖéÉ𐐀1.-', 'e\u0301', '\u0307');
    const texts = fc.sample(fc.string({ unit, minLength: 1, maxLength: 10 }), 3000);
    const emails = texts.map((text) => `${text}@example.com`);
    const keys = await keysOf(emails);
    const others = emails.flatMap((email, index) =>
      [email.toUpperCase(), email.toLowerCase(), email.normalize('NFD'), keys[index] ?? ''].map(
        (other) => [email, other] as const,
      ),
    );
    expect(await differing(others)).toEqual([]);
  });

  it('of an email in ASCII is its lower case', async () => {
    const unit = fc.integer({ min: 1, max: 127 }).map((codePoint) => String.fromCodePoint(codePoint));
    const emails = fc.sample(fc.string({ unit, maxLength: 12 }), 2000);
    expect(await keysOf(emails)).toEqual(emails.map((email) => email.toLowerCase()));
  });

  it.each([
    ['é@x', 'e@x'],
    ['İ@x', 'i@x'],
    ['ａ@x', 'a@x'],
    ['a@x', 'а@x'],
    ['a@x', 'a@x '],
    ['xn--bcher-kva@example.com', 'bücher@example.com'],
    ['a@xn--bcher-kva.example', 'a@bucher.example'],
  ])('differs for %j and %j', async (one, another) => {
    expect(await differing([[one, another]])).toHaveLength(1);
  });

  it.each([
    ['ada@bücher.example', 'ada@xn--bcher-kva.example'],
    ['ada@BÜCHER.example', 'ADA@XN--BCHER-KVA.EXAMPLE'],
    ['ada@mail.bücher.例子', 'ada@mail.xn--bcher-kva.xn--fsqu00a'],
    ['ädä@bücher.example', 'ädä@xn--bcher-kva.example'],
    ['"a@xn--b"@bücher.example', '"a@xn--b"@xn--bcher-kva.example'],
    ['ada@straße.example', 'ada@xn--strae-oqa.example'],
    ['ada@❤\ufe0f.example', 'ada@xn--qei.example'],
    ['ada@קום.example', 'ada@xn--9dbq2a.example'],
    ['ada@💩.example', 'ada@xn--ls8h.example'],
  ])('is the same for %s and %s', async (one, another) => {
    expect(await differing([[one, another]])).toEqual([]);
  });

  it('is the same for every domain and its ASCII form', async () => {
    const unit = fc.constantFrom(...'abz09éüøλжאعदक日本語한글ก');
    const label = fc.string({ unit, minLength: 1, maxLength: 20 });
    const domains = fc.sample(fc.array(label, { minLength: 1, maxLength: 3 }), 3000).map((labels) => labels.join('.'));
    const pairs = domains.map((domain) => [`a@${domain}`, `a@${domainToASCII(domain)}`] as const);
    // Mixed directions have no ASCII form, and a domain that ends in a number counts as an IP address.
    const valid = pairs.filter(([email, ascii]) => ascii !== 'a@' && !/\d$/.test(email));
    expect(valid.length).toBeGreaterThan(500);
    expect(await differing(valid)).toEqual([]);
  });

  it('of a domain that is not valid Punycode is its lower case', async () => {
    const unit = fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789-');
    const sampled = fc.sample(fc.string({ unit, maxLength: 60 }), 3000);
    const emails = ['', '-', '99999999', 'bcher-kva8', 'a_b-é', `${'a'.repeat(60)}-kva`, '0000000a', ...sampled].map(
      (text) => `a@xn--${text}.example`,
    );
    const keys = await keysOf(emails);
    // For any decoding result, there is no error and no empty key.
    expect(keys.filter((key) => !key.startsWith('a@') || !key.endsWith('.example') || key.length < 11)).toEqual([]);
    expect(keys.slice(0, 6)).toEqual(emails.slice(0, 6));
    expect(await keysOf(['xn--', '', '@', 'a@', 'xn--bcher-kva', 'a.b'])).toEqual([
      'xn--',
      '',
      '@',
      'a@',
      'bücher',
      'a.b',
    ]);
  });
});
