/** Finds the programs of the cluster test, and installs Debian's packages with them if this process may. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Debian package of each program. */
const packages: Readonly<Record<string, string>> = {
  patroni: 'patroni',
  patronictl: 'patroni',
  etcd: 'etcd-server',
  haproxy: 'haproxy',
  pgbouncer: 'pgbouncer',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
};
// Patroni's code for etcd imports python3-etcd, although the package only suggests it.
const alwaysInstalled = ['python3-etcd', 'postgresql-15'];

/** Why the test cannot run on this machine. */
export class Skipped extends Error {}

function find(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}

/** The folder of the newest Postgres from Debian's packages. */
export function findPostgres(): string | undefined {
  return globSync('/usr/lib/postgresql/*/bin/postgres')
    .map((file) => file.slice(0, -'/postgres'.length))
    .sort((a, b) => Number(a.split('/')[4]) - Number(b.split('/')[4]))
    .at(-1);
}

function missingPackages(): string[] {
  const missing = Object.keys(packages).filter((program) => !find(program));
  const names = missing.map((program) => packages[program] ?? program);
  if (findPostgres() === undefined) names.push('postgresql-15');
  if (spawnSync('/usr/bin/python3', ['-c', 'import etcd']).status !== 0) names.push('python3-etcd');
  return [...new Set(names)];
}

/** Throws Skipped if a program is missing and cannot be installed. */
export function requirePrograms(): void {
  if (process.platform !== 'linux') throw new Skipped('The cluster test needs Linux.');
  if (process.getuid?.() !== 0) throw new Skipped('The cluster test needs root, to create network namespaces.');
  if (missingPackages().length > 0 && find('apt-get')) install();
  const missing = missingPackages();
  if (missing.length > 0) throw new Skipped(`These Debian packages are missing: ${missing.join(', ')}.`);
  // Containers without the capability SYS_ADMIN cannot create namespaces.
  const { status } = spawnSync('unshare', ['--net', '--pid', '--fork', '--mount-proc', 'true']);
  if (status !== 0) throw new Skipped('This machine does not allow new network and process namespaces.');
}

function install(): void {
  const names = [...new Set([...Object.values(packages), ...alwaysInstalled])];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-qq'], { env });
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], { env });
}
