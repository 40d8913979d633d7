/**
 * How far a long command is: a bar where a person reads the standard error output, a plain line now and then elsewhere.
 *
 * Never writes to the standard output, and never hides the cursor or changes how the terminal wraps lines: a command
 * that is killed must leave nothing behind.
 */
import { SingleBar } from 'cli-progress';
import type { Terminal } from './terminal.js';

const redrawMs = 100;
const plainLineMs = 5_000;
// What is over sooner has not kept anybody waiting.
const plainLineMsMin = 1_000;

export interface Progress {
  /** What is being done now, such as "Importing". */
  readonly doing: string;
  readonly rows: number;
  /** Of the total, in its unit. */
  readonly position: number;
  /** Unset where nobody knows how much there is. */
  readonly total: number | undefined;
}

/** Not among the lines of JSON that a program reads. */
export function showsProgress(
  { stderr }: Terminal,
  { progress, json }: { progress: boolean; json?: boolean },
): boolean {
  return progress && (!json || stderr.isTTY === true);
}

/** Shows what `read` says until it is disposed of; `from` is where a resumed command began, in both units. */
export function showProgress(
  { stderr }: Terminal,
  read: () => Progress,
  from: Pick<Progress, 'rows' | 'position'> = { rows: 0, position: 0 },
): Disposable {
  const startMs = performance.now();

  function describe() {
    const { doing, rows, position, total } = read();
    const seconds = (performance.now() - startMs) / 1000;
    const rate = Math.round((rows - from.rows) / Math.max(seconds, 0.001));
    const done = position - from.position;
    // The first moments tell nothing.
    const isKnown = total !== undefined && done > 0 && seconds >= 1 && position < total;
    const left = isKnown ? `${duration(((total - position) / done) * seconds)} left` : duration(seconds);
    return { doing, position, total, text: `${count(rows)} rows | ${count(rate)}/s | ${left}` };
  }

  if (stderr.isTTY) {
    const { total, position, ...payload } = describe();
    const bar = new SingleBar({
      stream: stderr as NodeJS.WritableStream,
      format: total === undefined ? '{doing} {text}' : '{doing} [{bar}] {percentage}% | {text}',
      barsize: 24,
      fps: 1000 / redrawMs,
      // The library's other way turns the terminal's own wrapping off, which a kill would leave so.
      linewrap: true,
      clearOnComplete: true,
    });
    bar.start(total ?? 0, position, payload);
    const timer = setInterval(() => {
      const { position, ...payload } = describe();
      bar.update(position, payload);
    }, redrawMs);
    return {
      [Symbol.dispose]() {
        clearInterval(timer);
        bar.stop();
      },
    };
  }

  function writeLine(): void {
    const { doing, position, total, text } = describe();
    const percentage = total === undefined || total === 0 ? '' : `${Math.floor((100 * position) / total)}% | `;
    // Whether anybody reads it is not the command's business.
    stderr.write(`${doing}: ${percentage}${text}\n`);
  }
  const timer = setInterval(writeLine, plainLineMs);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      if (performance.now() - startMs >= plainLineMsMin) writeLine();
    },
  };
}

export function count(number: number): string {
  return number.toLocaleString('en-US');
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${whole % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}
