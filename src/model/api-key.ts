/** The text of an API key: `roster_<id>_<secret>`. The database has the id, and a digest of the secret. */
import { hash, randomBytes } from 'node:crypto';

/** The only kind of bearer token that has this prefix is an API key. */
export const apiKeyPrefix = 'roster_';

export interface ApiKeySecret {
  readonly id: string;
  /** Has 256 random bits. Its text is hashed, and not its bytes, so that each key has only one spelling. */
  readonly secret: string;
}

const idCharacters = 12;
const secretBytes = 32;
const form = /^roster_([a-z0-9]{12})_([\w-]{43})$/;

export function newApiKey(): ApiKeySecret {
  return { id: randomId(), secret: randomBytes(secretBytes).toString('base64url') };
}

/** Each of the 36 characters is equally likely. */
function randomId(): string {
  let id = '';
  while (id.length < idCharacters) {
    for (const byte of randomBytes(idCharacters * 2)) {
      // The largest multiple of 36 in a byte.
      if (byte < 252 && id.length < idCharacters) id += (byte % 36).toString(36);
    }
  }
  return id;
}

export function apiKeyText({ id, secret }: ApiKeySecret): string {
  return `${apiKeyPrefix}${id}_${secret}`;
}

/** Returns undefined for a text that no API key has. */
export function parseApiKey(text: string): ApiKeySecret | undefined {
  const [, id, secret] = form.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** SHA-256. A slow hash is only useful for secrets that can be guessed. */
export function digestOf(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

const nameForm = /^[a-z0-9-]{1,63}$/;
export const apiKeyNameText = '1 to 63 lower-case letters, digits and hyphens';

export function isApiKeyName(text: string): boolean {
  return nameForm.test(text);
}
