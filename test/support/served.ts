/** Runs `roster serve` in a separate process that can be killed. Uses dist/, which global-setup has compiled. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

const root = path.resolve(import.meta.dirname, '../..');

export interface Served {
  /** host:port of the gRPC port. */
  readonly address: string;
  /** For example `http://localhost:8080`; empty if HTTP is off. */
  readonly http: string;
  readonly process: ChildProcess;
  /** The parsed log lines so far. */
  readonly lines: readonly Record<string, unknown>[];
  /** Sends the signal and resolves with the exit code, or null if the signal ended the process. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export interface ServeOptions {
  /** Runs in a separate process group, for signals to the whole group. */
  readonly isGroup?: boolean;
  /** Runs `npm run serve`; `process` is then npm. */
  readonly isByNpm?: boolean;
}

function run(settings: Record<string, string>, { isGroup = false, isByNpm = false }: ServeOptions = {}) {
  const [command, args] = isByNpm
    ? ['npm', ['run', '--silent', 'serve']]
    : [process.execPath, ['dist/src/main.js', 'serve']];
  return spawn(command, args, {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      GRPC_ADDRESS: 'localhost:0',
      HTTP_ADDRESS: 'localhost:0',
      LOG_FORMAT: 'json',
      HTTP2_SERVER: process.env.HTTP2_SERVER,
      ...settings,
    },
    detached: isGroup,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Resolves when it serves. */
export async function serve(settings: Record<string, string>, options?: ServeOptions): Promise<Served> {
  const child = run(settings, options);
  child.stderr.pipe(process.stderr, { end: false });
  const exited = once(child, 'exit');
  const lines: Record<string, unknown>[] = [];
  const { address, http } = await new Promise<{ address: string; http?: string }>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const fields = JSON.parse(line);
      lines.push(fields);
      if (fields.msg === 'listening') resolve(fields);
    });
    void exited.then(([code]) => reject(new Error(`roster serve exited with ${code} before it served.`)));
  });
  return {
    address,
    http: http === undefined ? '' : `http://${http}`,
    process: child,
    lines,
    async end(signal) {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}

/** Runs a start that fails, or that `stop` interrupts. Returns its exit code and its standard error. */
export async function expectStartFailure(
  settings: Record<string, string>,
  stop?: AbortSignal,
): Promise<{ code: number | null; errors: string }> {
  // Otherwise the errors are lines of the log, on the standard output.
  const child = run({ LOG_FORMAT: 'pretty', ...settings });
  stop?.addEventListener('abort', () => child.kill('SIGTERM'));
  child.stdout.resume();
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { code, errors };
}
