/** The process: shop.v1.Shop for the gateway, a client to the other services, and lines of JSON on standard output. */
import { createServer, ServerError, Status } from 'nice-grpc';
import { createClient } from 'roster/client';
import { ShopDefinition, type ShopServiceImplementation } from '../generated/shop/v1/shop.ts';
import { statusOf } from './call.ts';
import { deadlineMsIn, tellDeadline } from './deadline.ts';
import { listOffers, type Sources } from './offers.ts';
import { connectToProductInfo, createProducts } from './products.ts';
import { createSellers } from './sellers.ts';
import { createTrace } from './trace.ts';

const { SHOP_ADDRESS = '127.0.0.1:0', PRODUCT_INFO_ADDRESS = '', ROSTER_ADDRESS = 'localhost:50051' } = process.env;

// Also where the caller would wait for longer, or has no deadline: so long one that hangs can hold an answer back.
const deadlineMsMax = 5_000;
const productsMax = 100;
// When it is told to stop, for what has not been answered.
const stopMsMax = 2_000;

const write = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const trace = createTrace('aggregator', statusOf, (span) => write({ msg: 'span', ...span }));

using roster = createClient({ address: ROSTER_ADDRESS });
using sellers = createSellers(roster);
using productInfo = connectToProductInfo(PRODUCT_INFO_ADDRESS);
const sources: Sources = {
  getProduct: createProducts(productInfo),
  getSellers: sellers.get,
};

const shop: ShopServiceImplementation = {
  async listOffers({ productIds }, { metadata, signal }) {
    if (productIds.length > productsMax) {
      throw new ServerError(Status.INVALID_ARGUMENT, `product_ids: at most ${productsMax}`);
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
