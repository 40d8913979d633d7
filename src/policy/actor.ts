/** Names callers in the change log and in the audit log, without personal data. */
import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';

const actorCharactersMax = 200;
const digestDigits = 16;

export type ActorOf = (prefix: string, name: string) => string;

/**
 * The returned function keeps a name unless it may be personal data, such as an email, or is hard to read in a log.
 * Then the name becomes a keyed hash, so that nobody can find out by guessing whose it is.
 */
export function createActors(secret: Buffer): ActorOf {
  const key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', 'actor name', 32)));
  return (prefix, name) => {
    if (isPlain(name) && prefix.length + name.length <= actorCharactersMax) return prefix + name;
    const digest = createHmac('sha256', key).update(prefix).update('\0').update(name).digest('hex');
    return `${prefix}h-${digest.slice(0, digestDigits)}`;
  };
}

/** A name that looks like a hash is hashed too. Otherwise, it could be chosen to be the actor of somebody else. */
function isPlain(name: string): boolean {
  return /^[\x20-\x7e]+$/.test(name) && !name.includes('@') && !name.startsWith('h-');
}
