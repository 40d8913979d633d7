/**
 * Lists the fields of the requests of both contracts, with their numbers in proto/. A test compares them with the
 * generated code.
 *
 * Fields that a client cannot set, such as `create_time`, are not listed, so the reader skips them.
 */
import { emptyTexts, type TextName, textFields } from '../fields.js';
import type { Violation } from '../model/fault.js';
import {
  attributes,
  bool,
  fieldMask,
  int32,
  int64,
  message,
  type ReadObject,
  shape,
  text,
  texts,
  users,
} from './message-reader.js';
import { userTextNumbers } from './user-codec.js';

export interface UserToCreate extends Record<TextName, string> {
  attributes: ReadObject | undefined;
}

const noFields: Readonly<UserToCreate> = { ...emptyTexts, attributes: undefined };
const writableFields = [...textFields.map(({ name }) => text(userTextNumbers[name], name)), attributes(6)];

const userToCreate = shape((): UserToCreate => ({ ...noFields }), ...writableFields);

export interface UserToUpdate extends UserToCreate {
  id: string;
  etag: string;
}

const userToUpdate = shape(
  (): UserToUpdate => ({ ...noFields, id: '', etag: '' }),
  ...writableFields,
  text(1, 'id'),
  text(10, 'etag'),
);

export interface Duration {
  seconds: number;
  nanos: number;
}

const duration = shape((): Duration => ({ seconds: 0, nanos: 0 }), int64(1, 'seconds'), int32(2, 'nanos'));

export interface ImportOptions {
  onConflict: number;
  keepGoing: boolean;
  validateOnly: boolean;
  mergeAttributes: boolean;
}

const importOptions = shape(
  (): ImportOptions => ({ onConflict: 0, keepGoing: false, validateOnly: false, mergeAttributes: false }),
  int32(1, 'onConflict'),
  bool(2, 'keepGoing'),
  bool(3, 'validateOnly'),
  bool(4, 'mergeAttributes'),
);

const tooManyIds = (max: number): Violation => ({ field: 'ids', description: `must have at most ${max} ids` });
const tooManyKeys = (max: number): Violation => ({
  field: 'ids',
  description: `must have at most ${max} ids and emails together`,
});

/** The keys are the names of the methods in the generated definition. */
export const userRequests = {
  createUser: shape(
    (): { user: UserToCreate | undefined; requestId: string } => ({ user: undefined, requestId: '' }),
    message(1, 'user', userToCreate),
    text(2, 'requestId'),
  ),
  getUser: shape(() => ({ id: '' }), text(1, 'id')),
  getUserByEmail: shape(() => ({ email: '' }), text(1, 'email')),
  updateUser: shape(
    (): { user: UserToUpdate | undefined; updateMask: string[] } => ({ user: undefined, updateMask: [] }),
    message(1, 'user', userToUpdate),
    fieldMask(2),
  ),
  deleteUser: shape(
    () => ({ id: '', etag: '', allowMissing: false }),
    text(1, 'id'),
    text(2, 'etag'),
    bool(3, 'allowMissing'),
  ),
  listUsers: shape(
    () => ({ pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: false }),
    int32(1, 'pageSize'),
    text(2, 'pageToken'),
    text(3, 'filter'),
    text(4, 'query'),
    text(5, 'orderBy'),
    bool(6, 'includeTotalSize'),
  ),
  batchGetUsers: shape((): { ids: string[] } => ({ ids: [] }), texts(1, 'ids', 'keys', tooManyIds)),
  batchCreateUsers: shape(
    (): { users: UserToCreate[]; requestId: string } => ({ users: [], requestId: '' }),
    users(1, userToCreate),
    text(2, 'requestId'),
  ),
  importUsers: shape(
    (): { options: ImportOptions | undefined; users: UserToCreate[]; totalRows: number | undefined } => ({
      options: undefined,
      users: [],
      totalRows: undefined,
    }),
    message(1, 'options', importOptions),
    users(2, userToCreate),
    int64(3, 'totalRows'),
  ),
  exportUsers: shape(() => ({ filter: '', resumeToken: '' }), text(1, 'filter'), text(2, 'resumeToken')),
  watchUsers: shape(
    (): { resumeToken: string; includeExisting: boolean; heartbeat: Duration | undefined } => ({
      resumeToken: '',
      includeExisting: false,
      heartbeat: undefined,
    }),
    text(1, 'resumeToken'),
    bool(2, 'includeExisting'),
    message(3, 'heartbeat', duration),
  ),
  resolveUsers: shape(
    (): { tag: string; ids: string[]; emails: string[] } => ({ tag: '', ids: [], emails: [] }),
    text(1, 'tag'),
    texts(2, 'ids', 'keys', tooManyKeys),
    texts(3, 'emails', 'keys', tooManyKeys),
  ),
  listUserChanges: shape(
    () => ({ id: '', pageSize: 0, pageToken: '' }),
    text(1, 'id'),
    int32(2, 'pageSize'),
    text(3, 'pageToken'),
  ),
  getCaller: shape(() => ({})),
};

export const profileRequests = {
  createProfile: shape(
    () => ({ firstName: '', lastName: '', email: '' }),
    text(1, 'firstName'),
    text(2, 'lastName'),
    text(3, 'email'),
  ),
};
