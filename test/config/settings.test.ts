/** Valid and invalid values of every setting, and the settings in the documentation and the help. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addClientFlags } from '../../src/cli/client-command.js';
import { describeFailure } from '../../src/cli/failure.js';
import { createSettingsCommand } from '../../src/cli/settings-command.js';
import { clientSettings } from '../../src/config/client-settings.js';
import { ConfigError, type Flags, parseClientConfig, parseServerConfig } from '../../src/config/parse.js';
import { settingRows } from '../../src/config/setting.js';
import { gatewaySettings, serverSettings } from '../../src/config/settings.js';
import { formatAddress, isLoopback } from '../../src/net/address.js';
import { describeHost, parsePostgresUrl } from '../../src/postgres-url.js';
import { createAuthority } from '../certificates.js';

const root = resolve(import.meta.dirname, '..', '..');
const serverRows = settingRows(serverSettings);
const clientRows = settingRows(clientSettings);
const secret = 'hunter2-is-secret';

let folder: string;
const file = (name: string) => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'roster-config-'));
  mkdirSync(file('folder'));
  const authority = createAuthority();
  const { cert, key } = authority.issue('server');
  const texts = {
    'ca.pem': authority.cert,
    'cert.pem': cert,
    'key.pem': key,
    'other-key.pem': authority.issue('x').key,
  };
  for (const [name, text] of Object.entries({ ...texts, 'garbage.pem': 'garbage' })) writeFileSync(file(name), text);
});
afterAll(() => rmSync(folder, { recursive: true }));

function problemsOf(parse: () => unknown): readonly string[] {
  try {
    parse();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    if (error instanceof CommanderError) return [describeFailure(error, false).trim()];
    throw error;
  }
  return [];
}

/** The flags that `roster serve` passes on. */
function flagsOf(args: readonly string[]): Flags {
  const command = createSettingsCommand('serve', '', serverSettings);
  return command
    .exitOverride()
    .configureOutput({ writeErr() {} })
    .parse(args, { from: 'user' })
    .opts();
}
const parseServer = (env: Record<string, string>, ...args: string[]) => parseServerConfig(env, flagsOf(args));
const serverProblems = (env: Record<string, string>, ...args: string[]) => problemsOf(() => parseServer(env, ...args));
const clientProblems = (env: Record<string, string>, flags?: Flags) => problemsOf(() => parseClientConfig(env, flags));

/** The warnings about INSECURE, named as it was set. */
const openToReaders = (name: string) =>
  `${name} is set and other machines can reach the server: others can read the traffic, including tokens, unless a proxy in front of Roster uses TLS.`;
const openToEverybody = (name: string) =>
  `${name} is set and other machines can reach the server: EVERYBODY who reaches it can read, change and erase all users.`;

describe('the configuration of a server', () => {
  it('has a default for everything', () => {
    expect(parseServerConfig({})).toEqual({
      database: {
        url: undefined,
        directUrl: undefined,
        replicaUrls: [],
        replicaLagMsMax: 10_000,
        dataDir: join(root, '.roster'),
        connectionsMax: 18,
        connectTimeoutMs: 5000,
        connectionAgeMsMax: 1_800_000,
        statementTimeoutMs: 30_000,
        lockTimeoutMs: 5000,
        preparedStatements: true,
      },
      batch: { rowsMax: 256, queueRowsMax: 10_000 },
      streams: { connectionsMax: 4, stallTimeoutMs: 30_000, snapshotTimeoutMs: 600_000 },
      bufferedBytesMax: 134_217_728,
      callers: {
        callsPerSecondMax: 0,
        callsBurst: undefined,
        streamsMax: 10_000,
        watchesMax: 5000,
        bytesMax: 67_108_864,
      },
      changes: { keptHours: 168, keptMax: 10_000_000 },
      listIndexes: 'auto',
      warnings: [],
      auth: { isRequired: false, accessFile: undefined, openEndpoints: ['health', 'openapi', 'page'] },
      grpc: {
        address: { host: 'localhost', port: 50_051 },
        http2: 'own',
        concurrentStreamsMax: 4096,
        connectionAgeMsMax: 1_800_000,
        connectionAgeGraceMs: 300_000,
        keepaliveTimeMs: 30_000,
        keepaliveTimeoutMs: 20_000,
      },
      http: { address: { host: 'localhost', port: 8080 }, isDefault: true, corsOrigins: [] },
      tls: undefined,
      workers: 1,
      log: { level: 'info', format: 'auto' },
      auditLog: 'off',
      shutdown: { delayMs: 0, timeoutMs: 10_000 },
    });
  });

  it('takes every setting from the environment', () => {
    const tls = { TLS_CERT: file('cert.pem'), TLS_KEY: file('key.pem'), TLS_CLIENT_CA: file('ca.pem') };
    const config = parseServerConfig({
      ...tls,
      DATABASE_URL: 'postgresql://ada:p%23w@db.example:5433/roster?application_name=roster',
      DATABASE_DIRECT_URL: 'postgres://db.example/roster',
      DATABASE_REPLICA_URLS: 'postgres://db2.example/roster',
      DATABASE_REPLICA_LAG_MS_MAX: '1001',
      DATA_DIR: 'some/where',
      GRPC_ADDRESS: '0.0.0.0:0',
      HTTP_ADDRESS: '[::]:80',
      CORS_ORIGINS: 'https://app.example.com, http://localhost:5173',
      WORKERS: '3',
      LOG_LEVEL: 'SILENT',
      LOG_FORMAT: ' json\n',
      TLS_CLIENT_AUTH: 'Optional',
      AUDIT_LOG: 'stdout',
      INSECURE: '1',
      AUTH: 'on',
      ACCESS_FILE: 'access.yaml',
      OPEN_ENDPOINTS: 'metrics, Reflection',
      DATABASE_CONNECTIONS_MAX: '8',
      DATABASE_CONNECT_TIMEOUT_MS: '1',
      DATABASE_CONNECTION_AGE_MS_MAX: '18000',
      STATEMENT_TIMEOUT_MS: '3600000',
      LOCK_TIMEOUT_MS: '4',
      PREPARED_STATEMENTS: 'False',
      BATCH_ROWS_MAX: '5',
      QUEUE_ROWS_MAX: '6',
      STREAM_CONNECTIONS_MAX: '13',
      STREAM_STALL_TIMEOUT_MS: '14000',
      SNAPSHOT_TIMEOUT_MS: '15000',
      BUFFERED_BYTES_MAX: '2000000',
      CALLER_CALLS_PER_SECOND_MAX: '18',
      CALLER_CALLS_BURST: '19',
      CALLER_STREAMS_MAX: '20',
      CALLER_WATCHES_MAX: '21',
      CALLER_BYTES_MAX: '22000',
      CHANGES_KEPT_HOURS: '16',
      CHANGES_KEPT_MAX: '17000',
      LIST_INDEXES: 'ALL',
      HTTP2_SERVER: 'node',
      CONCURRENT_STREAMS_MAX: '7',
      CONNECTION_AGE_MS_MAX: '8000',
      CONNECTION_AGE_GRACE_MS: '0',
      KEEPALIVE_TIME_MS: '9000',
      KEEPALIVE_TIMEOUT_MS: '10',
      SHUTDOWN_DELAY_MS: '11',
      SHUTDOWN_TIMEOUT_MS: '12',
      PATH: '/not/ours',
    });
    expect(config).toEqual({
      database: {
        url: 'postgresql://ada:p%23w@db.example:5433/roster?application_name=roster',
        directUrl: 'postgres://db.example/roster',
        replicaUrls: ['postgres://?dbname=roster&target_session_attrs=any&host=db2.example&port=5432'],
        replicaLagMsMax: 1001,
        dataDir: resolve('some/where'),
        connectionsMax: 8,
        connectTimeoutMs: 1,
        connectionAgeMsMax: 18_000,
        statementTimeoutMs: 3_600_000,
        lockTimeoutMs: 4,
        preparedStatements: false,
      },
      batch: { rowsMax: 5, queueRowsMax: 6 },
      streams: { connectionsMax: 13, stallTimeoutMs: 14_000, snapshotTimeoutMs: 15_000 },
      bufferedBytesMax: 2_000_000,
      callers: { callsPerSecondMax: 18, callsBurst: 19, streamsMax: 20, watchesMax: 21, bytesMax: 22_000 },
      changes: { keptHours: 16, keptMax: 17_000 },
      listIndexes: 'all',
      warnings: [],
      auth: { isRequired: true, accessFile: resolve('access.yaml'), openEndpoints: ['metrics', 'reflection'] },
      grpc: {
        address: { host: '0.0.0.0', port: 0 },
        http2: 'node',
        concurrentStreamsMax: 7,
        connectionAgeMsMax: 8000,
        connectionAgeGraceMs: 0,
        keepaliveTimeMs: 9000,
        keepaliveTimeoutMs: 10,
      },
      http: {
        address: { host: '::', port: 80 },
        isDefault: false,
        corsOrigins: ['https://app.example.com', 'http://localhost:5173'],
      },
      tls: { cert: file('cert.pem'), key: file('key.pem'), clientCa: file('ca.pem'), requiresClientCert: false },
      workers: 3,
      log: { level: 'silent', format: 'json' },
      auditLog: 'stdout',
      shutdown: { delayMs: 11, timeoutMs: 12 },
    });
  });

  it('also takes every setting from a flag, and flags win', () => {
    const args = serverRows.flatMap(({ name, flag: given }) => {
      if (/^DATABASE_.*URLS?$/.test(name)) return [given, 'postgres:///roster'];
      if (name === 'PGSSLMODE') return [given, 'require'];
      if (name === 'PGSSLNEGOTIATION') return [given, 'direct'];
      if (name === 'PGTARGETSESSIONATTRS') return [given, 'primary'];
      if (name === 'TLS_CERT') return [`${given}=${file('cert.pem')}`];
      if (name === 'TLS_KEY') return [given, file('key.pem')];
      if (name === 'TLS_CLIENT_CA') return [given, file('ca.pem')];
      if (name === 'DATA_DIR') return [given, file('folder')];
      if (name.endsWith('_ADDRESS')) return [`${given}=127.0.0.1:7`];
      if (name === 'CORS_ORIGINS') return [given, '*'];
      if (name === 'LOG_LEVEL') return [given, 'warn'];
      if (name === 'LOG_FORMAT') return [given, 'pretty'];
      if (name === 'TLS_CLIENT_AUTH') return [given, 'optional'];
      if (name === 'HTTP2_SERVER') return [given, 'node'];
      if (name === 'AUTH') return [given, 'on'];
      if (name === 'ACCESS_FILE') return [given, file('access.yaml')];
      if (name === 'OPEN_ENDPOINTS') return [given, 'none'];
      if (name === 'AUDIT_LOG') return [given, 'stdout'];
      if (name === 'LIST_INDEXES') return [given, 'none'];
      if (name === 'INSECURE' || name === 'SEARCH_INDEX') return [given];
      if (name === 'PREPARED_STATEMENTS') return ['--no-prepared-statements'];
      return name === 'WORKERS' ? [given, 'auto'] : [given, '1000'];
    });
    const env = Object.fromEntries(serverRows.map(({ name }) => [name, 'bad']));
    const config = parseServer(env, ...args);
    expect(config.database).toMatchObject({
      url: expect.stringMatching('^postgres:///roster\\?host=1000&'),
      dataDir: file('folder'),
      connectionsMax: 1000,
    });
    expect(config.database.preparedStatements).toBe(false);
    expect(config.grpc).toMatchObject({ address: { host: '127.0.0.1', port: 7 }, keepaliveTimeoutMs: 1000 });
    expect(config.log).toEqual({ level: 'warn', format: 'pretty' });
    expect(config.tls).toMatchObject({ clientCa: file('ca.pem'), requiresClientCert: false });
    expect(config.auth).toEqual({ isRequired: true, accessFile: file('access.yaml'), openEndpoints: [] });
    // auto means one for each core.
    expect(config.workers).toBe(availableParallelism());
  });

  it('reads URLs of replicas, of which each host is one', () => {
    const DATABASE_URL = 'postgres://db1/roster';
    const replicasOf = (text: string, env: Record<string, string> = {}) =>
      parseServer({ DATABASE_URL, DATABASE_REPLICA_URLS: text, ...env }).database.replicaUrls.map((url) => {
        const { hosts, user, password, database, sessionAttributes } = parsePostgresUrl(url);
        return { hosts: hosts.map(describeHost).join(), user, password, database, sessionAttributes };
      });
    const own = { user: 'ada', password: 'p@ss, w/+%', database: 'roster', sessionAttributes: 'any' };
    const login = `ada:${encodeURIComponent(own.password)}`;
    const [first, second, third] = [
      `postgres://${login}@db2/roster`,
      'db3:5433,[::1]',
      `postgresql://${login}@db4/roster`,
    ];
    const expected = ['db2:5432', 'db3:5433', '[::1]:5432', 'db4:5432'].map((hosts) => ({ hosts, ...own }));
    for (const separator of [',', ' ', ', ', '\n', ' ,\t']) {
      const text = [first, `postgres://${login}@${second}/roster`, third].join(separator);
      expect(replicasOf(`${text}${separator}`)).toEqual(expected);
    }
    const parts = { PGHOST: 'db1', PGTARGETSESSIONATTRS: 'primary', PGUSER: 'ada', PGPASSWORD: own.password };
    expect(replicasOf('postgres://db2,db4', { ...parts, PGDATABASE: 'roster' })).toEqual([expected[0], expected[3]]);
    expect(parseServer({ DATABASE_URL }).database.replicaUrls).toEqual([]);
  });

  it('rejects invalid URLs of replicas without repeating them', () => {
    const DATABASE_URL = 'postgres://db1/roster';
    const problemOf = (text: string) => serverProblems({ DATABASE_URL, DATABASE_REPLICA_URLS: text }).join();
    expect(problemOf(`postgres://ada:${secret}@db2/roster postgres://ada:${secret}@db3:x/roster`)).toMatch(
      /^DATABASE_REPLICA_URLS has an invalid URL 2, which must be a URL like/,
    );
    expect(problemOf(`db2,ada:${secret}@db3`)).toMatch(/^DATABASE_REPLICA_URLS has an invalid URL 1/);
    expect(problemOf('postgres://db2/roster?sslmode=perhaps')).toMatch(/which has an invalid sslmode/);
    expect(problemOf(`postgres://ada:${secret}@db2/a b`)).not.toContain(secret);
    expect(problemOf(`db2,ada:${secret}@db3`)).not.toContain(secret);
    expect(serverProblems({ DATABASE_REPLICA_URLS: 'postgres://db2/roster' })).toEqual([
      'DATABASE_REPLICA_URLS needs DATABASE_URL',
    ]);
    expect(serverProblems({ DATABASE_REPLICA_LAG_MS_MAX: '999' })).toHaveLength(1);
  });

  it('uses the last of two equal flags, and accepts both forms of a switch', () => {
    expect(parseServer({}, '--log-level', 'warn', '--log-level=error').log.level).toBe('error');
    const open = ['--grpc-address=0.0.0.0:1'];
    expect(serverProblems({ INSECURE: 'true' }, ...open, '--no-insecure')).toHaveLength(1);
    expect(serverProblems({ INSECURE: 'true' }, ...open, '--insecure=false')).toHaveLength(1);
    expect(serverProblems({}, ...open, '--no-insecure', '--insecure')).toEqual([]);
  });

  it('reads the deprecated SEARCH_INDEX, unless LIST_INDEXES is set, and warns', () => {
    const read = (env: Record<string, string>, ...args: string[]) => {
      const { listIndexes, warnings } = parseServer(env, ...args);
      return [listIndexes, ...warnings];
    };
    const asked = 'Set LIST_INDEXES instead.';
    expect(read({ SEARCH_INDEX: 'false' })).toEqual([
      'none',
      `SEARCH_INDEX is deprecated and read as LIST_INDEXES=none. ${asked}`,
    ]);
    expect(read({}, '--no-search-index')).toEqual([
      'none',
      `--search-index is deprecated and read as LIST_INDEXES=none. ${asked}`,
    ]);
    expect(read({ SEARCH_INDEX: 'true' })).toEqual([
      'auto',
      `SEARCH_INDEX is deprecated and read as LIST_INDEXES=auto. ${asked}`,
    ]);
    expect(read({ SEARCH_INDEX: 'false' }, '--list-indexes=all')).toEqual([
      'all',
      `SEARCH_INDEX is deprecated and ignored. ${asked}`,
    ]);
  });

  it('treats an empty value as unset', () => {
    const env = Object.fromEntries(serverRows.map(({ name }) => [name, ' ']));
    expect(parseServerConfig(env)).toEqual(parseServerConfig({}));
    expect(parseServer({ DATABASE_URL: 'postgres://h/x' }, '--database-url=').database.url).toBeUndefined();
  });

  it('is deeply frozen', () => {
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
    const tls = { TLS_CERT: file('cert.pem'), TLS_KEY: file('key.pem') };
    expect(frozen(parseServerConfig(tls))).toBe(true);
    expect(frozen(parseClientConfig({}))).toBe(true);
  });

  const numbers = serverRows.filter(({ allowed }) => allowed.startsWith('a whole number'));
  it.each(numbers)('$name is $allowed', ({ name, allowed }) => {
    const [min = 0, max = 0] = allowed.match(/\d+/g)?.map(Number) ?? [];
    for (const good of [min, max]) expect(serverProblems({ [name]: `${good}` })).toEqual([]);
    for (const bad of [`${min - 1}`, `${max + 1}`, '1.5', '1e3', '0x10', '-1', 'ten', '9'.repeat(40)]) {
      const [problem, ...others] = serverProblems({ [name]: bad });
      expect(problem).toBe(`${name} must be ${allowed}, not "${bad}"`);
      expect(others).toEqual([]);
    }
  });

  it.each([
    ['WORKERS', ['all', 'automatic'], 'WORKERS must be a whole number from 1 to 256, or auto'],
    ['LOG_LEVEL', ['loud', '30'], 'LOG_LEVEL must be trace, debug, info, warn, error, fatal or silent'],
    ['LIST_INDEXES', ['some', 'true', 'off'], 'LIST_INDEXES must be auto, all or none'],
    ['LOG_FORMAT', ['yaml'], 'LOG_FORMAT must be auto, pretty or json'],
    ['INSECURE', ['yes', 'on', '2'], 'INSECURE must be true or false'],
    ['TLS_CLIENT_AUTH', ['none', 'true'], 'TLS_CLIENT_AUTH must be require or optional'],
    ['AUTH', ['true', 'no'], 'AUTH must be auto, on or off'],
    [
      'OPEN_ENDPOINTS',
      ['all', 'health,none', 'health metrics', 'page,'],
      'OPEN_ENDPOINTS must be none, or some of health, reflection, metrics, openapi, page, separated by commas',
    ],
    ['PREPARED_STATEMENTS', ['off'], 'PREPARED_STATEMENTS must be true or false'],
  ])('%s refuses %j', (name, bad, problem) => {
    for (const text of bad) expect(serverProblems({ [name]: text })).toEqual([`${problem}, not "${text}"`]);
  });

  it.each(['GRPC_ADDRESS', 'HTTP_ADDRESS'])('%s has a host and a port', (name) => {
    for (const good of ['localhost:1', 'LOCALHOST:1', '127.8.8.8:65535', '[::1]:0', '[0:0:0:0:0:0:0:1]:9']) {
      expect(serverProblems({ [name]: good })).toEqual([]);
    }
    for (const bad of [
      ':1',
      '1',
      'localhost',
      'localhost:',
      '::1:1',
      '[::1]',
      '[1.2.3.4]:1',
      '[::g]:1',
      '1.2.3:4',
      '256.1.1.1:1',
    ]) {
      expect(serverProblems({ [name]: bad })[0]).toContain(`${name} must be host:port or [IPv6]:port, with both parts`);
    }
    for (const bad of ['localhost:65536', 'http://localhost:1', 'local host:1', '*:1', 'localhost:-1']) {
      expect(serverProblems({ [name]: bad })).toHaveLength(1);
    }
  });

  it('refuses other than loopback addresses without TLS, and names both solutions', () => {
    for (const host of ['0.0.0.0', '[::]', '10.0.0.1', '[fe80::1%eth0]', 'roster.example', 'localhost.example']) {
      const problems = serverProblems({ GRPC_ADDRESS: `${host}:1` }, `--http-address=${host}:2`);
      expect(problems).toHaveLength(2);
      for (const problem of problems) expect(problem).toMatch(/TLS_CERT and TLS_KEY, or INSECURE=true \(--insecure\)/);
      expect(problems[0]).toMatch(/^GRPC_ADDRESS is not a loopback/);
      expect(problems[1]).toMatch(/^--http-address is not a loopback/);
      expect(serverProblems({ GRPC_ADDRESS: `${host}:1` }, '--insecure')).toEqual([]);
      expect(
        serverProblems({ GRPC_ADDRESS: `${host}:1`, TLS_CERT: file('cert.pem'), TLS_KEY: file('key.pem') }),
      ).toEqual([]);
    }
  });

  describe('requires credentials', () => {
    const tls = () => ({ TLS_CERT: file('cert.pem'), TLS_KEY: file('key.pem') });
    const certificates = () => ({ ...tls(), TLS_CLIENT_CA: file('ca.pem') });
    const reachable = { GRPC_ADDRESS: '0.0.0.0:50051' };
    const reachablePage = { HTTP_ADDRESS: '[::]:8080' };
    const access = { ACCESS_FILE: '/etc/roster/access.yaml' };
    const insecure = { INSECURE: 'true' };

    it.each([
      ['no, on loopback', () => ({}), false, []],
      ['no, on loopback with TLS', tls, false, []],
      ['yes, on loopback with an access file', () => access, true, []],
      ['yes, on loopback with client certificates', certificates, true, []],
      ['yes, on another address with TLS', () => ({ ...reachable, ...tls() }), true, []],
      ['yes, if only HTTP has another address', () => ({ ...reachablePage, ...tls() }), true, []],
      ['no, with INSECURE', () => ({ ...reachable, ...insecure }), false, [openToEverybody('INSECURE')]],
      [
        'no, with INSECURE and TLS',
        () => ({ ...reachable, ...tls(), ...insecure }),
        false,
        [openToEverybody('INSECURE')],
      ],
      ['no, with INSECURE on loopback', () => insecure, false, []],
      [
        'yes, with INSECURE and an access file',
        () => ({ ...reachable, ...insecure, ...access }),
        true,
        [openToReaders('INSECURE')],
      ],
      [
        'yes, with INSECURE, TLS and an access file',
        () => ({ ...reachable, ...tls(), ...insecure, ...access }),
        true,
        [],
      ],
    ] as const)('with AUTH=auto: %s', (_, env, isRequired, warnings) => {
      for (const AUTH of ['auto', '']) {
        const config = parseServerConfig({ ...env(), AUTH });
        expect(config.auth.isRequired).toBe(isRequired);
        expect(config.warnings).toEqual(warnings);
      }
    });

    it('with AUTH=on: always', () => {
      for (const env of [{}, reachable, tls(), access, certificates()]) {
        const config = parseServerConfig({ ...env, ...insecure, AUTH: 'on' });
        expect(config.auth.isRequired).toBe(true);
        expect(config.warnings).toEqual('GRPC_ADDRESS' in env ? [openToReaders('INSECURE')] : []);
      }
      // Credentials do not replace TLS.
      expect(serverProblems({ ...reachable, AUTH: 'on' })).toEqual([expect.stringMatching(/^GRPC_ADDRESS is not a/)]);
    });

    it('with AUTH=off: never, and only with INSECURE if others can reach the server', () => {
      for (const env of [{}, tls(), certificates()]) {
        expect(parseServerConfig({ ...env, AUTH: 'off' })).toMatchObject({ auth: { isRequired: false }, warnings: [] });
      }
      const refused =
        'is off, but other machines can reach the server, so everybody could read and erase all users: remove it, or set INSECURE=true (--insecure)';
      for (const env of [reachable, reachablePage]) {
        expect(serverProblems({ ...env, ...tls(), AUTH: 'off' })).toEqual([`AUTH ${refused}`]);
        expect(serverProblems({ ...env, ...certificates() }, '--auth=off')).toEqual([`--auth ${refused}`]);
        const config = parseServer({ ...env, ...tls(), AUTH: 'off' }, '--insecure');
        expect(config.auth.isRequired).toBe(false);
        expect(config.warnings).toEqual([openToEverybody('--insecure')]);
      }
    });

    it('and refuses an access file that would have no effect', () => {
      expect(serverProblems({ ...access, AUTH: 'off' })).toEqual(['ACCESS_FILE needs AUTH=on']);
      expect(serverProblems({ ...access, AUTH: 'off', ...reachable, ...insecure })).toEqual([
        'ACCESS_FILE needs AUTH=on',
      ]);
    });

    it('but not for commands that only use the database', () => {
      const config = parseServerConfig({ ...reachable, AUTH: 'off' }, {}, { serves: false });
      expect(config).toMatchObject({ auth: { isRequired: false }, warnings: [] });
    });
  });

  it('knows loopback addresses in every spelling', () => {
    for (const host of ['localhost', '127.0.0.1', '127.255.0.3', '::1', '::ffff:127.0.0.1'])
      expect(isLoopback(host)).toBe(true);
    for (const host of ['128.0.0.1', '::', '::2', '::ffff:10.0.0.1', '127.0.0.1.example'])
      expect(isLoopback(host)).toBe(false);
    expect(formatAddress({ host: '::1', port: 5 })).toBe('[::1]:5');
    expect(formatAddress({ host: 'localhost', port: 5 })).toBe('localhost:5');
  });

  it('accepts only URLs of Postgres that pg can parse', () => {
    for (const good of [
      'postgres://h/d',
      'POSTGRESQL://u:p@[::1]:5432/d?sslmode=require',
      'postgres:///d?host=/run/postgresql',
      'postgres://a:1,b:2/d',
    ]) {
      expect(serverProblems({ DATABASE_URL: good })).toEqual([]);
    }
    for (const bad of [
      'mysql://h/d',
      'h:5432',
      'postgres:h',
      'postgres://u:p#w@h/d',
      'postgres://u:p%w@h/d',
      'postgres://u:1?p=w@h/d',
      'postgres://u:1?p&w@h/d',
      'postgres://u:1/w@h/d',
    ]) {
      expect(serverProblems({ DATABASE_URL: bad })).toEqual([
        expect.stringMatching(/^DATABASE_URL must be a URL like postgres:/),
      ]);
    }
  });

  it('names what is wrong with a URL, but not its values', () => {
    const problems: [string, string][] = [
      ['?sslmoed=require', 'has the unknown parameter sslmoed. Remove it, or correct its name: host, '],
      ['?statement_timeout=7hidden', 'has the unknown parameter statement_timeout. '],
      [
        '?sslmode=7hidden',
        'has an invalid sslmode, which must be disable, allow, prefer, require, verify-ca, verify-full',
      ],
      ['?ssl=7hidden', 'has an invalid ssl, which must be true or false. '],
      ['?ssl=true&sslmode=disable', 'has ssl and sslmode, which contradict each other. Remove ssl'],
      ['?sslmode=verify-ca', 'needs sslrootcert, the path of a PEM file, for sslmode=verify-ca'],
      ['?sslmode=require&sslrootcert=system', 'needs sslmode=verify-full for sslrootcert=system'],
      ['?sslmode=prefer&sslnegotiation=direct', 'needs sslmode=require or stricter for sslnegotiation=direct'],
      ['?sslcert=hidden.pem', 'needs both sslcert and sslkey'],
      ['?target_session_attrs=standby', 'has an invalid target_session_attrs, which must be any, read-write, primary'],
      ['?connect_timeout=0', 'has an invalid connect_timeout, which must be a number of seconds'],
      ['?channel_binding=require', 'has channel_binding=require, which Roster cannot enforce. '],
      ['?host=a,b&port=1,2,3', 'must have one port for all hosts, or one for each'],
      ['?port=70000', 'must have ports from 1 to 65535'],
    ];
    for (const [parameters, problem] of problems) {
      const [found = '', ...more] = serverProblems({ DATABASE_URL: `postgres:///hidden${parameters}` });
      expect(found.startsWith(`DATABASE_URL ${problem}`), found).toBe(true);
      expect(more).toEqual([]);
      expect(found).not.toContain('hidden');
    }
  });

  it('reads hosts, logins and TLS as libpq does', () => {
    const plain = { sslMode: 'disable', sslNegotiation: 'postgres', channelBinding: 'disable' };
    expect(parsePostgresUrl('postgres://a%40:p%3a:@h,[::1]:6,%2Frun/d%2F?port=7&ssl=false')).toMatchObject({
      ...plain,
      hosts: [
        { host: 'h', port: 7 },
        { host: '::1', port: 6 },
        { host: '/run', port: 7 },
      ],
      ...{ user: 'a@', password: 'p::', database: 'd/', sessionAttributes: 'read-write' },
    });
    expect(parsePostgresUrl('postgres://?host=x,y&port=1,2&user=u+u&options=-c+a%3Db&connect_timeout=3')).toMatchObject(
      {
        hosts: [
          { host: 'x', port: 1 },
          { host: 'y', port: 2 },
        ],
        ...{ user: 'u+u', database: 'u+u', options: '-c a=b', connectTimeoutMs: 3000 },
      },
    );
    expect(parsePostgresUrl('postgres:///d')).toMatchObject({ hosts: [{ host: 'localhost', port: 5432 }] });
    const modeOf = (parameters: string) => parsePostgresUrl(`postgres://h/d${parameters}`).sslMode;
    expect(modeOf('?ssl=true')).toBe('verify-full');
    expect(modeOf('?sslrootcert=ca.pem')).toBe('verify-full');
    expect(modeOf('?sslmode=require&sslrootcert=ca.pem')).toBe('verify-ca');
    expect(modeOf('?ssl=true&sslmode=require')).toBe('require');
    expect(modeOf('?ssl=0&sslmode=disable')).toBe('disable');
  });

  it('makes a URL of the parts if PGHOST and PGDATABASE are set', () => {
    const parts = { PGHOST: 'a,b', PGPORT: '6', PGUSER: 'u', PGPASSWORD: 'p@ss/w%rd#1?', PGDATABASE: 'd' };
    const targetOf = (env: Record<string, string>) => {
      const { url } = parseServerConfig(env).database;
      return url === undefined ? undefined : parsePostgresUrl(url);
    };
    expect(targetOf({ ...parts, PGSSLMODE: 'require' })).toMatchObject({
      hosts: [
        { host: 'a', port: 6 },
        { host: 'b', port: 6 },
      ],
      ...{ user: 'u', password: 'p@ss/w%rd#1?', database: 'd', sslMode: 'require', sessionAttributes: 'read-write' },
    });
    expect(targetOf({ ...parts, PGPASSWORD: ' p\t' })).toMatchObject({ password: ' p\t' });
    const secret = { PGPASSWORD_FILE: '/run/secrets/p' };
    expect(targetOf({ ...parts, ...secret })).toMatchObject({ password: undefined, passwordFile: '/run/secrets/p' });
    // The URL wins.
    const DATABASE_URL = 'postgres://me:secret@h:5/mine?ssl=false';
    expect(targetOf({ ...parts, ...secret, PGSSLMODE: 'require', DATABASE_URL })).toMatchObject({
      hosts: [{ host: 'h', port: 5 }],
      ...{ user: 'me', password: 'secret', passwordFile: undefined, database: 'mine', sslMode: 'disable' },
    });
    expect(targetOf({ ...parts, DATABASE_URL: 'postgres://h' })).toMatchObject({ user: 'u', database: 'd' });
    const { PGDATABASE, ...others } = parts;
    expect(parseServerConfig(others)).toMatchObject({
      database: { url: undefined },
      warnings: [
        'PGHOST is ignored and the embedded Postgres is used, because PGDATABASE and DATABASE_URL are not set.',
      ],
    });
    expect(parseServerConfig({ PGUSER: 'u', PGDATABASE }).warnings).toEqual([]);
    const DATABASE_URL_FILE = file('url');
    writeFileSync(DATABASE_URL_FILE, 'postgres://filed/d\n');
    expect(targetOf({ DATABASE_URL_FILE })).toMatchObject({ hosts: [{ host: 'filed' }] });
    expect(serverProblems({ DATABASE_URL_FILE: file('none') })).toEqual([
      'DATABASE_URL_FILE must be the path of a file that contains nothing else, but the file cannot be read',
    ]);
    const direct = { DATABASE_DIRECT_URL: 'postgres://direct' };
    expect(parseServerConfig({ ...parts, ...direct }).database.directUrl).toMatch(/^postgres:\/\/direct\?.*user=u/);
    expect(serverProblems({ ...parts, PGSSLMODE: 'verify-ca' })).toEqual([
      'PGHOST needs sslrootcert, the path of a PEM file, for sslmode=verify-ca',
    ]);
  });

  it('accepts a direct URL only together with a URL', () => {
    const direct = { DATABASE_DIRECT_URL: 'postgres://h/d' };
    expect(serverProblems({ ...direct, DATABASE_URL: 'postgres://pooler/d' })).toEqual([]);
    expect(serverProblems(direct)).toEqual(['DATABASE_DIRECT_URL needs DATABASE_URL']);
  });

  it('requires readable PEM files that belong together', () => {
    const [cert, key, ca] = [file('cert.pem'), file('key.pem'), file('ca.pem')];
    const garbage = file('garbage.pem');
    const noPair = 'TLS_CERT and TLS_KEY must be a certificate and its own key, in PEM and not encrypted';
    expect(serverProblems({ TLS_CERT: cert })).toEqual(['TLS_CERT needs TLS_KEY']);
    expect(serverProblems({}, '--tls-key', key)).toEqual(['--tls-key needs TLS_CERT']);
    expect(serverProblems({ TLS_CLIENT_CA: ca })).toEqual(['TLS_CLIENT_CA needs TLS_CERT and TLS_KEY']);
    expect(serverProblems({ TLS_CERT: cert, TLS_KEY: file('other-key.pem') })).toEqual([noPair]);
    expect(serverProblems({ TLS_CERT: garbage, TLS_KEY: key })).toEqual([noPair]);
    expect(serverProblems({ TLS_CERT: file('none'), TLS_KEY: file('folder'), TLS_CLIENT_CA: garbage })).toEqual([
      'TLS_CERT must be the path of a PEM file, but the file does not exist',
      'TLS_KEY must be the path of a PEM file, but it is a folder',
      'TLS_CLIENT_CA must hold certificates in PEM',
    ]);
  });

  it('names every problem at once, in one error', () => {
    const env = { LOG_LEVEL: 'loud', WORKERS: 'eight' };
    const problems = serverProblems(env, '--grpc-address', ':1', '--queue-rows-max', '0');
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      '--grpc-address',
      'WORKERS',
      'LOG_LEVEL',
      '--queue-rows-max',
    ]);
    expect(new ConfigError(problems).message.split('\n')).toEqual(problems);
  });

  it.each([
    [['--grpc-adress', 'localhost:1'], "unknown option '--grpc-adress' (Did you mean --grpc-address?)"],
    [['--grpc-adress=localhost:1'], "unknown option '--grpc-adress' (--help lists all options)"],
    [['--keepalive-time'], "unknown option '--keepalive-time' (Did you mean --keepalive-time-ms?)"],
    [['--no-insecur'], "unknown option '--no-insecur' (--help lists all options)"],
    [['--no-log-level'], "unknown option '--no-log-level' (Did you mean --log-level?)"],
    [['--frobnicate', 'x'], "unknown option '--frobnicate' (--help lists all options)"],
    [['-x'], "unknown option '-x' (--help lists all options)"],
    [['--log-level'], "option '--log-level <word>' argument missing"],
    [['debug'], 'too many arguments. Expected 0 arguments but got 1.'],
    [['--insecure', '--', '--insecure'], 'too many arguments. Expected 0 arguments but got 1.'],
  ])('says what is wrong with %j', (args, problem) => {
    expect(serverProblems({}, ...args)).toEqual([`error: ${problem}`]);
  });

  it('takes the argument after a flag as its value, even if it looks like a flag', () => {
    const [problem] = serverProblems({}, '--log-level', '--insecure');
    expect(problem).toBe('--log-level must be trace, debug, info, warn, error, fatal or silent, not "--insecure"');
  });

  it('never repeats a secret, even in a wrong place', () => {
    const url = `postgres://ada:${secret}@h/d`;
    const mistakes = [
      ['--databse-url', url],
      [`--databse-url=${url}`],
      [url],
      ['serve', url],
      [`--${url}`],
      ['--database-direct-url', `mysql://ada:${secret}@h`],
      ['--database-url', `mysql://ada:${secret}@h`],
      ['--grpc-address', url],
      ['--log-level', url],
      ['--workers', `${secret}@`],
      ['--tls-key', `-----BEGIN PRIVATE KEY-----\n${secret}`],
      ['--tls-cert', `${secret}.pem`],
      ['--insecure', url],
    ];
    for (const args of mistakes) {
      const problems = serverProblems({ DATABASE_URL: `x${url}` }, ...args);
      expect(problems.length).toBeGreaterThan(0);
      expect(problems.join()).not.toContain(secret);
    }
  });
});

describe('the configuration of a client', () => {
  it('has a default for everything', () => {
    expect(parseClientConfig({})).toEqual({
      addresses: ['localhost:50051'],
      token: undefined,
      tls: undefined,
      deadlineMs: 10_000,
    });
  });

  it('takes every setting from the environment, and options win', () => {
    const env = {
      ROSTER_ADDRESS: 'a.example:1, [::1]:2',
      ROSTER_TOKEN: 'token',
      ROSTER_TLS: 'true',
      ROSTER_CA: file('ca.pem'),
      ROSTER_CERT: file('cert.pem'),
      ROSTER_KEY: file('key.pem'),
      ROSTER_DEADLINE_MS: '7',
    };
    const tls = { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') };
    expect(parseClientConfig(env)).toEqual({
      addresses: ['a.example:1', '[::1]:2'],
      token: 'token',
      tls,
      deadlineMs: 7,
    });
    const flags = {
      address: 'dns:///b:3,unix:/run/c,d',
      token: 'other',
      deadlineMs: '8',
      tls: true,
      ca: '',
      cert: '',
      key: '',
    };
    const addresses = ['dns:///b:3', 'unix:/run/c', 'd'];
    expect(parseClientConfig(env, flags)).toEqual({ addresses, token: 'other', tls: {}, deadlineMs: 8 });
  });

  it('accepts the options that commander creates from the rows', () => {
    const command = new Command('get');
    addClientFlags(command);
    command.parse(['--address', 'b:3', '--token', 't', '--tls', '--deadline-ms', '9'], { from: 'user' });
    expect(parseClientConfig({}, command.opts())).toEqual({ addresses: ['b:3'], token: 't', tls: {}, deadlineMs: 9 });
  });

  it('turns TLS on if a file for it is set, and refuses files if TLS is off', () => {
    expect(parseClientConfig({ ROSTER_CA: file('ca.pem') }).tls).toEqual({ ca: file('ca.pem') });
    expect(clientProblems({ ROSTER_CA: file('ca.pem'), ROSTER_TLS: 'false' })).toEqual([
      'ROSTER_TLS is off, but ROSTER_CA, ROSTER_CERT and ROSTER_KEY need TLS',
    ]);
    expect(clientProblems({ ROSTER_CERT: file('cert.pem') })).toEqual(['ROSTER_CERT needs ROSTER_KEY']);
    expect(clientProblems({}, { ca: file('none') })).toEqual([
      '--ca must be the path of a PEM file, but the file does not exist',
    ]);
  });

  it('names every problem at once and never the token', () => {
    const problems = clientProblems(
      { ROSTER_ADDRESS: 'a:1,,b', ROSTER_TOKEN: `${secret} ${secret}`, ROSTER_TLS: 'maybe' },
      { deadlineMs: '0' },
    );
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      'ROSTER_ADDRESS',
      'ROSTER_TOKEN',
      'ROSTER_TLS',
      '--deadline-ms',
    ]);
    expect(problems.join()).not.toContain(secret);
    expect(clientProblems({ ROSTER_ADDRESS: 'a b' })).toHaveLength(1);
  });
});

describe('the description of the settings', () => {
  it('in docs/configuration.md is the same as in the code; UPDATE_SETTINGS=1 writes it there', () => {
    const head = '| Name | Default | Allowed | What it is |\n| --- | --- | --- | --- |\n';
    const tables = [serverSettings, gatewaySettings, clientSettings].map((table) => {
      const rows = settingRows(table);
      return rows.map((row) => `| \`${row.name}\` | ${row.default} | ${row.allowed} | ${row.description} |\n`).join('');
    });
    const path = join(root, 'docs', 'configuration.md');
    const page = readFileSync(path, 'utf8');
    const [before, ...others] = page.split(head).map((part) => part.replace(/^(?:\|.*\n)+/, ''));
    expect(others).toHaveLength(tables.length);
    const wanted = [before, ...others.map((part, index) => head + tables[index] + part)].join('');
    if (process.env.UPDATE_SETTINGS === '1') writeFileSync(path, wanted);
    else expect(page).toBe(wanted);
  });

  it.each([80, 120])('in the help names every setting, flag, default and allowed value, in %d columns', (columns) => {
    const written: string[] = [];
    const command = createSettingsCommand('serve', '', serverSettings);
    command.configureOutput({ getOutHelpWidth: () => columns, writeOut: (text) => written.push(text) }).outputHelp();
    const help = written.join('');
    const unwrapped = help.replaceAll(/\s+/g, ' ');
    for (const row of serverRows) {
      expect(unwrapped).toContain(
        `${row.flag} ${row.placeholder} ${row.name}, default ${row.default} ${row.description} Allowed: ${row.allowed}.`,
      );
    }
    for (const line of help.split('\n')) expect(line.length).toBeLessThanOrEqual(columns);
  });

  it('has each name once, with units and bounds last', () => {
    const names = [...serverRows, ...clientRows].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z]+)*$/);
    for (const name of names.filter((name) => /TIME|DELAY|GRACE|DEADLINE|AGE/.test(name)))
      expect(name).toMatch(/_MS(_MAX)?$/);
  });
});
