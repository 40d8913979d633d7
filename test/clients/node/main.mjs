/** Calls the Roster at ROSTER_ADDRESS with grpc-js, and prints a line for each check that has passed. */
import assert from 'node:assert/strict';
import { ClientError, createChannel, createClient, Metadata, Status } from 'nice-grpc';
import { UserServiceDefinition } from '../../../dist/generated/users/v1/user_service.js';

const largeUsers = 250;
const attributes = { note: 'x'.repeat(15_600) };
const parallelCalls = 500;
const importedUsers = 3000;
const messageUsers = 500;
const questions = 1000;
const cancelledCalls = 250;
const ageWorkers = 16;

const channel = createChannel(process.env.ROSTER_ADDRESS);
const bearer = { authorization: `Bearer ${process.env.ROSTER_TOKEN}` };
const client = createClient(UserServiceDefinition, channel, { '*': { metadata: Metadata(bearer) } });

const userOf = (name) => ({ firstName: name, email: `${name}@node.example` });
const numbers = (count) => Array.from({ length: count }, (_, number) => number);

// The request and the response have almost 4 MiB, which is the limit of both.
const large = numbers(largeUsers).map((number) => ({ ...userOf(`large-${number}`), attributes }));
const { users } = await client.batchCreateUsers({ users: large });
assert.equal(users.length, largeUsers);
for (const user of users) assert.deepEqual(user.attributes, attributes);
console.log(`large messages: ${users.length} users`);

const { user: ada } = await client.createUser({ user: userOf('ada') });

async function get() {
  const { user } = await client.getUser({ id: ada.id });
  assert.equal(user.id, ada.id);
}

await Promise.all(numbers(parallelCalls).map(get));
console.log(`parallel: ${parallelCalls} calls`);

async function* rows() {
  for (let first = 0; first < importedUsers; first += messageUsers) {
    yield { users: numbers(messageUsers).map((number) => userOf(`imported-${first + number}`)) };
  }
  yield { totalRows: importedUsers };
}
const report = await client.importUsers(rows());
assert.equal(report.committed, true);
console.log(`import: ${report.created} users`);

let exported = 0;
let lastToken = '';
const filter = 'email.endsWith("@node.example") && email.startsWith("imported-")';
for await (const { users, watchToken } of client.exportUsers({ filter })) {
  exported += users.length;
  lastToken = watchToken;
}
assert.notEqual(lastToken, '');
console.log(`export: ${exported} users`);

// Sends each request after the answer to the previous one.
let answered = Promise.withResolvers();
async function* asked() {
  for (const number of numbers(questions)) {
    yield { tag: String(number), ids: [ada.id] };
    await answered.promise;
    answered = Promise.withResolvers();
  }
}
let answers = 0;
for await (const { tag, users } of client.resolveUsers(asked())) {
  assert.deepEqual([tag, users.length], [String(answers), 1]);
  answers++;
  answered.resolve();
}
console.log(`resolve: ${answers} answers`);

let isRenamed = false;
watching: for await (const { changes } of client.watchUsers({})) {
  if (!isRenamed) await client.updateUser({ user: { id: ada.id, lastName: 'King' } });
  isRenamed = true;
  for (const { user } of changes) {
    if (user.id !== ada.id || user.lastName !== 'King') continue;
    console.log(`watch: ${user.displayName}`);
    break watching;
  }
}

// Cancelled calls cost the others of their connection nothing.
async function cancelOne() {
  for await (const _ of client.watchUsers({})) return;
}
await Promise.all([...numbers(cancelledCalls).map(cancelOne), ...numbers(cancelledCalls).map(get)]);
console.log(`cancellation: ${cancelledCalls} calls next to ${cancelledCalls} others`);

try {
  for await (const _ of client.watchUsers({}, { metadata: Metadata({ ...bearer, 'grpc-timeout': '500m' }) }));
  assert.fail('The watch has ended.');
} catch (error) {
  if (!(error instanceof ClientError)) throw error;
  assert.equal(error.code, Status.DEADLINE_EXCEEDED);
}
console.log('deadline: passed');

// The server ends each connection about two seconds after its start.
const endMs = performance.now() + 7000;
let calls = 0;
await Promise.all(
  numbers(ageWorkers).map(async () => {
    for (; performance.now() < endMs; calls++) await get();
  }),
);
console.log(`connection age: ${calls} calls`);
channel.close();
