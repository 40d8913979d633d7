/** `npm run seed`: fills a directory with people who do not exist, through the client. */
import { Command, InvalidArgumentError } from 'commander';
import { addClientFlags, type ClientCommandOptions, withClient } from '../../src/cli/client-command.js';
import { describeFailure, exitCodeOf, UsageError } from '../../src/cli/failure.js';
import { showProgress } from '../../src/cli/progress.js';
import { Interrupted, type Terminal } from '../../src/cli/terminal.js';
import type { Client, ImportUsersResponse } from '../../src/client/index.js';
import { makePeople } from './people.js';
import { seedReport } from './seed-report.js';

interface SeedOptions extends ClientCommandOptions {
  seed: number;
}

const { env, stdin, stdout, stderr } = process;
const terminal: Terminal = { env, stdin, stdout, stderr, signals: process, exit: (code) => process.exit(code) };
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stop.abort(new Interrupted(signal)));
}

const command = new Command('npm run seed --')
  .description('Add people who do not exist to a directory, with names of many cultures.')
  .argument('[count]', 'how many people', wholeNumber, 1000)
  .option('--seed <number>', 'the same number makes the same people', wholeNumber, 1)
  .addHelpText(
    'after',
    '\nPeople whose emails exist already are skipped, so a second run adds only those that are missing.',
  )
  .action(seed);
addClientFlags(command);
try {
  requireFlags();
  await command.parseAsync();
} catch (error) {
  if (!(error instanceof Interrupted)) stderr.write(describeFailure(error, false));
  process.exitCode = exitCodeOf(error);
}

/** Without this, `npm run seed 100 --address=…` would ignore the address, and add the people to the local directory. */
function requireFlags(): void {
  const lost = ['address', 'seed'].filter((name) => env[`npm_config_${name}`] !== undefined);
  if (lost.length === 0) return;
  const flags = lost.map((name) => `--${name}`).join(' and ');
  throw new UsageError(`npm did not pass ${flags} on. Write -- before the count and the flags: npm run seed -- 100 …`);
}

async function seed(total: number, options: SeedOptions): Promise<void> {
  const startMs = performance.now();
  await withClient({ terminal, signal: stop.signal }, options, async (client) => {
    const response = await addPeople(client, total, options.seed);
    const ms = performance.now() - startMs;
    stdout.write(seedReport(response, { seed: options.seed, ms, json: options.json === true }));
  });
}

async function addPeople(client: Client, total: number, seed: number): Promise<ImportUsersResponse> {
  let rows = 0;
  using _progress = showProgress(terminal, () => ({ activity: 'Adding', rows, position: rows, total }));
  return await client.importAllUsers(makePeople(total, seed), {
    onConflict: 'skip',
    signal: stop.signal,
    onProgress(sent) {
      rows = sent;
    },
  });
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
