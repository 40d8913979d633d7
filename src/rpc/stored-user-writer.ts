/** Writes a user as a users.v1.User directly from the row that Postgres sent. */
import { jsonbVersionBytes, lengthBytes, millisecondsAt, readInt32, type StoredUser } from '../model/stored-user.js';
import { putEtag } from './etag-writer.js';
import { appendSlice, beginMessage, endMessage, putSlice, putUuid } from './message-writer.js';
import { putStructFromJson, putTime } from './well-known-writer.js';

const uuidBytes = 16;
const timeBytes = 8;
// The text of empty attributes is {}.
const emptyObjectBytes = 2;
const openObject = 0x7b;

/** Writes the fields of a user. The cells are in the order of `storedCells`. */
export function putStoredUser({ bytes, start }: StoredUser): void {
  const id = start + lengthBytes;
  const firstName = id + uuidBytes + lengthBytes;
  const firstNameEnd = firstName + readInt32(bytes, firstName - lengthBytes);
  const lastName = firstNameEnd + lengthBytes;
  const lastNameEnd = lastName + readInt32(bytes, lastName - lengthBytes);
  const email = lastNameEnd + lengthBytes;
  const emailEnd = email + readInt32(bytes, email - lengthBytes);
  const imageUrl = emailEnd + lengthBytes;
  const imageUrlEnd = imageUrl + readInt32(bytes, imageUrl - lengthBytes);
  const attributes = imageUrlEnd + lengthBytes;
  const attributesEnd = attributes + readInt32(bytes, attributes - lengthBytes);
  const createTime = attributesEnd + lengthBytes;
  const updateTime = createTime + timeBytes + lengthBytes;
  const version = updateTime + timeBytes + lengthBytes;

  putUuid(1, bytes, id);
  putUnlessEmpty(2, bytes, firstName, firstNameEnd);
  putUnlessEmpty(3, bytes, lastName, lastNameEnd);
  putUnlessEmpty(4, bytes, email, emailEnd);
  putUnlessEmpty(5, bytes, imageUrl, imageUrlEnd);
  putAttributes(bytes, attributes + jsonbVersionBytes, attributesEnd);
  putDisplayName(bytes, firstName, firstNameEnd, lastName, lastNameEnd);
  putTime(8, millisecondsAt(bytes, createTime));
  const updateMs = millisecondsAt(bytes, updateTime);
  putTime(9, updateMs);
  putEtag(10, readInt32(bytes, version), updateMs);
}

function putUnlessEmpty(field: number, bytes: Buffer, from: number, to: number): void {
  if (from < to) putSlice(field, bytes, from, to);
}

/** Omits empty attributes, and any other JSON than an object. Only other programs can write that into the table. */
function putAttributes(bytes: Buffer, from: number, to: number): void {
  // Without this check, the reader would not stop at the end of the cell.
  if (bytes[from] === openObject && to - from > emptyObjectBytes) putStructFromJson(6, bytes, from);
}

const space = Buffer.from(' ');

/** Writes the same as `displayName` returns. */
function putDisplayName(bytes: Buffer, first: number, firstEnd: number, last: number, lastEnd: number): void {
  if (last === lastEnd) {
    putUnlessEmpty(7, bytes, first, firstEnd);
    return;
  }
  const mark = beginMessage(7);
  appendSlice(bytes, first, firstEnd);
  appendSlice(space, 0, 1);
  appendSlice(bytes, last, lastEnd);
  endMessage(mark);
}
