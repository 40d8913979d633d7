/** The faults of the cluster test. Each returns a function that repairs what does not recover by itself. */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findLeader, type Mode, type PostgresNode } from './start-patroni.js';

export interface Fault {
  readonly name: string;
  readonly what: string;
  /** Whether an asynchronous cluster must lose acknowledged writes, so that the test sees how Roster reports it. */
  readonly mustLose?: boolean;
  /** `writeUnsent` makes writes that an asynchronous cluster must lose. */
  inject(target: FaultTarget, writeUnsent: () => Promise<void>): Promise<Injected>;
}

export interface FaultTarget {
  readonly nodes: readonly PostgresNode[];
  readonly mode: Mode;
  /** After this time without Patroni, a watchdog stops the machine of the primary. Undefined if there is no watchdog. */
  readonly watchdogMs: number | undefined;
}

export interface Injected {
  /** The node that was the leader. */
  readonly leader: string;
  /** When the fault began, on the clock of Date.now(). */
  readonly atMs: number;
  repair(): void;
}

// Enough for a few hundred acknowledged writes.
const unsentMs = 1_000;

const noRepair = () => {};

export const faults: readonly Fault[] = [
  {
    name: 'kill-postgres',
    what: "kill -9 of the primary's Postgres",
    mustLose: true,
    async inject({ nodes, mode }, writeUnsent) {
      const { leader } = await findLeader(nodes);
      const postmaster = leader.postmasterPid();
      const senders = mode === 'async' ? walSenders(postmaster) : [];
      // The primary acknowledges writes that no standby has received, as if the network between them were slow.
      for (const pid of senders) process.kill(pid, 'SIGSTOP');
      if (mode === 'async') await Promise.all([sleep(unsentMs), writeUnsent()]);
      const atMs = Date.now();
      process.kill(postmaster, 'SIGKILL');
      // Postgres' other processes end by themselves, but stopped ones do not.
      for (const pid of senders) process.kill(pid, 'SIGKILL');
      return { leader: leader.machine.name, atMs, repair: noRepair };
    },
  },
  {
    name: 'kill-patroni',
    what: "kill -9 of the primary's Patroni, while its Postgres continues",
    async inject({ nodes, watchdogMs }) {
      const { leader } = await findLeader(nodes);
      const atMs = Date.now();
      process.kill(leader.patroniPid(), 'SIGKILL');
      // A watchdog resets the machine. Killing its Postgres looks the same to the others.
      const watchdog = watchdogMs && setTimeout(() => process.kill(leader.postmasterPid(), 'SIGKILL'), watchdogMs);
      return {
        leader: leader.machine.name,
        atMs,
        repair() {
          clearTimeout(watchdog);
          leader.startPatroni();
        },
      };
    },
  },
  {
    name: 'partition',
    what: "disconnection of the primary's machine from all others",
    async inject({ nodes }) {
      const { leader } = await findLeader(nodes);
      const atMs = Date.now();
      leader.machine.cut();
      return { leader: leader.machine.name, atMs, repair: () => leader.machine.reconnect() };
    },
  },
  {
    name: 'switchover',
    what: 'patronictl switchover',
    async inject({ nodes }) {
      const { leader, standby } = await findLeader(nodes);
      const args = [
        '-c',
        leader.config,
        'switchover',
        '--leader',
        leader.machine.name,
        '--candidate',
        standby,
        '--force',
      ];
      const atMs = Date.now();
      await promisify(execFile)('patronictl', args);
      return { leader: leader.machine.name, atMs, repair: noRepair };
    },
  },
];

/** The children of a Postgres that send its log to standbys. */
function walSenders(postmaster: number): number[] {
  return globSync('/proc/[0-9]*')
    .map((folder) => Number(folder.slice('/proc/'.length)))
    .filter((pid) => {
      try {
        const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return Number(parent) === postmaster && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('walsender');
      } catch {
        // The process has ended meanwhile.
        return false;
      }
    });
}
