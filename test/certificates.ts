/**
 * Certificates for tests, made in process, so that no key lies in the repository and no openssl is needed.
 *
 * X.509 version 3 in DER, as RFC 5280 has it, with as little in it as OpenSSL accepts.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** In PEM. */
  readonly cert: string;
  /** In PEM. */
  readonly key: string;
}

export interface Authority extends Certificate {
  /** A certificate for servers and clients, by default for localhost, 127.0.0.1 and ::1. */
  issue(name: string, options?: IssueOptions): Certificate;
}

export interface IssueOptions {
  /** The only host for which the certificate is valid. */
  readonly host?: string;
  readonly isExpired?: boolean;
}

const validUntil = '491231235959Z';

export function createAuthority(name = 'Test authority'): Authority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    cert: certificate(name, own.publicKey, name, own.privateKey, extension('2.5.29.19', true, sequence(boolean))),
    key: pemOf(own.privateKey),
    issue(subject, { host, isExpired } = {}) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const local = [
        der(0x87, Buffer.from([127, 0, 0, 1])),
        der(0x87, Buffer.from([...new Array<number>(15).fill(0), 1])),
      ];
      const alternatives = sequence(der(0x82, Buffer.from(host ?? 'localhost')), ...(host === undefined ? local : []));
      const names = extension('2.5.29.17', false, alternatives);
      const until = isExpired ? '210101000000Z' : validUntil;
      return { cert: certificate(subject, publicKey, name, own.privateKey, names, until), key: pemOf(privateKey) };
    },
  };
}

function certificate(
  subject: string,
  key: KeyObject,
  issuer: string,
  issuerKey: KeyObject,
  extensions: Buffer,
  until = validUntil,
): string {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2')); // ecdsa-with-SHA256
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    nameOf(issuer),
    // A fixed span, for the tests' clocks and certificates must not depend on each other.
    sequence(der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from(until))),
    nameOf(subject),
    key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(extensions)),
  );
  const signed = sequence(content, algorithm, bits(sign('sha256', content, issuerKey)));
  const lines = signed.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

const boolean = der(0x01, Buffer.from([0xff]));

function nameOf(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [boolean] : []), der(0x04, value));
}

function bits(value: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([0]), value]));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = rest.flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return der(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
