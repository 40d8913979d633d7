/** Serves grpc.health.v1.Health. A service that needs writes is not serving while the server serves only reads. */
import { EventEmitter, once } from 'node:events';
import { ServerError, type ServiceImplementation, Status } from 'nice-grpc';
import { shape, text } from './message-reader.js';
import { encodeWith, putMessage, putNumber, putText } from './message-writer.js';
import { wireMethod } from './wire-definition.js';

export const healthServiceName = 'grpc.health.v1.Health';

/** grpc.health.v1.HealthCheckResponse.ServingStatus */
const servingStatus = { serving: 1, notServing: 2, serviceUnknown: 3 } as const;

/** Which calls a server serves: only reads if it can reach a replica and not the primary. */
export type Serving = 'all' | 'reads' | 'nothing';

/** The calls that a server must serve for a service, or for a client. */
export type Need = 'reads' | 'writes';

export function serves(serving: Serving, need: Need): boolean {
  return serving === 'all' || (serving === 'reads' && need === 'reads');
}

/** By the name of each service, what it must serve to be healthy. The empty name is the whole server. */
export type ServiceNeeds = Readonly<Record<string, Need>>;

interface CheckResponse {
  readonly status: number;
}

const checkRequest = shape(() => ({ service: '' }), text(1, 'service'));

function writeCheckResponse({ status }: CheckResponse): void {
  putNumber(1, status);
}

function writeListResponse({ statuses }: { readonly statuses: ReadonlyMap<string, CheckResponse> }): void {
  for (const [service, status] of statuses) {
    putMessage(1, () => {
      putText(1, service);
      putMessage(2, () => writeCheckResponse(status));
    });
  }
}

export const healthServiceDefinition = {
  check: wireMethod({
    path: `/${healthServiceName}/Check`,
    request: checkRequest,
    encode: (response: CheckResponse) => encodeWith(writeCheckResponse, response),
    requestStream: false,
    responseStream: false,
  }),
  list: wireMethod({
    path: `/${healthServiceName}/List`,
    request: shape(() => ({})),
    encode: (response: Parameters<typeof writeListResponse>[0]) => encodeWith(writeListResponse, response),
    requestStream: false,
    responseStream: false,
  }),
  watch: wireMethod({
    path: `/${healthServiceName}/Watch`,
    request: checkRequest,
    encode: (response: CheckResponse) => encodeWith(writeCheckResponse, response),
    requestStream: false,
    responseStream: true,
  }),
};

export interface Health {
  readonly service: ServiceImplementation<typeof healthServiceDefinition>;
  setServing(serving: Serving): void;
}

export function createHealth(needs: ServiceNeeds): Health {
  const names = new Set(Object.keys(needs));
  const changes = new EventEmitter();
  // One listener for each watcher.
  changes.setMaxListeners(0);
  let serving: Serving = 'all';

  const statusOf = (service: string): number => {
    const need = names.has(service) ? needs[service] : undefined;
    if (need === undefined) return servingStatus.serviceUnknown;
    return serves(serving, need) ? servingStatus.serving : servingStatus.notServing;
  };

  return {
    setServing(now) {
      serving = now;
      changes.emit('change');
    },
    service: {
      async check({ service }) {
        if (!names.has(service)) throw new ServerError(Status.NOT_FOUND, 'The server has no service of this name.');
        return { status: statusOf(service) };
      },

      async list() {
        return { statuses: new Map([...names].map((name) => [name, { status: statusOf(name) }])) };
      },

      async *watch({ service }, { signal }) {
        let sent: number | undefined;
        while (true) {
          const status = statusOf(service);
          if (status === sent) await once(changes, 'change', { signal });
          else yield { status };
          sent = status;
        }
      },
    },
  };
}
