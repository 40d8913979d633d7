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
  /** `columns` is set only if the output is a terminal. */
  stdout: Writable & { columns?: number; isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
  /** Emits SIGINT, SIGTERM and SIGHUP, as `process` does. */
  signals: EventEmitter;
  /** Ends the process immediately. */
  exit(code: number): void;
}

// As in shells: 128 plus the number of the signal.
const exitCodes: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Why a command was stopped early: by Ctrl-C, a closed terminal or a supervisor. */
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

/**
 * Resolves after the text has been written, so that a slow reader slows the command down. Rejects with OutputClosed if
 * the reader has closed the output.
 */
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
    // In terminal mode, readline would handle Ctrl-C, and the process would not receive SIGINT.
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
      // Without an Enter from the user, the cursor is still on the line of the question.
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
