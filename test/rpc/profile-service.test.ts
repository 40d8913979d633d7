import { createChannel, createClient } from 'nice-grpc';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { emailTaken, Fault } from '../../src/model/fault.js';
import { ada, startTestServer } from './harness.js';

function profiles(target: string) {
  const channel = createChannel(target);
  onTestFinished(() => channel.close());
  return createClient(ProfileServiceDefinition, channel);
}

const refused = { status: 400, msg: 'Invalid Request not enough credentials' };

describe('the first contract', () => {
  it('returns 200, or 400 with a sentence if the email is taken', async () => {
    let taken = false;
    const server = await startTestServer({
      createUser: async () => {
        if (taken) throw emailTaken('user.email');
        taken = true;
        return ada;
      },
    });
    const client = profiles(server.target);
    const request = { firstName: 'lets', lastName: 'do', email: 'this' };
    expect(await client.createProfile(request)).toEqual({ status: 200, msg: 'profile created', error: '' });
    expect(await client.createProfile(request)).toEqual({ ...refused, error: 'Another user has this email.' });
  });

  it('returns 400 with all violations', async () => {
    const server = await startTestServer();
    expect(await profiles(server.target).createProfile({})).toEqual({
      ...refused,
      error:
        'first_name must have 1 to 256 characters, at least one of them visible; email must have 1 to 256 characters.',
    });
  });

  it('fails with a gRPC status if the error is not the client’s mistake', async () => {
    const server = await startTestServer({
      createUser: async () => {
        throw new Fault('DATABASE_UNAVAILABLE', 'Cannot reach the database.');
      },
    });
    const call = profiles(server.target).createProfile({ firstName: 'lets', email: 'this' });
    await expect(call).rejects.toMatchObject({ code: 14, details: 'Cannot reach the database.' });
  });
});
