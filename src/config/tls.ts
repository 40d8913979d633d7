/** Checks the TLS settings, and reads their files. Without TLS, only loopback addresses are allowed by default. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { type Address, isLoopback } from '../net/address.js';
import type { Setting } from './setting.js';

/** Paths of PEM files that were readable, and whose certificate and key matched, when they were checked. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** If set, clients may present a certificate that one of these authorities has signed. */
  readonly clientCa?: string;
  /** Whether every client must. The default is true. */
  readonly requiresClientCert?: boolean;
}

/** Paths of checked PEM files for calls over TLS. Either both `cert` and `key` are set, or neither. */
export interface CallerTlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Collects problems. `label` names a setting by the flag or the variable that its value came from. */
export interface Problems {
  readonly list: string[];
  label(setting: Setting): string;
}

type ServerTls = Record<'cert' | 'key' | 'clientCa' | 'clientAuth' | 'insecure', Setting>;
type CallerTls = Record<'enabled' | 'ca' | 'cert' | 'key', Setting>;
type Paths = Readonly<Partial<Record<'cert' | 'key', string>>>;

/** Returns paths, not contents, because a key in the configuration could be logged by mistake. */
export function checkServerTls(
  settings: ServerTls,
  {
    cert,
    key,
    clientCa,
    clientAuth,
  }: Paths & { readonly clientCa?: string; readonly clientAuth: 'require' | 'optional' },
  problems: Problems,
): TlsFiles | undefined {
  checkPair(settings, { cert, key }, problems);
  checkAuthorities(settings.clientCa, clientCa, problems);
  if (clientCa !== undefined && cert === undefined && key === undefined) {
    problems.list.push(`${problems.label(settings.clientCa)} needs ${settings.cert.name} and ${settings.key.name}`);
  }
  if (cert === undefined || key === undefined) return undefined;
  return { cert, key, clientCa, requiresClientCert: clientCa !== undefined && clientAuth === 'require' };
}

/** Requires TLS or INSECURE for addresses that other machines can reach. */
export function checkListening(
  listening: readonly (readonly [Setting, Address])[],
  { cert, key, insecure }: Paths & { readonly insecure: boolean },
  problems: Problems,
): void {
  if (cert !== undefined || key !== undefined || insecure) return;
  for (const [setting, { host }] of listening) {
    if (isLoopback(host)) continue;
    problems.list.push(
      `${problems.label(setting)} is not a loopback address (localhost, 127.0.0.0/8, ::1), and without TLS others can ` +
        'read the traffic: set TLS_CERT and TLS_KEY, or INSECURE=true (--insecure) to serve without TLS',
    );
  }
}

/** The files for calls over TLS, or undefined without TLS. */
export function checkCallerTls(
  settings: CallerTls,
  { enabled, ca, cert, key }: CallerTlsFiles & { readonly enabled?: boolean },
  problems: Problems,
): CallerTlsFiles | undefined {
  checkPair(settings, { cert, key }, problems);
  checkAuthorities(settings.ca, ca, problems);
  const hasFiles = [ca, cert, key].some((file) => file !== undefined);
  if (enabled === false && hasFiles) {
    const names = `${settings.ca.name}, ${settings.cert.name} and ${settings.key.name}`;
    problems.list.push(`${problems.label(settings.enabled)} is off, but ${names} need TLS`);
  }
  return (enabled ?? hasFiles) ? { ca, cert, key } : undefined;
}

function checkPair(settings: Record<'cert' | 'key', Setting>, { cert, key }: Paths, { list, label }: Problems): void {
  if (cert === undefined && key !== undefined) list.push(`${label(settings.key)} needs ${settings.cert.name}`);
  if (cert !== undefined && key === undefined) list.push(`${label(settings.cert)} needs ${settings.key.name}`);
  const certPem = readPem(settings.cert, cert, { list, label });
  const keyPem = readPem(settings.key, key, { list, label });
  if (certPem === undefined || keyPem === undefined) return;
  try {
    createSecureContext({ cert: certPem, key: keyPem });
  } catch {
    const names = `${label(settings.cert)} and ${label(settings.key)}`;
    list.push(`${names} must be a certificate and its own key, in PEM and not encrypted`);
  }
}

function checkAuthorities(setting: Setting, path: string | undefined, problems: Problems): void {
  const pem = readPem(setting, path, problems);
  if (pem === undefined) return;
  try {
    // A secure context accepts any text as authorities, and then trusts no certificate.
    new X509Certificate(pem);
  } catch {
    problems.list.push(`${problems.label(setting)} must hold certificates in PEM`);
  }
}

const whyUnreadable: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
};

function readPem(setting: Setting, path: string | undefined, { list, label }: Problems): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    // The text does not contain the path, because some users set the key itself.
    list.push(`${label(setting)} must be the path of a PEM file, but ${whyUnreadable[code] ?? 'it cannot be read'}`);
    return undefined;
  }
}

/** Re-reads the PEM files. */
export async function readTls({ cert, key, clientCa, requiresClientCert }: TlsFiles) {
  return {
    requiresClientCert,
    cert: await readFile(cert),
    key: await readFile(key),
    clientCa: clientCa === undefined ? undefined : await readFile(clientCa),
  };
}

/** When the first certificate of a PEM file expires, in seconds since 1970. */
export function certificateExpiry(pem: Buffer): number {
  const certificates = pem.toString().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return Math.min(...certificates.map((each) => new X509Certificate(each).validToDate.getTime() / 1000));
}
