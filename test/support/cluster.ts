/** A Postgres server of its own for tests that change its settings, with TLS and rules for logins. */
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';
import { createAuthority } from '../certificates.js';

export interface TestCluster extends AsyncDisposable {
  /** As a superuser, without TLS. It works whatever setRules() says. */
  readonly url: string;
  /** host:port. */
  readonly address: string;
  readonly postgres: EmbeddedPostgres;
  /** The path of a PEM file with the authority of the server's certificate. */
  readonly ca: string;
  /** The path of the certificate for localhost and 127.0.0.1, and of its key. */
  readonly cert: string;
  readonly key: string;
  query<R extends pg.QueryResultRow>(sql: string): Promise<R[]>;
  /** Replaces the lines of pg_hba.conf, after one for the superuser. */
  setRules(...lines: readonly string[]): Promise<void>;
  /** Writes a file that the server and this process can read, and returns its path. */
  write(name: string, text: string): string;
}

export async function startCluster(): Promise<TestCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'roster-cluster-'));
  // If the tests run as root, the server runs as another user, who must be able to enter the folder.
  chmodSync(folder, 0o755);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'data') });
  const pgdata = join(postgres.dataDir, 'pgdata');
  const { uid, gid } = statSync(pgdata);
  const { host } = new URL(postgres.url);
  const write = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    chownSync(path, uid, gid);
    return path;
  };
  const query = async <R extends pg.QueryResultRow>(sql: string) => {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    try {
      return (await client.query<R>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const authority = createAuthority();
  const ca = write('ca.pem', authority.cert);
  const issued = authority.issue('localhost');
  const [cert, key] = [write('cert.pem', issued.cert), write('key.pem', issued.key)];
  await query(`alter system set ssl_cert_file = '${cert}'`);
  await query(`alter system set ssl_key_file = '${key}'`);
  await query(`alter system set ssl_ca_file = '${ca}'`);
  await query('alter system set ssl = on');
  await query('select pg_reload_conf()');
  return {
    url: postgres.url,
    address: host,
    postgres,
    ...{ ca, cert, key, query, write },
    async setRules(...lines) {
      const rules = ['host all roster 127.0.0.1/32 scram-sha-256', ...lines];
      writeFileSync(join(pgdata, 'pg_hba.conf'), `${rules.join('\n')}\n`);
      await query('select pg_reload_conf()');
    },
    async [Symbol.asyncDispose]() {
      await postgres.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
