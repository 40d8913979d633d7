/** The spellings of a text that people use, for the server's filters, which compare texts exactly. */

const apostrophe = "['\\u2018\\u2019\\u02bc]";
const anyApostrophe = new RegExp(apostrophe, 'g');
/** These are used for one another. */
const usualApostrophes = ["'", '\u2019'];

const start = String.raw`(^|[^\p{L}])`;
const afterApostrophe = new RegExp(String.raw`(\p{L}${apostrophe})(\p{L})(?=\p{L})`, 'gu');
const afterMc = new RegExp(String.raw`${start}(ma?c)(\p{L})(?=\p{L}{2})`, 'giu');
const afterPrefix = new RegExp(String.raw`${start}(ma?c|de|di|fitz|la|le|van|von)(\p{L})(?=\p{L}{2})`, 'giu');
const particle = new RegExp(
  String.raw`${start}((?:da|de|del|della|den|der|di|dos|du|la|le|ter|van|von|zu)(?= )|[dl](?=${apostrophe}\p{L}{2}))`,
  'giu',
);

/**
 * As typed, in small letters, in capitals, with a capital at the beginning of the text or of each word, and as in O'Brien,
 * McDonald, d'Angelo and van der Berg. Names also have capitals as in DeVito and FitzGerald. Each has both usual apostrophes.
 */
export function spellings(text: string, isName: boolean): string[] {
  const small = text.toLowerCase();
  const words = small.replaceAll(/[^\s-]+/gu, capital);
  const names = words.replaceAll(afterApostrophe, (_, before: string, letter: string) => before + letter.toUpperCase());
  const prefixed = names.replaceAll(
    isName ? afterPrefix : afterMc,
    (_, before: string, prefix: string, letter: string) => before + prefix + letter.toUpperCase(),
  );
  const noble = names.replaceAll(particle, (part) => part.toLowerCase());
  const found = [text, small, text.toUpperCase(), capital(small), words, names, prefixed, noble, capital(noble)];
  return [...new Set(found.flatMap(withApostrophes))];
}

function capital(text: string): string {
  return text.replace(/\p{L}/u, (letter) => letter.toUpperCase());
}

function withApostrophes(text: string): string[] {
  return [text, ...usualApostrophes.map((usual) => text.replaceAll(anyApostrophe, usual))];
}
