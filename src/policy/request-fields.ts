/** The fields of requests and users that a condition can read. A test compares them with the contract. */

/** The fields of all requests, except `user` and lists of users. */
export const requestFields: Readonly<Record<string, 'string' | 'number' | 'boolean' | 'list'>> = {
  id: 'string',
  ids: 'list',
  email: 'string',
  emails: 'list',
  etag: 'string',
  allow_missing: 'boolean',
  update_mask: 'list',
  request_id: 'string',
  page_size: 'number',
  page_token: 'string',
  filter: 'string',
  query: 'string',
  order_by: 'string',
  include_total_size: 'boolean',
  resume_token: 'string',
  include_existing: 'boolean',
  tag: 'string',
  total_rows: 'number',
  // ProfileService.
  first_name: 'string',
  last_name: 'string',
};

/** The fields of a user except `attributes`. */
export const userFields = {
  first_name: 'string',
  last_name: 'string',
  email: 'string',
  profile_image_url: 'string',
} as const;

export function camelCaseOf(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
