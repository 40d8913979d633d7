/**
 * Parses and validates the requests of all methods except UpdateUser and ImportUsers.
 *
 * Every parser checks the whole request and throws one INVALID_ARGUMENT with all violations. Its input has the field
 * names of the generated messages, but nothing here depends on the wire format.
 */
import { z } from 'zod';
import { validateLegacyEmail } from './email.js';
import { Fault, type FaultReason, invalid } from './fault.js';
import { type Filter, parseFilter } from './filter.js';
import { type OrderTerm, parseOrderBy } from './order-by.js';
import { hasAtMost, validateStorable } from './text.js';
import {
  noFields,
  parseEtag,
  parseWith,
  type RequiredVersion,
  storableTextSchema,
  textSchema,
  textSchemas,
  type UserFields,
  userFieldsSchema,
  uuidForm,
  validateUuid,
} from './user.js';
import { parseWatchToken, type WatchPosition } from './watch-token.js';

export const batchUsersMax = 1000;
export const pageSizeDefault = 50;
const pageSizeMax = 1000;
const queryCharactersMax = 256;

const idSchema = textSchema(validateUuid).transform((id) => id.toLowerCase());
const idsSchema = z.array(textSchema(validateUuid)).transform((ids) => ids.map((id) => id.toLowerCase()));
const anyEmailSchema = textSchema(validateLegacyEmail);
const requestIdSchema = textSchema((id) =>
  id === '' || uuidForm.test(id) ? undefined : 'must be a UUID or empty',
).transform((id) => (id === '' ? undefined : id.toLowerCase()));

function parserOf<T>(schema: z.ZodType<T>): (request: unknown) => T {
  return (request) => parseWith(schema, request);
}

export interface CreateUserRequest {
  fields: UserFields;
  requestId: string | undefined;
}

export const parseCreateUser = parserOf(
  z
    .object({ user: userFieldsSchema, requestId: requestIdSchema })
    .transform(({ user, requestId }): CreateUserRequest => ({ fields: user, requestId })),
);

export interface BatchCreateUsersRequest {
  users: UserFields[];
  requestId: string | undefined;
}

export const parseBatchCreateUsers = parserOf<BatchCreateUsersRequest>(
  z.object({
    users: z
      .array(z.unknown())
      .max(batchUsersMax, `must have at most ${batchUsersMax} users`)
      .pipe(z.array(userFieldsSchema)),
    requestId: requestIdSchema,
  }),
);

/** Parses a user of the first contract, which has only these fields, and allows any text as an email. */
export const parseCreateProfile = parserOf(
  z
    .object({ firstName: textSchemas.firstName, lastName: textSchemas.lastName, email: anyEmailSchema })
    .transform((profile): UserFields => ({ ...noFields, ...profile })),
);

export const parseGetUser = parserOf(z.object({ id: idSchema }));

export const parseGetUserByEmail = parserOf(z.object({ email: anyEmailSchema }));

export const parseBatchGetUsers = parserOf(
  z.object({
    ids: z
      .custom<string[]>()
      .refine((ids) => ids.length <= batchUsersMax, `must have at most ${batchUsersMax} ids`)
      .pipe(idsSchema),
  }),
);

export interface DeleteUserRequest extends RequiredVersion {
  id: string;
  allowMissing: boolean;
}

export const parseDeleteUser = parserOf(
  z
    .object({ id: idSchema, etag: storableTextSchema, allowMissing: z.boolean() })
    .transform(({ id, etag, allowMissing }): DeleteUserRequest => ({ id, ...parseEtag(etag), allowMissing })),
);

export interface ListUsersRequest {
  pageSize: number;
  /** Still sealed; empty for the first page. */
  pageToken: string;
  filter: Filter | undefined;
  /** The words of `query`. A matching user contains each of them. */
  words: readonly string[];
  orderBy: readonly OrderTerm[];
  includeTotalSize: boolean;
  /** The request fields that a page token is valid for, as they were sent. */
  scope: { filter: string; query: string; orderBy: string };
}

const listUsersSchema = z.object({
  pageSize: z.int(),
  pageToken: z.string(),
  filter: z.string(),
  query: z.string(),
  orderBy: z.string(),
  includeTotalSize: z.boolean(),
});

export function parseListUsers(request: unknown): ListUsersRequest {
  const { pageSize, pageToken, filter, query, orderBy, includeTotalSize } = parseWith(listUsersSchema, request);
  const faults: Fault[] = [];
  const attempt = <T>(parse: () => T, fallback: T): T => {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      faults.push(error);
      return fallback;
    }
  };
  const parsed: ListUsersRequest = {
    pageSize: attempt(() => parsePageSize(pageSize), 0),
    pageToken,
    filter: attempt(() => parseFilter(filter), undefined),
    words: attempt(() => parseQuery(query), []),
    orderBy: attempt(() => parseOrderBy(orderBy), []),
    includeTotalSize,
    scope: { filter, query, orderBy },
  };
  if (faults.length === 0) return parsed;
  // Report all violations, under the most specific reason.
  const reason: FaultReason = faults.find((fault) => fault.reason !== 'INVALID_FIELD')?.reason ?? 'INVALID_FIELD';
  throw invalid(
    faults.flatMap((fault) => fault.violations),
    reason,
  );
}

function parsePageSize(pageSize: number): number {
  if (pageSize < 0) throw invalid([{ field: 'page_size', description: 'must not be negative' }]);
  return pageSizeOf(pageSize);
}

function pageSizeOf(pageSize: number): number {
  return pageSize === 0 ? pageSizeDefault : Math.min(pageSize, pageSizeMax);
}

function parseQuery(query: string): string[] {
  const invalidQuery = (description: string) => invalid([{ field: 'query', description }]);
  if (!hasAtMost(query, queryCharactersMax)) throw invalidQuery(`must have at most ${queryCharactersMax} characters`);
  if (query.includes('\0') || !query.isWellFormed()) throw invalidQuery('must be well-formed Unicode without U+0000');
  return [...new Set(query.split(/\s+/u).filter((word) => word !== ''))];
}

export interface ListUserChangesRequest {
  id: string;
  pageSize: number;
  /** Still sealed; empty for the first page. */
  pageToken: string;
}

export const parseListUserChanges = parserOf<ListUserChangesRequest>(
  z.object({
    id: idSchema,
    pageSize: z
      .int()
      .min(0, 'must not be negative')
      .transform((size) => pageSizeOf(size)),
    pageToken: z.string(),
  }),
);

export interface WatchUsersRequest {
  /** The starting point, or undefined to start now. */
  position: WatchPosition | undefined;
  /** Never true together with a position. */
  includeExisting: boolean;
  heartbeatMs: number;
}

const heartbeatMsDefault = 10_000;
const heartbeatMsMin = 100;
const heartbeatMsMax = 600_000;

const watchUsersSchema = z.object({
  resumeToken: z.string(),
  includeExisting: z.boolean(),
  heartbeat: z
    .object({ seconds: z.number(), nanos: z.number() })
    .optional()
    .refine((duration) => duration === undefined || isDuration(duration), {
      message: 'must be a valid Duration: nanos from -999999999 to 999999999, with the same sign as seconds',
      abort: true,
    })
    .transform((duration) => (duration === undefined ? 0 : duration.seconds * 1000 + duration.nanos / 1_000_000))
    .refine(
      (ms) => ms === 0 || (ms >= heartbeatMsMin && ms <= heartbeatMsMax),
      'must be 0, or from 100 ms to 10 minutes',
    ),
});

/** Whether this is a valid google.protobuf.Duration. */
function isDuration({ seconds, nanos }: { seconds: number; nanos: number }): boolean {
  return Math.abs(nanos) <= 999_999_999 && (seconds === 0 || nanos === 0 || seconds > 0 === nanos > 0);
}

export function parseWatchUsers(request: unknown): WatchUsersRequest {
  const { resumeToken, includeExisting, heartbeat } = parseWith(watchUsersSchema, request);
  if (includeExisting && resumeToken !== '') {
    throw invalid([{ field: 'include_existing', description: 'must not be set together with a resume_token' }]);
  }
  return {
    position: resumeToken === '' ? undefined : parseWatchToken(resumeToken),
    includeExisting,
    heartbeatMs: heartbeat === 0 ? heartbeatMsDefault : heartbeat,
  };
}

export interface ExportUsersRequest {
  filter: Filter | undefined;
  /** The filter as it was sent. A resume_token is valid only for this filter. */
  filterText: string;
  /** Still sealed; empty for an export from the beginning. */
  resumeToken: string;
}

const exportUsersSchema = z.object({ filter: z.string(), resumeToken: z.string() });

export function parseExportUsers(request: unknown): ExportUsersRequest {
  const { filter, resumeToken } = parseWith(exportUsersSchema, request);
  return { filter: parseFilter(filter), filterText: filter, resumeToken };
}

export interface ResolveUsersRequest {
  tag: string;
  ids: string[];
  emails: string[];
  /** The ids as they were sent, before conversion to lower case. */
  idsAsSent: readonly string[];
}

const tagCharactersMax = 256;

// Ignore the rest of an oversized request.
const resolveUsersSchema = z
  .object({ tag: z.unknown(), ids: z.custom<string[]>(), emails: z.custom<string[]>() })
  .refine(({ ids, emails }) => ids.length + emails.length <= batchUsersMax, {
    path: ['ids'],
    message: `must have at most ${batchUsersMax} ids and emails together`,
  })
  .pipe(
    z.object({
      tag: textSchema((tag) =>
        hasAtMost(tag, tagCharactersMax) ? validateStorable(tag) : `must have at most ${tagCharactersMax} characters`,
      ),
      ids: idsSchema,
      emails: z.array(anyEmailSchema),
    }),
  );

export function parseResolveUsers(request: { readonly ids: readonly string[] }): ResolveUsersRequest {
  return { ...parseWith(resolveUsersSchema, request), idsAsSent: request.ids };
}
