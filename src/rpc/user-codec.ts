/**
 * Encodes responses with users directly to bytes, with the field numbers of proto/users/v1. A test decodes the bytes
 * with the generated code and compares each field.
 */
import { UserChange_Type } from '../../generated/users/v1/user.js';
import { createPause } from '../concurrency/event-loop.js';
import type { TextName } from '../fields.js';
import { Fault } from '../model/fault.js';
import { type AnyUser, isStored, type StoredUser } from '../model/stored-user.js';
import { displayName, type JsonObject, messageBytesMax, type User } from '../model/user.js';
import type { ExportedUsers } from '../operations/export-users.js';
import type { ChangePage } from '../operations/list-changes.js';
import type { UserPage } from '../operations/list-page.js';
import type { WatchedChange, WatchMessage } from '../operations/watch-users.js';
import { putEtag } from './etag-writer.js';
import { beginMessage, encodeWith, endMessage, putEncoded, putNumber, putText } from './message-writer.js';
import { putStoredUser } from './stored-user-writer.js';
import { putStruct, putTime } from './well-known-writer.js';

/** Encoders for the responses with users. The generated code encodes the others. */
export const userResponses = {
  createUser: encoder(writeUser),
  getUser: encoder(writeUser),
  getUserByEmail: encoder(writeUser),
  updateUser: encoder(writeUser),
  listUsers: encoder(({ users, nextPageToken, totalSize }: UserPage) => {
    putUsers(1, users);
    putTextUnlessEmpty(2, nextPageToken);
    if (totalSize !== undefined) putNumber(3, totalSize);
  }),
  batchGetUsers: encoder(({ users, missingIds }: Pick<ResolvedMessage, 'users' | 'missingIds'>) => {
    putUsers(1, users);
    for (const id of missingIds) putText(2, id);
  }),
  batchCreateUsers: encoder(({ users }: { users: readonly AnyUser[] }) => putUsers(1, users)),
  exportUsers: encoder(({ users, resumeToken, watchToken }: ExportedUsers) => {
    putUsers(1, users);
    putTextUnlessEmpty(2, resumeToken);
    putTextUnlessEmpty(3, watchToken);
  }),
  watchUsers: encodeWatchMessage,
  listUserChanges: encoder(({ changes, nextPageToken }: ChangePage) => {
    for (const change of changes) putChange(1, { ...change, user: undefined });
    putTextUnlessEmpty(2, nextPageToken);
  }),
  resolveUsers: encoder(({ tag, users, missingIds, missingEmails }: ResolvedMessage) => {
    putTextUnlessEmpty(1, tag);
    putUsers(2, users);
    for (const id of missingIds) putText(3, id);
    for (const email of missingEmails) putText(4, email);
  }),
};

export interface ResolvedMessage {
  tag: string;
  users: ResponseUsers;
  missingIds: readonly string[];
  missingEmails: readonly string[];
}

function encoder<Message>(write: (message: Message) => void): (message: Message) => Uint8Array {
  return (message) => encodeWith(write, message);
}

function writeUser({ user }: { user: AnyUser }): void {
  putUser(1, user);
}

/** Omits missing users. */
function putUsers(field: number, users: readonly (AnyUser | undefined)[] | Uint8Array): void {
  if (users instanceof Uint8Array) putEncoded(users);
  else for (const user of users) if (user !== undefined) putUser(field, user);
}

/** The users of a response: encoded if they are large, so that the response only copies them. */
export type ResponseUsers = readonly (StoredUser | undefined)[] | Uint8Array;

// Rows of this size in total are encoded in about two milliseconds at most.
const smallBytesMax = 64 * 1024;
// Encoding this many of the largest users takes a few milliseconds.
const usersInStep = 16;

/**
 * Encodes the users of a response as a repeated field, without the missing ones, unless they are small. Pauses between
 * steps, so that other calls do not wait for many large users. Throws MESSAGE_TOO_LARGE.
 */
export async function encodeLargeUsers(
  field: number,
  users: readonly (StoredUser | undefined)[],
): Promise<ResponseUsers> {
  if (areSmall(users)) return users;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const pause = createPause();
  for (let index = 0; index < users.length; index += usersInStep) {
    const step = users.slice(index, index + usersInStep);
    const part = Buffer.from(encodeWith(() => putUsers(field, step), undefined));
    bytes += part.length;
    if (bytes > messageBytesMax) {
      throw new Fault('MESSAGE_TOO_LARGE', 'The response would have more than 4 MiB. Request fewer users at once.');
    }
    parts.push(part);
    await pause();
  }
  return Buffer.concat(parts);
}

function areSmall(users: readonly (StoredUser | undefined)[]): boolean {
  let bytes = 0;
  for (const user of users) {
    if (user !== undefined) bytes += user.end - user.start;
  }
  return bytes <= smallBytesMax;
}

/** The field numbers of the texts that clients write. putUser repeats them, because a loop would take 5 % longer. */
export const userTextNumbers: Readonly<Record<TextName, number>> = {
  firstName: 2,
  lastName: 3,
  email: 4,
  profileImageUrl: 5,
};

// Most users have more than 127 bytes.
const userBytesGuess = 200;

function putUser(field: number, user: AnyUser): void {
  const mark = beginMessage(field, userBytesGuess);
  if (isStored(user)) putStoredUser(user);
  else putDecodedUser(user);
  endMessage(mark);
}

function putDecodedUser(user: User): void {
  putText(1, user.id);
  putTextUnlessEmpty(2, user.firstName);
  putTextUnlessEmpty(3, user.lastName);
  putTextUnlessEmpty(4, user.email);
  putTextUnlessEmpty(5, user.profileImageUrl);
  putAttributes(6, user.attributes);
  putTextUnlessEmpty(7, displayName(user));
  putTime(8, user.createTime.getTime());
  putTime(9, user.updateTime.getTime());
  putEtag(10, user.version, user.updateTime.getTime());
}

function putTextUnlessEmpty(field: number, text: string): void {
  if (text !== '') putText(field, text);
}

/** Writes a google.protobuf.Struct unless it is empty. */
function putAttributes(field: number, attributes: JsonObject): void {
  for (const _ in attributes) {
    putStruct(field, attributes);
    return;
  }
}

const changeTypes: Record<WatchedChange['type'], UserChange_Type> = {
  existing: UserChange_Type.TYPE_EXISTING,
  created: UserChange_Type.TYPE_CREATED,
  updated: UserChange_Type.TYPE_UPDATED,
  deleted: UserChange_Type.TYPE_DELETED,
};

function writeWatchMessage({ changes, resumeToken, caughtUp }: WatchMessage): void {
  for (const change of changes) putChange(1, change);
  putTextUnlessEmpty(2, resumeToken);
  if (caughtUp) putNumber(3, 1);
}

function putChange(field: number, { type, userId, user, changeTime, actor, requestId }: WatchedChange): void {
  const mark = beginMessage(field, userBytesGuess);
  putNumber(1, changeTypes[type]);
  if (user !== undefined) putUser(2, user);
  else {
    // Only the id: the user has been deleted, or was not requested.
    const onlyId = beginMessage(2);
    putText(1, userId);
    endMessage(onlyId);
  }
  putTime(3, changeTime.getTime());
  if (actor !== undefined) putText(4, actor);
  if (requestId !== undefined) putText(5, requestId);
  endMessage(mark);
}

const watchMessages = new WeakMap<WatchMessage, Uint8Array>();

/** Encodes a message once for all watchers that receive it. */
function encodeWatchMessage(message: WatchMessage): Uint8Array {
  const known = watchMessages.get(message);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(encodeWith(writeWatchMessage, message));
  watchMessages.set(message, bytes);
  return bytes;
}
