/** Estimates the size of messages with users without encoding them. */
import { textFields } from '../fields.js';
import { attributesBytesOf, type StoredUser } from '../model/stored-user.js';
import { messageBytesMax, type User } from '../model/user.js';

/** The maximum size of the users in one message. The rest, mainly a token, is small. */
export const usersBytesMax = messageBytesMax - 64 * 1024;

// Of attributes, lists of one-digit numbers grow most: from 3 bytes in JSON ("1, ") to 11 bytes.
const attributesGrowth = 4;
// The id, two timestamps, the etag, tags and lengths.
const fixedBytesMax = 200;

/** An upper bound of an encoded user's size. The message contains names twice. */
export function storedUserBytesMax(user: StoredUser): number {
  const attributesBytes = attributesBytesOf(user);
  return fixedBytesMax + 2 * (user.end - user.start - attributesBytes) + attributesGrowth * attributesBytes;
}

/** As `storedUserBytesMax`, for a decoded user. */
export function userBytesMax(user: User, attributesBytes: number): number {
  // UTF-8 needs at most 3 bytes for a UTF-16 unit.
  let units = user.firstName.length + user.lastName.length;
  for (const { name } of textFields) units += user[name].length;
  return fixedBytesMax + 3 * units + attributesGrowth * attributesBytes;
}

// Much smaller than the maximum, so that a client can process one message while the next one arrives.
const partBytesMax = 1024 * 1024;

/** Splits items into parts of at most about 1 MiB, one for each message. An empty list has no parts. */
export function cutByBytes<T>(items: readonly T[], bytesMaxOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const added = bytesMaxOf(item);
    bytes += added;
    if (bytes > partBytesMax) {
      parts.push([]);
      bytes = added;
    }
    parts.at(-1)?.push(item);
  }
  return parts;
}
