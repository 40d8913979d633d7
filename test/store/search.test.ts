/** Searches ignore case, accents and apostrophes, and find the same users with and without their index. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import { storedId } from '../../src/model/stored-user.js';
import type { UserFields } from '../../src/model/user.js';
import { listPage } from '../../src/operations/list-page.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { buildListIndex, listIndexes } from '../../src/store/list-indexes.js';
import { countUsers, listStatements } from '../../src/store/list-users.js';
import { resolveIds } from '../../src/store/searched-ids.js';
import { hasWords } from '../../web/address/list-query.js';
import { foldText } from '../../web/text/fold-text.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';

// SEARCH_QUERIES=10000 takes minutes.
const queriesCount = Number(process.env.SEARCH_QUERIES ?? 500);

const never = new AbortController().signal;
const allIndexes = new Set(listIndexes.map(({ name }) => name));
const pageTokens = createPageTokens(randomBytes(32));
const request = { pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: true };

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
beforeEach(() => testDatabase.query('truncate users'));
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

async function insert(list: readonly Partial<UserFields>[]): Promise<User[]> {
  const rows = list.map((fields) => ({ id: uuidv7(), fields: someFields(fields), request: undefined }));
  for (const outcome of await insertUsers(database, rows)) expect(outcome).toHaveProperty('version');
  return rows.map(({ id, fields: { firstName, lastName, email } }) =>
    User.fromPartial({ id, firstName, lastName, email }),
  );
}

/** The ids of the users on all pages, in order, and the total of the first page. */
async function search(from: Database, query: string, changes: Partial<typeof request> = {}) {
  const ids: string[] = [];
  let totalSize: number | undefined;
  let pageToken = '';
  do {
    const page = await listPage(
      from,
      presentIndexes,
      pageTokens,
      parseListUsers({ ...request, query, ...changes, pageToken }),
      never,
    );
    ids.push(...page.users.map(storedId));
    totalSize ??= page.totalSize;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return { ids, totalSize };
}

async function foldedBySql(texts: readonly string[]): Promise<string[]> {
  const rows = await testDatabase.query<{ folded: string }>(
    'select fold_text(text) as folded from unnest($1::text[]) with ordinality as t(text, ord) order by ord',
    [texts],
  );
  return rows.map((row) => row.folded);
}

// Each query finds each of the names, and each name as a query finds each of the queries as a name.
const same: readonly (readonly [about: string, names: readonly string[]])[] = [
  ['case', ['Lovelace', 'LOVELACE', 'lovelace']],
  ['accents', ['Müller', 'Muller', 'Mu\u0308ller', 'MÜLLER', 'mûllér']],
  ['Polish', ['Wiśniewski', 'wisniewski', 'WIŚNIEWSKI']],
  ['a bar', ['Stanisław', 'Stanislaw', 'STANISŁAW']],
  ['two accents on a letter', ['Nguyễn', 'nguyen', 'Nguye\u0302\u0303n', 'NGUYỄN']],
  ['đ and horns', ['Đặng Thị Phượng', 'dang thi phuong']],
  ['ß', ['Großmann', 'Grossmann', 'GROSSMANN', 'GROẞMANN']],
  ['ø', ['Søren', 'soren', 'SØREN', 'Sören']],
  ['æ and œ', ['Æsop Œuvre', 'aesop oeuvre']],
  ['Icelandic', ['Þórður Guðmundsson', 'thordur gudmundsson']],
  ['Turkish', ['Işık İbrahim', 'isik ibrahim', 'ışık ibrahİm', 'IŞIK IBRAHIM']],
  ['Maltese, Sami and Hausa', ['Ħaż-Żebbuġ Ŋávŧi Ɗanƙwaƴi', 'haz-zebbug navti dankwayi']],
  ['Azerbaijani', ['Əliyev', 'eliyev', 'ƏLİYEV']],
  [
    'apostrophes',
    ["O'Brien", 'OBrien', 'O’Brien', '‘O‘Brien', 'O`Brien', 'O´Brien', 'Oʼbrien', 'O′Brien', 'O＇Brien', 'oʻbrien'],
  ],
  ['transliterated Arabic', ['ʿAbd al-Raḥmān', 'abd al-rahman', '‘Abd al-Rahman']],
  ['dashes', ['Jean-Luc', 'Jean‐Luc', 'Jean‑Luc', 'jean–luc', 'Jean−Luc']],
  ['a Catalan l·l', ['Marcel·lí', 'marcelli', 'MARCEĿLÍ']],
  ['ligatures and wide letters', ['Ｍüﬄer', 'muffler', 'ＭＵＦＦＬＥＲ']],
  ['Greek', ['Γιώργος Παπαδόπουλος', 'ΓΙΩΡΓΟΣ ΠΑΠΑΔΟΠΟΥΛΟΣ', 'γιωργοσ παπαδοπουλοσ']],
  ['Cyrillic', ['Фёдор Королёв', 'Федор Королев', 'ФЁДОР КОРОЛЁВ']],
  ['й', ['Андрей', 'АНДРЕЙ', 'андреи']],
  ['Hebrew points', ['שָׁלוֹם', 'שלום']],
  ['Arabic marks', ['مُحَمَّد أَحْمَد', 'محمد احمد', 'محـمد أحمد']],
  ['Korean, composed or not', ['김민준', '김민준'.normalize('NFD')]],
  ['Japanese in half width', ['ガブリエル', 'ｶﾞﾌﾞﾘｴﾙ']],
  ['variants of an ideograph', ['葛城', '葛\u{e0100}城']],
  ['invisible characters', ['Ada', 'A\u00add\u200ba\ufeff']],
];

const different: readonly (readonly [about: string, name: string, query: string])[] = [
  ['German ue', 'Müller', 'Mueller'],
  ['Danish aa', 'Ålborg', 'Aalborg'],
  ['another vowel', 'Müller', 'Möller'],
  ['a Korean syllable that begins another', '김', '기'],
  ['a voiced kana', 'が', 'か'],
  ['a Hindi vowel sign', 'कि', 'कु'],
  ['a Thai vowel', 'กิน', 'กัน'],
  ['Latin and Cyrillic', 'Мария', 'Mapия'],
  ['+ and -', 'ada+x', 'ada-x'],
  ['. and _', 'ada.x', 'ada_x'],
  ['%', 'ada', 'a％a'],
];

describe('a search', () => {
  it.each(same)('finds every spelling by every other one: %s', async (_, names) => {
    const users = await insert(names.map((firstName) => ({ firstName, lastName: '' })));
    for (const name of names) expect([name, (await search(database, name)).totalSize]).toEqual([name, users.length]);
  });

  it.each(different)('does not find a different name: %s', async (_, firstName, query) => {
    await insert([{ firstName, lastName: '' }]);
    expect(await search(database, query)).toEqual({ ids: [], totalSize: 0 });
    expect((await search(database, firstName)).totalSize).toBe(1);
  });

  it('folds emails, but keeps their punctuation', async () => {
    const users = await insert([{ email: 'jörg.o’neill+x_y-z@müller.example' }, { email: 'jorg@example.com' }]);
    for (const query of ['JORG.ONEILL+X_Y-Z@MULLER', 'jörg.o', "o'neill+x", 'x_y-z@müller.example']) {
      expect([query, (await search(database, query)).ids]).toEqual([query, [users[0]?.id]]);
    }
    for (const query of ['jorg-o', 'x.y', 'jorgoneill']) expect((await search(database, query)).ids).toEqual([]);
  });

  it('ignores words of accents and apostrophes alone', async () => {
    await insert([{ firstName: 'Ada' }, { firstName: 'Grace' }]);
    for (const query of ["'", '´ ’', '\u0301', 'ʼʼʼ', "'@", '\u200b']) {
      expect([query, (await search(database, query)).totalSize]).toEqual([query, 2]);
      expect([query, (await search(database, `${query} grace`)).totalSize]).toEqual([query, 1]);
    }
  });

  it('finds nothing across the end of a field', async () => {
    await insert([{ firstName: 'Ada', lastName: 'Lovelace' }]);
    expect((await search(database, 'adalovelace')).totalSize).toBe(0);
    expect((await search(database, 'ada\u0301\u2028lovelace')).totalSize).toBe(1);
  });
});

describe('the id of a user', () => {
  it('finds this user and no other, in any case and order, with other words and with a filter', async () => {
    const users = await insert(Array.from({ length: 30 }, (_, index) => ({ firstName: `Ada${index}` })));
    const id = users[7]?.id ?? '';
    await insert([{ lastName: id }]);
    for (const query of [id, ` ${id.toUpperCase()}\n`, `${id} ada7`, `LOVELACE ${id}`, `${id} ${id.toUpperCase()}`]) {
      for (const orderBy of ['', 'last_name desc', 'update_time', 'email']) {
        expect([query, await search(database, query, { orderBy })]).toEqual([query, { ids: [id], totalSize: 1 }]);
      }
      expect(users.filter((user) => hasWords(user, query.trim())).map((user) => user.id)).toEqual([id]);
    }
    expect((await search(database, id, { filter: 'first_name == "Ada7"' })).totalSize).toBe(1);
    for (const query of [`${id} ada8`, `${id} ${users[8]?.id}`])
      expect((await search(database, query)).ids).toEqual([]);
    expect(await search(database, id, { filter: 'first_name == "Ada8"' })).toEqual({ ids: [], totalSize: 0 });
  });

  it('is an ordinary word if no user has it, or if it is incomplete', async () => {
    const id = uuidv7();
    const [user] = await insert([{ lastName: `x${id.toUpperCase()}y` }, {}]);
    expect(await search(database, id)).toEqual({ ids: [user?.id], totalSize: 1 });
    expect((await search(database, id.slice(1))).totalSize).toBe(1);
    expect((await search(database, user?.id.slice(1) ?? '')).totalSize).toBe(0);
  });

  it('is found by the primary key, without the search index', async () => {
    const [user] = await insert([{}]);
    await testDatabase.query(`
      insert into users (id, first_name, last_name, email)
      select gen_random_uuid(), 'Ada', 'Lovelace', 'e' || i || '@x' from generate_series(1, 20000) as i`);
    await testDatabase.query('vacuum analyze users');
    for (const orderBy of ['', 'last_name', 'update_time']) {
      const parsed = parseListUsers({ ...request, query: `ada ${user?.id}`, orderBy });
      const listing = { ...parsed, after: undefined, rowsMax: 51 };
      const plan = await database.withConnection(never, async (run) => {
        const { statement, values } = listStatements(await resolveIds(run, listing), allIndexes).at(-1) ?? {};
        return run({ name: '', text: `explain ${statement?.text}` }, values ?? []);
      });
      expect(plan.join()).toContain('users_pkey');
    }
  });
});

describe('the function fold_text', () => {
  // All of the first plane, and of the others those that could be folded.
  const characters = Array.from({ length: 0x11_0000 }, (_, codePoint) => String.fromCodePoint(codePoint)).filter(
    (character) =>
      character !== '\0' &&
      character.isWellFormed() &&
      (character.length === 1 || !/\p{C}|\p{Lo}/u.test(character) || foldText(character) !== character),
  );

  it('folds each character as the page does, unless Postgres or ICU does not know it yet', async () => {
    const folded = await foldedBySql(characters);
    const differing = characters.filter((character, index) => folded[index] !== foldText(character));
    const foldedOf = new Map(characters.map((character, index) => [character, folded[index]]));
    const isUnchanged = (character: string) => foldedOf.get(character) === character;
    // Every supported version knows the characters below U+1C00.
    expect(differing.filter((character) => !isUnchanged(character) || character < '\u1c00')).toEqual([]);
    expect(await foldedBySql(folded)).toEqual(folded);
  });

  it('folds texts as the page does, and the parts of an email as the whole', async () => {
    const unit = fc.constantFrom(
      ...'aI1ıİßẞøŁÆΣς中김か@.-_%\\ ',
      "'",
      '’',
      '\u0301',
      '\u0327',
      '\u1161',
      '\u3099',
      '¨',
      'ﬁ',
      'ǅ',
      '😀',
    );
    const texts = fc.sample(fc.string({ unit, minLength: 1, maxLength: 12 }), 3000);
    const folded = await foldedBySql(texts);
    expect(folded).toEqual(texts.map(foldText));
    for (const [index, text] of texts.entries()) {
      expect(folded[index]?.startsWith(foldText(text.split('@', 1)[0] ?? ''))).toBe(true);
    }
  });
});

function naughtyStrings(): string[] {
  const file = readFileSync(new URL('../support/naughty-strings.base64.txt', import.meta.url), 'utf8');
  const lines = file.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => Buffer.from(line, 'base64').toString());
}

describe('the index for searches', () => {
  it(`changes no answer of ${queriesCount} searches`, async () => {
    const names = [...new Set([...same.flatMap(([, texts]) => texts), ...naughtyStrings()])];
    const texts = names.map((name) => [...name].slice(0, 40).join(''));
    const half = Math.ceil(texts.length / 2);
    const users = await insert(
      texts.slice(0, half).map((firstName, index) => ({ firstName, lastName: texts[half + index] ?? '' })),
    );
    const part = fc
      .tuple(fc.constantFrom(...texts), fc.nat(20), fc.integer({ min: 1, max: 8 }))
      .map(([text, start, length]) =>
        [...text]
          .slice(start % [...text].length)
          .slice(0, length)
          .join(''),
      );
    const letters = fc.string({
      unit: fc.constantFrom(...'abeo13%_\\@.', "'", '’', 'é', '\u0301', 'ß', 'ς', '중', 'ж'),
    });
    const variant = part.chain((text) =>
      fc.constantFrom(
        text.toUpperCase(),
        text.toLowerCase(),
        text.normalize('NFD'),
        text.normalize('NFKC'),
        foldText(text),
      ),
    );
    const queries = fc.sample(
      fc.oneof(
        { weight: 3, arbitrary: part },
        { weight: 4, arbitrary: variant },
        { weight: 1, arbitrary: letters },
        { weight: 2, arbitrary: fc.tuple(part, variant).map((words) => words.join(' ')) },
      ),
      queriesCount,
    );
    const expected = queries.map((query) => users.filter((user) => hasWords(user, query.trim())).map(({ id }) => id));
    expect(expected.filter((ids) => ids.length > 0 && ids.length < 100).length).toBeGreaterThan(queriesCount / 2);

    const checkAll = async (from: Database) => {
      const pending = [...queries.entries()];
      const check = async () => {
        for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
          const [index, query] = next;
          const { ids, totalSize } = await search(from, query, { pageSize: 250, orderBy: 'update_time' });
          const wanted = expected[index] ?? [];
          expect([query, totalSize, ids.sort()]).toEqual([query, wanted.length, wanted]);
        }
      };
      await Promise.all([check(), check(), check(), check()]);
    };
    await checkAll(database);
    for (const index of listIndexes) await buildListIndex(database, index, never);
    // Every word with a trigram uses the index, even with few users, and no connection changes that back.
    await testDatabase.query(`alter database ${testDatabase.name} set enable_seqscan = off`);
    await testDatabase.query(`alter database ${testDatabase.name} set enable_indexscan = off`);
    const forced = await openDatabase(databaseOptions(testDatabase.url, { preparedStatements: false }));
    try {
      const listing = { ...parseListUsers({ ...request, query: 'abc' }), after: undefined, rowsMax: 51 };
      const { statement, values } = listStatements(listing, allIndexes).at(-1) ?? {};
      const plan = await forced.run({ name: '', text: `explain ${statement?.text}` }, values ?? []);
      expect(plan.join()).toContain('users_search');
      expect(await countUsers(forced, { filter: undefined, words: ['muller'] }, never)).toBeGreaterThan(0);
      await checkAll(forced);
    } finally {
      await forced.close();
    }
  }, 600_000);
});
