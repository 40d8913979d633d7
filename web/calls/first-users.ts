/**
 * The first call of the page without credentials: the first users of the whole list. It is a GET without headers of its own,
 * so the answer can be the one that the browser requested together with the script (src/gateway/router.ts).
 */
import type { DeepPartial, ListUsersRequest } from '../../generated/users/v1/user_service.js';

const message = { pageSize: 200, orderBy: 'create_time desc' };

/** Returns undefined for every other request: searches and filters must not be in addresses, which proxies log. */
export function firstUsersQuery({ pageSize, orderBy, ...others }: DeepPartial<ListUsersRequest>): string | undefined {
  const isFirst = pageSize === message.pageSize && orderBy === message.orderBy && !Object.values(others).some(Boolean);
  return isFirst ? `?connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify(message))}` : undefined;
}

/**
 * Reads the preloaded answer if the page shows another list, because the browser would warn that nobody has used it. It sends
 * nothing, and waits until the answer is there.
 */
export function readPreloadedUsers(): void {
  new PerformanceObserver((entries, observer) => {
    for (const entry of entries.getEntriesByType('resource')) {
      const isPreloaded = entry instanceof PerformanceResourceTiming && entry.initiatorType === 'link';
      if (!isPreloaded || !entry.name.includes('/ListUsers?')) continue;
      observer.disconnect();
      fetch(entry.name).catch(() => {});
    }
  }).observe({ type: 'resource', buffered: true });
}
