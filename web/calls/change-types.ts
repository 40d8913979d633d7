/** The types of changes that move rows. The enum itself would bring the code of protobuf's messages into the first script. */
import type { UserChange_Type } from '../../generated/users/v1/user.js';

export const changeTypes = {
  created: 2 satisfies UserChange_Type.TYPE_CREATED,
  updated: 3 satisfies UserChange_Type.TYPE_UPDATED,
  deleted: 4 satisfies UserChange_Type.TYPE_DELETED,
} as const;
