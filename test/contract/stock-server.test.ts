/** The contract on nice-grpc's own server with grpc-js, so that the handlers do not depend on the server of ours. */
import { createServer, ServerError, type ServerMiddleware } from 'nice-grpc';
import { afterAll, beforeAll } from 'vitest';
import { type Client, createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { migrateUp } from '../../src/database/migrate.js';
import { createDirectory, type Directory } from '../../src/operations/directory.js';
import { anyone } from '../../src/policy/method-roles.js';
import { createCallObserver } from '../../src/rpc/call-observer.js';
import { createUserService, userServiceDefinition } from '../../src/rpc/user-service.js';
import { readIdentity } from '../../src/store/identity.js';
import { createLog } from '../../src/telemetry/log.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { presentIndexes } from '../support/open-database.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

const observe = createCallObserver({ log: createLog({ level: 'silent', format: 'json' }) });

class Unreadable {
  constructor(readonly error: unknown) {}
}

/** grpc-js answers INTERNAL if a decoder throws. This one returns its error, which the middleware then throws. */
const definition: typeof userServiceDefinition = Object.fromEntries(
  Object.entries(userServiceDefinition).map(([key, method]) => {
    const requestDeserialize = (bytes: Uint8Array) => {
      try {
        return method.requestDeserialize(bytes);
      } catch (error) {
        return new Unreadable(error);
      }
    };
    return [key, { ...method, requestDeserialize }];
  }),
) as never;

/** Converts errors and records authors as our server does. */
const observed: ServerMiddleware = async function* observeCall(call, context) {
  const { path, responseStream } = call.method;
  const observer = observe({
    path,
    responseStream,
    isStream: responseStream,
    isKnownMethod: true,
    peer: '',
    fields: [],
    startedMs: 0,
    timeoutMs: undefined,
    connection: { peer: '', host: '', certificate: () => undefined, heldBytes: 0 },
    caller: anyone,
    share: undefined,
  });
  try {
    if (!call.requestStream && call.request instanceof Unreadable) throw call.request.error;
    return yield* call.next(call.request, Object.assign(context, { observer, caller: anyone }));
  } catch (error) {
    const { code, message, fields = [] } = observer.statusOf(error);
    for (let index = 0; index < fields.length; index += 2) {
      context.trailer.set(`${fields[index]}`, Buffer.from(fields[index + 1] ?? '', 'base64'));
    }
    throw new ServerError(code, message);
  }
};

const server = createServer().use(observed);
let testDatabase: TestDatabase;
let database: Database;
let directory: Directory;
let client: Client;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const config = parseServerConfig({ DATABASE_URL: testDatabase.url });
  const options = { ...config.database, url: testDatabase.url };
  await migrateUp(options);
  database = await openDatabase(options);
  directory = createDirectory({
    database,
    identity: await readIdentity(database),
    indexes: presentIndexes,
    batchRowsMax: config.batch.rowsMax,
    queueRowsMax: config.batch.queueRowsMax,
    streams: config.streams,
    onError(error) {
      throw error;
    },
  });
  server.add(definition, createUserService(directory));
  client = createClient({ address: `127.0.0.1:${await server.listen('127.0.0.1:0')}` });
});
afterAll(async () => {
  client.close();
  server.forceShutdown();
  await directory.close();
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

describeContract("nice-grpc's server", () => client);
describeStreams("nice-grpc's server", () => client, { requests: true, both: true });
