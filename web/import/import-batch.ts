/**
 * Writes the users of an import's batches. If the server rejects rows, sends the batch again without them.
 *
 * Repeats a batch with the same request id until the server responds, so that no row creates two users. A batch that also
 * updates users has no request id: if it is repeated, rows that are already written count as skipped.
 */
import type { RowProblem } from '../../src/user-files/columns.js';
import { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { pause } from '../calls/pause.js';
import { hasReason, isUnclear, newRequestId } from '../calls/save-user.js';
import { withFirstNames } from './existing-users.js';
import { createImportMessages, type OnTaken } from './import-messages.js';

const deadlineMs = 30_000;
const backoffMs = 250;
const backoffMsMax = 5_000;
// Retries rarely help against an internal error of the server.
const internalErrorsMax = 3;

/** Rows and lines are counted from 1. The header is not counted as a row. */
export interface BatchRow {
  readonly row: number;
  readonly line: number;
  readonly original: string | readonly string[];
  readonly user?: object | undefined;
  readonly problem?: RowProblem | undefined;
}

export interface BatchState {
  readonly created: number;
  readonly updated: number;
  readonly skipped: number;
  readonly rejected: number;
  /** Whether the import waits for an unavailable server. */
  readonly isWaiting: boolean;
  /** The rows that may or may not be in the directory, because the response was lost. */
  readonly unclear: { readonly from: number; readonly to: number } | undefined;
  /** When the last user of this import was created, as far as the server returned it. */
  readonly newest: Date | undefined;
}

export const initialState: BatchState = {
  created: 0,
  updated: 0,
  skipped: 0,
  rejected: 0,
  isWaiting: false,
  unclear: undefined,
  newest: undefined,
};

/** A batch that was interrupted, without its rows whose result is known. */
export interface UnfinishedBatch {
  readonly rows: readonly BatchRow[];
  /** If the rows are sent with it again, they create no second user, even if the first response was lost. */
  readonly requestId: string;
}

export interface BatchSenderOptions {
  readonly directory: Directory;
  readonly onTaken: OnTaken;
  /** The counts so far, if this continues an import. */
  readonly initial?: BatchState;
  /** Ends the import after the current batch, so that it is known which users were created. */
  readonly signal: AbortSignal;
  onChange(): void;
  onRejected(row: BatchRow, problem: RowProblem): void;
  /** The row is in the directory, or was skipped. */
  onAccepted?(row: BatchRow): void;
}

export class BatchSender {
  readonly #options: BatchSenderOptions;
  #state: BatchState;
  #unfinished: UnfinishedBatch | undefined;

  constructor(options: BatchSenderOptions) {
    this.#options = options;
    this.#state = options.initial ?? initialState;
  }

  get state(): BatchState {
    return this.#state;
  }

  /** The batch that `send` or `resume` has failed to send; undefined if the last one was sent. */
  get unfinished(): UnfinishedBatch | undefined {
    return this.#unfinished;
  }

  #set(change: Partial<BatchState>): void {
    this.#state = { ...this.#state, ...change };
  }

  /** Returns whether the server accepted all rows. */
  send(batch: readonly BatchRow[]): Promise<boolean> {
    return this.#send(batch);
  }

  /** Sends the rest of a batch that was interrupted. */
  resume({ rows, requestId }: UnfinishedBatch): Promise<boolean> {
    return this.#send(rows, requestId);
  }

  async #send(batch: readonly BatchRow[], earlierId?: string): Promise<boolean> {
    const rejected = new Map(batch.flatMap((row) => (row.problem === undefined ? [] : [[row, row.problem] as const])));
    let rest = batch.filter(({ problem }) => problem === undefined);
    let isAccepted = true;
    let repeatedId = earlierId;
    try {
      while (rest.length > 0) {
        const requestId = repeatedId ?? newRequestId();
        this.#unfinished = { rows: rest, requestId };
        const problems = await this.#write(this.#unfinished, repeatedId !== undefined);
        this.#unfinished = undefined;
        repeatedId = undefined;
        if (problems === undefined) {
          for (const row of rest) this.#options.onAccepted?.(row);
          break;
        }
        isAccepted = false;
        for (const [index, row] of rest.entries()) {
          const problem = problems.get(index);
          if (problem === 'skip') {
            this.#set({ skipped: this.#state.skipped + 1 });
            this.#options.onAccepted?.(row);
          } else if (problem !== undefined) rejected.set(row, problem);
        }
        rest = rest.filter((_, index) => !problems.has(index));
      }
    } finally {
      for (const row of batch) {
        const problem = rejected.get(row);
        if (problem !== undefined) this.#options.onRejected(row, problem);
      }
      this.#set({ rejected: this.#state.rejected + rejected.size });
      this.#options.onChange();
    }
    return isAccepted;
  }

  /** Writes all users, or writes nothing and returns the problems of some rows by index. */
  async #write({ rows, requestId }: UnfinishedBatch, wasSent: boolean): Promise<Problems | undefined> {
    const { directory, onTaken, signal } = this.#options;
    const isUpdate = onTaken === 'update';
    const fileUsers = rows.map(({ user }) => user ?? {});
    let isRepeated = wasSent;
    for (let failures = 0, internalErrors = 0; ; failures++) {
      signal.throwIfAborted();
      let isSent = false;
      try {
        // Each try reads the names again, because the rows undo a change of a name after it was read.
        const users = isUpdate ? await withFirstNames(directory, fileUsers, signal) : fileUsers;
        isSent = true;
        const problems = isUpdate ? await this.#update(users) : await this.#create(users, requestId);
        this.#set({ isWaiting: false, unclear: undefined });
        return problems;
      } catch (error) {
        // The batch succeeded, its response was lost, and somebody has deleted one of its users since then.
        if (isRepeated && hasReason(error, 'USER_NOT_FOUND')) {
          this.#set({ isWaiting: false, unclear: undefined, created: this.#state.created + rows.length });
          return undefined;
        }
        if (isInternal(error)) internalErrors++;
        const canRetry = isUnclear(error) || hasReason(error, 'OVERLOADED');
        if (isSent && isUnclear(error)) {
          isRepeated = true;
          this.#set({ unclear: { from: rows[0]?.row ?? 0, to: rows.at(-1)?.row ?? 0 } });
        } else if (isSent && !canRetry) this.#set({ unclear: undefined });
        if (!canRetry || internalErrors >= internalErrorsMax) {
          const problems = problemsOf(error, onTaken);
          if (problems.size === 0) throw error;
          this.#set({ isWaiting: false });
          return problems;
        }
      }
      this.#set({ isWaiting: true });
      this.#options.onChange();
      await pause(Math.min(backoffMsMax, backoffMs * 2 ** failures), signal);
    }
  }

  async #create(users: readonly object[], requestId: string): Promise<undefined> {
    const response = await this.#options.directory.batchCreateUsers({ users: [...users], requestId }, { deadlineMs });
    const { created, newest } = this.#state;
    this.#set({ created: created + users.length, newest: response.users.at(-1)?.createTime ?? newest });
  }

  async #update(users: readonly object[]): Promise<Problems | undefined> {
    const { add, finish } = createImportMessages('update');
    for (const user of users) add(user);
    const response = await this.#options.directory.importUsers(finish());
    if (!response.committed) return new Map(response.errors.map(({ row, ...problem }) => [row, problem]));
    const { created, updated, skipped } = this.#state;
    this.#set({
      created: created + response.created,
      updated: updated + response.updated,
      skipped: skipped + response.skipped,
    });
    return undefined;
  }
}

function isInternal(error: unknown): boolean {
  return error instanceof CallError && (error.code === 'INTERNAL' || error.code === 'UNKNOWN');
}

/** 'skip' is a taken email that the user wants to skip. */
type Problems = ReadonlyMap<number, RowProblem | 'skip'>;

/** Returns the first violation of each row, by the row's index in the batch. */
function problemsOf(error: unknown, onTaken: OnTaken): Problems {
  const problems = new Map<number, RowProblem | 'skip'>();
  if (!(error instanceof CallError)) return problems;
  for (const { field: path, description: message } of error.violations) {
    const [, index, field = ''] = /^users\[(\d+)\](?:\.(.*))?$/s.exec(path) ?? [];
    if (index === undefined || problems.has(Number(index))) continue;
    const isSkipped = error.reason === 'EMAIL_TAKEN' && onTaken === 'skip';
    problems.set(Number(index), isSkipped ? 'skip' : { field, reason: error.reason, message });
  }
  return problems;
}
