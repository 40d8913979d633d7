/** Starts the whole application with a separate database, for a test file. */
import { startApp } from '../../src/app.js';
import { type Client, type ClientOptions, createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { createTestDatabase, type TestDatabase } from './database.js';

export interface TestApp extends AsyncDisposable {
  /** host:port of the gRPC port. */
  readonly address: string;
  /** For example `http://localhost:8080`. */
  readonly http: string;
  readonly client: Client;
  readonly database: TestDatabase;
  /** The parsed log lines so far. */
  readonly lines: readonly Record<string, unknown>[];
}

/** `settings` are environment variables; `options` are for the client. */
export async function startTestApp(
  settings: Record<string, string> = {},
  options: ClientOptions = {},
): Promise<TestApp> {
  const database = await createTestDatabase();
  const lines: Record<string, unknown>[] = [];
  const config = parseServerConfig({
    DATABASE_URL: database.url,
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    HTTP2_SERVER: process.env.HTTP2_SERVER,
    ...settings,
  });
  const logTo = { write: (text: string) => void lines.push(JSON.parse(text)) };
  const app = await startApp(config, { logTo });
  const address = `localhost:${app.grpc.port}`;
  const client = createClient({ address, ...options });
  return {
    address,
    http: `http://localhost:${app.http?.port}`,
    client,
    database,
    lines,
    async [Symbol.asyncDispose]() {
      client.close();
      await app.close();
      await database[Symbol.asyncDispose]();
    },
  };
}
