/**
 * A folder outside the repository with the client installed, as in other projects. For the examples.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

export interface OutsideProject extends Disposable {
  readonly folder: string;
  /** `name` is a path in the folder. */
  write(name: string, text: string): void;
  copyFrom(source: string): Promise<void>;
  /** The compiler's errors in all .ts files of the folder. */
  typeErrors(): string;
  /** Runs a line of bash, with the Node of the tests. Combines standard output and error. */
  start(line: string, env: Record<string, string>): Started;
}

export interface Started {
  readonly output: () => string;
  /** The exit code, or null if a signal ended it. */
  readonly ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
}

/** For sources that Node runs without compiling. */
export const compilerOptions = {
  module: 'nodenext',
  target: 'es2024',
  lib: ['es2024', 'esnext.disposable'],
  strict: true,
  erasableSyntaxOnly: true,
  allowImportingTsExtensions: true,
  noEmit: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [path.join(root, 'node_modules/@types')],
};

export async function createOutsideProject(): Promise<OutsideProject> {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-outside-'));
  const write = (name: string, text: string) => writeFileSync(path.join(folder, name), text);
  // Links what scripts/pack.mjs packs.
  const client = 'node_modules/@roster-directory/client';
  await mkdir(path.join(folder, client), { recursive: true });
  for (const part of ['src', 'generated']) {
    symlinkSync(path.join(root, 'dist', part), path.join(folder, client, part), 'dir');
  }
  write(
    `${client}/package.json`,
    JSON.stringify({ name: '@roster-directory/client', type: 'module', exports: './src/client/index.js' }),
  );
  write('package.json', JSON.stringify({ private: true, type: 'module' }));
  return {
    folder,
    write,

    async copyFrom(source) {
      // Skips files that running the example leaves behind.
      const isLeftover = (name: string) => /^node_modules$|\.db(?:-\w+)?$/.test(path.basename(name));
      await cp(path.join(root, source), folder, { recursive: true, filter: (name) => !isLeftover(name) });
    },

    typeErrors() {
      write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['*.ts'] }));
      const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
      return spawnSync(process.execPath, [tsc], { cwd: folder, encoding: 'utf8' }).stdout;
    },

    start(line, env) {
      const child = spawn('bash', ['-c', `exec 2>&1; ${line}`], {
        cwd: folder,
        // A signal must reach all processes of a pipe, as Ctrl-C does.
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`, HOME: process.env.HOME, ...env },
      });
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      return {
        output: () => output,
        ended: new Promise((resolve) => child.once('close', resolve)),
        kill(signal) {
          if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid ?? 0), signal);
        },
      };
    },

    [Symbol.dispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
