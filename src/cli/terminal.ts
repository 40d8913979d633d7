/**
 * What a command has of the world around it, so that a test can give it another one.
 *
 * Nothing here or in the commands touches `process`.
 */
import type { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export interface Terminal {
  env: Record<string, string | undefined>;
  stdin: Readable & { isTTY?: boolean };
  /** `columns` is there where a person reads. */
  stdout: Writable & { columns?: number; isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
  /** Emits SIGINT, SIGTERM and SIGHUP, as a process does. */
  signals: EventEmitter;
  /** Ends everything at once. */
  exit(code: number): void;
}

// What a shell makes of a signal's number.
const exitCodes: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Why a command is to stop: somebody pressed Ctrl-C, a terminal has gone, or a supervisor ends it. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super('Interrupted.');
    this.exitCode = exitCodes[signal] ?? 130;
  }
}

/** Whoever read the output has enough, as in `roster list | head -1`. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

/** Resolves when the reader has taken the text, so that a slow one slows the command down. Throws OutputClosed. */
export function print(stream: Writable, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === undefined || error === null) resolve();
      else if ('code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')) {
        reject(new OutputClosed());
      } else reject(error);
    });
  });
}

/** A person's yes or no; the end of the input is a no. Aborting the signal rejects with its reason. */
export function confirm(terminal: Terminal, question: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // Not in terminal mode, where Ctrl-C would be readline's and no signal.
    const lines = createInterface({ input: terminal.stdin, terminal: false });
    let answered = false;
    const abort = () => {
      reject(signal.reason);
      lines.close();
    };
    signal.addEventListener('abort', abort);
    lines.once('line', (line) => {
      answered = true;
      resolve(/^\s*y(es)?\s*$/i.test(line));
      lines.close();
    });
    lines.once('close', () => {
      signal.removeEventListener('abort', abort);
      resolve(false);
      // Nobody pressed Enter: what follows belongs on a line of its own.
      if (!answered) terminal.stderr.write('\n');
    });
    print(terminal.stderr, `${question} [y/N] `).catch(reject);
  });
}

/** Resolves when it is. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
