/** Starts the services as separate processes, and fills the shop. Each service prints its address in a JSON line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Client, RosterError } from '@roster-directory/client';
import type { Span } from './aggregator/trace.ts';
import type { ProductInfoClient } from './generated/ecommerce/product_info.ts';

export interface Line {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Service {
  readonly name: string;
  readonly pid: number | undefined;
  /** The line with its address. */
  readonly listening: Line;
}

export interface Services extends AsyncDisposable {
  /** Resolves when it listens. `onSpan` receives its spans. Its warnings and errors go to standard error. */
  start(name: string, command: string, args: readonly string[], env?: Record<string, string>): Promise<Service>;
  /** Runs a command of Roster. */
  startRoster(name: string, args: readonly string[]): Promise<Service>;
}

const folder = import.meta.dirname;
const rosterFolder = path.dirname(fileURLToPath(import.meta.resolve('@roster-directory/roster/package.json')));

// Stopping the embedded Postgres takes longest.
const stopMsMax = 15_000;

export function createServices(onSpan?: (span: Span) => void): Services {
  const children: ChildProcess[] = [];
  // Kills the services if this process exits because of an error.
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL');
  });

  async function start(name: string, command: string, args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(command, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
      // With a terminal, Ctrl-C must reach only this process, which then stops the services in order.
      detached: process.stdin.isTTY,
    });
    children.push(child);
    const { promise, resolve, reject } = Promise.withResolvers<Line>();
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`${name} exited with ${code} before it listened.`)));
    let isListening = false;
    createInterface(child.stdout).on('line', (text) => {
      // Parsing unneeded lines would distort measurements.
      if (isListening && onSpan === undefined) return;
      const line = JSON.parse(text) as Line;
      if (line.msg === 'listening') {
        isListening = true;
        resolve(line);
      } else if (line.msg === 'span') onSpan?.(line as unknown as Span);
      else if (line.level === 'warn' || line.level === 'error' || line.level === 'ERROR') console.error(name, text);
    });
    return { name, pid: child.pid, listening: await promise };
  }

  return {
    start,
    startRoster: (name, args) =>
      start(name, process.execPath, [path.join(rosterFolder, 'dist/src/main.js'), ...args, '--log-format', 'json']),

    async [Symbol.asyncDispose]() {
      // Stops callers before the services that they call.
      for (const child of children.toReversed()) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGTERM');
        // A process that was stopped with SIGSTOP must continue to handle SIGTERM.
        child.kill('SIGCONT');
        const timer = setTimeout(() => {
          console.error(`Had to kill ${child.spawnargs.join(' ')}.`);
          process.exitCode = 1;
          child.kill('SIGKILL');
        }, stopMsMax);
        await once(child, 'exit');
        clearTimeout(timer);
      }
    },
  };
}

/** Starts Roster with a separate database in this folder. It also serves JSON over HTTP. */
export async function startDirectory(services: Services): Promise<{ address: string; http: string; pid?: number }> {
  const args = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0', '--data-dir', `${folder}/.roster`];
  const { listening, pid } = await services.startRoster('Roster', ['serve', ...args]);
  return { address: String(listening.address), http: String(listening.http), pid };
}

export async function startProductInfo(services: Services, args: readonly string[] = []): Promise<Service> {
  return services.start('ProductInfo', path.join(folder, 'generated/product-info'), args);
}

const sellers = {
  ada: { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@shop.example' },
  grace: { firstName: 'Grace', lastName: 'Hopper', email: 'grace@shop.example' },
  alan: { firstName: 'Alan', lastName: 'Turing', email: 'alan@shop.example' },
};

const products = [
  {
    id: 'note-g',
    name: 'Note G',
    description: 'A program, for a machine that does not exist yet',
    seller: 'ada',
    price: 1900,
  },
  { id: 'compiler', name: 'Compiler', description: 'Takes words, gives code', seller: 'grace', price: 14900 },
  { id: 'moth', name: 'Moth', description: 'Dead, with adhesive tape', seller: 'grace', price: 99 },
  { id: 'tape', name: 'Tape', description: 'As long as you like', seller: 'alan', price: 4200 },
] as const;

/** Creates the sellers, if they do not exist, and their products. Returns the ids of the products. */
export async function fillShop(roster: Client, productInfo: ProductInfoClient): Promise<string[]> {
  const sellerIds: Record<string, string> = {};
  for (const [key, user] of Object.entries(sellers)) sellerIds[key] = await ensureUser(roster, user);
  for (const { id, name, description, seller, price } of products) {
    await productInfo.addProduct({ id, name, description, priceMinor: price, sellerId: sellerIds[seller] });
  }
  return products.map(({ id }) => id);
}

/** Returns the id of the user with this email, and creates the user if it does not exist. */
export async function ensureUser(
  roster: Client,
  user: { firstName: string; lastName: string; email: string },
): Promise<string> {
  try {
    const created = await roster.createUser({ user });
    return created.user?.id ?? '';
  } catch (error) {
    if (!(error instanceof RosterError && error.reason === 'EMAIL_TAKEN')) throw error;
    const found = await roster.getUserByEmail({ email: user.email });
    return found.user?.id ?? '';
  }
}
