/**
 * What the aggregator would be without gRPC: the same services as JSON over HTTP/1.1, with connections that stay. Here for
 * the comparison only, so whatever is no answer is a failure.
 */
import { Agent, type IncomingMessage, request } from 'node:http';
import { type Call, leftMs } from './aggregator/call.ts';
import type { Sources } from './aggregator/offers.ts';

/** The tags of Go's struct; protobuf's own JSON of users. */
interface ProductJson {
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly price_minor?: number;
  readonly seller_id?: string;
}
interface UsersJson {
  readonly users?: readonly { readonly id: string; readonly displayName: string }[];
}

// HTTP/1.1 has one request on each connection at a time.
const connectionsMax = 64;

export function createJsonSources(productInfo: string, roster: string): Sources & Disposable {
  const agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });

  // By node:http: there is nothing in Node that does less.
  async function ask<T>(url: string, call: Call, body?: string): Promise<T> {
    const headers = {
      'content-type': 'application/json',
      traceparent: call.traceparent,
      'connect-timeout-ms': String(Math.ceil(leftMs(call))),
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request(url, { agent, method: body === undefined ? 'GET' : 'POST', headers, signal: call.signal }, resolve)
      .once('error', reject)
      .end(body);
    const response = await promise;
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    if (response.statusCode !== 200) throw new Error(`${url} answered with ${response.statusCode}.`);
    return JSON.parse(text);
  }

  return {
    async getProduct(id, call) {
      const url = `http://${productInfo}/products/${encodeURIComponent(id)}`;
      const {
        name,
        description = '',
        price_minor: priceMinor = 0,
        seller_id: sellerId = '',
      } = await ask<ProductJson>(url, call);
      return { id, name, description, priceMinor, sellerId };
    },

    async getSellers(ids, call) {
      const url = `http://${roster}/users.v1.UserService/BatchGetUsers`;
      const { users = [] } = await ask<UsersJson>(url, call, JSON.stringify({ ids }));
      return users.map(({ id, displayName }) => ({ id, displayName }));
    },

    [Symbol.dispose]: () => agent.destroy(),
  };
}
