/** Keeps the index in sync with Roster until it is stopped or killed. The next start resumes. */
import { createClient, UserChange_Type } from '@roster-directory/client';
import { openIndex } from './search-index.ts';

const { ROSTER_ADDRESS: address = 'localhost:50051', ROSTER_TOKEN: token, INDEX_FILE: file = 'users.db' } = process.env;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

using index = openIndex(file);
using client = createClient({ address, token });

let isInSync = false;
if (index.token === '') {
  console.log('Reading all users first.');
  index.beginRound();
} else {
  console.log(`Resuming with ${index.size} users.`);
}

try {
  for await (const message of client.followUsers({
    resumeToken: index.token,
    includeExisting: true,
    signal: stop.signal,
    onDisconnect: ({ code, reason }, retryInMs) => console.log(`${reason ?? code}; retrying in ${retryInMs} ms.`),
  })) {
    if (message.startedOver) {
      isInSync = false;
      console.log('Starting over with all users.');
    }
    index.apply(message);
    if (message.caughtUp) {
      for (const { type, user } of message.changes) console.log(UserChange_Type[type], user?.id);
      if (!isInSync) console.log(`In sync: ${index.size} users.`);
      isInSync = true;
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.log('Stopped. The index and its token are kept.');
}
