/** Converts the store's reasons for not writing a row into Faults that name the field of the request. */
import { emailTaken, emailTakenText, etagMismatch, Fault, invalid, userNotFound } from '../model/fault.js';

type Refusal = 'EMAIL_TAKEN' | 'REQUEST_ID_REUSED' | 'USER_NOT_FOUND' | 'ETAG_MISMATCH';

/** Returns the outcome of a request for one user, or throws its error. */
export function orThrow<Outcome>(outcome: Outcome | Refusal): Outcome {
  switch (outcome) {
    case 'EMAIL_TAKEN':
      throw emailTaken('user.email');
    case 'REQUEST_ID_REUSED':
      throw requestIdReused();
    case 'USER_NOT_FOUND':
      throw userNotFound();
    case 'ETAG_MISMATCH':
      throw etagMismatch();
    default:
      return outcome as Outcome;
  }
}

/** The error of a request for several users. `indexes` are the users with taken emails. */
export function emailsTaken(indexes: readonly number[]): Fault {
  const violations = indexes.map((index) => ({ field: `users[${index}].email`, description: emailTakenText }));
  const taken = indexes.length === 1 ? 'one email is' : `${indexes.length} emails are`;
  return new Fault('EMAIL_TAKEN', `No user was created, because ${taken} taken.`, violations);
}

function requestIdReused(): Fault {
  const description = 'must not be the request_id of an earlier call with different users';
  return invalid([{ field: 'request_id', description }], 'REQUEST_ID_REUSED');
}
