/** Postgres under Patroni on three machines: starts it, and reads what Patroni says about the cluster. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createMachine, type Machine } from './machine.js';
import { poll } from './poll.js';
import { findPostgres } from './requirements.js';
import { etcdHost } from './start-etcd.js';

export type Mode = 'sync' | 'async';

export interface PatroniOptions {
  readonly mode: Mode;
  /** How long the leader's lease is valid, in seconds. Patroni 3.1 and later accept at least 20. */
  readonly ttl: number;
}

export interface PostgresNode {
  readonly machine: Machine;
  /** The file with Patroni's configuration. */
  readonly config: string;
  startPatroni(): void;
  patroniPid(): number;
  /** The pid of Postgres' first process. */
  postmasterPid(): number;
}

/** A node as Patroni's REST interface describes it. */
export interface Member {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
  readonly lag?: number | string;
}

export async function startPatroni(folder: string, options: PatroniOptions): Promise<PostgresNode[]> {
  const nodes: PostgresNode[] = [];
  for (const number of [1, 2, 3]) nodes.push(createNode(folder, await createMachine(folder, number), options));
  for (const node of nodes) node.startPatroni();
  await waitUntilComplete(nodes, options.mode);
  return nodes;
}

function createNode(folder: string, machine: Machine, options: PatroniOptions): PostgresNode {
  const data = join(folder, 'data', machine.name);
  const config = join(folder, `${machine.name}.yml`);
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(configOf(folder, machine, data, options), undefined, 2));
  let patroni: ChildProcess | undefined;
  return {
    machine,
    config,
    startPatroni() {
      patroni = machine.start(machine.name, 'patroni', config);
    },
    patroniPid: () => patroni?.pid ?? 0,
    postmasterPid: () => Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10),
  };
}

function configOf(folder: string, { name, address }: Machine, data: string, { mode, ttl }: PatroniOptions): object {
  // The network of the test has no other machines, so passwords would protect nothing.
  const hosts = ['local all all', 'host all all 10.77.0.0/24', 'host replication all 10.77.0.0/24'];
  return {
    scope: 'roster',
    name,
    restapi: { listen: `${address}:8008`, connect_address: `${address}:8008` },
    etcd3: { hosts: [etcdHost] },
    bootstrap: {
      dcs: {
        ttl,
        loop_wait: 1,
        // The least that Patroni recommends.
        retry_timeout: 3,
        // A leader whose Postgres has crashed gives up its lease at once, instead of restarting it for five minutes.
        primary_start_timeout: 0,
        // The asynchronous fault loses more than Patroni's default of 1 MiB allows.
        maximum_lag_on_failover: 1_000_000_000,
        synchronous_mode: mode === 'sync',
        postgresql: {
          use_pg_rewind: true,
          use_slots: true,
          parameters: { max_connections: 100, wal_keep_size: '256MB', shared_buffers: '64MB' },
        },
      },
      initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }, 'data-checksums'],
    },
    postgresql: {
      listen: `${address}:5432`,
      connect_address: `${address}:5432`,
      data_dir: data,
      bin_dir: findPostgres(),
      pgpass: join(folder, 'data', `${name}.pgpass`),
      authentication: {
        superuser: { username: 'postgres', password: 'postgres' },
        replication: { username: 'replicator', password: 'replicator' },
      },
      pg_hba: hosts.map((line) => `${line} trust`),
      // The nodes share a file system, so each would need its own folder.
      parameters: { unix_socket_directories: '' },
    },
    watchdog: { mode: 'off' },
  };
}

/** Reads the members from the first node that answers. Nodes that are disconnected do not answer. */
export async function readMembers(nodes: readonly PostgresNode[]): Promise<Member[]> {
  return Promise.any(
    nodes.map(async ({ machine }) => {
      const answer = await fetch(`http://${machine.address}:8008/cluster`, { signal: AbortSignal.timeout(1000) });
      return ((await answer.json()) as { members: Member[] }).members;
    }),
  );
}

/** Waits until every node replicates from one leader, and in synchronous mode until one of them is synchronous. */
export async function waitUntilComplete(nodes: readonly PostgresNode[], mode: Mode): Promise<void> {
  await poll('all three nodes replicate', 120_000, async () => {
    const members = await readMembers(nodes);
    const leader = members.find(({ role }) => role === 'leader');
    const others = members.filter((member) => member !== leader);
    const isComplete =
      leader?.state === 'running' &&
      others.length === nodes.length - 1 &&
      others.every(({ timeline, lag }) => timeline === leader.timeline && typeof lag === 'number' && lag < 1_000_000) &&
      others.every(({ state }) => state === 'running' || state === 'streaming') &&
      others.some(({ role }) => role === (mode === 'sync' ? 'sync_standby' : 'replica'));
    return isComplete || undefined;
  });
}

/** The leader, and a standby that may take over without a loss. */
export async function findLeader(nodes: readonly PostgresNode[]): Promise<{ leader: PostgresNode; standby: string }> {
  return poll('the cluster has a leader', 60_000, async () => {
    const members = await readMembers(nodes);
    const name = members.find(({ role }) => role === 'leader')?.name;
    const standby =
      members.find(({ role }) => role === 'sync_standby') ?? members.find(({ role }) => role === 'replica');
    const leader = nodes.find(({ machine }) => machine.name === name);
    return leader && standby && { leader, standby: standby.name };
  });
}
