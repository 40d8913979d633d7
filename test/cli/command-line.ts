/** Runs the command line in this process, as if started at a terminal or with pipes. */
import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { run } from '../../src/cli/run.js';

export interface Ran {
  code: number;
  out: string;
  err: string;
}

export interface Started {
  signals: EventEmitter;
  stdin: PassThrough;
  /** The output so far. */
  output(): { out: string; err: string };
  ended: Promise<Ran>;
  /** The codes with which the command requested an immediate exit. */
  exits: number[];
}

export interface World {
  env?: Record<string, string>;
  /** The columns of the terminal. If unset, all streams are pipes. */
  columns?: number;
  /** Whether the standard error output is a terminal. The default is that `columns` is set. */
  errorsAtTerminal?: boolean;
  /** The number of writes after which the reader closes the output. */
  writesMax?: number;
}

export function start(
  args: readonly string[],
  { env = {}, columns, errorsAtTerminal = columns !== undefined, writesMax = Number.POSITIVE_INFINITY }: World = {},
): Started {
  const text = { out: '', err: '' };
  let writes = 0;
  const stream = (name: 'out' | 'err') =>
    new Writable({
      write(chunk, _encoding, callback) {
        if (name === 'out' && ++writes > writesMax) {
          callback(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
          return;
        }
        text[name] += chunk;
        callback();
      },
    });
  const isTTY = columns !== undefined;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const signals = new EventEmitter();
  const exits: number[] = [];
  const ended = run(args, {
    env: { NO_COLOR: '1', ...env },
    stdin,
    stdout: Object.assign(stream('out'), { isTTY, columns }),
    stderr: Object.assign(stream('err'), { isTTY: errorsAtTerminal }),
    signals,
    exit: (code) => exits.push(code),
  }).then((code) => ({ code, ...text }));
  return { signals, stdin, output: () => ({ ...text }), ended, exits };
}

export function roster(args: readonly string[], world?: World): Promise<Ran> {
  return start(args, world).ended;
}
