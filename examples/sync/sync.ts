/** Keeps the index in step with Roster until it is ended, in whatever way: the next start goes on from there. */
import { createClient, UserChange_Type } from 'roster/client';
import { openIndex } from './search-index.ts';

const { ROSTER_ADDRESS: address = 'localhost:50051', INDEX_FILE: file = 'users.db' } = process.env;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

using index = openIndex(file);
using client = createClient({ address });

let isInStep = false;
if (index.token === '') {
  console.log('All users first.');
  index.beginRound();
} else {
  console.log(`Going on from where ${index.size} users were.`);
}

try {
  for await (const message of client.followUsers({
    resumeToken: index.token,
    includeExisting: true,
    signal: stop.signal,
    onDisconnect: ({ code, reason }, retryInMs) => console.log(`${reason ?? code}; again in ${retryInMs} ms.`),
  })) {
    if (message.startedOver) {
      isInStep = false;
      console.log('Starting over: all users again.');
    }
    index.apply(message);
    if (message.caughtUp) {
      for (const { type, user } of message.changes) console.log(UserChange_Type[type], user?.id);
      if (!isInStep) console.log(`In step: ${index.size} users.`);
      isInStep = true;
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.log('Ended; the index and its token stay as they are.');
}
