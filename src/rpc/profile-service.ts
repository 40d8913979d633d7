/**
 * The handler of profileservice.ProfileService, the first contract. It reports the client's mistakes in the response,
 * and not as a gRPC status.
 */
import type { ServiceImplementation } from 'nice-grpc';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { Fault } from '../model/fault.js';
import { parseCreateProfile } from '../model/requests.js';
import type { Directory } from '../operations/directory.js';
import { authorOf } from './call-observer.js';
import { profileRequests } from './request-shapes.js';
import { wireDefinition } from './wire-definition.js';

export const profileServiceDefinition = wireDefinition(ProfileServiceDefinition, profileRequests, {});

export function createProfileService(directory: Directory): ServiceImplementation<typeof profileServiceDefinition> {
  return {
    async createProfile(request, context) {
      try {
        const fields = parseCreateProfile(request);
        await directory.createUser({ fields, requestId: undefined }, context.signal, authorOf(context));
        return { status: 200, msg: 'profile created', error: '' };
      } catch (fault) {
        // All other faults become gRPC statuses, as in other services.
        if (!(fault instanceof Fault && (fault.code === 'INVALID_ARGUMENT' || fault.code === 'ALREADY_EXISTS')))
          throw fault;
        return { status: 400, msg: 'Invalid Request not enough credentials', error: describeFault(fault) };
      }
    },
  };
}

function describeFault({ reason, message, violations }: Fault): string {
  if (reason === 'EMAIL_TAKEN' || violations.length === 0) return message;
  return `${violations.map(({ field, description }) => `${field} ${description}`).join('; ')}.`;
}
