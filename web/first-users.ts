/**
 * The first call of the page without credentials: the first users of the whole list. It is a GET without headers of its own,
 * so the answer can be the one that the browser requested together with the script (src/gateway/router.ts).
 */
import {
  type DeepPartial,
  ListUsersRequest,
  type ListUsersRequest as Request,
} from '../generated/users/v1/user_service.js';

const message = 'CMgBKhBjcmVhdGVfdGltZSBkZXNj';

/** Returns undefined for every other request: searches and filters must not be in addresses, which proxies log. */
export function firstUsersQuery(request: DeepPartial<Request>): string | undefined {
  const bytes = ListUsersRequest.encode(ListUsersRequest.fromPartial(request)).finish();
  if (btoa(String.fromCharCode(...bytes)) !== message) return undefined;
  return `?connect=v1&encoding=proto&base64=1&message=${message}`;
}
