/**
 * The messages of an import's stream, with their parser, and the report of an import.
 *
 * An invalid message ends the stream. An invalid row is only counted, so the parser does not check rows.
 */
import { z } from 'zod';
import { invalid } from './fault.js';
import { parseWith, type UserInput } from './user.js';

/** The maximum number of users in one message. */
export const importUsersMax = 5000;
/** The maximum number of errors in the report. Further rejected rows are only counted. */
export const importErrorsMax = 100;

/** The action for a row whose email is already in the directory or in an earlier row of the same import. */
export type OnConflict = 'reject' | 'skip' | 'update';

export interface ImportOptions {
  onConflict: OnConflict;
  /** Write the valid rows even if others are rejected. */
  keepGoing: boolean;
  validateOnly: boolean;
  /** With `update`: keep each attribute of the user that the row does not set. */
  mergeAttributes: boolean;
}

export interface ImportPart {
  /** In the first message only. */
  options?: ImportOptions | undefined;
  /** The parser does not check them. */
  users: readonly UserInput[];
  /** In the last message only: the number of users in the whole stream. */
  totalRows?: number | undefined;
}

export interface ImportError {
  /** The index of the user in the whole stream. */
  row: number;
  /** The path of the field in User. */
  field: string;
  reason: 'INVALID_FIELD' | 'EMAIL_TAKEN';
  message: string;
}

export interface ImportReport {
  /** True if the counted rows are in the directory. If false, the numbers show what the import would have done. */
  committed: boolean;
  created: number;
  updated: number;
  skipped: number;
  rejected: number;
  /** The errors of the first rejected rows, at most importErrorsMax. */
  errors: readonly ImportError[];
}

// Indexed by their numbers in the contract.
const onConflictValues: readonly OnConflict[] = ['reject', 'skip', 'update'];

const optionsSchema = z.object({
  onConflict: z
    .unknown()
    .transform((value) => onConflictValues[Number(value)])
    .pipe(z.custom<OnConflict>((value) => value !== undefined, 'must be one of ImportOptions.OnConflict')),
  keepGoing: z.boolean(),
  validateOnly: z.boolean(),
  mergeAttributes: z.boolean(),
});

const partSchema = z.object({
  users: z
    .custom<readonly UserInput[]>(Array.isArray)
    .refine((users) => users.length <= importUsersMax, `must have at most ${importUsersMax} users`),
  totalRows: z
    .number()
    .optional()
    .refine((total) => total === undefined || total >= 0, 'must not be negative'),
});
const firstPartSchema = partSchema.extend({
  options: optionsSchema.default({
    onConflict: 'reject',
    keepGoing: false,
    validateOnly: false,
    mergeAttributes: false,
  }),
});
const laterPartSchema = partSchema.extend({ options: z.undefined('must be in the first message only').optional() });

/** Creates a parser for the messages of one stream, in their order. */
export function createImportParser(): (message: unknown) => ImportPart {
  let previous: ImportPart | undefined;
  return (message) => {
    if (previous?.totalRows !== undefined) {
      throw invalid([{ field: 'total_rows', description: 'must be in the last message only' }]);
    }
    previous = parseWith<ImportPart>(previous === undefined ? firstPartSchema : laterPartSchema, message);
    return previous;
  };
}
