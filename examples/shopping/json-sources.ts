/**
 * The aggregator's sources as JSON over HTTP/1.1 with keep-alive. It exists only for the comparison, so any response without
 * an answer is an error.
 */
import { Agent, type IncomingMessage, request } from 'node:http';
import { type Call, leftMs } from './aggregator/call.ts';
import type { Sources } from './aggregator/offers.ts';

/** Products use the tags of Go's struct; users use protobuf's JSON. */
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

export function createJsonSources(productInfo: string, roster: string, token?: string): Sources & Disposable {
  const agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });

  // Uses node:http, which costs least in Node.
  async function get<T>(url: string, call: Call, body?: string, authorization?: string): Promise<T> {
    const headers = {
      ...(authorization !== undefined && { authorization }),
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
      } = await get<ProductJson>(url, call);
      return { id, name, description, priceMinor, sellerId };
    },

    async getSellers(ids, call) {
      const url = `http://${roster}/users.v1.UserService/BatchGetUsers`;
      const { users = [] } = await get<UsersJson>(url, call, JSON.stringify({ ids }), token && `Bearer ${token}`);
      return users.map(({ id, displayName }) => ({ id, displayName }));
    },

    [Symbol.dispose]: () => agent.destroy(),
  };
}
