/** How large a message with users may become, without encoding it. */
import { messageBytesMax, type User } from '../model/user.js';

/** Of the users in one message. What is around them, a token above all, is small. */
export const usersBytesMax = messageBytesMax - 64 * 1024;

/** More than a user's message can have; `attributesBytes` are those of the attributes as Postgres' JSON text. */
export function userBytesMax(
  { id, firstName, lastName, email, profileImageUrl, createTime, updateTime, version, attributes, ...others }: User,
  attributesBytes: number,
): number {
  // A new field is a type error here until it has been counted.
  others satisfies Record<string, never>;
  // UTF-8 has at most 3 bytes for a UTF-16 unit, and names come twice. An id, two times, an etag, tags and lengths are
  // under 200 bytes. JSON grows most where it is a list of one-digit numbers: 3 bytes each there ("1, "), 11 here.
  const units = 2 * (firstName.length + lastName.length) + email.length + profileImageUrl.length;
  return 200 + 3 * units + 4 * attributesBytes;
}

// Far below what a message may hold, so that a reader has something to do while the next one comes.
const partBytesMax = 1024 * 1024;

interface Sized {
  readonly user: User | undefined;
  /** Where it is known, the attributes need not be written out again. */
  readonly attributesBytes?: number;
}

/** Cuts changes or the like into parts of about 1 MiB at most, as messages; an empty list has none. */
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

/** Compact JSON can be a third shorter than Postgres', for which a part leaves room enough. */
function jsonBytesOf({ attributes }: User): number {
  return Buffer.byteLength(JSON.stringify(attributes));
}
