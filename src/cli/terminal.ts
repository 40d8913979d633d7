/**
 * The environment, streams and signals of a command. Commands use these instead of `process`, so that tests can replace
 * them.
 */
import type { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export interface Terminal {
  env: Record<string, string | undefined>;
  stdin: Readable & { isTTY?: boolean };
  /** `columns` is set if it is a terminal. */
  stdout: Writable & { columns?: number; isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
  /** Emits SIGINT, SIGTERM and SIGHUP, as a process does. */
  signals: EventEmitter;
  /** Ends the process immediately. */
  exit(code: number): void;
}

// Shells use 128 plus the signal's number.
const exitCodes: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** The reason to stop a command: Ctrl-C, a closed terminal, or a supervisor that ends it. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super('Interrupted.');
    this.exitCode = exitCodes[signal] ?? 130;
  }
}

/** The reader has closed the output, as in `roster list | head -1`. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

/** Resolves when the text is written, so that a slow reader slows the command down. Throws OutputClosed. */
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

/** Asks for yes or no. The end of the input means no. Aborting the signal rejects with its reason. */
export function confirm(terminal: Terminal, question: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // Not in terminal mode, in which readline would consume Ctrl-C instead of the process.
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
      // Nobody pressed Enter, so the next output needs a new line.
      if (!answered) terminal.stderr.write('\n');
    });
    print(terminal.stderr, `${question} [y/N] `).catch(reject);
  });
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
