/** Folds a text as the server's searches do, in `fold_text` (migrations/1795780000000-fold-search.ts). */

const accents = String.raw`\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f`;
const apostrophes = String.raw`'\u0060\u02b9-\u02bf\u02ca\u02cb\u055a\u05f3\u2018\u2019\u201b\u2032\u2035\ua78b\ua78c`;
const catalanDots = String.raw`\u00b7\u2027`;
const hebrewPoints = String.raw`\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7`;
const arabicMarks = String.raw`\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed`;
const invisible = String.raw`\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\u{e0100}-\u{e01ef}`;
const removed = new RegExp(
  ` ?[${accents}]+|[${apostrophes}${catalanDots}${hebrewPoints}${arabicMarks}${invisible}]+`,
  'gu',
);

const doubleLetters = { ß: 'ss', æ: 'ae', œ: 'oe', þ: 'th' };
const singleLetters = [
  [...'ðđøłıςħŧŋɓɗɖƙƴɛəǝɔƒɣʋ', ...'\u2010\u2012\u2013\u2014\u2015\u2212\u05be'],
  [...'ddoliσhtnbddkyeeeofgv', ...'-------'],
] as const;
const letters = new Map([
  ...Object.entries(doubleLetters),
  ...singleLetters[0].map((letter, index) => [letter, singleLetters[1][index] ?? ''] as const),
]);
const replaced = new RegExp(`[${[...letters.keys()].join('')}]`, 'gu');

export function foldText(text: string): string {
  const folded = text
    .normalize('NFKD')
    .replaceAll(removed, '')
    .toLowerCase()
    .replaceAll(replaced, (letter) => letters.get(letter) ?? letter);
  return /[\u1100-\u11ff\u3099\u309a]/u.test(folded) ? folded.normalize('NFC') : folded;
}
