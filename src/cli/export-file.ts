/**
 * Writes an export's FILE, and FILE.resume, which records the progress. FILE.resume exists from before the first byte
 * until after the last: while it exists, FILE is incomplete.
 */
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import type { UserFormat } from './user-file.js';

// A killed export repeats about this much work. Each save waits for the disk twice.
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
  /** Appends whole lines, and remembers the token that continues after them. */
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

/** Creates the file, or opens it where `from` left it. */
export async function openExportFile(path: string, from: ExportProgress): Promise<ExportFile> {
  const progress = { ...from };
  const isNew = progress.resumeToken === '';
  if (isNew) {
    progress.bytes = 0;
    progress.users = 0;
    // This comes first: from now on the file is incomplete.
    await replaceFile(resumePath(path), format(progress));
  }
  const file = await open(path, isNew ? 'w' : 'r+');
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
    // In this order: a saved token must never cover users that are not on the disk.
    await file.datasync();
    await replaceFile(resumePath(path), format(progress));
    savedMs = performance.now();
  }

  return {
    progress,
    async append(lines, users, resumeToken) {
      const bytes = Buffer.from(lines);
      await writeAll(file, bytes, progress.bytes);
      progress.bytes += bytes.length;
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

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const result = await file.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
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
