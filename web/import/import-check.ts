/** Checks all rows of a file in one ImportUsers call that writes nothing, as `roster import --dry-run` does. */
import type { User } from '../../generated/users/v1/user.js';
import type { DeepPartial } from '../../generated/users/v1/user_service.js';
import type { RowProblem } from '../../src/user-files/columns.js';
import { createPlaces } from '../../src/user-files/places.js';
import type { KnownAttributes } from '../attributes/use-attribute-types.js';
import type { Directory } from '../calls/directory.js';
import { type ChangeExample, createChangeExamples, withFirstNames } from './existing-users.js';
import { createStrayTexts, type StrayTexts } from './import-attributes.js';
import { createImportMessages, type OnTaken } from './import-messages.js';
import { explainProblems, type ProblemRow } from './import-problems.js';
import { type ImportFile, openFile, problemOf, readRows } from './import-users.js';
import { createReasons, type RejectReason } from './reject-reasons.js';
import { createRepeatedEmails, type RepeatedEmails } from './repeated-emails.js';

export interface CheckReport {
  /** Whether the server checked the rows. Otherwise the counts are 0, except for rows that cannot be sent. */
  readonly isCheckedByServer: boolean;
  readonly created: number;
  readonly updated: number;
  readonly skipped: number;
  readonly rejected: number;
  /** All rows that were read. */
  readonly rows: number;
  /** The server names only the first 100 rows that it would reject, so these may be fewer than `rejected`. */
  readonly reasons: readonly RejectReason[];
  /** How many rows have a text without an @ as their email, or none. */
  readonly withoutEmail: number;
  /** In all rows that were read. */
  readonly strayTexts: readonly StrayTexts[];
  readonly repeatedEmails: RepeatedEmails;
  /** The first users who change. */
  readonly examples: readonly ChangeExample[];
  /** The line where a row begins. Both count from 1. */
  lineOf(row: number): number;
  readonly onTaken: OnTaken;
  /** Why the check ended early; empty if the user stopped it, undefined if it checked the whole file. */
  readonly problem: string | undefined;
}

export interface CheckOptions {
  readonly onTaken: OnTaken;
  /** The attributes of other users. */
  readonly known: KnownAttributes;
  readonly signal: AbortSignal;
  /** `share` is the share of the file that was read. After that, the page waits for the server. */
  onProgress(progress: { readonly rows: number; readonly share: number }): void;
}

// Often enough for a progress bar.
const rowsPerProgress = 1_000;
/** The page reads the users of so many rows at the same time. */
const groupRowsMax = 500;

/** Without the right to call ImportUsers, the page checks only what the server would not find. Never rejects. */
export async function checkImport(
  directory: Directory,
  source: ImportFile,
  { onTaken, known, signal, onProgress }: CheckOptions,
): Promise<CheckReport> {
  const { decoded, share } = openFile(source);
  const isCheckedByServer = directory.may('importUsers');
  const messages = isCheckedByServer
    ? createImportMessages(onTaken, { keepGoing: true, validateOnly: true })
    : undefined;
  const places = createPlaces();
  const readPlaces = createPlaces();
  const lineOf = (row: number) => readPlaces.find(row - 1).line;
  const reasons = createReasons();
  const strayTexts = createStrayTexts(source.columns, known);
  const repeatedEmails = createRepeatedEmails();
  const examples = createChangeExamples(directory, signal);
  let group: { readonly row: number; readonly user: DeepPartial<User> }[] = [];
  const endGroup = async () => {
    const users = group.map(({ user }) => user);
    if (onTaken === 'update') await examples.add(group);
    const complete = onTaken === 'update' ? await withFirstNames(directory, users, signal) : users;
    for (const user of complete) messages?.add(user);
    group = [];
  };
  let rows = 0;
  let withoutEmail = 0;
  let result = { created: 0, updated: 0, skipped: 0, rejected: 0 };
  let rejectedRows: ReadonlySet<number> = new Set();
  let unreadable: unknown;
  const problem = await problemOf(signal, async () => {
    try {
      for await (const { row, line, user, problem: rowProblem } of readRows(decoded.text, source)) {
        signal.throwIfAborted();
        if (++rows % rowsPerProgress === 0) onProgress({ rows, share: share() });
        readPlaces.add({ row, line });
        if (user === undefined) {
          reasons.add({ row, line }, rowProblem);
          continue;
        }
        places.add({ row, line });
        strayTexts.add(row, user.attributes);
        repeatedEmails.add(row, user.email);
        if (!user.email?.includes('@')) withoutEmail++;
        group.push({ row, user });
        if (group.length >= groupRowsMax) await endGroup();
      }
    } catch (error) {
      signal.throwIfAborted();
      // Check the rows before the error too.
      unreadable = error;
    }
    await endGroup();
    onProgress({ rows, share: 1 });
    result.rejected = reasons.rows();
    if (messages !== undefined) {
      const { errors, ...counts } = await directory.importUsers(messages.finish(), { signal });
      result = { ...counts, rejected: counts.rejected + result.rejected };
      const problems = new Map(errors.map((error) => [places.find(error.row).row, error]));
      rejectedRows = new Set(problems.keys());
      const texts = await explainErrors(source, problems);
      for (const [row, { field, message }] of problems) {
        reasons.add({ row, line: lineOf(row) }, { field, message: texts.get(row) ?? message });
      }
    }
    if (unreadable !== undefined) throw unreadable;
  });
  return {
    ...result,
    isCheckedByServer,
    rows,
    reasons: reasons.list(),
    withoutEmail,
    strayTexts: strayTexts.list(),
    repeatedEmails: repeatedEmails.result(),
    examples: examples.list(rejectedRows),
    lineOf,
    onTaken,
    problem,
  };
}

async function explainErrors(source: ImportFile, problems: ReadonlyMap<number, RowProblem>) {
  const read = () => readRows(openFile(source).decoded.text, source);
  const rows: ProblemRow[] = [];
  if (problems.size === 0) return new Map<number, string>();
  try {
    for await (const { row, original } of read()) {
      const problem = problems.get(row);
      if (problem !== undefined) rows.push({ row, cells: [original].flat(), problem });
      if (rows.length === problems.size) break;
    }
  } catch {
    // The check reports it.
  }
  return explainProblems(source.columns, rows, read);
}
