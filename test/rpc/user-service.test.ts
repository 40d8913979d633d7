import { describe, expect, it } from 'vitest';
import { etagOf, noFields } from '../../src/model/user.js';
import { storedUser } from '../support/stored-users.js';
import { ada, startTestServer, storedAda, typedClient } from './harness.js';

describe('the user service', () => {
  it('returns the whole user, and leaves empty attributes unset', async () => {
    const server = await startTestServer({ getUser: async (id) => storedUser({ ...ada, id }) });
    const { user } = await typedClient(server.target).getUser({ id: ada.id.toUpperCase() });
    expect(user).toEqual({
      ...noFields,
      id: ada.id,
      firstName: 'Ada',
      lastName: 'Lovelace',
      email: 'ada@example.com',
      attributes: undefined,
      displayName: 'Ada Lovelace',
      createTime: ada.createTime,
      updateTime: ada.updateTime,
      etag: etagOf(ada),
    });
  });

  it('returns attributes unchanged', async () => {
    const attributes = { department: 'ops', nested: { list: [1, 'two', null, { three: true }] } };
    const server = await startTestServer({ getUser: async () => storedUser({ ...ada, attributes }) });
    const { user } = await typedClient(server.target).getUser({ id: ada.id });
    expect(user?.attributes).toEqual(attributes);
  });

  it('lists the missing ids of a batch as they were sent and as often', async () => {
    const missing = '01890A5D-AC96-774B-BCCE-B302099A8058';
    const server = await startTestServer({
      batchGetUsers: async (ids) => ids.map((id) => (id === ada.id ? storedAda : undefined)),
    });
    const answer = await typedClient(server.target).batchGetUsers({ ids: [missing, ada.id, missing, ada.id] });
    expect(answer.users.map(({ id }) => id)).toEqual([ada.id, ada.id]);
    expect(answer.missingIds).toEqual([missing, missing]);
  });

  it('leaves the total of a list unset if it was not requested', async () => {
    const server = await startTestServer({
      listUsers: async ({ includeTotalSize }) => ({
        users: [storedAda],
        nextPageToken: 'next',
        totalSize: includeTotalSize ? 0 : undefined,
      }),
    });
    const client = typedClient(server.target);
    expect(await client.listUsers({})).toMatchObject({ nextPageToken: 'next', totalSize: undefined });
    expect((await client.listUsers({ includeTotalSize: true })).totalSize).toBe(0);
  });

  it('refuses a batch whose response would exceed 4 MiB', async () => {
    const large = storedUser({ ...ada, attributes: { text: 'x'.repeat(16_000) } });
    const server = await startTestServer({ batchGetUsers: async (ids) => ids.map(() => large) });
    const call = typedClient(server.target).batchGetUsers({ ids: Array.from({ length: 1000 }, () => ada.id) });
    await expect(call).rejects.toMatchObject({
      code: 8,
      extra: [
        expect.objectContaining({ $type: 'google.rpc.ErrorInfo', reason: 'MESSAGE_TOO_LARGE' }),
        expect.objectContaining({ $type: 'google.rpc.RequestInfo' }),
      ],
    });
    await expect(call).rejects.toThrow('The response would have more than 4 MiB. Request fewer users at once.');
    expect(server.callLines()).toHaveLength(1);
    expect(server.callLines()[0]).toMatchObject({ status: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' });
  });
});
