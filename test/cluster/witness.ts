/**
 * A user of the asynchronous mode, whose last update is lost for certain, and a second user, whose create is lost. Their
 * writes happen while no standby receives any, and the fault follows after all watchers have received them.
 */
import { type Client, createClient, RosterError } from '../../src/client/index.js';
import { poll } from './poll.js';
import type { RoundWatchers, TokenKeeper } from './watchers.js';

export interface Witness {
  readonly userId: string;
  /** Makes the writes that will be lost. */
  writeUnsent(): Promise<void>;
  /** Whether the etag of the lost update does not match another update with the same version. */
  isLostEtagRefused(): Promise<boolean>;
  close(): void;
}

async function create(client: Client): Promise<string> {
  const email = `${crypto.randomUUID()}@example.com`;
  return (await client.createUser({ user: { firstName: 'Witness', email } })).user?.id ?? '';
}

export async function createWitness(
  addresses: readonly string[],
  watchers: RoundWatchers,
  keeper: TokenKeeper,
): Promise<Witness> {
  const client = createClient({ address: addresses });
  const id = await create(client);
  let lostEtag = '';
  const update = async (firstName: string, etag = '') =>
    (await client.updateUser({ user: { id, etag, firstName }, updateMask: ['first_name'] })).user?.etag ?? '';

  return {
    userId: id,
    async writeUnsent() {
      lostEtag = await update('Lost');
      const lostId = await create(client);
      await poll('every watcher has received changes that will be lost', 30_000, async () => {
        const hasSeen = keeper.hasSeen(lostId) && watchers.all.every((watcher) => watcher.hasSeen(lostId));
        return hasSeen || undefined;
      });
    },
    async isLostEtagRefused() {
      // The same version as the lost one.
      await update('Again');
      try {
        await update('Overwritten', lostEtag);
        return false;
      } catch (error) {
        if (error instanceof RosterError && error.reason === 'ETAG_MISMATCH') return true;
        throw error;
      }
    },
    close: () => client.close(),
  };
}
