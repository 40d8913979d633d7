/** The types of settings: how each reads its text, and which values it allows. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { type Address, parseAddress } from '../net/address.js';
import { PostgresUrlError, parsePostgresUrl, postgresUrlForm } from '../postgres-url.js';

export interface Kind<T> {
  /** Returns undefined for a text that is not allowed. */
  parse(text: string): T | undefined;
  /** The allowed values, for help, documentation and problems. */
  readonly form: string;
  /** The text after the flag in help. */
  readonly placeholder: string;
  /** Says more about a value that is not allowed than `form`. Continues a sentence after the setting's name. */
  problem?(text: string): string | undefined;
  /** Its values never appear in logs or messages. */
  readonly secret?: true;
  /** Spaces at the start and the end belong to the value. */
  readonly keepsSpaces?: true;
}

export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;
export const dayMs = 24 * hourMs;

export const wholeNumber = (min: number, max: number): Kind<number> => ({
  form: `a whole number from ${min} to ${max}`,
  placeholder: '<number>',
  parse(text) {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : undefined;
  },
});

/** More than the cores of almost any machine. Each process uses memory and connections. */
const processesMax = 256;

/** The configuration has the number that `auto` means. */
export const processes: Kind<number> = {
  form: `a whole number from 1 to ${processesMax}, or auto`,
  placeholder: '<number>',
  parse(text) {
    if (text.toLowerCase() === 'auto') return Math.min(availableParallelism(), processesMax);
    return wholeNumber(1, processesMax).parse(text);
  },
};

/** The only kind whose flag needs no value. */
export const onOff: Kind<boolean> = {
  form: 'true or false',
  placeholder: '[true|false]',
  parse(text) {
    if (/^(?:true|1)$/i.test(text)) return true;
    return /^(?:false|0)$/i.test(text) ? false : undefined;
  },
};

export const choice = <const T extends string>(...values: readonly T[]): Kind<T> => ({
  form: `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`,
  placeholder: '<word>',
  parse: (text) => values.find((value) => value === text.toLowerCase()),
});

/** Words separated by commas, or `none`. */
export const choices = <const T extends string>(...values: readonly T[]): Kind<readonly T[]> => ({
  form: `none, or some of ${values.join(', ')}, separated by commas`,
  placeholder: '<word,...>',
  parse(text) {
    if (text.toLowerCase() === 'none') return [];
    const words = text.split(',').map((word) => values.find((value) => value === word.trim().toLowerCase()));
    return words.every((word) => word !== undefined) ? words : undefined;
  },
});

/** An address to listen on. */
export const address: Kind<Address> = {
  form: 'host:port or [IPv6]:port, with both parts (0.0.0.0 or [::] for every interface)',
  placeholder: '<host:port>',
  parse: parseAddress,
};

/** The address of the server behind a gateway. */
export const target: Kind<Address> = { ...address, form: 'host:port or [IPv6]:port, with both parts' };

/** Addresses of servers to call. The client validates them. */
export const addresses: Kind<readonly string[]> = {
  form: 'host:port (default port 50051) or a gRPC target such as dns:///host:port; separate several with commas',
  placeholder: '<host:port,...>',
  parse(text) {
    const parts = text.split(',').map((part) => part.trim());
    return parts.every((part) => /^\S+$/.test(part)) ? parts : undefined;
  },
};

/** Origins as browsers send them: scheme and host in lower case, and the port if it is not the scheme's default. */
export const origins: Kind<readonly string[]> = {
  form: '* or origins like https://app.example.com, separated by commas',
  placeholder: '<origin,...>',
  parse(text) {
    const parts = text.split(',').map((part) => part.trim());
    const isOrigin = (part: string) => /^https?:/.test(part) && URL.canParse(part) && new URL(part).origin === part;
    return text === '*' || parts.every(isOrigin) ? parts : undefined;
  },
};

/** Where the audit log goes. */
export const auditTarget: Kind<'off' | 'stdout' | { readonly file: string }> = {
  form: 'off, stdout or the path of a file',
  placeholder: '<path>',
  parse(text) {
    if (text === 'off' || text === 'stdout') return text;
    return text.includes('\0') ? undefined : { file: resolve(text) };
  },
};

const pathOf = (what: string): Kind<string> => ({
  form: `the path of ${what}`,
  placeholder: '<path>',
  parse: (text) => (text.includes('\0') ? undefined : resolve(text)),
});
export const folder = pathOf('a folder');
export const file = pathOf('a file');
export const secretFile = pathOf('a file that contains nothing else');
export const pemFile = pathOf('a PEM file');
export const descriptorsFile = pathOf(
  'a google.protobuf.FileDescriptorSet with all imports, as buf build -o writes it',
);

export const databaseUrl: Kind<string> = {
  form: postgresUrlForm,
  placeholder: '<url>',
  secret: true,
  parse: (text) => (databaseUrlProblem(text) === undefined ? text : undefined),
  problem: databaseUrlProblem,
};

/** URLs separated by commas or spaces. A comma in a URL is between two of its hosts. */
export const databaseUrls: Kind<readonly string[]> = {
  form: `URLs separated by commas or spaces, each ${postgresUrlForm}`,
  placeholder: '<url,...>',
  secret: true,
  parse: (text) => (databaseUrlsProblem(text) === undefined ? splitUrls(text) : undefined),
  problem: databaseUrlsProblem,
};

function splitUrls(text: string): string[] {
  return text.split(/[\s,]+(?=postgres(?:ql)?:\/\/)|[\s,]+$/i).filter((url) => url !== '');
}

/** Names the URL by its number, because it may contain a password. */
function databaseUrlsProblem(text: string): string | undefined {
  for (const [index, url] of splitUrls(text).entries()) {
    const problem = databaseUrlProblem(url);
    if (problem !== undefined) return `has an invalid URL ${index + 1}, which ${problem}`;
  }
  return undefined;
}

function databaseUrlProblem(text: string): string | undefined {
  try {
    parsePostgresUrl(text);
    return undefined;
  } catch (error) {
    if (error instanceof PostgresUrlError) return error.message;
    throw error;
  }
}

/** A part of the address of a database, which may be any text. */
export const databaseText = (form: string, placeholder: string): Kind<string> => ({
  form,
  placeholder,
  parse: (text) => (text.includes('\0') ? undefined : text),
});

export const databasePassword: Kind<string> = {
  ...databaseText('any text', '<password>'),
  secret: true,
  keepsSpaces: true,
};

export const token: Kind<string> = {
  form: 'at most 16,000 ASCII characters without spaces',
  placeholder: '<token>',
  secret: true,
  // These characters need no quotes in an HTTP header (RFC 6750's b64token and a few more).
  parse: (text) => (/^[\x21-\x7e]{1,16000}$/.test(text) ? text : undefined),
};
