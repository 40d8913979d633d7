/** The process: it serves shop.v1.Shop, calls the other services, and writes JSON lines to standard output. */

import { createClient } from '@roster-directory/client';
import { createServer, ServerError, Status } from 'nice-grpc';
import { ShopDefinition, type ShopServiceImplementation } from '../generated/shop/v1/shop.ts';
import { statusOf } from './call.ts';
import { deadlineMsIn, tellDeadline } from './deadline.ts';
import { listOffers, type Sources } from './offers.ts';
import { connectToProductInfo, createProducts } from './products.ts';
import { createSellers } from './sellers.ts';
import { createTrace } from './trace.ts';

const { SHOP_ADDRESS = '127.0.0.1:0', PRODUCT_INFO_ADDRESS = '', ROSTER_ADDRESS = 'localhost:50051' } = process.env;

// Applies also if the caller has a longer deadline or none: the longest time that a hanging service can delay an answer.
const deadlineMsMax = 5_000;
const productsMax = 100;
// The time for unanswered calls after a signal to stop.
const stopMsMax = 2_000;

const write = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const trace = createTrace('aggregator', statusOf, (span) => write({ msg: 'span', ...span }));

using roster = createClient({ address: ROSTER_ADDRESS, token: process.env.ROSTER_TOKEN });
using sellers = createSellers(roster);
using productInfo = connectToProductInfo(PRODUCT_INFO_ADDRESS);
const sources: Sources = {
  getProduct: createProducts(productInfo),
  getSellers: sellers.get,
};

const shop: ShopServiceImplementation = {
  async listOffers({ productIds }, { metadata, signal }) {
    if (productIds.length > productsMax) {
      throw new ServerError(Status.INVALID_ARGUMENT, `product_ids must have at most ${productsMax} ids.`);
    }
    const deadlineMs = Math.min(deadlineMsIn(metadata), deadlineMsMax);
    const start = { name: 'shop.v1.Shop/ListOffers', traceparent: metadata.get('traceparent'), deadlineMs };
    return trace(start, (traceparent) =>
      listOffers(productIds, sources, trace, { endMs: performance.now() + deadlineMs, signal, traceparent }),
    );
  },
};

const server = createServer({ interceptors: [tellDeadline] });
server.add(ShopDefinition, shop);
const port = await server.listen(SHOP_ADDRESS);
write({ msg: 'listening', grpc: SHOP_ADDRESS.replace(/:\d+$/, `:${port}`) });

await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
});
setTimeout(() => server.forceShutdown(), stopMsMax).unref();
await server.shutdown();
