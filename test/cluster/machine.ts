/**
 * A machine of the cluster: a network namespace with one interface. All machines are connected to one bridge, and the
 * namespace of the test itself is a machine, too.
 *
 * The network exists only inside the namespace of the test, so it cannot reach the real one, and it disappears with the test.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The address of the machine of the test. */
export const ownAddress = '10.77.0.1';

export interface Machine {
  readonly name: string;
  readonly address: string;
  /** Disconnects the machine: packets in both directions are lost, and neither side is told. */
  cut(): void;
  reconnect(): void;
  /** Starts a program as the user postgres. Its output goes to a file that is named after it. */
  start(name: string, command: string, ...args: string[]): ChildProcess;
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Creates the bridge that connects the machines. Call this once, in a new network namespace. */
export function createNetwork(): void {
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'bridge', 'type', 'bridge');
  ip('addr', 'add', `${ownAddress}/24`, 'dev', 'bridge');
  ip('link', 'set', 'bridge', 'up');
}

/** Starts a program on the machine of the test. */
export function startHere(folder: string, name: string, command: string, ...args: string[]): ChildProcess {
  return startLogged(folder, name, ['setpriv', ...asPostgres, command, ...args]);
}

const asPostgres = ['--reuid=postgres', '--regid=postgres', '--init-groups', '--'];

/** Appends the output of the program to logs/NAME.log, also after the program has been started again. */
export function startLogged(folder: string, name: string, command: string[], settings = {}): ChildProcess {
  const log = openSync(join(folder, 'logs', `${name}.log`), 'a');
  const [program = '', ...args] = command;
  const env = { PATH: `${process.env.PATH}:/usr/sbin`, HOME: folder, ...settings };
  const child = spawn(program, args, { cwd: folder, env, stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

export async function createMachine(folder: string, number: number): Promise<Machine> {
  const name = `node${number}`;
  const address = `10.77.0.${10 + number}`;
  // Keeps the namespace open.
  const holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
  await once(holder, 'spawn');
  const namespace = `/proc/${holder.pid}/ns/net`;
  const own = readlinkSync('/proc/self/ns/net');
  while (readlinkSync(namespace) === own) await sleep(5);
  const enter = ['nsenter', `--net=${namespace}`, '--'];
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.pid));
  ip('link', 'set', name, 'master', 'bridge', 'up');
  for (const args of [`link set lo up`, `addr add ${address}/24 dev eth0`, 'link set eth0 up']) {
    execFileSync('nsenter', [...enter.slice(1), 'ip', ...args.split(' ')]);
  }
  return {
    name,
    address,
    cut: () => ip('link', 'set', name, 'down'),
    reconnect: () => ip('link', 'set', name, 'up'),
    start: (program, command, ...args) =>
      startLogged(folder, program, [...enter, 'setpriv', ...asPostgres, command, ...args]),
  };
}
