/**
 * Shows the progress of a long command: a bar if the standard error output is a terminal, else a line every 5 seconds.
 *
 * Never writes to the standard output. Never hides the cursor or changes the line wrap of the terminal, because a
 * killed command could not restore them.
 */
import { SingleBar } from 'cli-progress';
import type { Terminal } from './terminal.js';

const redrawMs = 100;
const plainLineMs = 5_000;
// A command that ends sooner prints no line.
const plainLineMsMin = 1_000;

export interface Progress {
  /** The current activity, such as "Importing". */
  readonly activity: string;
  readonly rows: number;
  /** In the unit of `total`. */
  readonly position: number;
  /** Unset if the total is unknown. */
  readonly total: number | undefined;
}

/** With --json, shows the progress only on a terminal, because a program may read the standard error output. */
export function showsProgress(
  { stderr }: Terminal,
  { progress, json }: { progress: boolean; json?: boolean },
): boolean {
  return progress && (!json || stderr.isTTY === true);
}

/** Shows the progress that `read` returns until it is disposed. `from` is where a resumed command began. */
export function showProgress(
  { stderr }: Terminal,
  read: () => Progress,
  from: Pick<Progress, 'rows' | 'position'> = { rows: 0, position: 0 },
): Disposable {
  const startMs = performance.now();

  function describe() {
    const { activity, rows, position, total } = read();
    const seconds = (performance.now() - startMs) / 1000;
    const rate = Math.round((rows - from.rows) / Math.max(seconds, 0.001));
    const done = position - from.position;
    // The first second is too short for an estimate.
    const isKnown = total !== undefined && done > 0 && seconds >= 1 && position < total;
    const left = isKnown ? `${duration(((total - position) / done) * seconds)} left` : duration(seconds);
    return { activity, position, total, text: `${count(rows)} rows | ${count(rate)}/s | ${left}` };
  }

  if (stderr.isTTY) {
    const { total, position, ...payload } = describe();
    const bar = new SingleBar({
      stream: stderr as NodeJS.WritableStream,
      format: total === undefined ? '{activity} {text}' : '{activity} [{bar}] {percentage}% | {text}',
      barsize: 24,
      fps: 1000 / redrawMs,
      // Otherwise the library turns off the terminal's line wrap, and a killed command leaves it off.
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
    const { activity, position, total, text } = describe();
    const percentage = total === undefined || total === 0 ? '' : `${Math.floor((100 * position) / total)}% | `;
    // Neither awaited nor checked: the command must not stop because of this line.
    stderr.write(`${activity}: ${percentage}${text}\n`);
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
