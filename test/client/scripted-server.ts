/**
 * A server of the contract whose behaviour is scripted by the test: it can fail, be slow, or answer from several addresses.
 * Tests of the directory's behaviour use the real directory.
 */
import { type ServerCredentials, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { type CallContext, createServer, ServerError, Status } from 'nice-grpc';
import { errorDetailsServerMiddleware } from 'nice-grpc-error-details';
import { UserServiceDefinition, type UserServiceImplementation } from '../../generated/users/v1/user_service.js';

/** One attempt as it arrived. */
export interface SeenCall {
  method: string;
  /** The remaining time; Infinity without a deadline. */
  leftMs: number;
}

export interface ScriptedServer extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly calls: SeenCall[];
}

export type Script = Partial<UserServiceImplementation>;

/** Methods that are not in the script answer UNIMPLEMENTED. */
export async function startScriptedServer(
  script: Script,
  { port = 0, credentials }: { port?: number; credentials?: ServerCredentials } = {},
): Promise<ScriptedServer> {
  const calls: SeenCall[] = [];
  const see: ServerInterceptor = (method, call) => {
    // grpc-js removes grpc-timeout from the metadata, but getDeadline() has it.
    calls.push({ method: method.path.split('/')[2] ?? '', leftMs: Number(call.getDeadline()) - Date.now() });
    return new ServerInterceptingCall(call);
  };
  const server = createServer({ interceptors: [see] }).use(errorDetailsServerMiddleware);
  server.add(UserServiceDefinition, { ...unimplemented(), ...script });
  const bound = await server.listen(`127.0.0.1:${port}`, credentials);
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    calls,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}

/** Never answers. Calls `onCancel` when the call is cancelled. */
export function hang(context: CallContext, onCancel: () => void = () => {}): Promise<never> {
  return new Promise((_, reject) => {
    context.signal.addEventListener('abort', () => {
      onCancel();
      reject(context.signal.reason);
    });
  });
}

function unimplemented(): UserServiceImplementation {
  const refuse = (): never => {
    throw new ServerError(Status.UNIMPLEMENTED, 'Not in the script.');
  };
  return {
    createUser: refuse,
    getUser: refuse,
    getUserByEmail: refuse,
    updateUser: refuse,
    deleteUser: refuse,
    listUsers: refuse,
    batchGetUsers: refuse,
    batchCreateUsers: refuse,
    importUsers: refuse,
    exportUsers: refuse,
    watchUsers: refuse,
    resolveUsers: refuse,
    listUserChanges: refuse,
    getCaller: refuse,
  };
}
