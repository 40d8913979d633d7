/** Checks the fields of requests (RFC 9113, sections 8.1 to 8.3). */
import type { HeaderFields } from './header-decoder.js';

const pseudoFields = [':method', ':scheme', ':path', ':authority'];
// Bits, in the same order. A request need not have the last one.
const requiredFields = 0b0111;
// A name of RFC 9110 in lower case.
const validName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
// Fields of one connection of HTTP/1.1 (section 8.2.2).
const hopFields = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);
// Control characters would let a value end its field in HTTP/1.1.
const validValue = /^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$/;
// Names that were valid before. The common names are few and short.
const knownNames = new Set<string>();
const knownNamesMax = 1000;
const knownNameLengthMax = 64;

export type RequestCheck = { isValid: boolean; contentLength?: number };
const invalid = { isValid: false };
const valid = { isValid: true };

export function checkRequest(fields: HeaderFields): RequestCheck {
  let seen = 0;
  let isAfterPseudoFields = false;
  let contentLength: number | undefined;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (!validValue.test(value)) return invalid;
    if (name.startsWith(':')) {
      const position = pseudoFields.indexOf(name);
      const isRepeated = ((seen >> position) & 1) === 1;
      if (position < 0 || isAfterPseudoFields || isRepeated || value === '') return invalid;
      seen |= 1 << position;
      continue;
    }
    isAfterPseudoFields = true;
    if (!isValidName(name)) return invalid;
    if (name === 'te' && value !== 'trailers') return invalid;
    if (name === 'content-length') {
      if (!/^\d{1,15}$/.test(value) || (contentLength ?? Number(value)) !== Number(value)) return invalid;
      contentLength = Number(value);
    }
  }
  if ((seen & requiredFields) !== requiredFields) return invalid;
  return contentLength === undefined ? valid : { isValid: true, contentLength };
}

export function areValidTrailers(fields: HeaderFields): boolean {
  for (let index = 0; index < fields.length; index += 2) {
    if (!isValidName(fields[index] ?? '') || !validValue.test(fields[index + 1] ?? '')) return false;
  }
  return true;
}

function isValidName(name: string): boolean {
  if (knownNames.has(name)) return true;
  if (!validName.test(name) || hopFields.has(name)) return false;
  if (name.length <= knownNameLengthMax && knownNames.size < knownNamesMax) knownNames.add(name);
  return true;
}
