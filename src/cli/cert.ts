/** `roster cert`: makes an authority, and certificates of servers and clients, for development. */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join, relative, resolve } from 'node:path';
import type { JsonGeneralName, X509Certificate } from '@peculiar/x509';
import { type Command, InvalidArgumentError } from 'commander';
import { type Context, createClientCommand } from './client-command.js';
import { makePrivateFolder, readPrivate, writeOnce } from './development-folder.js';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import { print } from './terminal.js';

interface CertOptions {
  folder: string;
  days: number;
  name?: string;
  force?: boolean;
}

interface Issued {
  readonly name: string;
  readonly subject: string;
  readonly names: readonly JsonGeneralName[];
  readonly usage: 'serverAuth' | 'clientAuth';
}

const help = `
The first run creates an authority in --folder. Its key and all other keys can be read only by you. The output has the
settings that use the files. To replace the authority, delete the folder.

These certificates are for development. Anybody who can read ca-key.pem can make certificates for everybody.`;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;

export function createCertCommand(context: Context): Command {
  const command = createClientCommand(
    'cert',
    'Make certificates for development, signed by an authority of your own.',
    ['cert server', 'cert client --uri spiffe://example.com/billing'],
  ).addHelpText('after', help);
  command.addCommand(createServer(context)).addCommand(createClient(context));
  return command;
}

function createServer(context: Context): Command {
  const description = "Make a server's certificate for localhost, 127.0.0.1, ::1 and each --host.";
  return addCommonFlags(
    createClientCommand('server', description, ['cert server --host roster.example'])
      .option('--host <name>', 'another host name or IP address; repeat it for several', collect)
      .option('--name <name>', 'the name of the files', parseName, 'server'),
  ).action(async (options: CertOptions & { host?: string[]; name: string }) => {
    const hosts = [...new Set(['localhost', '127.0.0.1', '::1', ...(options.host ?? [])])];
    const names = hosts.map((value): JsonGeneralName => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
    const issued = { name: options.name, subject: 'localhost', names, usage: 'serverAuth' } as const;
    const [ca, cert, key] = await issue(context, issued, options);
    await print(
      context.terminal.stdout,
      `For the server:\n  TLS_CERT=${cert}\n  TLS_KEY=${key}\n  TLS_CLIENT_CA=${ca}\n  TLS_CLIENT_AUTH=optional\nFor clients:\n  ROSTER_CA=${ca}\n`,
    );
  });
}

function createClient(context: Context): Command {
  return addCommonFlags(
    createClientCommand('client', "Make a client's certificate.", [
      'cert client --uri spiffe://example.com/billing',
      'cert client --dns billing.example.com',
      'cert client --common-name billing',
    ])
      .option('--uri <uri>', 'its name as a URI, as in SPIFFE', parseUri)
      .option('--dns <name>', 'its name as a DNS name')
      .option('--common-name <name>', 'the common name of its subject')
      .option('--name <name>', 'the name of the files; the default is the last part of its first name', parseName),
  ).action(async (options: CertOptions & { uri?: string; dns?: string; commonName?: string }) => {
    const { uri, dns, commonName } = options;
    const first = uri ?? dns ?? commonName;
    if (first === undefined) throw new UsageError('Name the client with --uri, --dns or --common-name.');
    const names: JsonGeneralName[] = [];
    if (uri !== undefined) names.push({ type: 'url', value: uri });
    if (dns !== undefined) names.push({ type: 'dns', value: dns });
    const lastPart =
      first
        .split('/')
        .at(-1)
        ?.replace(/[^A-Za-z0-9.-]/g, '-') ?? '';
    const name = options.name ?? parseName(lastPart);
    const issued = { name, subject: commonName ?? name, names, usage: 'clientAuth' } as const;
    const [ca, cert, key] = await issue(context, issued, options);
    const caller = uri ?? (dns === undefined ? `subject:CN=${commonName}` : `dns:${dns}`);
    await print(
      context.terminal.stdout,
      `For the client:\n  ROSTER_CA=${ca}\n  ROSTER_CERT=${cert}\n  ROSTER_KEY=${key}\nFor the server's ACCESS_FILE:\n  callers:\n    - certificate: ${JSON.stringify(caller)}\n      role: reader\n`,
    );
  });
}

function addCommonFlags(command: Command): Command {
  return command
    .option('--days <number>', 'how long the certificate is valid', parseDays, 90)
    .option('--folder <path>', 'the folder of the authority and the certificates', join('.roster', 'certificates'))
    .option('--force', 'replace the files if they exist; the authority stays')
    .option('--no-color', 'do not style the output; NO_COLOR=1 does the same');
}

/** Loaded lazily, because other commands do not need it. Its dependency tsyringe needs the polyfill. */
async function loadX509() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** Returns the paths of the authority, the certificate and its key. */
async function issue(
  { terminal }: Context,
  { name, subject, names, usage }: Issued,
  { folder, days, force }: CertOptions,
) {
  const x509 = await loadX509();
  const base = resolve(folder);
  await makePrivateFolder(base);
  const certFile = join(base, `${name}.pem`);
  const keyFile = join(base, `${name}-key.pem`);
  if (['ca', 'ca-key'].includes(name) || name.endsWith('-key'))
    throw new UsageError(`Choose another --name than ${name}.`);
  const authority = await prepareAuthority(base);
  if (authority.isNew) {
    const text = `Created an authority for development in ${relative('', base)}. Anybody who can read ca-key.pem can call as anybody.\n`;
    await print(terminal.stderr, text);
  }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    issuer: authority.certificate.subject,
    subject: [{ CN: [subject] }],
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    ...validity(days),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await write(keyFile, await pemOfKey(keys.privateKey), force);
  await write(certFile, `${certificate.toString('pem')}\n`, force);
  return [join(base, 'ca.pem'), certFile, keyFile].map((file) => relative('', file));
}

/** Reads the authority, or creates it. */
async function prepareAuthority(folder: string) {
  const x509 = await loadX509();
  const certFile = join(folder, 'ca.pem');
  const keyFile = join(folder, 'ca-key.pem');
  const pem = await readPrivate(keyFile);
  if (pem !== undefined) {
    const cert = await readFile(certFile, 'utf8');
    const der = x509.PemConverter.decodeFirst(pem);
    const key = await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
    return { certificate: new x509.X509Certificate(cert), key, isNew: false };
  }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate: X509Certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=Roster development authority on ${hostname().replace(/[^\w.-]/g, '')}`,
    keys,
    signingAlgorithm: algorithm,
    ...validity(3650),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // The key last: if it exists, so does the certificate.
  await replaceFile(certFile, `${certificate.toString('pem')}\n`, 0o600);
  await write(keyFile, await pemOfKey(keys.privateKey), false);
  return { certificate, key: keys.privateKey, isNew: true };
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  // Clocks may differ by some minutes.
  return { notBefore: new Date(Date.now() - 300_000), notAfter: new Date(Date.now() + days * dayMs) };
}

async function pemOfKey(key: Parameters<typeof crypto.subtle.exportKey>[1]): Promise<string> {
  const { PemConverter } = await loadX509();
  return `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), PemConverter.PrivateKeyTag)}\n`;
}

async function write(file: string, content: string, force: boolean | undefined): Promise<void> {
  if (force) return replaceFile(file, content, 0o600);
  if (await writeOnce(file, content)) return;
  throw new UsageError(`${relative('', file)} exists already. Pass --force to replace it, or another --name.`);
}

function collect(value: string, others: string[] = []): string[] {
  return [...others, value];
}

function parseName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be at most 64 letters, digits, dots and dashes.');
}

function parseUri(text: string): string {
  if (URL.canParse(text)) return text;
  throw new InvalidArgumentError('It must be a URI, such as spiffe://example.com/billing.');
}

function parseDays(text: string): number {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= 3650) return days;
  throw new InvalidArgumentError('It must be a whole number from 1 to 3650.');
}
