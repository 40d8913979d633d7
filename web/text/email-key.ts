/** Compares emails as the server does: `email_key` in migrations/schema.sql. */

/**
 * Returns the same text for emails that the server treats as the same. It ignores case, the form of accents, and whether the
 * domain is in Punycode. An exception is a domain in Punycode with an “ß”, because browsers do not fold that letter.
 */
export function emailKey(email: string): string {
  const trimmed = email.trim();
  if (isAscii(trimmed) && !/xn--/i.test(trimmed)) return trimmed.toUpperCase();
  // As in the server, the upper case makes “ß” equal to “ss”. The emoji selector does not matter either.
  const folded = trimmed.normalize('NFD').toUpperCase().replaceAll('\ufe0f', '').normalize('NFC');
  const domainStart = folded.lastIndexOf('@') + 1;
  const url = `https://${folded.slice(domainStart)}`;
  if (isAscii(folded.slice(domainStart)) && !folded.includes('XN--')) return folded;
  return URL.canParse(url) ? folded.slice(0, domainStart) + new URL(url).hostname.toUpperCase() : folded;
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}
