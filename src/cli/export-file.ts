/**
 * The file that an export writes, and the one beside it that knows how far it is, from before the first byte until after
 * the last: as long as FILE.resume is there, FILE is not whole.
 */
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import type { UserFormat } from './user-file.js';

// How much an export that was killed does twice. Each time costs two waits for the disk.
const saveMs = 1_000;

/** How far an export is: what `bytes` of the file hold ends where `resumeToken` goes on. */
export interface ExportProgress {
  format: UserFormat;
  filter: string;
  resumeToken: string;
  bytes: number;
  users: number;
}

export interface ExportFile extends AsyncDisposable {
  readonly progress: Readonly<ExportProgress>;
  /** Whole lines, and the token that goes on behind them. */
  append(lines: string, users: number, resumeToken: string): Promise<void>;
  /** Makes what was appended safe, so that a resumed export goes on behind all of it. */
  save(): Promise<void>;
  /** The export is whole. */
  finish(): Promise<void>;
}

export function resumePath(path: string): string {
  return `${path}.resume`;
}

/** Undefined where none was interrupted. Throws a UsageError for a file that is none of ours. */
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
    // No JSON at all.
  }
  throw new UsageError(`${resumePath(path)} is not what an interrupted export leaves.`);
}

/** Begins the file, or goes on where `from` says. */
export async function openExportFile(path: string, from: ExportProgress): Promise<ExportFile> {
  const progress = { ...from };
  const isNew = progress.resumeToken === '';
  if (isNew) {
    progress.bytes = 0;
    progress.users = 0;
    // First: from now on the file is not whole.
    await replaceFile(resumePath(path), format(progress));
  }
  const file = await open(path, isNew ? 'w' : 'r+');
  try {
    if ((await file.stat()).size < progress.bytes) {
      throw new UsageError(
        'The file is shorter than the export had left it; delete it and its .resume, and begin again.',
      );
    }
    // What follows came after the last time that both were safe, and comes again.
    await file.truncate(progress.bytes);
  } catch (error) {
    await file.close();
    throw error;
  }
  let savedMs = performance.now();

  async function save(): Promise<void> {
    // In this order: a token must never be ahead of the users it stands for.
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

/** Throws a UsageError for what is there and no file, such as a pipe: an export could not go on in it. */
export async function refuseSpecialFile(path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats !== undefined && !stats.isFile()) {
    throw new UsageError('That is no file. Leave it out to write to the standard output.');
  }
}
