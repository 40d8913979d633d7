/**
 * Appends whole lines to a file that other processes append to as well, and that a log rotator may rename.
 *
 * The lines that arrive while a write runs share the next one. If the file cannot be written, lines wait in memory up to a
 * limit, and the write is tried again every second.
 */
import { writeSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { LogDestination } from './line-writer.js';

export interface AppendFileOptions {
  /** Called when writing begins to fail, and with undefined when it works again. */
  onFailure(error: unknown): void;
  /** Called for each failed attempt. */
  onAttemptFailed?(): void;
  /** Called with a number of lines that were not written and are given up. */
  onLost(lines: number): void;
  /** The most characters that wait in memory. */
  readonly waitingMax?: number;
}

// Minutes of writes on a busy server.
const defaultWaitingMax = 8 * 1024 * 1024;
// How long after a rotation records may still go to the renamed file, and how often a failed write is repeated.
const checkEveryMs = 1000;
const lineFeed = 0x0a;
// For its owner and a group of log collectors.
const mode = 0o640;

export class AppendFile implements LogDestination {
  private waiting = '';
  private writing: Promise<void> | undefined;
  private file: FileHandle | undefined;
  private inode: string | undefined;
  private checkedMs = 0;
  private isFailing = false;
  private readonly closing = new AbortController();
  private readonly writeAtExit = () => {
    if (this.file !== undefined && this.waiting !== '') writeSync(this.file.fd, this.waiting);
  };

  constructor(
    private readonly path: string,
    private readonly options: AppendFileOptions,
  ) {
    process.on('exit', this.writeAtExit);
  }

  write(line: string): void {
    const { waitingMax = defaultWaitingMax, onLost } = this.options;
    if (this.waiting.length + line.length > waitingMax) {
      onLost(1);
      return;
    }
    this.waiting += line;
    this.writing ??= this.writeWaiting();
  }

  /** Writes what waits. Gives up if the file cannot be written. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.writing;
    if (this.waiting !== '') this.options.onLost(this.waiting.split('\n').length - 1);
    this.waiting = '';
    await this.file?.close().catch(() => {});
    this.file = undefined;
    process.off('exit', this.writeAtExit);
  }

  private async writeWaiting(): Promise<void> {
    // Calls that share a statement end in the same turn.
    await nextTurn();
    while (this.waiting !== '') {
      const text = this.waiting;
      this.waiting = '';
      const rest = await this.append(Buffer.from(text));
      if (rest === undefined) continue;
      this.waiting = rest + this.waiting;
      if (this.closing.signal.aborted) break;
      await sleep(checkEveryMs, undefined, { signal: this.closing.signal, ref: false }).catch(() => {});
    }
    this.writing = undefined;
  }

  /** Returns the text that must be written later, or undefined if everything was written. */
  private async append(bytes: Buffer): Promise<string | undefined> {
    let written = 0;
    try {
      const file = await this.current();
      // One write, because other processes append between two.
      ({ bytesWritten: written } = await file.write(bytes));
      if (written < bytes.length) throw new Error('The disk is full.');
      if (this.isFailing) this.options.onFailure(undefined);
      this.isFailing = false;
      return undefined;
    } catch (error) {
      this.options.onAttemptFailed?.();
      if (!this.isFailing) this.options.onFailure(error);
      this.isFailing = true;
      await this.file?.close().catch(() => {});
      this.file = undefined;
      // A line that was cut is written again, as a line of its own.
      const lineStart = bytes.lastIndexOf(lineFeed, written - 1) + 1;
      const isCut = written > lineStart;
      return (isCut ? '\n' : '') + bytes.toString('utf8', written === 0 ? 0 : lineStart);
    }
  }

  /** Opens the file, and again if it was renamed or removed. */
  private async current(): Promise<FileHandle> {
    const nowMs = performance.now();
    if (this.file !== undefined && nowMs - this.checkedMs >= checkEveryMs) {
      this.checkedMs = nowMs;
      const isSame = await stat(this.path).then(
        ({ dev, ino }) => `${dev}:${ino}` === this.inode,
        () => false,
      );
      if (!isSame) {
        await this.file.close();
        this.file = undefined;
      }
    }
    if (this.file !== undefined) return this.file;
    this.file = await open(this.path, 'a', mode);
    const { dev, ino } = await this.file.stat();
    this.inode = `${dev}:${ino}`;
    this.checkedMs = nowMs;
    return this.file;
  }
}
