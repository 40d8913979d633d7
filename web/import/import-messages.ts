/** Encodes the messages of one ImportUsers call. */
import type { User } from '../../generated/users/v1/user.js';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  ImportUsersRequest,
} from '../../generated/users/v1/user_service.js';
import type { Bytes } from '../calls/connect.js';
import { bytesOf, framedBlob } from '../calls/connect-streams.js';

/** How to treat a row whose email is taken, in the directory or earlier in the file. */
export type OnTaken = 'reject' | 'skip' | 'update';

const onConflictOf = {
  reject: ImportOptions_OnConflict.ON_CONFLICT_UNSPECIFIED,
  skip: ImportOptions_OnConflict.ON_CONFLICT_SKIP,
  update: ImportOptions_OnConflict.ON_CONFLICT_UPDATE,
} as const;

// As in the client for Node: the contract allows more, but larger messages are hardly faster.
const messageUsersMax = 200;
const messageBytesMax = 256 * 1024;

export interface ImportMessages {
  add(user: DeepPartial<User>): void;
  /** Ends the import. Returns all messages. */
  finish(): Blob;
}

export function createImportMessages(
  onTaken: OnTaken,
  options: { readonly keepGoing?: true; readonly validateOnly?: true } = {},
): ImportMessages {
  const messages: Blob[] = [];
  // Parts of a message that are encoded one by one and then joined are the same message in protobuf.
  let parts: Bytes[] = [
    bytesOf(ImportUsersRequest, {
      // A column that the file does not have must not clear the attribute.
      options: { onConflict: onConflictOf[onTaken], mergeAttributes: true, ...options },
    }),
  ];
  let users = 0;
  let bytes = 0;
  let totalRows = 0;
  const endMessage = () => {
    messages.push(framedBlob(parts));
    parts = [];
    users = 0;
    bytes = 0;
  };
  return {
    add(user) {
      const part = bytesOf(ImportUsersRequest, { users: [user] });
      if (users >= messageUsersMax || bytes + part.length > messageBytesMax) endMessage();
      parts.push(part);
      bytes += part.length;
      users++;
      totalRows++;
    },
    finish() {
      parts.push(bytesOf(ImportUsersRequest, { totalRows }));
      endMessage();
      return new Blob(messages);
    },
  };
}
