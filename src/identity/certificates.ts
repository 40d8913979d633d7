/** Reads who a client certificate names. TLS has verified it already. */
import type { PeerCertificate } from 'node:tls';
import type { Subject } from '../model/caller.js';

type CertificateSubject = Subject & { readonly kind: 'certificate' };

const namesMax = 20;
const nameLengthMax = 512;

/**
 * Node writes the alternative names as one text, such as `DNS:a.example, URI:spiffe://example.com/a`. It quotes a value
 * with a comma, a quote or a control character as JSON does. Such a value is not a valid name, so it is ignored.
 */
const alternativeName = /(?:^|, )([A-Za-z ]+):(?:"(?:[^"\\]|\\.)*"|([^",\\]*))(?=, |$)/y;
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md. Dots as in a relative path are not allowed.
const spiffeForm = /^spiffe:\/\/[a-z0-9._-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+)*$/;
const dnsForm = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/;
// Without the characters that have a meaning in the text of a subject.
const commonNameForm = /^[^\p{C}\p{Zl}\p{Zp}",+;<>\\=#\s][^\p{C}\p{Zl}\p{Zp}",+;<>\\=#]*$/u;

export function certificateSubject(certificate: PeerCertificate): CertificateSubject {
  const expiresMs = Date.parse(certificate.valid_to);
  return { kind: 'certificate', names: namesOf(certificate), expiresMs: Number.isNaN(expiresMs) ? 0 : expiresMs };
}

function namesOf({ subjectaltname, subject }: PeerCertificate): string[] {
  const alternatives = alternativeNames(subjectaltname ?? '');
  const ids = alternatives
    .filter(([kind, value]) => kind === 'URI' && spiffeForm.test(value))
    .map(([, value]) => value);
  const hosts = alternatives
    .filter(([kind, value]) => kind === 'DNS' && dnsForm.test(value.toLowerCase()))
    .map(([, value]) => `dns:${value.toLowerCase()}`);
  // Several common names are an array.
  const commonName: unknown = subject?.CN;
  const isUsable = typeof commonName === 'string' && commonNameForm.test(commonName);
  const names = [...ids, ...hosts, ...(isUsable ? [`subject:CN=${commonName}`] : [])];
  return [...new Set(names)].filter((name) => name.length <= nameLengthMax).slice(0, namesMax);
}

/** Returns nothing if any part of the text is not as Node writes it. */
function alternativeNames(text: string): (readonly [kind: string, value: string])[] {
  const found: (readonly [string, string])[] = [];
  alternativeName.lastIndex = 0;
  for (let end = 0; end < text.length; end = alternativeName.lastIndex) {
    const match = alternativeName.exec(text);
    if (match === null) return [];
    const [, kind = '', value] = match;
    if (value !== undefined) found.push([kind, value]);
  }
  return found;
}
