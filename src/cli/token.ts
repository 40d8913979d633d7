/** `roster token`: makes tokens for development, and the issuer whose tokens they are. */
import { join, relative, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { JWK } from 'jose';
import { isObject } from '../user-files/read-json.js';
import { type Context, createClientCommand } from './client-command.js';
import { makePrivateFolder, readPrivate, writeOnce } from './development-folder.js';
import { UsageError } from './failure.js';
import { print } from './terminal.js';

interface TokenOptions {
  subject: string;
  role?: string[];
  claims?: Record<string, unknown>;
  audience: string;
  issuer: string;
  expires: number;
  issuerFolder: string;
}

const help = `
The first run creates the issuer in --issuer-folder: a private key, which only you can read, its public key in jwks.json, and
access.yaml, which maps each --role to the role of that name. Start the server with ACCESS_FILE=.roster/issuer/access.yaml.
The command prints only the token:
  export ROSTER_TOKEN=$(roster token --subject ada --role admin)

This issuer is for development. Anybody who can read its private key can make tokens for everybody.`;

export function createTokenCommand(context: Context): Command {
  return createClientCommand('token', 'Make a token for development, signed by a key of your own.', [
    'token --subject ada --role reader --role bulk',
    `token --subject ada --claims '{"groups":["people-team"]}' --expires 8h`,
  ])
    .addHelpText('after', help)
    .requiredOption('--subject <name>', 'the claim sub: who calls; not an email, because logs contain it')
    .option('--role <name>', 'adds a role to the claim roles; repeat it for several', (role, others: string[] = []) => [
      ...others,
      role,
    ])
    .option('--claims <json>', 'further claims, as a JSON object', parseClaims)
    .option('--audience <name>', 'the claim aud', 'roster')
    .option('--issuer <url>', 'the claim iss', 'https://issuer.invalid/')
    .option('--expires <time>', 'how long the token is valid, such as 90s, 30m, 8h or 7d', parseSeconds, 3600)
    .option('--issuer-folder <path>', 'the folder of the issuer', join('.roster', 'issuer'))
    .option('--no-color', 'do not style the output; NO_COLOR=1 does the same')
    .action((options: TokenOptions) => printToken(context, options));
}

async function printToken({ terminal }: Context, options: TokenOptions): Promise<void> {
  const { subject, role, claims = {}, audience, issuer, expires } = options;
  const reserved = ['iss', 'sub', 'aud', 'exp', 'iat', ...(role === undefined ? [] : ['roles'])];
  const taken = reserved.find((name) => name in claims);
  if (taken !== undefined) throw new UsageError(`The claim ${taken} has a flag of its own. Leave it out of --claims.`);
  const { importJWK, SignJWT } = await import('jose');
  const { key, accessFile, isNew } = await prepareIssuer(options);
  if (isNew) await print(terminal.stderr, noteFor(relative('', accessFile)));
  const now = Math.floor(Date.now() / 1000);
  const token = await new SignJWT({ ...(role && { roles: role }), ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: key.kid, typ: 'JWT' })
    .setSubject(subject)
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(now)
    .setExpirationTime(now + expires)
    .sign(await importJWK(key, 'ES256'));
  await print(terminal.stdout, `${token}\n`);
}

/** Returns the issuer's private key. Creates the files that are missing. */
async function prepareIssuer({ issuerFolder, issuer, audience }: TokenOptions) {
  const { calculateJwkThumbprint, exportJWK, generateKeyPair } = await import('jose');
  const folder = resolve(issuerFolder);
  await makePrivateFolder(folder);
  const keyFile = join(folder, 'private-key.json');
  let text = await readPrivate(keyFile);
  if (text === undefined) {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(privateKey);
    await writeOnce(keyFile, `${JSON.stringify({ ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256' })}\n`);
    text = (await readPrivate(keyFile)) ?? '';
  }
  const key = JSON.parse(text) as JWK;
  const { d: _, ...publicKey } = key;
  await writeOnce(join(folder, 'jwks.json'), `${JSON.stringify({ keys: [{ ...publicKey, use: 'sig' }] }, null, 2)}\n`);
  const accessFile = join(folder, 'access.yaml');
  return { key, accessFile, isNew: await writeOnce(accessFile, accessFileFor(issuer, audience)) };
}

function accessFileFor(issuer: string, audience: string): string {
  const roles = ['reader', 'writer', 'bulk', 'admin'];
  const callers = roles.map((role) => `  - issuer: dev\n    claims: { roles: ${role} }\n    role: ${role}\n`);
  return `# For development only: anybody who can read private-key.json in this folder can call with any role.
issuers:
  - name: dev
    issuer: ${JSON.stringify(issuer)}
    audience: ${JSON.stringify(audience)}
    jwks_file: jwks.json
callers:
${callers.join('')}`;
}

function noteFor(accessFile: string): string {
  return `Created an issuer for development. To let the server accept its tokens, start it with:
  ACCESS_FILE=${accessFile}
Its private key is next to that file. Anybody who can read the key can call with any role, so never use it in production.
`;
}

function parseClaims(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {}
  throw new InvalidArgumentError('It must be a JSON object, such as {"groups":["people-team"]}.');
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

function parseSeconds(text: string): number {
  const [, number, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(number) * (unitSeconds[unit] ?? Number.NaN);
  if (seconds > 0) return seconds;
  throw new InvalidArgumentError('It must be a number and s, m, h or d, such as 30m.');
}
