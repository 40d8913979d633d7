/** One etcd, in which Patroni keeps the leader's lease. The test does not stop it: Patroni's documentation covers that. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ownAddress, startHere } from './machine.js';
import { poll } from './poll.js';

export const etcdHost = `${ownAddress}:2379`;

export async function startEtcd(folder: string): Promise<void> {
  const data = join(folder, 'data', 'etcd');
  const clients = `http://${etcdHost}`;
  const peers = 'http://127.0.0.1:2380';
  mkdirSync(data, { recursive: true });
  // In memory, because Patroni demotes the primary, without a fault of the test, if a busy disk delays etcd for some seconds.
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0700', 'tmpfs', data]);
  execFileSync('chown', ['postgres:', data]);
  startHere(
    folder,
    'etcd',
    'etcd',
    ...['--name', 'etcd', '--data-dir', data],
    ...['--listen-client-urls', clients, '--advertise-client-urls', clients],
    ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers, '--initial-cluster', `etcd=${peers}`],
  );
  await poll('etcd is healthy', 30_000, async () => ((await fetch(`${clients}/health`)).ok ? true : undefined));
}
