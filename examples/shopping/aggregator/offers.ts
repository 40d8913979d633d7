/**
 * The aggregation: it reads products and then their sellers, and leaves gaps in the answer if a service fails. It does not
 * know the protocol of the services.
 */
import type { Product } from '../generated/ecommerce/product_info.ts';
import type { ListOffersResponse, Offer, Outage, Seller } from '../generated/shop/v1/shop.ts';
import { type Call, leftMs, statusOf, within, withRetries } from './call.ts';
import type { Trace } from './trace.ts';

/** Both methods are reads and may run twice. */
export interface Sources {
  /** Undefined if there is no such product. */
  getProduct(id: string, call: Call): Promise<Product | undefined>;
  /** Returns only sellers that exist in the directory. */
  getSellers(ids: readonly string[], call: Call): Promise<readonly Seller[]>;
}

// Shares of the remaining time: a hanging service must leave time for the next one and for the answer.
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

  /** Makes one call, with a span for each attempt. */
  const request = <T>(name: string, about: string, outer: Call, attempt: (call: Call) => Promise<T>): Promise<T> =>
    withRetries(outer, () =>
      trace({ name, about, traceparent: outer.traceparent, deadlineMs: leftMs(outer) }, (traceparent) =>
        attempt({ ...outer, traceparent }),
      ),
    );

  const ids = [...new Set(productIds)];
  const read = await within(call, productsShare, (inner) =>
    Promise.allSettled(
      ids.map((id) => request(`${productService}/GetProduct`, id, inner, (attempt) => getProduct(id, attempt))),
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
        request(`${sellerService}/ResolveUsers`, about, inner, (attempt) => getSellers(sellerIds, attempt)),
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

/** Any caller can add a product. An invalid seller id would end the stream for all its requests. */
function isUuid(id: string): boolean {
  return /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id);
}
