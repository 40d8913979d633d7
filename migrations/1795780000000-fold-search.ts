import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates the functions for searches that ignore accents, letter variants and apostrophes.
 *
 * `search_text` stays until a later migration, because servers of the previous version still call it. The index on it is
 * replaced in the background (src/store/list-indexes.ts), because dropping it here would block all calls while an export
 * runs.
 */
export class FoldSearch1795780000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [foldLetters, foldText, searchKey]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    // The index may use search_key. The previous version builds its own. Another schema of the search path may have an
    // index with this name, so the table identifies it.
    await runner.query(`
      do $$ declare
        index_name text;
      begin
        for index_name in
          select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
          where indrelid = 'users'::regclass and relname = 'users_search'
        loop
          execute 'drop index ' || index_name;
        end loop;
      end $$`);
    for (const name of ['search_key', 'fold_text', 'fold_letters']) await runner.query(`drop function ${name}`);
  }
}

// docs/decisions/0031-search-folds-accents.md explains what is folded, and why.
const accents = String.raw`\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f`;
const apostrophes = String.raw`''\u0060\u02b9-\u02bf\u02ca\u02cb\u055a\u05f3\u2018\u2019\u201b\u2032\u2035\ua78b\ua78c`;
const catalanDots = String.raw`\u00b7\u2027`;
const hebrewPoints = String.raw`\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7`;
const arabicMarks = String.raw`\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed`;
const invisible = String.raw`\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef`;
// ´ and ¨ decompose to a space and an accent.
const removed = ` ?[${accents}]+|[${apostrophes}${catalanDots}${hebrewPoints}${arabicMarks}${invisible}]+`;

// Unicode does not decompose these letters. Nested replace() is faster than translate(), which compares each character
// of the text with each letter.
const letters = { ß: 'ss', æ: 'ae', œ: 'oe', þ: 'th', ð: 'd', đ: 'd', ø: 'o', ł: 'l', ı: 'i', ς: 'σ' };
const replaceLetters = Object.entries(letters).reduce(
  (sql, [from, to]) => `replace(${sql}, '${from}', '${to}')`,
  'folded',
);
const dashes = '\u2010\u2012\u2013\u2014\u2015\u2212\u05be';
const rareLetters = `ħŧŋɓɗɖƙƴɛəǝɔƒɣʋ${dashes}`;
const rareFolded = 'htnbddkyeeeofgv-------';

// Only texts outside ASCII need it. Its cost is that of a built-in function, so that the planner expects the time that a
// text in ASCII takes.
const foldLetters = `
  create function fold_letters(original text) returns text
  immutable strict parallel safe cost 1 language plpgsql as $$
  declare
    folded text := regexp_replace(normalize(original, NFKD) collate "C", E'${removed}', '', 'g');
  begin
    if octet_length(folded) = char_length(folded) then
      return lower(folded collate "C");
    end if;
    folded := lower(folded collate "und-x-icu");
    if folded ~ '[${Object.keys(letters).join('')}]' then
      folded := ${replaceLetters};
    end if;
    if folded ~ '[${rareLetters}]' then
      folded := translate(folded, '${rareLetters}', '${rareFolded}');
    end if;
    -- A Korean syllable must not match another one that begins with it, nor a Japanese letter one with a voicing mark.
    if folded ~ E'${String.raw`[\u1100-\u11ff\u3099\u309a]`}' then
      folded := normalize(folded, NFC);
    end if;
    return folded;
  end $$`;

// Not STRICT, because Postgres would then not inline it.
const foldText = `
  create function fold_text(original text) returns text immutable parallel safe language sql
  return case
    when octet_length(original) = char_length(original)
    then replace(replace(lower(original collate "C"), '''', ''), '\`', '')
    else fold_letters(original) end`;

const searchKey = `
  create function search_key(first_name text, last_name text, email text) returns text immutable parallel safe language sql
  return fold_text(first_name || chr(10) || last_name || chr(10) || email)`;
