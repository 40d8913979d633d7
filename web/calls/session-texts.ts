/** The texts about the end of a session, and about a failed sign-in. */
import type { CallError } from './call-error.js';
import type { Caller } from './caller.js';

export const noIssuer = 'The directory no longer allows this way to sign in.';

/** Why the session ended. `reason` is the server's. */
export function endingText(reason: string, { name, actor }: Caller): string {
  const isExpired = reason === 'CREDENTIALS_EXPIRED';
  const cause = isExpired ? 'Your session has expired.' : 'The directory no longer accepts your sign-in.';
  const who = name ?? actor;
  return `${cause} Sign in again${who === '' ? '' : ` as ${who}`} to continue where you were.`;
}

/** Why the server refused a new token. `host` is the issuer's, undefined for a token that the user entered. */
export function refusedText({ code, reason, message }: CallError, host: string | undefined): string {
  if (code !== 'UNAUTHENTICATED') return message;
  if (host === undefined) {
    return reason === 'CREDENTIALS_EXPIRED' ? 'This token has expired.' : 'The server rejected this token.';
  }
  if (reason === 'CREDENTIALS_EXPIRED') {
    return `The sign-in at ${host} has already expired. Compare the clocks of ${host} and of the directory’s server.`;
  }
  return (
    `You have signed in at ${host}, but the directory does not accept its token, which may be for another audience. ` +
    'Ask the administrator of this directory.'
  );
}
