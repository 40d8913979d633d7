/** Products from ProductInfo, one call for each: its contract has no batch, and one connection carries them side by side. */
import { ClientError, createChannel, createClient, Metadata, Status } from 'nice-grpc';
import { type Product, type ProductInfoClient, ProductInfoDefinition } from '../generated/ecommerce/product_info.ts';
import { type Call, metadataOf } from './call.ts';

/** Connects with the first call, and keeps a process alive until it is disposed of. */
export function connectToProductInfo(address: string): ProductInfoClient & Disposable {
  const channel = createChannel(address, undefined, {
    // gRPC's own, 1 s to 2 min, would leave the shop without products long after the service is back.
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // A machine that is gone without a word is found out in 35 s, not in the quarter of an hour that TCP takes.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });
  return { ...createClient(ProductInfoDefinition, channel), [Symbol.dispose]: () => channel.close() };
}

export function createProducts(client: ProductInfoClient): (id: string, call: Call) => Promise<Product | undefined> {
  return async (value, call) => {
    try {
      // The signal ends the call here, and grpc-timeout lets the other side know that nobody waits any more.
      return await client.getProduct({ value }, { metadata: Metadata(metadataOf(call)), signal: call.signal });
    } catch (error) {
      if (error instanceof ClientError && error.code === Status.NOT_FOUND) return undefined;
      throw error;
    }
  };
}
