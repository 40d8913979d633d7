/**
 * Writes an export's FILE, and FILE.resume, which records the progress. FILE.resume exists from before the first byte
 * until after the last: while it exists, FILE is incomplete.
 */
import { constants, open, readFile, rm, stat } from 'node:fs/promises';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import type { UserFormat } from './user-file.js';

// A resumed export repeats at most about this much work of a killed one. Each save waits for the disk twice.
const saveMs = 1_000;

/** The progress of an export: `resumeToken` continues after the first `bytes` bytes of the file. */
export interface ExportProgress {
  format: UserFormat;
  filter: string;
  resumeToken: string;
  bytes: number;
  users: number;
}

export interface ExportFile extends AsyncDisposable {
  readonly progress: Readonly<ExportProgress>;
  /** Appends whole lines. An export that resumes with `resumeToken` continues after them. */
  append(lines: string, users: number, resumeToken: string): Promise<void>;
  /** Flushes all appended lines to the disk, so that a resumed export continues after them. */
  save(): Promise<void>;
  /** Marks the export as complete. */
  finish(): Promise<void>;
}

export function resumePath(path: string): string {
  return `${path}.resume`;
}

/** Returns undefined if no export was interrupted. Throws a UsageError if the progress file is invalid. */
export async function readProgress(path: string): Promise<ExportProgress | undefined> {
  let text: string;
  try {
    text = await readFile(resumePath(path), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { format, filter, resumeToken, bytes, users } = JSON.parse(text);
    const isFormat = format === 'csv' || format === 'ndjson';
    const isText = typeof filter === 'string' && typeof resumeToken === 'string';
    if (isFormat && isText && Number.isSafeInteger(bytes) && Number.isSafeInteger(users)) {
      return { format, filter, resumeToken, bytes, users };
    }
  } catch {
    // It is not JSON.
  }
  throw new UsageError(`${resumePath(path)} is not the progress file of an export.`);
}

/** Creates the file, or opens it to continue after the progress `from`. */
export async function openExportFile(path: string, from: ExportProgress): Promise<ExportFile> {
  const progress = { ...from };
  const isNew = progress.resumeToken === '';
  if (isNew) {
    progress.bytes = 0;
    progress.users = 0;
    // Written before the file is emptied, because the file is incomplete from then on.
    await replaceFile(resumePath(path), format(progress));
  }
  const file = await open(path, isNew ? 'w' : constants.O_WRONLY | constants.O_APPEND);
  try {
    if ((await file.stat()).size < progress.bytes) {
      throw new UsageError('The file is shorter than the export left it. Delete it and its .resume, and start again.');
    }
    // Removes users that were written after the last save. They are exported again.
    await file.truncate(progress.bytes);
  } catch (error) {
    await file.close();
    throw error;
  }
  let savedMs = performance.now();

  async function save(): Promise<void> {
    // In this order, because a saved token must never be after users that are not on the disk.
    await file.datasync();
    await replaceFile(resumePath(path), format(progress));
    savedMs = performance.now();
  }

  return {
    progress,
    async append(lines, users, resumeToken) {
      await file.appendFile(lines);
      progress.bytes += Buffer.byteLength(lines);
      progress.users += users;
      progress.resumeToken = resumeToken;
      if (performance.now() - savedMs > saveMs) await save();
    },
    save,
    async finish() {
      await file.sync();
      await rm(resumePath(path));
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

function format(progress: ExportProgress): string {
  return `${JSON.stringify(progress)}\n`;
}

/** Throws a UsageError for a pipe or another special file, because an export cannot be resumed in it. */
export async function validateExportPath(path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats !== undefined && !stats.isFile()) {
    throw new UsageError('The path is not a file. Omit it to write to the standard output.');
  }
}
