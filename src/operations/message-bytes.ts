/** Estimates the size of messages with users without encoding them. */
import { textFields } from '../fields.js';
import { messageBytesMax, type User } from '../model/user.js';

/** The maximum size of the users in one message. The rest, mainly a token, is small. */
export const usersBytesMax = messageBytesMax - 64 * 1024;

/** An upper bound of an encoded user's size. `attributesBytes` is the size of the attributes as Postgres' JSON text. */
export function userBytesMax(user: User, attributesBytes: number): number {
  // UTF-8 needs at most 3 bytes for a UTF-16 unit, and the message contains names twice. The id, two timestamps, the
  // etag, tags and lengths take less than 200 bytes. Of attributes, lists of one-digit numbers grow most: from 3 bytes
  // in JSON ("1, ") to 11 bytes.
  let units = user.firstName.length + user.lastName.length;
  for (const { name } of textFields) units += user[name].length;
  return 200 + 3 * units + 4 * attributesBytes;
}

// Much smaller than the maximum, so that a client can process one message while the next one arrives.
const partBytesMax = 1024 * 1024;

interface Sized {
  readonly user: User | undefined;
  /** If this is known, the attributes need not be serialized again. */
  readonly attributesBytes?: number;
}

/** Splits items into parts of at most about 1 MiB, one for each message. An empty list has no parts. */
export function cutByBytes<T extends Sized>(items: readonly T[]): T[][] {
  const parts: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const added =
      item.user === undefined ? 100 : userBytesMax(item.user, item.attributesBytes ?? jsonBytesOf(item.user));
    bytes += added;
    if (bytes > partBytesMax) {
      parts.push([]);
      bytes = added;
    }
    parts.at(-1)?.push(item);
  }
  return parts;
}

/** Compact JSON can be a third shorter than Postgres' JSON text; the parts leave enough room for that. */
function jsonBytesOf({ attributes }: User): number {
  return Buffer.byteLength(JSON.stringify(attributes));
}
