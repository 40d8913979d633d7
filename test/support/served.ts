/** `roster serve` as a process of its own, which can be killed. Runs dist/, which global-setup has compiled. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

const root = path.resolve(import.meta.dirname, '../..');

export interface Served {
  /** host:port of the gRPC port. */
  readonly address: string;
  readonly process: ChildProcess;
  /** Sends the signal and resolves with the exit code, null where the signal itself ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Resolves when it serves. */
export async function serve(settings: Record<string, string>): Promise<Served> {
  const child = spawn(process.execPath, ['dist/src/main.js', 'serve'], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      GRPC_ADDRESS: 'localhost:0',
      LOG_FORMAT: 'json',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const address = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const { msg, address } = JSON.parse(line);
      if (msg === 'listening') resolve(address);
    });
    void exited.then(([code]) => reject(new Error(`roster serve ended with ${code} before it served`)));
  });
  return {
    address,
    process: child,
    async end(signal) {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}
