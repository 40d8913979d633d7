/** `roster serve` as a process of its own, which can be killed. Runs dist/, which global-setup has compiled. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

const root = path.resolve(import.meta.dirname, '../..');

export interface Served {
  /** host:port of the gRPC port. */
  readonly address: string;
  /** As in `http://localhost:8080`; empty where HTTP is nowhere. */
  readonly http: string;
  readonly process: ChildProcess;
  /** Lines of the log so far, parsed. */
  readonly lines: readonly Record<string, unknown>[];
  /** Sends the signal and resolves with the exit code, null where the signal itself ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export interface ServeOptions {
  /** In a process group of its own, for signals that reach all of it. */
  readonly isGroup?: boolean;
  /** By `npm run serve`; the process is npm's then. */
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
    void exited.then(([code]) => reject(new Error(`roster serve ended with ${code} before it served`)));
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

/** A start that fails: its exit code, and what it wrote on the standard error. */
export async function serveInVain(settings: Record<string, string>): Promise<{ code: number | null; errors: string }> {
  const child = run(settings);
  child.stdout.resume();
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { code, errors };
}
