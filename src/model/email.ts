/** Validates emails, with their domains or IP addresses in brackets. docs/decisions/0023 has the reasons. */
import { isIPv6, SocketAddress } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { hasAtMost, invisible, validateStorable } from './text.js';

const emailCharactersMax = 256;

// RFC 5322's dot-atom or quoted string, and a host name or an address literal. RFC 6531 allows letters outside ASCII.
const emailForm =
  /^(?:[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+)*|"(?:[^"\\]|\\.)+")@(?:[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?(?:\.[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?)*|\[(?:[0-9.]+|ipv6:[a-f0-9:.]+)\])$/iu;

// The emoji selector is allowed after an emoji. hasMisplacedJoiner checks joiners.
const neverInEmails = new RegExp(
  `(?!\\u200c|\\u200d|\\ufe0f)[${invisible}]|(?<!\\p{Extended_Pictographic})\\ufe0f`,
  'u',
);
const invisibleText = 'must not contain invisible, private-use or unassigned characters';

/** Returns the violation of a new email, or undefined. */
export function validateEmail(text: string): string | undefined {
  const legacyViolation = validateLegacyEmail(text);
  if (legacyViolation !== undefined) return legacyViolation;
  // The only allowed white space is a space inside a quoted local part.
  if (/[\p{Cc}\u2028\u2029]/u.test(text)) return 'must not contain control characters';
  if (!emailForm.test(text) || /[^\S ]/u.test(text)) return 'must be one email address, like ada@example.com';
  if (neverInEmails.test(text) || hasMisplacedJoiner(text)) return invisibleText;
  return validateDomain(text.slice(text.lastIndexOf('@') + 1));
}

/** IDNA2008 allows a joiner only if it changes how the letters around it look. domainToASCII checks that. */
function hasMisplacedJoiner(text: string): boolean {
  const joiner = /[\u200c\u200d]/u;
  if (!joiner.test(text)) return false;
  const words = text.match(/[\p{L}\p{M}\u200c\u200d]+/gu) ?? [];
  // A word with a joiner must not be longer than a label, because Node is slow for longer words.
  return words.some((word) => joiner.test(word) && (!hasAtMost(word, labelBytesMax) || domainToASCII(word) === ''));
}

const ipv4Form = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function validateDomain(domain: string): string | undefined {
  if (domain.startsWith('[')) return validateAddressLiteral(domain.slice(1, -1));
  // RFC 3696, section 2. Some programs would read such a domain as an IP address.
  if (/(?:^|\.)\d+$/.test(domain)) {
    return 'must have a domain whose last part is not a number; an IP address needs brackets, like ada@[192.0.2.1]';
  }
  if (!/[^\0-\x7f]|(?:^|\.)xn--/i.test(domain)) return validateDomainLength(domain);
  // A letter takes at least one byte in ASCII. Node is slow for labels that are too long.
  if (domain.split('.').some((label) => !hasAtMost(label, labelBytesMax))) return domainLengthText;
  const ascii = domainToASCII(domain);
  return validateDomainLength(ascii) ?? (isSameDomain(domain, ascii) ? undefined : domainText);
}

/** Allows one spelling of each address, because two spellings would be two users. */
function validateAddressLiteral(literal: string): string | undefined {
  const [, address] = /^ipv6:(.*)$/is.exec(literal) ?? [];
  if (address === undefined ? !ipv4Form.test(literal) : !isIPv6(address)) {
    return 'must have a valid IP address in brackets';
  }
  // SocketAddress has the canonical spelling. Case does not matter in emails.
  if (address === undefined || new SocketAddress({ address, family: 'ipv6' }).address === address.toLowerCase()) {
    return undefined;
  }
  return 'must have the IPv6 address in its shortest form (RFC 5952), like [IPv6:2001:db8::1]';
}

const labelBytesMax = 63;
const domainBytesMax = 253;
const domainLengthText = `must have a domain of at most ${domainBytesMax} bytes in ASCII form, with at most ${labelBytesMax} bytes in each label`;
const domainText =
  'must have a valid domain name, with ordinary dots and without compatibility characters such as full-width letters';

function validateDomainLength(ascii: string): string | undefined {
  const isTooLong = ascii.length > domainBytesMax || ascii.split('.').some((label) => label.length > labelBytesMax);
  return isTooLong ? domainLengthText : undefined;
}

/** Whether a domain is valid and IDNA keeps its letters. `ascii` is Node's ASCII form of it. */
function isSameDomain(domain: string, ascii: string): boolean {
  const unicode = domainToUnicode(ascii);
  if (ascii === '' || domainToASCII(unicode) !== ascii) return false;
  const [labels, asciiLabels, unicodeLabels] = [domain.split('.'), ascii.split('.'), unicode.split('.')];
  if (labels.length !== asciiLabels.length) return false;
  return labels.every((label, index) => {
    const [asciiLabel, unicodeLabel = ''] = [asciiLabels[index], unicodeLabels[index]];
    if (!/^xn--/i.test(label)) return foldLabel(label) === foldLabel(unicodeLabel);
    // Node returns some invalid Punycode unchanged.
    return label.toLowerCase() === asciiLabel && unicodeLabel !== asciiLabel;
  });
}

/** Removes the differences that a label may have from its canonical form: case, NFC, final sigma, emoji selector. */
function foldLabel(label: string): string {
  return label.normalize('NFC').toLowerCase().replaceAll('ς', 'σ').replaceAll('\ufe0f', '');
}

/** Returns the violation of an email of the first contract, which allows any text, or undefined. */
export function validateLegacyEmail(text: string): string | undefined {
  if (text === '' || !hasAtMost(text, emailCharactersMax)) return `must have 1 to ${emailCharactersMax} characters`;
  return validateStorable(text);
}
