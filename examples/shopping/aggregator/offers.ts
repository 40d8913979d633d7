/**
 * The aggregation: products, then their sellers, and an answer with gaps where a service does not give them.
 *
 * Knows what the services know and not how they are spoken with.
 */
import type { Product } from '../generated/ecommerce/product_info.ts';
import type { ListOffersResponse, Offer, Outage, Seller } from '../generated/shop/v1/shop.ts';
import { type Call, leftMs, statusOf, within, withRetries } from './call.ts';
import type { Trace } from './trace.ts';

/** Both are reads, and may run twice. */
export interface Sources {
  /** Undefined where there is none. */
  getProduct(id: string, call: Call): Promise<Product | undefined>;
  /** Those that the directory has. */
  getSellers(ids: readonly string[], call: Call): Promise<readonly Seller[]>;
}

// Of the time that is left: a service that hangs must leave some for the next one, and for the way back.
const productsShare = 0.5;
const sellersShare = 0.6;

const productService = 'ecommerce.ProductInfo';
const sellerService = 'users.v1.UserService';

export async function listOffers(
  productIds: readonly string[],
  { getProduct, getSellers }: Sources,
  trace: Trace,
  call: Call,
): Promise<ListOffersResponse> {
  const missingIds: string[] = [];
  const unreadIds: string[] = [];
  const outages: Outage[] = [];
  const noteOutage = (service: string, error: unknown) => {
    if (!outages.some((outage) => outage.service === service)) outages.push({ service, status: statusOf(error) });
  };

  /** One call, and a span for each attempt. */
  const ask = <T>(name: string, about: string, outer: Call, attempt: (call: Call) => Promise<T>): Promise<T> =>
    withRetries(outer, () =>
      trace({ name, about, traceparent: outer.traceparent, deadlineMs: leftMs(outer) }, (traceparent) =>
        attempt({ ...outer, traceparent }),
      ),
    );

  const ids = [...new Set(productIds)];
  const read = await within(call, productsShare, (inner) =>
    Promise.allSettled(
      ids.map((id) => ask(`${productService}/GetProduct`, id, inner, (attempt) => getProduct(id, attempt))),
    ),
  );
  const products: Product[] = [];
  for (const [index, result] of read.entries()) {
    const id = ids[index] ?? '';
    if (result.status === 'rejected') {
      unreadIds.push(id);
      noteOutage(productService, result.reason);
    } else if (result.value === undefined) missingIds.push(id);
    else products.push(result.value);
  }

  const sellers = new Map<string, Seller>();
  const sellerIds = [...new Set(products.map(({ sellerId }) => sellerId))].filter(isUuid);
  if (sellerIds.length > 0) {
    try {
      const about = `${sellerIds.length} sellers`;
      const found = await within(call, sellersShare, (inner) =>
        ask(`${sellerService}/ResolveUsers`, about, inner, (attempt) => getSellers(sellerIds, attempt)),
      );
      for (const seller of found) sellers.set(seller.id, seller);
    } catch (error) {
      noteOutage(sellerService, error);
    }
  }

  const offers = products.map(
    ({ id, name, description, priceMinor, sellerId }): Offer => ({
      productId: id,
      name,
      description,
      priceMinor,
      sellerId,
      seller: sellers.get(sellerId.toLowerCase()),
    }),
  );
  return { offers, missingIds, unreadIds, outages };
}

/** Anybody may have added a product; what is no id of the directory would end the stream for all who ask on it. */
function isUuid(id: string): boolean {
  return /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id);
}
