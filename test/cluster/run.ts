/**
 * Three Postgres under Patroni, etcd, HAProxy, PgBouncer and three replicas of Roster, under load, while the primary fails.
 * Every call is recorded and compared with the change log and the table at the end. docs/scale-out.md describes it.
 *
 * The test runs in network, process and mount namespaces of its own, with addresses that only exist there. When the first
 * process of the process namespace ends, for whatever reason, the kernel kills all others.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { helpText, optionsOf, UsageError } from './options.js';
import { requirePrograms, Skipped } from './requirements.js';
import { runRounds } from './rounds.js';

// The exit codes of .ci/run, and of a shell after Ctrl-C.
const skippedCode = 77;
const usageCode = 2;
const interruptedCode = 130;

const folderVariable = 'ROSTER_CLUSTER_FOLDER';

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options === undefined) {
    console.log(helpText);
    return 0;
  }
  const folder = process.env[folderVariable];
  if (folder !== undefined) return (await runRounds(folder, options)) ? 0 : 1;
  requirePrograms();
  return runConfined(options.keepsLogs);
}

/** Runs this program again, in the namespaces. */
async function runConfined(keepsLogs: boolean): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'roster-cluster-'));
  chmodSync(folder, 0o755);
  for (const name of ['data', 'logs']) mkdirSync(join(folder, name));
  execFileSync('chown', ['postgres:', join(folder, 'data')]);
  // A shell is the first process, because it collects the exit codes of orphans, and Node does not.
  const confine = ['--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const shell = ['bash', '-c', '"$@"; exit $?', 'bash', process.execPath, ...process.argv.slice(1)];
  const env = { ...process.env, [folderVariable]: folder };
  const child = spawn('unshare', [...confine, ...shell], { stdio: 'inherit', env });
  let code = interruptedCode;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill('SIGKILL'));
  const [exitCode] = await once(child, 'exit');
  code = exitCode ?? interruptedCode;
  rmSync(join(folder, 'data'), { recursive: true, force: true, maxRetries: 10 });
  if (code === 0 && !keepsLogs) rmSync(folder, { recursive: true });
  else console.error(`The logs are in ${join(folder, 'logs')}.`);
  return code;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof Skipped) {
    console.log(`skipped: ${error.message}\n0 passed, 0 failed, 1 skipped`);
    process.exitCode = skippedCode;
  } else if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${helpText}`);
    process.exitCode = usageCode;
  } else {
    throw error;
  }
}
// Connections may still be open.
process.exit();
