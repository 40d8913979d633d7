/** Connections to servers with TLS, to several servers, and with passwords from files, on servers of their own. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApp } from '../../src/app.js';
import { createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { checkVersion } from '../../src/database/connection.js';
import { openDatabase } from '../../src/database/database.js';
import { explain } from '../../src/database/explain.js';
import { migrateUp } from '../../src/database/migrate.js';
import { createServers } from '../../src/database/servers.js';
import { describeError } from '../../src/telemetry/error-description.js';
import { createAuthority } from '../certificates.js';
import { startCluster, type TestCluster } from '../support/cluster.js';
import { databaseOptions } from '../support/open-database.js';

let first: TestCluster;
let second: TestCluster;
beforeAll(async () => {
  [first, second] = await Promise.all([startCluster(), startCluster()]);
  for (const cluster of [first, second]) {
    await cluster.query(`create role app login password 'p@ss/w%rd#1'`);
    await cluster.query('create database app owner app');
  }
}, 120_000);
afterAll(async () => {
  await first?.[Symbol.asyncDispose]();
  await second?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await first.setRules('host all all 127.0.0.1/32 scram-sha-256');
  await second.setRules('host all all 127.0.0.1/32 scram-sha-256');
});

const password = encodeURIComponent('p@ss/w%rd#1');
const urlOf = (hosts: string, parameters = '') => `postgres://app:${password}@${hosts}/app${parameters}`;

/** Whether a connection uses TLS, and the server's port; or why there is no connection. */
async function connect(url: string): Promise<string> {
  try {
    const client = await createServers(url, 5_000).connect((config) => new pg.Client(config));
    try {
      const { rows } = await client.query(
        `select ssl, current_setting('port') as port from pg_stat_ssl where pid = pg_backend_pid()`,
      );
      return `${rows[0].ssl ? 'TLS' : 'plain'} ${rows[0].port}`;
    } finally {
      await client.end();
    }
  } catch (error) {
    return explain(error, url)?.text ?? `not explained: ${error}`;
  }
}

const portOf = ({ address }: TestCluster) => address.split(':')[1];

describe('sslmode', () => {
  it('means what it means in libpq', async () => {
    const { address } = first;
    const port = portOf(first);
    const connectWith = (parameters: string, hosts = address) => connect(urlOf(hosts, parameters));
    expect(await connectWith('')).toBe(`plain ${port}`);
    expect(await connectWith('?ssl=false')).toBe(`plain ${port}`);
    expect(await connectWith('?sslmode=disable')).toBe(`plain ${port}`);
    expect(await connectWith('?sslmode=allow')).toBe(`plain ${port}`);
    expect(await connectWith('?sslmode=prefer')).toBe(`TLS ${port}`);
    expect(await connectWith('?sslmode=require')).toBe(`TLS ${port}`);
    expect(await connectWith(`?sslmode=require&sslnegotiation=direct`)).toBe(`TLS ${port}`);
    expect(await connectWith(`?sslmode=verify-ca&sslrootcert=${first.ca}`)).toBe(`TLS ${port}`);
    expect(await connectWith(`?sslmode=verify-full&sslrootcert=${first.ca}`)).toBe(`TLS ${port}`);
    expect(await connectWith(`?sslrootcert=${first.ca}`, `localhost:${port}`)).toBe(`TLS ${port}`);
    expect(await connectWith(`?sslmode=require&sslrootcert=${first.ca}&channel_binding=prefer`)).toBe(`TLS ${port}`);
    // The other cluster has another authority. With sslrootcert, require means verify-ca.
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      expect(await connectWith(`?sslmode=${mode}&sslrootcert=${second.ca}`)).toMatch(/is not signed by sslrootcert/);
    }
    expect(await connectWith('?sslmode=verify-full')).toMatch(/is not signed by an authority of Node\.js/);
  });

  it('checks the name only with verify-full', async () => {
    // The certificate is not for this address, on which nothing but this forwards to the server.
    const forwarder = net.createServer((near) => {
      const far = net.connect(Number(portOf(first)), '127.0.0.1');
      near.on('error', () => far.destroy()).pipe(far);
      far.on('error', () => near.destroy()).pipe(near);
    });
    await once(forwarder.listen(0, '127.0.0.2'), 'listening');
    const hosts = `127.0.0.2:${(forwarder.address() as net.AddressInfo).port}`;
    try {
      expect(await connect(urlOf(hosts, `?sslmode=verify-ca&sslrootcert=${first.ca}`))).toMatch(/^TLS/);
      expect(await connect(urlOf(hosts, `?sslmode=verify-full&sslrootcert=${first.ca}`))).toMatch(
        /^The certificate of Postgres at 127\.0\.0\.2:\d+ is not for 127\.0\.0\.2\. /,
      );
    } finally {
      forwarder.close();
    }
  });

  it('falls back to the other way only with allow and prefer', async () => {
    const { address } = first;
    const port = portOf(first);
    await first.setRules('hostssl all all 127.0.0.1/32 scram-sha-256');
    expect(await connect(urlOf(address, '?sslmode=allow'))).toBe(`TLS ${port}`);
    expect(await connect(urlOf(address, '?sslmode=disable'))).toMatch(/without TLS\. .* sslmode=require/);
    await first.setRules('hostnossl all all 127.0.0.1/32 scram-sha-256');
    expect(await connect(urlOf(address, '?sslmode=prefer'))).toBe(`plain ${port}`);
    expect(await connect(urlOf(address, '?sslmode=require'))).toMatch(/with TLS\. Look at its pg_hba\.conf/);
  });

  it('works with a server without TLS only if TLS is optional', async () => {
    const { address } = second;
    await second.query('alter system set ssl = off');
    await second.query('select pg_reload_conf()');
    try {
      expect(await connect(urlOf(address, '?sslmode=prefer'))).toBe(`plain ${portOf(second)}`);
      expect(await connect(urlOf(address, '?sslmode=require'))).toBe(
        `Postgres at ${address} does not offer TLS, but sslmode=require demands it. Turn ssl on in Postgres, or set ` +
          'sslmode=disable if the network is private.',
      );
    } finally {
      await second.query('alter system set ssl = on');
      await second.query('select pg_reload_conf()');
    }
  });

  it('presents a client certificate', async () => {
    await first.setRules('hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca');
    const url = urlOf(first.address, `?sslmode=require`);
    expect(await connect(`${url}&sslcert=${first.cert}&sslkey=${first.key}`)).toMatch(/^TLS/);
    expect(await connect(url)).toMatch(/certificate/);
    const other = createAuthority('Another').issue('app');
    const [cert, key] = [first.write('other.pem', other.cert), first.write('other.key', other.key)];
    expect(await connect(`${url}&sslcert=${cert}&sslkey=${key}`)).toMatch(/certificate|TLS handshake/);
  });
});

describe('several hosts', () => {
  const both = () => `${first.address},${second.address}`;
  const setReadOnly = (cluster: TestCluster, value: string) =>
    cluster.query(`alter database app set default_transaction_read_only = ${value}`);

  it('are tried in order', async () => {
    expect(await connect(urlOf(both()))).toBe(`plain ${portOf(first)}`);
    expect(await connect(urlOf(`${second.address},${first.address}`))).toBe(`plain ${portOf(second)}`);
    expect(await connect(urlOf(`127.0.0.1:1,${second.address}`))).toBe(`plain ${portOf(second)}`);
    const none = '127.0.0.1:1,127.0.0.1:2';
    expect(await connect(urlOf(none))).toMatch(
      /^Postgres at 127\.0\.0\.1:1 refuses connections\. .* Postgres at 127\.0\.0\.1:2 refuses connections\./,
    );
  });

  it('must accept writes, unless target_session_attrs is any', async () => {
    await setReadOnly(first, 'on');
    try {
      expect(await connect(urlOf(both()))).toBe(`plain ${portOf(second)}`);
      expect(await connect(urlOf(both(), '?target_session_attrs=read-write&sslmode=prefer'))).toBe(
        `TLS ${portOf(second)}`,
      );
      // `primary` accepts a read-only server that is not a standby.
      expect(await connect(urlOf(both(), '?target_session_attrs=primary'))).toBe(`plain ${portOf(first)}`);
      expect(await connect(urlOf(both(), '?target_session_attrs=any'))).toBe(`plain ${portOf(first)}`);
      expect(await connect(urlOf(first.address, '?target_session_attrs=read-write'))).toMatch(/accepts no writes/);
    } finally {
      await setReadOnly(first, 'off');
    }
  });

  it('are not tried after a server has refused the password', async () => {
    const url = `postgres://app:wrong@${both()}/app`;
    expect(await connect(url)).toMatch(/rejects the password of the role "app"/);
    // Only the server that has refused it is named.
    expect(await connect(url)).not.toContain(second.address);
  });

  it('are used one after the other by an open pool, in both directions', async () => {
    for (const cluster of [first, second]) await migrateUp(databaseOptions(urlOf(cluster.address)));
    const database = await openDatabase(databaseOptions(urlOf(both())));
    const port = async () => {
      const text = `select current_setting('port') from change_feed`;
      const [[row] = []] = await database.run({ name: '', text }, []);
      return row;
    };
    const write = () => database.run({ name: '', text: `update change_feed set trimmed_xid = trimmed_xid` }, []);
    try {
      expect(await port()).toBe(portOf(first));
      await setReadOnly(first, 'on');
      await first.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`);
      await expect.poll(() => port().catch(String)).toBe(portOf(second));
      await write();
      await setReadOnly(first, 'off');
      await setReadOnly(second, 'on');
      await second.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`);
      await expect.poll(() => port().catch(String)).toBe(portOf(first));
      await write();
      await using session = await database.openSession(new AbortController().signal);
      expect(await session.query(`select current_setting('port')`)).toEqual([[portOf(first)]]);
    } finally {
      await database.close();
      for (const cluster of [first, second]) await setReadOnly(cluster, 'off');
    }
  });
});

describe('a server with several hosts', () => {
  it('continues on the other host if one becomes read-only, and if one is killed', async () => {
    const database = async (cluster: TestCluster) => {
      await cluster.query('create database served owner app');
      const url = `postgres://app:${password}@${cluster.address}/served`;
      await migrateUp(databaseOptions(url));
      return {
        setReadOnly: (value: string) =>
          cluster.query(`alter database served set default_transaction_read_only = ${value}`),
        async users() {
          const client = new pg.Client({ connectionString: url });
          await client.connect();
          const { rows } = await client.query('select email from users order by id');
          await client.end();
          return rows.map(({ email }) => email);
        },
      };
    };
    await using third = await startCluster();
    await third.query(`create role app login password 'p@ss/w%rd#1'`);
    const [one, two] = [await database(first), await database(third)];
    const config = parseServerConfig({
      DATABASE_URL: `postgres://app:${password}@${first.address},${third.address}/served?sslmode=prefer`,
      GRPC_ADDRESS: 'localhost:0',
      HTTP_ADDRESS: 'localhost:0',
      LOG_LEVEL: 'silent',
    });
    const app = await startApp(config);
    using client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1 });
    const create = (email: string) =>
      client.createUser({ user: { firstName: 'Ada', email } }).then(() => email, String);
    const becomes = (email: string) => expect.poll(() => create(email), { timeout: 30_000 }).toBe(email);
    try {
      await becomes('1@example.com');
      await one.setReadOnly('on');
      // Only new connections get the setting.
      await first.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`);
      await becomes('2@example.com');
      await one.setReadOnly('off');
      expect(await two.users()).toEqual(['2@example.com']);
      await third.postgres.stop();
      await becomes('3@example.com');
      expect(await one.users()).toEqual(['1@example.com', '3@example.com']);
    } finally {
      await app.close();
    }
  });
});

describe('a password', () => {
  it('may contain any characters, and is read from its file for each connection', async () => {
    const file = first.write('password', 'p@ss/w%rd#1\n');
    const url = `postgres://app@${first.address}/app?password_file=${file}`;
    expect(await connect(url)).toMatch(/^plain/);
    await first.query(`alter role app password 'new'`);
    try {
      expect(await connect(url)).toMatch(/rejects the password/);
      writeFileSync(file, 'new');
      expect(await connect(url)).toMatch(/^plain/);
    } finally {
      await first.query(`alter role app password 'p@ss/w%rd#1'`);
    }
  });

  it('that is missing has a message of its own', async () => {
    const { address } = first;
    expect(await connect(`postgres://app@${address}/app`)).toBe(
      `Postgres at ${address} asks for the password of the role "app", but none is set. Set PGPASSWORD_FILE or ` +
        'PGPASSWORD, or write the password into DATABASE_URL.',
    );
    expect(await connect(`postgres://app@${address}/app?password_file=/nowhere/secret`)).toBe(
      'Cannot read the file of PGPASSWORD_FILE (ENOENT). Correct its path.',
    );
  });
});

describe('a message', () => {
  it('names the role, the database and what to do, but no secret', async () => {
    const { address } = first;
    await first.query('create role closed nologin');
    await first.query('create database locked');
    await first.query('revoke connect on database locked from public');
    await first.query('create database unavailable allow_connections false');
    const cases: [string, RegExp][] = [
      [`postgres://app:hidden@${address}/app`, /rejects the password of the role "app", or has no such role\. Correct/],
      [
        `postgres://app:${password}@${address}/missing`,
        /has no database "missing"\. Create it: CREATE DATABASE missing OWNER app TEMPLATE template0 ENCODING 'UTF8'\.$/,
      ],
      [`postgres://app:${password}@${address}/locked`, /Allow it: GRANT CONNECT ON DATABASE locked TO app\.$/],
      [
        `postgres://app:${password}@${address}/unavailable`,
        /accepts no connections to the database "unavailable"\. Allow them: ALTER DATABASE unavailable ALLOW_CONNECTIONS true\.$/,
      ],
      [urlOf('127.0.0.1:1'), /refuses connections\. Check that it is running/],
      [urlOf('nowhere.invalid'), /The host name of Postgres at nowhere\.invalid:5432 cannot be resolved\./],
      [urlOf('', '?host=/nowhere'), /has no Unix socket in that folder/],
    ];
    for (const [url, text] of cases) {
      const message = await connect(url);
      expect(message).toMatch(text);
      expect(message).not.toMatch(/hidden|w%rd|again/);
    }
  });

  it('says whether the role is missing, may not log in, or fails a check of pg_hba.conf', async () => {
    const { address } = first;
    await first.setRules('hostssl all app 127.0.0.1/32 cert', 'host all all 127.0.0.1/32 trust');
    const files = `?sslmode=require&sslcert=${first.cert}&sslkey=${first.key}`;
    expect(await connect(urlOf(address, files))).toMatch(
      /does not let this process log in as the role "app"\. The line of its pg_hba\.conf that applies ignores passwords/,
    );
    expect(await connect(`postgres://closed@${address}/app`)).toMatch(
      /has no role "closed" that may log in\. Create it: CREATE ROLE closed LOGIN .* ALTER ROLE closed LOGIN\.$/,
    );
  });

  it('names the schema that the role may not use, and the GRANT that helps', async () => {
    await first.query('create database hidden owner app');
    const admin = new pg.Client({ connectionString: first.url.replace(/\/roster$/, '/hidden') });
    await admin.connect();
    try {
      await admin.query('alter schema public owner to roster');
      await admin.query('revoke all on schema public from public');
      const url = urlOf(first.address).replace(/\/app$/, '/hidden');
      const error = await migrateUp(databaseOptions(url)).catch((error: unknown) => error);
      const text = explain(error, url)?.text ?? '';
      expect(text).toMatch(/^The role "app" may use no schema of its search_path, or none of them exists\./);
      await admin.query(/GRANT USAGE[^.]*/.exec(text)?.[0] ?? '');
      await expect(migrateUp(databaseOptions(url))).rejects.toThrow(/GRANT USAGE, CREATE ON SCHEMA public TO app\./);
    } finally {
      await admin.end();
    }
  });

  it('of a call says that only an operator can help if the login is refused', async () => {
    await first.query('create database closed allow_connections false');
    const urls = [
      `postgres://app:wrong@${first.address},${second.address}/app`,
      `postgres://app:${password}@${first.address}/closed`,
      `postgres://app:${password}@${first.address}/missing`,
      `postgres://app@${first.address}/app`,
      urlOf(first.address, '?sslmode=verify-full'),
    ];
    for (const url of urls) {
      const error = await openDatabase(databaseOptions(url)).catch((error: unknown) => error);
      expect(error).toMatchObject({
        reason: 'DATABASE_UNAVAILABLE',
        message: expect.stringMatching(/^The server cannot log in to its database/),
      });
    }
  });

  it('says that the server has no free connection', async () => {
    await first.query('alter role app connection limit 0');
    try {
      expect(await connect(urlOf(first.address))).toMatch(/has no free connection\. Lower DATABASE_CONNECTIONS_MAX/);
    } finally {
      await first.query('alter role app connection limit -1');
    }
  });
});

describe('a start', () => {
  const start = (env: Record<string, string>, lines: Record<string, unknown>[], signal?: AbortSignal) => {
    const addresses = { GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
    const config = parseServerConfig({ ...addresses, LOG_FORMAT: 'json', ...env });
    return startApp(config, { signal, logTo: { write: (text) => lines.push(JSON.parse(text)) } });
  };

  it('waits for a database that may come, and then serves it', async () => {
    await using cluster = await startCluster();
    await cluster.postgres.stop();
    const lines: Record<string, unknown>[] = [];
    const { password: PGPASSWORD, port: PGPORT } = new URL(cluster.url);
    const parts = { PGHOST: '127.0.0.1', PGPORT, PGUSER: 'roster', PGDATABASE: 'roster', PGPASSWORD };
    const starting = start(parts, lines);
    const help = `Postgres at ${cluster.address} refuses connections. Check that it is running, and that the host and port are correct.`;
    await expect
      .poll(() => lines)
      .toMatchObject([
        { msg: expect.stringContaining('AUTH=on requires credentials') },
        { msg: 'using the database', database: `${cluster.address}/roster` },
        { level: 'warn', msg: 'waiting for the database', help },
      ]);
    await cluster.postgres.ensureRunning();
    const app = await starting;
    try {
      await expect.poll(() => lines.map(({ msg }) => msg)).toContain('connected to the database');
      await cluster.postgres.stop();
      await expect
        .poll(() => lines, { timeout: 20_000 })
        .toContainEqual(expect.objectContaining({ msg: 'cannot reach the database', help }));
      expect(JSON.stringify(lines)).not.toContain(PGPASSWORD);
    } finally {
      await app.close();
    }
  });

  it('is cancelled while the database does not answer', async () => {
    const silent = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const connected = once(silent, 'connection');
    const { port } = silent.address() as net.AddressInfo;
    const stop = new AbortController();
    const env = { DATABASE_URL: urlOf(`127.0.0.1:${port}`), DATABASE_CONNECT_TIMEOUT_MS: '600000' };
    const starting = start(env, [], stop.signal);
    const [socket] = await connected;
    try {
      stop.abort(new Error('cancelled'));
      await expect(starting).rejects.toThrow('cancelled');
    } finally {
      socket.destroy();
      silent.close();
    }
  });

  it('waits for DATABASE_URL too if DATABASE_DIRECT_URL can be used, and names the right one', async () => {
    const lines: Record<string, unknown>[] = [];
    const stop = new AbortController();
    const env = { DATABASE_URL: urlOf('127.0.0.1:1'), DATABASE_DIRECT_URL: urlOf(first.address) };
    const starting = start(env, lines, stop.signal);
    const help = expect.stringMatching(/^Postgres at 127\.0\.0\.1:1 refuses connections\./);
    await expect
      .poll(() => lines, { timeout: 20_000 })
      .toContainEqual(expect.objectContaining({ msg: 'waiting for the database', help }));
    stop.abort(new Error('cancelled'));
    await expect(starting).rejects.toThrow('cancelled');
  });

  it('fails at once if only a change of the configuration can help', async () => {
    const wrong = start({ DATABASE_URL: `postgres://app:wrong@${first.address}/app` }, []);
    await expect(wrong).rejects.toThrow(/^Postgres at .* rejects the password of the role "app"/);
    // The log keeps the names of the explanation.
    const { message } = describeError(await wrong.catch((error: unknown) => error));
    expect(message).toMatch(/ rejects the password of the role "app"/);
  });

  it('names the right that a role lacks, or the table of another application', async () => {
    await first.query('create database theirs');
    const url = `postgres://app:${password}@${first.address}/theirs`;
    await expect(start({ DATABASE_URL: url }, [])).rejects.toThrow(
      'The role "app" may not create tables in the schema "public" of the database "theirs". Allow it: GRANT USAGE, ' +
        'CREATE ON SCHEMA public TO app. Or run "roster migrate up" as a role that may.',
    );
    await first.query('alter database theirs owner to app');
    const theirs = new pg.Client({ connectionString: url });
    await theirs.connect();
    await theirs.query('create table users (name text)');
    await theirs.end();
    await expect(start({ DATABASE_URL: url }, [])).rejects.toThrow(
      'The schema "public" of the database "theirs" has a table "users" that Roster did not create. Use an empty ' +
        'database, or a schema of its own: CREATE SCHEMA roster AUTHORIZATION app; ALTER ROLE app IN DATABASE theirs SET ' +
        'search_path = roster.',
    );
    // The advice helps.
    const admin = new pg.Client({ connectionString: first.url.replace(/\/roster$/, '/theirs') });
    await admin.connect();
    await admin.query('create schema roster authorization app');
    await admin.query('alter role app in database theirs set search_path = roster');
    await admin.end();
    const app = await start({ DATABASE_URL: url }, []);
    await app.close();
  });

  it('fails with a version of Postgres that is too old', () => {
    expect(() => checkVersion(150_000)).not.toThrow();
    expect(() => checkVersion(140_011)).toThrow(
      'The server is Postgres 14, but Roster needs Postgres 15 or later. Upgrade it, or use another server.',
    );
  });
});
