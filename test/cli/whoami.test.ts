/** `roster whoami`, and what commands say if the server does not know or allow the caller. */
import { Status } from 'nice-grpc';
import { ErrorInfo, RichServerError } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Script, startScriptedServer } from '../client/scripted-server.js';
import { startTestApp } from '../support/app.js';
import { roster } from './command-line.js';

async function serve(script: Script): Promise<(...args: string[]) => ReturnType<typeof roster>> {
  const server = await startScriptedServer(script);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return (...args) => roster([...args, '--address', server.address]);
}

describe('roster whoami', () => {
  it('shows the caller, the roles, the methods, the rules for attributes and the expiry', async () => {
    const expireTime = new Date('2030-01-02T03:04:05.000Z');
    const run = await serve({
      getCaller: async () => ({
        actor: 'key:billing',
        roles: ['hr', 'reader'],
        methods: ['users.v1.UserService/GetUser', 'users.v1.UserService/ListUsers'],
        hiddenAttributes: ['salary'],
        protectedAttributes: ['salary', 'grade'],
        expireTime,
      }),
    });
    expect((await run('whoami')).out).toBe(
      [
        'Caller                key:billing',
        'Roles                 hr, reader',
        'Methods               GetUser, ListUsers',
        'Hidden attributes     salary',
        'Protected attributes  salary, grade',
        'Expires               2030-01-02T03:04:05.000Z',
        '',
      ].join('\n'),
    );
    expect(JSON.parse((await run('whoami', '--json')).out)).toMatchObject({
      actor: 'key:billing',
      hiddenAttributes: ['salary'],
      expireTime: expireTime.toISOString(),
    });
  });

  it('says that a server without authentication is open', async () => {
    await using app = await startTestApp();
    const { code, out } = await roster(['whoami', '--address', app.address]);
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringMatching(
        /^Caller +anyone \(the server is open to everyone\)\nRoles +admin\nMethods .*\bGetUser\b/,
      ),
    });
  });
});

describe('a failed command', () => {
  it.each([
    ['CREDENTIALS_MISSING', Status.UNAUTHENTICATED, 'Pass a token or an API key with ROSTER_TOKEN', 6],
    ['CREDENTIALS_INVALID', Status.UNAUTHENTICATED, 'Check the token (ROSTER_TOKEN', 6],
    ['CREDENTIALS_EXPIRED', Status.UNAUTHENTICATED, 'Get a new one, and pass it with ROSTER_TOKEN', 6],
    ['ACCESS_DENIED', Status.PERMISSION_DENIED, '"roster whoami" shows what you may do.', 6],
    ['FIELD_FORBIDDEN', Status.PERMISSION_DENIED, '"roster whoami" shows which attributes', 6],
    ['RATE_LIMITED', Status.RESOURCE_EXHAUSTED, 'Make fewer calls, or try again later.', 5],
    ['ISSUER_UNAVAILABLE', Status.UNAVAILABLE, 'The token may be valid. Try again later.', 5],
  ])('says what to do about %s', async (reason, status, advice, exitCode) => {
    const refuse = () => {
      throw new RichServerError(status, 'The text of the server.', [
        ErrorInfo.fromPartial({ reason, domain: 'users.v1' }),
      ]);
    };
    const run = await serve({ deleteUser: refuse });
    const id = '0198c0de-0000-7000-8000-000000000000';
    const { code, err } = await run('delete', id, '--yes');
    expect(code).toBe(exitCode);
    expect(err).toContain(`error: The text of the server. ${advice}`);
    expect(err).toContain(`, ${reason})\n`);
    const { error } = JSON.parse((await run('delete', id, '--yes', '--json')).err);
    expect(error).toMatchObject({ reason, message: 'The text of the server.', exitCode });
    expect(error.advice).toContain(advice);
  });
});
