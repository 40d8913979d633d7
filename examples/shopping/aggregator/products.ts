/** Products from ProductInfo, with one call for each because its contract has no batch. They share one connection. */
import { ClientError, createChannel, createClient, Metadata, Status } from 'nice-grpc';
import { type Product, type ProductInfoClient, ProductInfoDefinition } from '../generated/ecommerce/product_info.ts';
import { type Call, metadataOf } from './call.ts';

/** Connects on the first call, and keeps the process alive until it is disposed. */
export function connectToProductInfo(address: string): ProductInfoClient & Disposable {
  const channel = createChannel(address, undefined, {
    // gRPC's defaults, 1 s to 2 min, would leave the shop without products long after the service is back.
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // Detects a dead connection within 35 s; TCP takes a quarter of an hour.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });
  return { ...createClient(ProductInfoDefinition, channel), [Symbol.dispose]: () => channel.close() };
}

export function createProducts(client: ProductInfoClient): (id: string, call: Call) => Promise<Product | undefined> {
  return async (value, call) => {
    try {
      // The signal ends the call here, and grpc-timeout sends the deadline to the server.
      return await client.getProduct({ value }, { metadata: Metadata(metadataOf(call)), signal: call.signal });
    } catch (error) {
      if (error instanceof ClientError && error.code === Status.NOT_FOUND) return undefined;
      throw error;
    }
  };
}
