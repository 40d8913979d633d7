/** Tests what log lines contain, and what they must never contain. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import pg from 'pg';
import { QueryFailedError } from 'typeorm';
import { describe, expect, inject, it } from 'vitest';
import { DatabaseError } from '../../src/database/explain.js';
import { Fault } from '../../src/model/fault.js';
import { describeError } from '../../src/telemetry/error-description.js';
import { createLog, type Log, type LogOptions } from '../../src/telemetry/log.js';

function capture(options: Partial<LogOptions> = {}): {
  log: Log;
  written: string[];
  lines: () => Record<string, unknown>[];
} {
  const written: string[] = [];
  const destination = { write: (line: string) => void written.push(line) };
  return {
    log: createLog({ level: 'trace', format: 'json', destination, ...options }),
    written,
    lines: () => written.map((line) => JSON.parse(line)),
  };
}

const call = {
  method: 'users.v1.UserService/GetUser',
  status: 'OK',
  durationMs: 1.23456,
  peer: '127.0.0.1:5000',
  requestId: 'r1',
};
const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const secret = 'ada@example.com';

describe('the log', () => {
  it('writes one line of JSON with time, level and message for each event', () => {
    const { log, written, lines } = capture();
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const)
      log[level]({ port: 5 }, 'line\nfeed');
    expect(written.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
    expect(lines()).toEqual(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((level) => ({
        level,
        time,
        port: 5,
        msg: 'line\nfeed',
      })),
    );
  });

  it('omits lines below its level, and all lines when silent', () => {
    const { log, lines } = capture({ level: 'warn' });
    log.info({}, 'no');
    log.call(call);
    log.warn({}, 'yes');
    expect(lines().map(({ msg }) => msg)).toEqual(['yes']);
    const silent = capture({ level: 'silent' });
    silent.log.fatal({}, 'no');
    expect(silent.written).toEqual([]);
  });

  it('has the number of the worker in each line, if there are several workers', () => {
    const { log, lines } = capture({ worker: 2 });
    log.info({}, 'line');
    log.call(call);
    expect(lines()).toEqual([
      { level: 'info', time, worker: 2, msg: 'line' },
      { level: 'info', time, worker: 2, ...call, durationMs: 1.23, msg: 'call' },
    ]);
  });

  it('has exactly the promised fields in the line of a call', () => {
    const { log, lines } = capture();
    log.call(call);
    const more = {
      ...call,
      status: 'NOT_FOUND',
      deadlineMs: 500,
      reason: 'USER_NOT_FOUND',
      request: { email: secret },
    };
    log.call(more);
    expect(lines()).toEqual([
      { level: 'info', time, ...call, durationMs: 1.23, msg: 'call' },
      {
        level: 'info',
        time,
        ...call,
        durationMs: 1.23,
        status: 'NOT_FOUND',
        deadlineMs: 500,
        reason: 'USER_NOT_FOUND',
        msg: 'call',
      },
    ]);
  });

  it.each([
    ['INTERNAL', 'error'],
    ['UNKNOWN', 'error'],
    ['DATA_LOSS', 'error'],
    ['UNAVAILABLE', 'warn'],
    ['RESOURCE_EXHAUSTED', 'warn'],
    ['INVALID_ARGUMENT', 'info'],
    ['DEADLINE_EXCEEDED', 'info'],
  ])('logs a call that ends with %s as %s', (status, level) => {
    const { log, lines } = capture();
    log.call({ ...call, status });
    expect(lines()).toMatchObject([{ level, status }]);
  });

  it('logs a call at the given level', () => {
    const { log, lines } = capture();
    log.call({ ...call, status: 'INTERNAL' }, 'debug');
    expect(lines()).toEqual([{ level: 'debug', time, ...call, status: 'INTERNAL', durationMs: 1.23, msg: 'call' }]);
  });

  it('describes any thrown value, and otherwise accepts only plain values', () => {
    const { log, lines } = capture();
    const bug = new TypeError('bug');
    log.warn({ error: bug, port: 5, isThere: true, name: 'x', none: undefined }, 'x');
    const described = JSON.parse(JSON.stringify(describeError(bug)));
    expect(lines()).toEqual([{ level: 'warn', time, error: described, port: 5, isThere: true, name: 'x', msg: 'x' }]);
    // @ts-expect-error An object may be a row or a request.
    () => log.warn({ user: { email: secret } }, 'x');
    log.error({ error: secret }, 'thrown');
    expect(lines()[1]?.error).toEqual({ type: 'string', message: 'The thrown value is not an Error.' });
  });

  it('redacts connection strings and emails in every string', () => {
    const { log, written } = capture();
    const url = 'postgres://ada:hunter2@db.example/roster';
    log.info({ url, dsn: 'host=h password=hunter2' }, `connecting to ${url} for <${secret}>`);
    log.error({ error: new Error(`no ${url}`, { cause: new Error(`no ${secret}`) }) }, 'failed');
    const key = `roster_0123456789ab_${'s'.repeat(43)}`;
    const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0NzExIn0.c2lnbmVk';
    log.error({ error: new Error(`no ${key}`), header: `Bearer ${token}` }, `refused ${token}`);
    expect(written.join()).not.toMatch(/hunter2|ada[:@]|sss|c2ln|NDcx|0NzEx/);
    expect(written[0]).toContain('connecting to postgres://… for <…@…>');
  });

  it('handles long and unusual strings quickly', () => {
    const { log, written } = capture();
    const before = process.cpuUsage();
    log.info({ long: `${'a'.repeat(1e6)}@${'b.'.repeat(1e6)}` }, 'x');
    const { user, system } = process.cpuUsage(before);
    // Takes a few milliseconds. A pattern with quadratic time would take minutes.
    expect((user + system) / 1000).toBeLessThan(1000);
    expect(written.join().length).toBeLessThan(10_000);
  });
});

describe('the pretty log', () => {
  it('shows time, level, message and fields in one line, without colours if there is no terminal', () => {
    const { log, written } = capture({ format: 'pretty' });
    log.info({ address: 'localhost:50051' }, 'listening');
    log.call(call);
    expect(written.map((line) => line.replace(/^\[\d\d:\d\d:\d\d\.\d{3}\]/, '[time]'))).toEqual([
      '[time] INFO: listening {"address":"localhost:50051"}\n',
      '[time] INFO: call {"method":"users.v1.UserService/GetUser","status":"OK","durationMs":1.23,"peer":"127.0.0.1:5000","requestId":"r1"}\n',
    ]);
  });

  it('shows the stack of an error below its line, without control characters', () => {
    const { log, written } = capture({ format: 'pretty' });
    log.error({ error: new TypeError('bug \u001b[2J') }, 'failed \u009b2J');
    expect(written.join('')).toMatch(/^\[[\d:.]+\] ERROR: failed .*\n {4}error: \{\n(.*\n)* +TypeError: bug .*\n +at /);
    for (const control of ['\u001b', '\u009b']) expect(written.join('')).not.toContain(control);
  });

  it('is not used for `auto` if there is no terminal', () => {
    const { log, lines } = capture({ format: 'auto' });
    log.info({}, 'x');
    expect(lines()).toHaveLength(1);
    expect(log.pretty).toBe(false);
    expect(capture({ format: 'pretty' }).log.pretty).toBe(true);
  });
});

describe('the description of an error', () => {
  it('has type, message, stack and code', () => {
    const error = Object.assign(new TypeError('bug'), { code: 'ERR_BUG', email: secret });
    const { stack, ...rest } = describeError(error);
    expect(rest).toEqual({ type: 'TypeError', message: 'bug', code: 'ERR_BUG' });
    expect(stack).toBe(error.stack);
  });

  it('keeps the names in an explanation of a database error, and redacts that error', () => {
    const text = 'The role "app" may not create tables. Or run "roster migrate up" as a role that may.';
    const driverError = Object.assign(new Error('permission denied for "users"'), { code: '42501', severity: 'ERROR' });
    expect(describeError(new DatabaseError({ text, isTransient: false }, driverError))).toMatchObject({
      type: 'DatabaseError',
      message: text,
      stack: expect.stringContaining(text),
      cause: { message: 'permission denied for "…"', code: '42501' },
    });
  });

  it('has the reason and the cause of a fault', () => {
    const fault = new Fault('DATABASE_UNAVAILABLE', 'Cannot reach the database.', [], {
      cause: new Error('connect ECONNREFUSED'),
    });
    expect(describeError(fault)).toMatchObject({
      type: 'Fault',
      message: 'Cannot reach the database.',
      code: 'UNAVAILABLE',
      reason: 'DATABASE_UNAVAILABLE',
      cause: { type: 'Error', message: 'connect ECONNREFUSED' },
    });
  });

  it('follows causes for a few levels, and stops in a cycle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(JSON.stringify(describeError(error)).match(/"message":"round"/g)).toHaveLength(4);
  });

  it('has the error of each address if a host with several addresses refuses', async () => {
    // net throws this error if localhost is IPv4 and IPv6. Nothing listens on port 1 (tcpmux).
    const socket = connect({
      port: 1,
      host: 'localhost',
      autoSelectFamily: true,
      lookup: (_host, _options, done) =>
        done(null, [
          { address: '127.0.0.1', family: 4 },
          { address: '::1', family: 6 },
        ]),
    });
    const [error] = await once(socket, 'error').catch((thrown: unknown) => [thrown]);
    const described = describeError(error);
    expect(described).toMatchObject({ type: 'AggregateError', message: '' });
    expect(described.errors?.map(({ message }) => message)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^connect E\w+ 127\.0\.0\.1:1/)]),
    );
    expect(described.stack).not.toMatch(/AggregateError.*AggregateError/s);
  });

  it('omits the text that JSON.parse could not parse', () => {
    let thrown: unknown;
    try {
      JSON.parse('Lovelace {');
    } catch (error) {
      thrown = error;
    }
    expect(describeError(thrown).type).toBe('SyntaxError');
    expect(JSON.stringify(describeError(thrown))).not.toContain('Lovelace');
  });
});

describe('the description of an error from Postgres', () => {
  function databaseError(message: string, fields: Partial<pg.DatabaseError> = {}): pg.DatabaseError {
    return Object.assign(new pg.DatabaseError(message, 1, 'error'), { severity: 'ERROR', code: '23505', ...fields });
  }
  const taken = databaseError('duplicate key value violates unique constraint "users_email_key"', {
    detail: `Key (email)=(${secret}) already exists.`,
    hint: secret,
    where: `COPY users, line 1: "${secret}"`,
    internalQuery: `select '${secret}'`,
    schema: 'public',
    table: 'users',
    column: 'email',
    dataType: 'text',
    constraint: 'users_email_key',
    file: 'nbtinsert.c',
    routine: '_bt_check_unique',
  });
  const kept = {
    type: 'DatabaseError',
    message: 'duplicate key value violates unique constraint "…"',
    code: '23505',
    severity: 'ERROR',
    table: 'users',
    column: 'email',
    constraint: 'users_email_key',
    routine: '_bt_check_unique',
  };

  it('has its code and object names, but no values', () => {
    const { stack, ...rest } = describeError(taken);
    expect(rest).toEqual(kept);
    expect(stack).toMatch(/^DatabaseError: duplicate key value violates unique constraint "…"\n\s+at /);
  });

  it('has the same fields if TypeORM wraps it, without query and parameters', () => {
    const failed = new QueryFailedError(`select '${secret}'`, [secret], taken);
    const { stack: _, ...rest } = describeError(failed);
    expect(rest).toEqual({ ...kept, type: 'QueryFailedError' });
    const lost = new QueryFailedError('select 1', [secret], new Error(`Connection "${secret}" terminated`));
    expect(describeError(lost)).toMatchObject({ message: 'Connection "…" terminated', cause: { type: 'Error' } });
  });

  it.each([
    ['invalid input syntax for type uuid: "VALUE"', 'invalid input syntax for type uuid: "…"'],
    ['invalid input syntax for type uuid: "a"VALUE"b"', 'invalid input syntax for type uuid: "…"'],
    ['invalid input syntax for type json: "line\nVALUE"', 'invalid input syntax for type json: "…"'],
    ['ungültige Eingabesyntax für Typ uuid: „VALUE“', 'ungültige Eingabesyntax für Typ uuid: "…"'],
    ['syntaxe en entrée invalide pour le type uuid : « VALUE »', 'syntaxe en entrée invalide pour le type uuid : "…"'],
    ['invalid byte sequence for encoding "UTF8": 0xc3 0x28', 'invalid byte sequence for encoding "…": 0x… 0x…'],
  ])('removes the value from %j', (message, redacted) => {
    const described = describeError(databaseError(message.replace('VALUE', 'Lovelace'), { code: '22P02' }));
    expect(described.message).toBe(redacted);
    expect(JSON.stringify(described)).not.toContain('Lovelace');
  });

  it('contains no value, for arbitrary values', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const marked = `«zq7f3aqz${value}zq7f3aqz»`;
        const error = databaseError(`invalid input syntax for type uuid: "${marked}"`, {
          detail: marked,
          where: marked,
        });
        const wrapped = new Error('failed', { cause: new QueryFailedError(marked, [marked], error) });
        expect(JSON.stringify(describeError(wrapped))).not.toContain('zq7f3aqz');
      }),
    );
  });

  it('is correct for errors of a real Postgres', async () => {
    const client = new pg.Client({ connectionString: inject('adminUrl') });
    await client.connect();
    try {
      await client.query(
        'create temporary table people (email text constraint people_key unique, id uuid, age int not null)',
      );
      await client.query(`insert into people values ('${secret}', null, 1)`);
      const failing = (sql: string, values: unknown[]) =>
        client.query(sql, values).then(() => undefined, describeError);
      const described = [
        await failing('insert into people values ($1, null, 1)', [secret]),
        await failing('select $1::uuid', [secret]),
        await failing('insert into people values ($1, null, null)', [secret]),
        await failing('select $1::text::jsonb', [`{"${secret}`]),
        await failing('do $$ begin perform 1 / 0; end $$', []),
      ];
      expect(described.map((one) => one?.code)).toEqual(['23505', '22P02', '23502', '22P02', '22012']);
      expect(described[0]).toMatchObject({
        table: 'people',
        constraint: 'people_key',
        message: expect.stringContaining('"…"'),
      });
      expect(described[2]).toMatchObject({ table: 'people', column: 'age' });
      expect(JSON.stringify(described)).not.toContain('ada@');
    } finally {
      await client.end();
    }
  });
});

// The timeout allows for slow process starts on a busy machine.
describe('the log on the standard output', { timeout: 60_000 }, () => {
  // Ten times the capacity of a pipe.
  const linesCount = 5000;
  function run(after: string) {
    const program = `
      import { createLog } from ${JSON.stringify(new URL('../../dist/src/telemetry/log.js', import.meta.url).href)};
      const log = createLog({ level: 'info', format: 'auto' });
      for (let i = 0; i < ${linesCount}; i++) {
        log.info({ i }, 'x'.repeat(100));
        if (i % 100 === 0) await new Promise(setImmediate);
      }
      ${after}`;
    const args = ['--input-type=module', '--eval', program];
    return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  it.each([
    ['exits', 'process.exit(0)'],
    ['fails', 'throw new Error("bug")'],
    ['has finished', ''],
    ['made the pipe non-blocking', 'process.stdout; process.exit(0)'],
  ])('loses no line and keeps the order when the process %s', async (_, after) => {
    const output = await text(run(after).stdout);
    const numbers = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).i);
    expect(numbers).toEqual(Array.from({ length: linesCount }, (_, i) => i));
  });

  it('keeps lines whole if several processes write to one pipe with a slow reader', async () => {
    const program = `
      import { createLog } from ${JSON.stringify(new URL('../../dist/src/telemetry/log.js', import.meta.url).href)};
      const log = createLog({ level: 'info', format: 'json', worker: Number(process.argv[1]) });
      for (let turn = 0; turn < 100; turn++) {
        // Several times the size of an atomic write to a pipe.
        for (let line = 0; line < 100; line++) log.info({ number: turn * 100 + line }, 'x'.repeat(50 + line * 2));
        await new Promise(setImmediate);
      }`;
    const writer = `"$NODE" --input-type=module --eval "$PROGRAM"`;
    const all = [1, 2, 3, 4].map((worker) => `${writer} ${worker} &`).join(' ');
    // Small reads leave room for only a part of a write.
    const child = spawn('bash', ['-c', `(${all} wait) | dd bs=700 status=none`], {
      env: { PATH: process.env.PATH, NODE: process.execPath, PROGRAM: program },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const numbers = new Map<number, number[]>();
    for (const line of (await text(child.stdout)).trimEnd().split('\n')) {
      const { worker, number } = JSON.parse(line);
      const known = numbers.get(worker);
      if (known === undefined) numbers.set(worker, [number]);
      else known.push(number);
    }
    const expected = Array.from({ length: 10_000 }, (_, number) => number);
    expect(numbers).toEqual(new Map([...numbers.keys()].map((worker) => [worker, expected])));
    expect([...numbers.keys()].sort()).toEqual([1, 2, 3, 4]);
  });

  it('does not stop the process when its reader exits', async () => {
    const child = run('console.error("alive")');
    child.stdout.destroy();
    const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    expect(errors).toBe('alive\n');
    expect(code).toBe(0);
  });
});
