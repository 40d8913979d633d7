/** Reads the header field `authorization` of a call. */
import type { HeaderFields } from '../grpc-server/stream.js';
import { Fault } from '../model/fault.js';

// Issuers that put all groups of a person into a token reach some kilobytes. Larger fields are not looked at.
export const tokenBytesMax = 16 * 1024;

// RFC 6750, 2.1: one space, then characters of base64 and some others.
const bearerForm = /^bearer +([\w.~+/-]+=*) *$/i;
// Also in a list of several values, as proxies join them.
const hasBearer = /(?:^|[\s,])bearer(?:[\s,]|$)/i;
const keyPrefix = 'roster_';

/** Returns the value of the field, undefined without the field, or a Fault if it is there several times. */
export function authorizationOf(fields: HeaderFields): string | undefined | Fault {
  let found: string | undefined;
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index] !== 'authorization') continue;
    if (found !== undefined) return invalidCredentials('The call has several authorization fields.');
    found = fields[index + 1] ?? '';
  }
  return found;
}

/** Returns the token of a bearer, undefined for another scheme, or a Fault. */
export function bearerOf(authorization: string): string | undefined | Fault {
  if (authorization.length > tokenBytesMax) {
    return invalidCredentials(`The authorization field must have at most ${tokenBytesMax} characters.`);
  }
  const [, token] = bearerForm.exec(authorization) ?? [];
  if (token !== undefined) return token;
  if (!hasBearer.test(authorization)) return undefined;
  return invalidCredentials('The authorization field must be "Bearer", a space and one token.');
}

/** Whether a token is an API key of Roster. All others are tokens of issuers. */
export function isApiKey(token: string): boolean {
  return token.startsWith(keyPrefix);
}

export function invalidCredentials(message: string, options?: ErrorOptions): Fault {
  return new Fault('CREDENTIALS_INVALID', message, [], options);
}

export function expiredCredentials(message: string): Fault {
  return new Fault('CREDENTIALS_EXPIRED', message);
}
