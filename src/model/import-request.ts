/**
 * What a message of an import's stream holds, and what an import answers with.
 *
 * A bad message ends the stream; a bad row is only counted, so rows are left as they came.
 */
import { z } from 'zod';
import { invalid } from './fault.js';
import { parseWith, type UserInput } from './user.js';

/** Of one message. */
export const importUsersMax = 5000;
/** How many rejected rows are reported; of the others only the number is kept. */
export const importErrorsMax = 100;

/** What becomes of a row whose email is in the directory already, or earlier in the same import. */
export type OnConflict = 'reject' | 'skip' | 'update';

export interface ImportOptions {
  onConflict: OnConflict;
  /** Write the good rows whatever happens to others. */
  keepGoing: boolean;
  validateOnly: boolean;
}

export interface ImportPart {
  /** In the first message only. */
  options?: ImportOptions | undefined;
  /** Not checked. */
  users: readonly UserInput[];
  /** In the last message only: how many users the whole stream held. */
  totalRows?: number | undefined;
}

export interface ImportError {
  /** Counted from 0 over the whole stream. */
  row: number;
  /** The path in User. */
  field: string;
  reason: 'INVALID_FIELD' | 'EMAIL_TAKEN';
  message: string;
}

export interface ImportReport {
  /** Whether the counted rows are in the directory now; otherwise the counts say what would have been. */
  committed: boolean;
  created: number;
  updated: number;
  skipped: number;
  rejected: number;
  /** Of the first rows that were rejected, at most importErrorsMax. */
  errors: readonly ImportError[];
}

// By their numbers in the contract.
const onConflictValues: readonly OnConflict[] = ['reject', 'skip', 'update'];

const optionsSchema = z.object({
  onConflict: z
    .unknown()
    .transform((value) => onConflictValues[Number(value)])
    .pipe(z.custom<OnConflict>((value) => value !== undefined, 'must be one of ImportOptions.OnConflict')),
  keepGoing: z.boolean(),
  validateOnly: z.boolean(),
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
  options: optionsSchema.default({ onConflict: 'reject', keepGoing: false, validateOnly: false }),
});
const laterPartSchema = partSchema.extend({ options: z.undefined('must be in the first message only').optional() });

/** A parser for the messages of one stream, in their order. */
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
