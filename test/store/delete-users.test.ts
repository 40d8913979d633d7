/** Users that are deleted: outcomes by index. */
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { deleteUsers } from '../../src/store/delete-users.js';
import { selectUsers } from '../support/stored-users.js';
import { created, database, other } from './two-processes.js';

describe('deleteUsers', () => {
  it('returns an outcome for each row by its index', async () => {
    const [ada, bob] = [await created(), await created()];
    const outcomes = await deleteUsers(database, [
      { id: bob.id, version: 2 },
      { id: uuidv7(), version: undefined },
      { id: ada.id, version: 1 },
    ]);
    expect(outcomes).toEqual(['ETAG_MISMATCH', 'USER_NOT_FOUND', 'deleted']);
    expect(await selectUsers(database, [ada.id, bob.id])).toEqual([undefined, bob]);
    expect(await deleteUsers(database, [{ id: bob.id, version: undefined }])).toEqual(['deleted']);
    expect(await deleteUsers(database, [])).toEqual([]);
  });

  it('deletes only the version of the required time, if one is required', async () => {
    const { id, updateTime } = await created();
    const lost = new Date(updateTime.getTime() - 1);
    expect(await deleteUsers(database, [{ id, version: 1, updateTime: lost }])).toEqual(['ETAG_MISMATCH']);
    expect(await deleteUsers(database, [{ id, version: 1, updateTime }])).toEqual(['deleted']);
  });

  it('frees the email', async () => {
    const user = await created();
    await deleteUsers(database, [{ id: user.id, version: undefined }]);
    expect((await created({ email: user.email.toUpperCase() })).version).toBe(1);
  });

  it('succeeds for one of many concurrent deletions of the same user', async () => {
    for (let round = 0; round < 10; round++) {
      const user = await created();
      const outcomes = await Promise.all(
        [database, other, database, other].map((process) => deleteUsers(process, [{ id: user.id, version: 1 }])),
      );
      expect(outcomes.flat().sort()).toEqual(['USER_NOT_FOUND', 'USER_NOT_FOUND', 'USER_NOT_FOUND', 'deleted']);
    }
  });
});
